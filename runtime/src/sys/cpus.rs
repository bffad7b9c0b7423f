//! The CPUs: how many there are, on which of them a thread may run, and whether a quota bounds their use.
#![expect(
    unsafe_code,
    reason = "calls sysconf, sched_getaffinity and sched_setaffinity"
)]

use std::fs;
use std::io;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use super::call::cvt;

/// How many CPUs the machine has, whoever may use them.
pub(crate) fn online_count() -> usize {
    // SAFETY: the call touches no memory of ours.
    let count = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    usize::try_from(count).unwrap_or(1)
}

/// Keeps the calling thread on one CPU; where it ran before, it may run again when this is dropped.
#[derive(Debug)]
pub(crate) struct OnCpu {
    before: CpuSet,
    /// It is about the thread that it was made on.
    not_send: PhantomData<*const ()>,
}

impl OnCpu {
    /// The CPU is the one with this number among `allowed`, counted round them.
    ///
    /// # Errors
    ///
    /// What sched_setaffinity(2) says, where a filter of system calls refuses it for instance.
    pub(crate) fn begin(allowed: &CpuSet, number: usize) -> io::Result<Self> {
        let before = CpuSet::of_this_thread()?;
        let allowed: Vec<_> = allowed.iter().collect();
        CpuSet::only(allowed[number % allowed.len()]).apply_to_this_thread()?;
        Ok(Self {
            before,
            not_send: PhantomData,
        })
    }
}

impl Drop for OnCpu {
    fn drop(&mut self) {
        // It was allowed before. If a CPU was taken away from the process meanwhile, the kernel leaves out that one.
        let _ = self.before.apply_to_this_thread();
    }
}

/// On which CPUs a thread may run, at least one: one bit for each, and room for more than any machine has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CpuSet([u64; 128]);

impl CpuSet {
    fn only(cpu: usize) -> Self {
        let mut set = Self([0; 128]);
        set.0[cpu / 64] = 1 << (cpu % 64);
        set
    }

    fn iter(&self) -> impl Iterator<Item = usize> {
        (0..self.0.len() * 64).filter(|cpu| self.0[cpu / 64] & (1 << (cpu % 64)) != 0)
    }

    pub(crate) fn of_this_thread() -> io::Result<Self> {
        let mut set = Self([0; 128]);
        let bytes = size_of_val(&set.0);
        // SAFETY: the kernel writes at most `bytes` bytes to where `set` has as many, in words as the kernel counts them.
        cvt(unsafe { libc::sched_getaffinity(0, bytes, set.0.as_mut_ptr().cast()) })?;
        Ok(set)
    }

    pub(crate) fn apply_to_this_thread(&self) -> io::Result<()> {
        let bytes = size_of_val(&self.0);
        // SAFETY: the kernel reads at most `bytes` bytes from where the set has as many.
        cvt(unsafe { libc::sched_setaffinity(0, bytes, self.0.as_ptr().cast()) })?;
        Ok(())
    }
}

/// Whether the CPU time of this process is bounded by a quota (cgroups(7), both versions).
///
/// Where that cannot be read there is none: nobody has mounted the file system that it would have been set in.
pub(crate) fn have_quota() -> bool {
    let Ok(groups) = fs::read_to_string("/proc/self/cgroup") else {
        return false;
    };
    groups.lines().any(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
            return false;
        };
        let group = Path::new(path.trim_start_matches('/'));
        let is_bounded = |root: &str, file: &str, bounds: fn(&str) -> bool| {
            // A bound on a group holds for all below it. In a namespace the process may not see those above.
            group.ancestors().any(|group| {
                let file: PathBuf = [Path::new(root), group, Path::new(file)].iter().collect();
                fs::read_to_string(file).is_ok_and(|text| bounds(&text))
            })
        };
        match controllers {
            "" => is_bounded("/sys/fs/cgroup", "cpu.max", is_bounded_by_max),
            _ if controllers.split(',').any(|name| name == "cpu") => is_bounded(
                "/sys/fs/cgroup/cpu",
                "cpu.cfs_quota_us",
                is_bounded_by_quota,
            ),
            _ => false,
        }
    })
}

/// Version 2: `max 100000` or `200000 100000`.
fn is_bounded_by_max(text: &str) -> bool {
    !text.starts_with("max")
}

/// Version 1: `-1` or `200000`.
fn is_bounded_by_quota(text: &str) -> bool {
    !text.starts_with('-')
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{CpuSet, OnCpu, is_bounded_by_max, is_bounded_by_quota, online_count};

    #[test]
    fn a_thread_is_kept_on_one_cpu_and_may_run_as_before_afterwards() {
        let before = CpuSet::of_this_thread().unwrap();
        let count = before.iter().count();
        assert!((1..=online_count()).contains(&count));
        for number in 0..2 * count {
            let on_cpu = OnCpu::begin(&before, number).unwrap();
            let expected = before.iter().nth(number % count).unwrap();
            assert_eq!(CpuSet::of_this_thread().unwrap(), CpuSet::only(expected));
            drop(on_cpu);
            assert_eq!(CpuSet::of_this_thread().unwrap(), before);
        }
    }

    #[test]
    fn the_words_of_both_versions_for_no_quota_are_known() {
        assert!(!is_bounded_by_max("max 100000\n"));
        assert!(is_bounded_by_max("50000 100000\n"));
        assert!(!is_bounded_by_quota("-1\n"));
        assert!(is_bounded_by_quota("50000\n"));
    }
}
