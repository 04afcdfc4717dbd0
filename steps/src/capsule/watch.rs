//! Output that is shown while its command runs.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::capsule::capped::CAP;

/// How many bytes of a stream are shown at most while a command runs. What lies beyond is dropped, but for the end, which
/// comes with the result.
pub const SHOWN: usize = CAP;

/// One of the two streams that a command writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

impl Stream {
    /// Both, in the order in which capsules name them.
    pub(crate) const ALL: [Self; 2] = [Self::Out, Self::Err];

    /// Returns its name in a capsule.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::Err => "err",
        }
    }
}

/// Is told the bytes that a command writes, as they come: each once, in the order of its stream, the first [`SHOWN`] of each
/// stream. It must not take long.
pub type Watch = Arc<dyn Fn(Stream, &[u8]) + Send + Sync>;

/// A watch, and how much of each stream it has been told. Bytes that come again, from a connection that was made again, are
/// told once.
#[derive(Default)]
pub(crate) struct Watched {
    watch: Option<Watch>,
    told: Mutex<[usize; 2]>,
}

impl Watched {
    /// Makes one that has been told nothing.
    pub(crate) fn by(watch: Watch) -> Self {
        Self { watch: Some(watch), told: Mutex::default() }
    }

    /// Says whether anybody watches.
    pub(crate) fn is_some(&self) -> bool {
        self.watch.is_some()
    }

    /// Returns how many bytes of a stream have been told.
    pub(crate) fn told(&self, stream: Stream) -> usize {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)[stream as usize]
    }

    /// Tells what is new of the bytes that stand at `offset` of a stream.
    pub(crate) fn take(&self, stream: Stream, offset: usize, bytes: &[u8]) {
        let Some(watch) = &self.watch else { return };
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let told = &mut told[stream as usize];
        // Where bytes are missing in between, all of them come with the end.
        let new = told.checked_sub(offset).and_then(|known| bytes.get(known..)).unwrap_or_default();
        let new = &new[..new.len().min(SHOWN - *told)];
        if !new.is_empty() {
            *told += new.len();
            watch(stream, new);
        }
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("told", &self.told).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_comes_again_is_told_once_and_what_comes_too_early_not_yet() {
        let seen = Arc::new(Mutex::new(String::new()));
        let to = seen.clone();
        let watched = Watched::by(Arc::new(move |stream, bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes);
            to.lock().unwrap().extend([stream.name(), ":", &*text, " "]);
        }));
        watched.take(Stream::Out, 0, b"abc");
        watched.take(Stream::Out, 0, b"abcd");
        watched.take(Stream::Out, 9, b"late");
        watched.take(Stream::Err, 0, b"no");
        watched.take(Stream::Out, 2, b"c");
        watched.take(Stream::Out, 3, b"def");
        assert_eq!(*seen.lock().unwrap(), "out:abc out:d err:no out:ef ");
        assert_eq!((watched.told(Stream::Out), watched.told(Stream::Err)), (6, 2));
        watched.take(Stream::Out, 0, &vec![b'x'; SHOWN + 1]);
        assert_eq!(watched.told(Stream::Out), SHOWN, "and no more than that");
    }
}
