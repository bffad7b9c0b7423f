//! What `#[wakeful::main]` and `#[wakeful::test]` make of a function. Most tests here are made by the attribute they test.
//!
//! `main` itself is in `entry.rs`, what the attributes refuse in `refusals.rs`.

use std::cell::Cell;
use std::convert::Infallible;
use std::env;
use std::process::{Command, ExitCode, Termination};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use wakeful::time::{Instant, sleep};
use wakeful::{Handle, spawn, yield_now};
use wakeful_tests::server::{RunningServer, example};
use wakeful_tests::{Bytes, panic_of};

#[wakeful::test]
async fn a_test_has_one_worker() {
    assert_eq!(Handle::current().workers_count(), 1);
}

#[wakeful::test(workers = 2)]
async fn a_test_has_the_workers_that_it_asks_for() {
    assert_eq!(Handle::current().workers_count(), 2);
}

#[wakeful::test()]
async fn empty_parentheses_are_no_options() {
    assert_eq!(Handle::current().workers_count(), 1);
}

#[wakeful::test]
async fn a_test_may_return_a_result() -> Result<(), Box<dyn std::error::Error>> {
    let number: i32 = "42".parse()?;
    assert_eq!(spawn(async move { number }).await?, 42);
    Ok(())
}

#[wakeful::test]
async fn an_error_that_is_returned_fails_the_test() -> Result<(), String> {
    if env::var_os("WAKEFUL_TEST_FAILS").is_some() {
        return Err("on purpose".to_owned());
    }
    let name = "an_error_that_is_returned_fails_the_test";
    let mut again = this_binary(&[name, "--exact"]);
    let output = again.env("WAKEFUL_TEST_FAILS", "").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(101), "{text}");
    assert!(text.contains("on purpose"), "{text}");
    Ok(())
}

#[wakeful::test]
#[should_panic(expected = "below the attribute")]
async fn should_panic_is_kept_below_the_attribute() {
    yield_now().await;
    panic!("below the attribute");
}

#[should_panic(expected = "above the attribute")]
#[wakeful::test]
async fn should_panic_is_kept_above_the_attribute() {
    yield_now().await;
    panic!("above the attribute");
}

/// Is shown as ignored, and passes when it is asked for.
#[wakeful::test]
#[ignore = "for the test below"]
async fn an_ignored_one() {}

