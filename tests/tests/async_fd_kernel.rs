//! `AsyncFd` with what the kernel makes descriptors of, other than sockets: pipes, timers, counters, directories that are
//! watched, processes, and the standard streams; and what it refuses.
#![expect(
    unsafe_code,
    reason = "the standard library makes none of these descriptors: calls into libc"
)]

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::pin::pin;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use futures::future::join;
use futures::poll;
use wakeful::io::AsyncFd;
use wakeful::time::Instant;
use wakeful_tests::process::Process;
use wakeful_tests::watchdog::LIMIT;
use wakeful_tests::{Bytes, on_workers, within, yields};

#[test]
fn a_pipe_carries_more_than_it_holds() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            const COUNT: usize = 1_000_000;
            let (reader, writer) = pipe();
            let writing = wakeful::spawn(async move {
                write_all(&writer, &Bytes(1).take(COUNT)).await;
                // and is closed
            });
            assert!(read_to_end(&reader).await == Bytes(1).take(COUNT));
            writing.await.unwrap();
        });
    });
}

#[test]
fn a_pipe_tells_its_writer_that_nobody_reads_any_more() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let (reader, writer) = pipe();
            let mut gone = pin!(writer.hung_up());
            assert!(poll!(&mut gone).is_pending());
            drop(reader);
            gone.await.unwrap();
            let error = writer
                .write_with(|mut pipe| pipe.write(b"x"))
                .await
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        });
    });
}

#[test]
fn a_timerfd_expires_again_and_again() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            let period = Duration::from_millis(2);
            let began = Instant::now();
            let timer = AsyncFd::new(timerfd(period)).unwrap();
            let mut expirations = 0;
            while expirations < 10 {
                expirations += read_count(&timer).await;
            }
            assert!(began.elapsed() >= period * 10);
        });
    });
}

#[test]
fn an_eventfd_counts_what_was_added_before_it_is_read() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            let events = AsyncFd::new(eventfd()).unwrap();
            let mut added = events.get_ref().try_clone().unwrap();
            let mut reading = pin!(read_count(&events));
            assert!(poll!(&mut reading).is_pending());
            // From a thread that does not know the runtime, as a C library would do it.
            std::thread::spawn(move || {
                for _ in 0..1000 {
                    added.write_all(&1_u64.to_ne_bytes()).unwrap();
                }
            });
            let mut count = reading.await;
            while count < 1000 {
                count += read_count(&events).await;
            }
            assert_eq!(count, 1000);
        });
    });
}

#[test]
fn an_inotify_descriptor_reports_a_file_in_a_directory() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let directory = Directory::new();
            let inotify = AsyncFd::new(inotify(&directory)).unwrap();
            let mut reading = pin!(inotify.read_with(|mut inotify| {
                let mut events = [0; 1024];
                inotify.read(&mut events).map(|_| events)
            }));
            assert!(poll!(&mut reading).is_pending());
            File::create(directory.0.join("something")).unwrap();
            let events = reading.await.unwrap();
            assert!(events.windows(9).any(|part| part == b"something"));
        });
    });
}

#[test]
fn a_pidfd_becomes_readable_when_its_process_ends() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            let mut child = cat();
            let process = Process::of(child.id());
            let ended = AsyncFd::new_nonblocking(pidfd(&child)).unwrap();
            // There is nothing to be read from it, and waiting for the child is what tells.
            let mut ending = pin!(ended.read_with(|_| match child.try_wait() {
                Ok(None) => Err(ErrorKind::WouldBlock.into()),
                ended => ended,
            }));
            assert!(poll!(&mut ending).is_pending());
            process.signal(libc::SIGTERM);
            let status = ending.await.unwrap().expect("it has ended");
            assert!(!status.success());
        });
    });
}

#[test]
fn the_streams_of_a_child_are_written_and_read_at_the_same_time() {
    on_workers([1, 2, 4], |runtime| {
        runtime.block_on(async {
            let mut child = cat();
            let stdin = stream(child.stdin.take().unwrap());
            let stdout = stream(child.stdout.take().unwrap());
            let sent = Bytes(2).take(1_000_000);
            let writing = async {
                write_all(&stdin, &sent).await;
                drop(stdin);
            };
            let (back, ()) = join(read_to_end(&stdout), writing).await;
            assert!(back == sent);
            assert!(child.wait().unwrap().success());
        });
    });
}

/// This test binary again, as a program whose standard input and output are pipes: it sends back what it reads.
#[test]
fn the_own_standard_streams_can_be_awaited_where_they_are_pipes() {
    const NAME: &str = "the_own_standard_streams_can_be_awaited_where_they_are_pipes";
    const IN_CHILD: &str = "WAKEFUL_TEST_STREAMS";
    if std::env::var_os(IN_CHILD).is_some() {
        wakeful::block_on(async {
            let own = |stream: BorrowedFd<'_>| self::stream(stream.try_clone_to_owned().unwrap());
            let (stdin, stdout) = (own(io::stdin().as_fd()), own(io::stdout().as_fd()));
            write_all(&stdout, &read_to_end(&stdin).await).await;
        });
        std::process::exit(0); // before the test's own words meet a full pipe: it would not wait any more
    }
    let (text, output) = within(LIMIT, || {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([NAME, "--exact", "--nocapture", "--test-threads=1"])
            .env(IN_CHILD, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let text = "a line of text\n".repeat(10_000);
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
        drop(stdin);
        (text, child.wait_with_output().unwrap())
    });
    assert!(output.status.success());
    assert!(String::from_utf8(output.stdout).unwrap().contains(&text));
}

#[test]
fn a_regular_file_and_a_directory_are_refused_when_they_would_have_to_wait() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let directory = Directory::new();
            let path = directory.0.join("file");
            fs::write(&path, "text").unwrap();
            let file = AsyncFd::new_nonblocking(File::open(&path).unwrap()).unwrap();
            // Reading never has to wait, so it works, and blocks the thread for as long as the disk takes.
            let mut buffer = [0; 16];
            let count = file.read_with(|mut file| file.read(&mut buffer)).await;
            assert_eq!(&buffer[..count.unwrap()], b"text");

            let directory = File::open(&directory.0).unwrap();
            for refused in [file, AsyncFd::new_nonblocking(directory).unwrap()] {
                let error = refused
                    .read_with(|_| Err::<(), _>(ErrorKind::WouldBlock.into()))
                    .await
                    .unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Unsupported);
                assert!(error.to_string().contains("regular file"), "{error}");
                // That costs nothing and ends nothing: it can be asked again.
                let again = refused.readable().await.unwrap_err();
                assert_eq!(again.kind(), ErrorKind::Unsupported);
            }
        });
    });
}

