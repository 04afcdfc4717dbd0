//! Group commit: gives out sequence numbers in order, and lets barriers that come at the same time share one sync.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::{StoreError, seal};

/// The order of appends and the state of the sync.
#[derive(Debug)]
pub(crate) struct Commit {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug)]
struct State {
    /// The number of the last record that was appended.
    appended: u64,
    /// The number of the last record that is durable.
    durable: u64,
    /// The lines of the records between these two, for the witness.
    lines: Vec<u8>,
    /// Some thread is in the sync.
    syncing: bool,
    /// Why the store has stopped.
    failed: Option<StoreError>,
}

impl Commit {
    /// Begins behind a record that is durable.
    pub(crate) fn after(seq: u64) -> Self {
        let state = State { appended: seq, durable: seq, lines: Vec::new(), syncing: false, failed: None };
        Self { state: Mutex::new(state), ended: Condvar::new() }
    }

    /// Writes a record under the next number. Returns the number and how many bytes wait for a sync.
    pub(crate) fn append(
        &self,
        payload: &[u8],
        write: impl FnOnce(u64) -> Result<(), StoreError>,
    ) -> Result<(u64, usize), StoreError> {
        let mut state = self.state();
        if let Some(error) = &state.failed {
            return Err(error.clone());
        }
        let seq = state.appended + 1;
        if let Err(error) = write(seq) {
            state.failed = Some(error.clone());
            return Err(error);
        }
        state.appended = seq;
        state.lines.extend_from_slice(&seal::seal(seq, payload));
        state.lines.push(b'\n');
        Ok((seq, state.lines.len()))
    }

    /// Returns once all that was appended before is durable. `sync` makes it so and gets the number of the last of these
    /// records and their lines; it is called by one thread at a time, with all other barriers waiting for its result or for
    /// the next one.
    pub(crate) fn barrier(&self, sync: impl FnOnce(u64, &[u8]) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let mut state = self.state();
        let wanted = state.appended;
        loop {
            if state.durable >= wanted {
                return Ok(());
            }
            if let Some(error) = &state.failed {
                return Err(error.clone());
            }
            if !state.syncing {
                break;
            }
            state = self.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.syncing = true;
        let reached = state.appended;
        let lines = std::mem::take(&mut state.lines);
        drop(state);

        let result = sync(reached, &lines);

        let mut state = self.state();
        state.syncing = false;
        match &result {
            Ok(()) => state.durable = reached,
            Err(error) => state.failed = Some(error.clone()),
        }
        self.ended.notify_all();
        result
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Neither `write` nor `sync` panics: they catch the panics of sled.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::PathBuf;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn barriers_that_come_during_a_sync_share_the_next_one() {
        let commit = Commit::after(0);
        let syncs = AtomicUsize::new(0);
        let (begun, has_begun) = mpsc::channel();
        let (go, may_end) = mpsc::channel::<()>();
        let all_appended = Barrier::new(9);
        thread::scope(|scope| {
            commit.append(b"{}", |_| Ok(())).unwrap();
            let (commit, syncs, all_appended) = (&commit, &syncs, &all_appended);
            scope.spawn(move || {
                commit.barrier(|_, _| {
                    begun.send(()).unwrap();
                    may_end.recv().unwrap();
                    Ok(())
                })
            });
            has_begun.recv().unwrap();
            for _ in 0..8 {
                scope.spawn(move || {
                    commit.append(b"{}", |_| Ok(())).unwrap();
                    all_appended.wait();
                    commit.barrier(|reached, lines| {
                        syncs.fetch_add(1, Ordering::SeqCst);
                        let expected: Vec<_> =
                            (2..=9).map(|number| [&*seal::seal(number, b"{}"), b"\n"].concat()).collect();
                        assert_eq!((reached, lines), (9, &*expected.concat()));
                        Ok(())
                    })
                });
            }
            all_appended.wait();
            go.send(()).unwrap();
        });
        assert_eq!(syncs.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn after_a_failed_sync_nothing_is_accepted_any_more() {
        let commit = Commit::after(4);
        assert_eq!(commit.append(b"{}", |_| Ok(())).unwrap().0, 5);
        let full = || StoreError::Full { path: PathBuf::from("/s") };
        assert!(commit.barrier(|_, _| Err(full())).is_err());
        assert!(matches!(commit.barrier(|_, _| Ok(())), Err(StoreError::Full { .. })));
        assert!(matches!(commit.append(b"{}", |_| Ok(())), Err(StoreError::Full { .. })));
    }
}