#[test]
fn ignore_is_kept_and_nothing_is_a_test_twice() {
    let list = |options: &[&str]| {
        let output = this_binary(options).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let ignored = list(&["--list", "--ignored"]);
    assert!(ignored.starts_with("an_ignored_one: test\n"), "{ignored}");
    let all = list(&["--list"]);
    assert_eq!(
        all.matches("a_test_has_one_worker: test\n").count(),
        1,
        "{all}"
    );
}

#[wakeful::test]
#[cfg(any())]
async fn what_is_configured_away_is_not_compiled() {
    there_is_no_such_function().await;
}

#[wakeful::test(workers = 2)]
async fn the_future_of_a_test_need_not_be_send() {
    let count = Rc::new(Cell::new(0));
    yield_now().await;
    count.set(count.get() + 1);
    assert_eq!(count.get(), 1);
}

#[test]
fn main_has_one_worker_per_cpu() {
    #[wakeful::main]
    async fn entry() -> usize {
        Handle::current().workers_count()
    }
    assert_eq!(entry(), thread::available_parallelism().unwrap().get());
}

#[test]
fn main_has_the_workers_that_it_asks_for() {
    #[wakeful::main(workers = 0b11, seed = 0xFFFF_FFFF_FFFF_FFFF, virtual_time = false)]
    async fn entry() -> usize {
        Handle::current().workers_count()
    }
    assert_eq!(entry(), 3);
}

#[test]
fn main_returns_whatever_a_main_may_return() {
    #[wakeful::main(workers = 1)]
    async fn code() -> ExitCode {
        yield_now().await;
        ExitCode::from(7)
    }
    #[wakeful::main(workers = 1)]
    async fn opaque() -> impl Termination {
        yield_now().await;
    }
    #[wakeful::main(workers = 1)]
    async fn result() -> Result<Infallible, String> {
        yield_now().await;
        Err("none".to_owned())
    }
    #[wakeful::main(workers = 1)]
    async fn never() -> ! {
        yield_now().await;
        panic!("this is its only end")
    }
    assert_eq!(code(), ExitCode::from(7));
    assert_eq!(opaque().report(), ExitCode::SUCCESS);
    assert_eq!(result(), Err("none".to_owned()));
    assert_eq!(panic_of(|| never()), "this is its only end");
}

#[test]
fn a_runtime_that_cannot_be_had_is_a_panic_that_says_why() {
    #[wakeful::main(workers = 5000)]
    async fn entry() {}
    let text = panic_of(entry);
    assert!(text.contains("the runtime cannot be built"), "{text}");
    assert!(text.contains("1 to 1024 workers, not 5000"), "{text}");
}

#[test]
fn every_option_is_a_call_of_the_builder() {
    #[wakeful::main(crate = recorder)]
    async fn none() {}
    #[wakeful::main(seed = 42, virtual_time, workers = 1, crate = crate::recorder)]
    async fn all() {}
    #[wakeful::main(virtual_time = true, workers = 0x1, crate = recorder)]
    async fn with_a_value() {}
    #[wakeful::main(virtual_time = false, workers = 2, crate = recorder)]
    async fn switched_off() {}

    assert_eq!(recorder::calls_of(none), "");
    assert_eq!(recorder::calls_of(recorded), "workers(1) ");
    assert_eq!(
        recorder::calls_of(all),
        "workers(1) virtual_time(true) seed(42) "
    );
    assert_eq!(
        recorder::calls_of(with_a_value),
        "workers(1) virtual_time(true) "
    );
    assert_eq!(recorder::calls_of(switched_off), "workers(2) ");
}

#[wakeful::test(crate = self::recorder)]
async fn recorded() {}

/// In the place of `wakeful`: notes which methods of `Builder` are called.
mod recorder {
    use std::cell::RefCell;
    use std::fmt::Write;

    thread_local! {
        static CALLS: RefCell<String> = RefCell::default();
    }

    pub(super) fn calls_of(entry: fn()) -> String {
        entry();
        CALLS.take()
    }

    pub(super) struct Builder(String);

    impl Builder {
        pub(super) fn new() -> Self {
            Self(String::new())
        }

        fn note(mut self, call: std::fmt::Arguments<'_>) -> Self {
            write!(self.0, "{call} ").unwrap();
            self
        }

        pub(super) fn workers(self, count: usize) -> Self {
            self.note(format_args!("workers({count})"))
        }

        pub(super) fn virtual_time(self, on: bool) -> Self {
            self.note(format_args!("virtual_time({on})"))
        }

        pub(super) fn seed(self, seed: u64) -> Self {
            self.note(format_args!("seed({seed})"))
        }

        pub(super) fn build(self) -> Result<Runtime, String> {
            Ok(Runtime(self.0))
        }
    }

    pub(super) struct Runtime(String);

    impl Runtime {
        pub(super) fn block_on<F: Future>(self, future: F) -> F::Output {
            CALLS.set(self.0);
            wakeful::block_on(future)
        }
    }
}

/// Names that generated code uses mean something else here.
mod shadows {
    #![allow(dead_code, reason = "it is enough that they are in scope")]

    mod wakeful {}
    mod core {}
    mod std {}
    struct Builder;
    struct Result;
    fn block_on() {}

    #[::wakeful::test(seed = 1)]
    async fn the_names_of_the_user_do_not_matter() {
        ::wakeful::yield_now().await;
    }
}

/// Fragments come to an attribute in groups without delimiters.
mod from_a_macro {
    macro_rules! made {
        ($(#[$meta:meta])* $visibility:vis $name:ident, $output:ty, $count:expr, $seed:literal, $path:path, $body:block) => {
            #[wakeful::test(workers = $count, seed = $seed, crate = $path)]
            $(#[$meta])*
            $visibility async fn $name() -> $output $body
        };
    }
    macro_rules! marked {
        ($item:item) => {
            #[wakeful::test]
            $item
        };
    }

    made!(all_kinds_of_fragments, Result<(), String>, 2, 7, ::wakeful, {
        assert_eq!(wakeful::Handle::current().workers_count(), 2);
        Ok(())
    });
    made!(#[doc = "With the parts that may be missing."] pub(crate) the_optional_ones_too, (), 1, 7, wakeful, {
        wakeful::yield_now().await;
    });
    marked! {
        /// An item as a whole.
        #[should_panic(expected = "whole")]
        async fn a_whole_item() {
            panic!("whole");
        }
    }
}

#[test]
fn the_example_hello_sends_back_what_it_gets() {
    let server = RunningServer::start(example("hello").arg("127.0.0.1:0"));
    for seed in 0..3 {
        Bytes(seed).through(&server.connect(), 100_000, 1_000);
    }
}

fn this_binary(arguments: &[&str]) -> Command {
    let mut command = Command::new(env::current_exe().expect("the path of this test binary"));
    command.args(arguments);
    command
}

#[wakeful::test(virtual_time)]
async fn a_test_in_virtual_time_sleeps_a_day_in_no_time() {
    let day = Duration::from_secs(24 * 60 * 60);
    let (really, begun) = (std::time::Instant::now(), Instant::now());
    sleep(day).await;
    assert!(begun.elapsed() >= day && really.elapsed() < Duration::from_secs(10));
}
