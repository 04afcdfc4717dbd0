//! Sessions of this machine, as `/proc` shows them: who lives in one, and whether it is still the one that was recorded.

use std::fs;
use std::io;

use rustix::process::{Pid, Signal, kill_process};

/// What identifies a session across its life: no number alone does, since numbers are given out again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    /// The kernel's boot id.
    pub(crate) boot_id: String,
    /// The session id, which is the process id of its leader.
    pub(crate) id: i32,
    /// When its leader began: field 22 of `/proc/PID/stat` (see `proc(5)`), in ticks since boot.
    pub(crate) since: u64,
}

impl Session {
    /// Returns the session that this process leads.
    pub(crate) fn own() -> io::Result<Self> {
        let id = rustix::process::getpid().as_raw_nonzero().get();
        let stat = Stat::read(id).ok_or_else(|| io::Error::other("this machine has no /proc: Linux is needed"))?;
        Ok(Self { boot_id: boot_id()?, id, since: stat.since })
    }

    /// Writes it as the start record. The last line tells that the record is complete.
    pub(crate) fn record(&self) -> String {
        format!("{}\n{}\n{}\nend\n", self.boot_id, self.id, self.since)
    }

    /// Reads a start record. `None`: it is not complete, so it was never synced, so the command never began.
    pub(crate) fn from_record(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let (boot_id, id, since) = (lines.next()?.to_owned(), lines.next()?.parse().ok()?, lines.next()?.parse().ok()?);
        (lines.next() == Some("end")).then_some(Self { boot_id, id, since })
    }

    /// Says whether the machine has rebooted since.
    pub(crate) fn rebooted(&self) -> io::Result<bool> {
        Ok(boot_id()? != self.boot_id)
    }

    /// Returns the living processes of the session; its leader too. Zombies are dead.
    pub(crate) fn members(&self) -> io::Result<Vec<i32>> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let Some(stat) = Stat::read(pid).filter(|stat| stat.session == self.id) else { continue };
            if pid == self.id && stat.since != self.since {
                // The number was given to another process, so nothing of this session is left.
                return Ok(Vec::new());
            }
            if !matches!(stat.state, 'Z' | 'X') {
                found.push(pid);
            }
        }
        Ok(found)
    }

    /// Sends a signal to the living processes of the session but for its leader, or with it, and returns how many there were.
    pub(crate) fn signal(&self, signal: Option<Signal>, leader_too: bool) -> io::Result<usize> {
        let members = self.members()?;
        let meant: Vec<i32> = members.into_iter().filter(|&pid| leader_too || pid != self.id).collect();
        for pid in meant.iter().filter_map(|&pid| Pid::from_raw(pid)) {
            if let Some(signal) = signal {
                // It may have ended meanwhile.
                let _ = kill_process(pid, signal);
            }
        }
        Ok(meant.len())
    }
}

struct Stat {
    state: char,
    session: i32,
    since: u64,
}

impl Stat {
    fn read(pid: i32) -> Option<Self> {
        let bytes = fs::read(format!("/proc/{pid}/stat")).ok()?;
        let text = String::from_utf8_lossy(&bytes);
        // The name stands in parentheses and may hold anything; the fields after it are 3, 4, …
        let mut fields = text.rsplit_once(") ")?.1.split(' ');
        let state = fields.next()?.chars().next()?;
        let session = fields.nth(2)?.parse().ok()?;
        let since = fields.nth(15)?.parse().ok()?;
        Some(Self { state, session, since })
    }
}

fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::process::Command;

    use super::*;

    fn asleep() -> (std::process::Child, Session) {
        let child = Command::new("setsid").args(["sh", "-c", "sleep 60 & wait"]).spawn().unwrap();
        let id = child.id().cast_signed();
        let mut session = Session { boot_id: boot_id().unwrap(), id, since: 0 };
        while Stat::read(id).unwrap().session != id || session.members().unwrap().len() < 2 {
            session.since = Stat::read(id).unwrap().since;
            std::thread::yield_now();
        }
        (child, session)
    }

    #[test]
    fn a_session_is_dead_when_nothing_of_it_is_left() {
        let (mut leader, session) = asleep();
        assert_eq!(Session::from_record(&session.record()), Some(session.clone()));
        assert!(!session.rebooted().unwrap());
        leader.kill().unwrap();
        leader.wait().unwrap();
        assert_eq!(session.members().unwrap().len(), 1, "the leader's child lives");
        while session.signal(Some(Signal::KILL), false).unwrap() > 0 {}
        assert!(session.members().unwrap().is_empty());
    }

    #[test]
    fn a_number_that_was_given_out_again_is_not_the_session() {
        let (mut leader, session) = asleep();
        let older = Session { since: session.since - 1, ..session.clone() };
        assert!(older.members().unwrap().is_empty());
        while session.signal(Some(Signal::KILL), true).unwrap() > 0 {}
        leader.wait().unwrap();
    }

    #[test]
    fn a_torn_start_record_says_that_nothing_began() {
        let record = Session { boot_id: "b".to_owned(), id: 5, since: 6 }.record();
        for cut in 0..record.len() - 1 {
            assert_eq!(Session::from_record(&record[..cut]), None);
        }
    }
}
