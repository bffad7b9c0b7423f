//! The cases, for any runtime.

use std::future::poll_fn;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use wakeful_benches::cli::Result;
use wakeful_benches::stats::{median, percentile};
use wakeful_benches::sys;
use wakeful_benches::timers::Case;

use crate::runtime::Runtime;

/// Makes a measurement. What the figures mean is said at the case.
pub(crate) fn figures<R: Runtime>(workers: usize, case: Case) -> Result<Vec<f64>> {
    if let Case::ArmAndDrop {
        boxed,
        earlier,
        tasks,
        seconds,
    } = case
    {
        let arming = Arming {
            boxed,
            earlier,
            seconds,
            together: Arc::new(Barrier::new(tasks)),
        };
        let cpus = sys::allowed_cpus()?.into_iter().cycle().take(tasks);
        return Ok(vec![arm_and_drop::<R>(workers, cpus.collect(), arming)?]);
    }
    R::run(workers, async {
        Ok(match case {
            Case::Late { duration_us, count } => {
                late::<R>(Duration::from_micros(duration_us), count).await
            }
            Case::Staggered { seconds } => staggered::<R>(seconds).await?,
            Case::ArmAndDrop { .. } => unreachable!("made above"),
            Case::LimitedReads { seconds } => limited_reads::<R>(seconds).await?,
            Case::PutOff { seconds } => vec![R::spawn(put_off::<R>(seconds)).await],
        })
    })?
}

async fn late<R: Runtime>(duration: Duration, count: usize) -> Vec<f64> {
    let mut late = Vec::with_capacity(count);
    for _ in 0..count {
        let begun = Instant::now();
        R::sleep(duration).await;
        late.push((begun.elapsed() - duration).as_nanos() as f64);
    }
    vec![percentile(&mut late, 50.0), percentile(&mut late, 99.0)]
}

async fn staggered<R: Runtime>(seconds: f64) -> Result<Vec<f64>> {
    let ended = Arc::new(AtomicU64::new(0));
    for number in 0..SLEEPERS_COUNT {
        let ended = ended.clone();
        let period = PERIOD_MIN + (PERIOD_MAX - PERIOD_MIN) * number / SLEEPERS_COUNT;
        drop(R::spawn(async move {
            // A timetable, so that whoever is late sleeps no less often.
            let mut due = Instant::now();
            loop {
                due += period;
                R::sleep(due.saturating_duration_since(Instant::now())).await;
                ended.fetch_add(1, Relaxed);
            }
        }));
    }
    R::sleep(PERIOD_MAX * 2).await;
    let account = || -> Result<_> {
        Ok((
            Instant::now(),
            sys::own_cpu_time()?.total_ns(),
            ended.load(Relaxed),
        ))
    };
    let begin = account()?;
    R::sleep(Duration::from_secs_f64(seconds)).await;
    let end = account()?;
    let elapsed = (end.0 - begin.0).as_secs_f64();
    let per_second = |count: u64| count as f64 / elapsed;
    Ok(vec![
        per_second(end.1 - begin.1),
        per_second(end.2 - begin.2),
    ])
}

/// What each of the tasks does that arm and drop timers.
#[derive(Clone)]
struct Arming {
    boxed: bool,
    earlier: bool,
    seconds: f64,
    together: Arc<Barrier>,
}

/// A task on each of `cpus`: of one runtime with so many workers, or if that is one, of one each.
fn arm_and_drop<R: Runtime>(workers: usize, cpus: Vec<usize>, arming: Arming) -> Result<f64> {
    let tasks = cpus.len() as f64;
    if workers > 1 {
        return Ok(R::run(workers, arm_and_drop_on::<R>(cpus, arming))? / tasks);
    }
    let run = |cpu| {
        let arming = arming.clone();
        thread::spawn(move || {
            R::run(1, arm_and_drop_on::<R>(vec![cpu], arming)).expect("a runtime")
        })
    };
    let threads: Vec<_> = cpus.into_iter().map(run).collect();
    let times = threads.into_iter().map(|thread| thread.join());
    Ok(times.map(|time| time.expect("no case panics")).sum::<f64>() / tasks)
}

/// What an operation takes, summed over the tasks.
async fn arm_and_drop_on<R: Runtime>(cpus: Vec<usize>, arming: Arming) -> f64 {
    let mut before = pin!(R::sleep(FAR));
    if arming.earlier {
        poll_once(before.as_mut()).await;
        R::sleep(Duration::from_millis(20)).await; // the driver sleeps, and then knows of what comes next
    }
    let mut all = Vec::new();
    for cpu in cpus {
        let arming = arming.clone();
        all.push(R::spawn(async move {
            arming.together.wait(); // it blocks its worker, so that no other task comes to run there
            sys::confine_thread(&[cpu]).expect("one of the allowed CPUs"); // or they may share one
            match arming.boxed {
                true => {
                    each(arming.seconds, |cx| {
                        let _ = Box::pin(R::sleep(FAR * 2)).as_mut().poll(cx);
                    })
                    .await
                }
                false => {
                    each(arming.seconds, |cx| {
                        let _ = pin!(R::sleep(FAR * 2)).poll(cx);
                    })
                    .await
                }
            }
        }));
    }
    let mut sum = 0.0;
    for task in all {
        sum += task.await;
    }
    sum
}

async fn put_off<R: Runtime>(seconds: f64) -> f64 {
    let mut sleep = pin!(R::sleep(FAR));
    poll_once(sleep.as_mut()).await;
    each(seconds, |_| R::put_off(sleep.as_mut(), FAR)).await
}

