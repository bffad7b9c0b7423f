//! `#[wakeful::main]` on the real `main` of a program: this file is one, and starts itself again to see how it ends.

use std::env;
use std::process::{Command, ExitCode, Output};

use wakeful::Handle;

/// Without [`ROLE`], the test; otherwise a program that ends as the variable says.
#[wakeful::main(workers = 3)]
async fn main() -> Result<ExitCode, String> {
    match env::var(ROLE).as_deref() {
        Ok("exit code") => Ok(ExitCode::from(7)),
        Ok("error") => Err("on purpose".to_owned()),
        Ok("panic") => panic!("not today"),
        Ok(role) => unreachable!("{role}"),
        Err(_) => {
            runs_on_the_workers_that_were_asked_for().await;
            ends_with_what_main_returns();
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn runs_on_the_workers_that_were_asked_for() {
    assert_eq!(Handle::current().workers_count(), 3);
    let worker = Handle::current().spawn_pinned(2, || async { std::thread::current().id() });
    assert_ne!(worker.await.unwrap(), std::thread::current().id());
}

fn ends_with_what_main_returns() {
    assert_eq!(end_of("exit code").status.code(), Some(7));

    let output = end_of("error");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stderr, b"Error: \"on purpose\"\n");

    let output = end_of("panic");
    assert_eq!(output.status.code(), Some(101));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("not today"), "{text}");
}

fn end_of(role: &str) -> Output {
    Command::new(env::current_exe().expect("the path of this program"))
        .env(ROLE, role)
        .output()
        .expect("the program starts again")
}

const ROLE: &str = "WAKEFUL_TEST_ENTRY";
