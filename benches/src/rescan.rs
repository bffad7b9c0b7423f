//! `select` and `poll`: calls that are handed all descriptors each time, and look at all of them.
#![expect(unsafe_code, reason = "select and poll have no safe interface in std")]

use std::io;
use std::mem;
use std::os::fd::RawFd;
use std::ptr;

use crate::cli::Result;
use crate::sys::check;

/// Descriptors that are waited for until one of them is readable.
pub trait Descriptors {
    /// Waits for this one too from now on.
    fn add(&mut self, fd: RawFd) -> Result<()>;

    /// Not any more.
    fn remove(&mut self, fd: RawFd);

    /// Waits, and puts those that are ready into `ready`.
    fn wait(&mut self, ready: &mut Vec<RawFd>) -> io::Result<()>;
}

/// What `poll` is handed.
#[derive(Default)]
#[expect(missing_debug_implementations, reason = "records of the kernel's")]
pub struct Poll(Vec<libc::pollfd>);

impl Descriptors for Poll {
    fn add(&mut self, fd: RawFd) -> Result<()> {
        self.0.push(libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        });
        Ok(())
    }

    fn remove(&mut self, fd: RawFd) {
        self.0.retain(|polled| polled.fd != fd);
    }

    fn wait(&mut self, ready: &mut Vec<RawFd>) -> io::Result<()> {
        let (start, len) = (self.0.as_mut_ptr(), self.0.len() as libc::nfds_t);
        // SAFETY: `start` points to `len` records, which nothing else uses.
        let mut left = check(unsafe { libc::poll(start, len, -1) })?;
        ready.clear();
        let mut all = self.0.iter();
        while left > 0
            && let Some(polled) = all.next()
        {
            if polled.revents != 0 {
                ready.push(polled.fd);
                left -= 1;
            }
        }
        Ok(())
    }
}

/// What `select` is handed.
#[expect(missing_debug_implementations, reason = "a bit set of libc's")]
pub struct Select {
    interest: libc::fd_set,
    /// One more than the highest.
    end: RawFd,
}

impl Default for Select {
    fn default() -> Self {
        Self {
            // SAFETY: all zeros is the empty set.
            interest: unsafe { mem::zeroed() },
            end: 0,
        }
    }
}

impl Descriptors for Select {
    fn add(&mut self, fd: RawFd) -> Result<()> {
        if fd as usize >= libc::FD_SETSIZE {
            return Err("select cannot wait for a descriptor with so high a number".into());
        }
        // SAFETY: `fd` is within the set.
        unsafe { libc::FD_SET(fd, &mut self.interest) };
        self.end = self.end.max(fd + 1);
        Ok(())
    }

    fn remove(&mut self, fd: RawFd) {
        // SAFETY: only what was added is removed, so `fd` is within the set.
        unsafe { libc::FD_CLR(fd, &mut self.interest) };
    }

    fn wait(&mut self, ready: &mut Vec<RawFd>) -> io::Result<()> {
        let mut readable = self.interest;
        let none = ptr::null_mut();
        // SAFETY: `readable` has a bit for every descriptor below `end`; the other sets and the timeout are left out.
        check(unsafe { libc::select(self.end, &mut readable, none, none, ptr::null_mut()) })?;
        ready.clear();
        // SAFETY: every descriptor below `end` is within the set.
        let is_ready = |fd: &RawFd| unsafe { libc::FD_ISSET(*fd, &readable) };
        ready.extend((0..self.end).filter(is_ready));
        Ok(())
    }
}

/// How many descriptors `select` can wait for, of which some are not connections.
pub const SELECT_MAX: usize = libc::FD_SETSIZE - 16;