/// What one call of `work` takes, in nanoseconds. It is called for `seconds` and a little before that.
async fn each(seconds: f64, mut work: impl FnMut(&mut Context<'_>)) -> f64 {
    each_during(WARM_UP, &mut work).await;
    each_during(Duration::from_secs_f64(seconds), &mut work).await
}

/// The runtime has its turn between some of the calls: tokio lets a task do 128 things before it makes it wait.
async fn each_during(duration: Duration, work: &mut impl FnMut(&mut Context<'_>)) -> f64 {
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < duration {
        poll_fn(|cx| {
            (0..CALLS_PER_POLL).for_each(|_| work(cx));
            Poll::Ready(())
        })
        .await;
        count += CALLS_PER_POLL;
        give_way().await;
    }
    begun.elapsed().as_nanos() as f64 / f64::from(count)
}

async fn limited_reads<R: Runtime>(seconds: f64) -> Result<Vec<f64>> {
    let limit = Arc::new(AtomicU8::new(NO_LIMIT));
    let readers = Arc::new(Readers::default());
    let mut clients = Vec::new();
    let listener = TcpListener::bind("127.0.0.1:0")?;
    for _ in 0..CONNECTIONS_COUNT {
        let client = TcpStream::connect(listener.local_addr()?)?;
        client.set_nodelay(true)?;
        clients.push(client);
        let mut stream = R::stream(listener.accept()?.0)?;
        let (limit, readers) = (limit.clone(), readers.clone());
        drop(R::spawn(async move {
            let mut buffer = [0; 4096];
            let mut has_deadline = false;
            loop {
                let limit = limit.load(Relaxed);
                if limit == DEADLINE {
                    R::limit_reads(&stream, Some(FAR));
                } else if has_deadline {
                    R::limit_reads(&stream, None);
                }
                has_deadline = limit == DEADLINE;
                let read = R::read(&mut stream, &mut buffer);
                let count = match limit {
                    TIMEOUT => R::timeout(FAR, read).await.expect("it is not late"),
                    _ => read.await,
                };
                assert_eq!(count.expect("a read"), MESSAGE.len());
                readers.has_read();
            }
        }));
    }

    let mut slice = async |kind: u8| -> Result<f64> {
        limit.store(kind, Relaxed);
        let mut begun = Instant::now();
        for round in 0..=ROUNDS_PER_SLICE {
            if round == 1 {
                begun = Instant::now(); // the first has waited with another limit
            }
            for client in &mut clients {
                client.write_all(&MESSAGE)?;
            }
            readers.all_have_read().await;
        }
        let reads = ROUNDS_PER_SLICE * CONNECTIONS_COUNT;
        Ok(begun.elapsed().as_nanos() as f64 / reads as f64)
    };
    let kinds = match R::STREAMS_HAVE_DEADLINES {
        true => &[NO_LIMIT, TIMEOUT, DEADLINE][..],
        false => &[NO_LIMIT, TIMEOUT],
    };
    let mut times = vec![Vec::new(); kinds.len()];
    let begun = Instant::now();
    let whole = Duration::from_secs_f64(seconds * kinds.len() as f64);
    for round in 0.. {
        if begun.elapsed() >= whole {
            break;
        }
        for turn in 0..kinds.len() {
            let position = (round + turn) % kinds.len();
            let time = slice(kinds[position]).await?;
            times[position].push(time);
        }
    }
    let (plain, limited) = times.split_first().expect("there are kinds");
    let added = limited.iter().map(|limited| {
        let pairs = limited.iter().zip(plain);
        median(pairs.map(|(limited, plain)| limited - plain))
    });
    Ok([median(plain.iter().copied())]
        .into_iter()
        .chain(added)
        .collect())
}

/// How many tasks have read, and who waits for all of them.
#[derive(Default)]
struct Readers {
    count: AtomicUsize,
    waiting: Mutex<Option<Waker>>,
}

impl Readers {
    fn has_read(&self) {
        if self.count.fetch_add(1, Relaxed) + 1 == CONNECTIONS_COUNT {
            let waker = self.waiting.lock().expect("nobody panics").take();
            waker.into_iter().for_each(Waker::wake);
        }
    }

    async fn all_have_read(&self) {
        poll_fn(|cx| {
            if self.count.load(Relaxed) == CONNECTIONS_COUNT {
                return Poll::Ready(());
            }
            *self.waiting.lock().expect("nobody panics") = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
        self.count.store(0, Relaxed);
    }
}

/// Arms `sleep`.
async fn poll_once(mut sleep: Pin<&mut impl Future<Output = ()>>) {
    poll_fn(|cx| {
        assert!(sleep.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
}

/// Lets the runtime do what else there is to do.
async fn give_way() {
    let mut given = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut given, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

const SLEEPERS_COUNT: u32 = 10_000;
const PERIOD_MIN: Duration = Duration::from_millis(1);
const PERIOD_MAX: Duration = Duration::from_millis(100);

/// Longer than any measurement takes.
const FAR: Duration = Duration::from_secs(60);
const WARM_UP: Duration = Duration::from_millis(20);
const CALLS_PER_POLL: u32 = 64;

const CONNECTIONS_COUNT: usize = 64;
const ROUNDS_PER_SLICE: usize = 20;
const MESSAGE: [u8; 64] = [7; 64];

// What the reads are limited by.
const NO_LIMIT: u8 = 0;
const TIMEOUT: u8 = 1;
const DEADLINE: u8 = 2;