#[test]
fn a_descriptor_in_blocking_mode_is_refused() {
    for descriptor in [
        OwnedFd::from(io::pipe().unwrap().0),
        File::open("/dev/null").unwrap().into(),
    ] {
        let error = AsyncFd::new(descriptor).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("new_nonblocking"), "{error}");
    }
}

#[test]
fn a_dropped_wait_takes_nothing_from_a_pipe() {
    on_workers([1, 2], |runtime| {
        runtime.block_on(async {
            let (reader, writer) = pipe();
            for number in 0..100_u8 {
                let mut byte = [0];
                {
                    let mut reading = pin!(reader.read_with(|mut pipe| pipe.read(&mut byte)));
                    assert!(poll!(&mut reading).is_pending());
                    write_all(&writer, &[number]).await;
                    yields(usize::from(number % 3)).await;
                }
                let count = reader.read_with(|mut pipe| pipe.read(&mut byte)).await;
                assert_eq!((count.unwrap(), byte), (1, [number]));
            }
        });
    });
}

async fn write_all(to: &AsyncFd<File>, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let count = to.write_with(|mut to| to.write(bytes)).await.unwrap();
        bytes = &bytes[count..];
    }
}

async fn read_to_end(from: &AsyncFd<File>) -> Vec<u8> {
    let (mut all, mut buffer) = (Vec::new(), [0; 10_000]);
    loop {
        match from
            .read_with(|mut from| from.read(&mut buffer))
            .await
            .unwrap()
        {
            0 => return all,
            count => all.extend_from_slice(&buffer[..count]),
        }
    }
}

/// How often a timer has expired, or what was added to a counter, since the last time.
async fn read_count(from: &AsyncFd<File>) -> u64 {
    let mut count = [0; 8];
    from.read_with(|mut from| from.read_exact(&mut count))
        .await
        .unwrap();
    u64::from_ne_bytes(count)
}

/// The two ends of a pipe: what is read from, what is written to.
fn pipe() -> (AsyncFd<File>, AsyncFd<File>) {
    let (reader, writer) = io::pipe().unwrap();
    (stream(reader), stream(writer))
}

/// Whatever it is, it is read and written like a file.
fn stream(descriptor: impl Into<OwnedFd>) -> AsyncFd<File> {
    AsyncFd::new_nonblocking(File::from(descriptor.into())).unwrap()
}

/// A process that sends back what it reads.
fn cat() -> Child {
    Command::new("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn timerfd(period: Duration) -> File {
    let period = libc::timespec {
        tv_sec: period.as_secs() as libc::time_t,
        tv_nsec: period.subsec_nanos().into(),
    };
    let times = libc::itimerspec {
        it_interval: period,
        it_value: period,
    };
    // SAFETY: the call touches no memory of ours.
    let timer = made(unsafe {
        libc::timerfd_create(
            libc::CLOCK_MONOTONIC,
            libc::TFD_NONBLOCK | libc::TFD_CLOEXEC,
        )
    });
    // SAFETY: `times` is read during the call, and for the old times there may be a null pointer.
    let set = unsafe {
        libc::timerfd_settime(timer.as_raw_fd(), 0, &raw const times, std::ptr::null_mut())
    };
    assert_eq!(set, 0);
    timer
}

fn eventfd() -> File {
    // SAFETY: the call touches no memory of ours.
    made(unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) })
}

fn inotify(directory: &Directory) -> File {
    // SAFETY: the call touches no memory of ours.
    let inotify = made(unsafe { libc::inotify_init1(libc::IN_NONBLOCK | libc::IN_CLOEXEC) });
    let path = CString::new(directory.0.as_os_str().as_bytes()).unwrap();
    // SAFETY: `path` is a C string that lives until the call returns.
    let watch =
        unsafe { libc::inotify_add_watch(inotify.as_raw_fd(), path.as_ptr(), libc::IN_CREATE) };
    assert!(watch >= 0);
    inotify
}

fn pidfd(child: &Child) -> File {
    // SAFETY: the call touches no memory of ours.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, child.id(), 0) };
    made(fd.try_into().unwrap())
}

/// What a call made that answers with a descriptor.
#[track_caller]
fn made(fd: libc::c_int) -> File {
    assert!(fd >= 0, "{}", io::Error::last_os_error());
    // SAFETY: it has just been made, and nobody else has it.
    unsafe { File::from_raw_fd(fd) }
}

/// An empty directory, until it is dropped.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!(
            "wakeful-fd-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, SeqCst)
        );
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0); // what is left does no harm
    }
}
