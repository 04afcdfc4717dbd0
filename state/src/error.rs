//! Why a store could not do it: what happened, where, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::lock::Holder;

/// Says why the store could not do it. The text says what and where; [`hint`](StoreError::hint) says what to do.
///
/// It can be cloned because all threads whose barriers shared one sync get the error of that sync.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Another process holds the lock.
    #[error("{} is locked by {by}", path.display())]
    Locked {
        /// The file that is locked.
        path: PathBuf,
        /// Who holds it, since when.
        by: Holder,
    },

    /// A store was to be created where there is one.
    #[error("{} holds the records of a run already", path.display())]
    Exists {
        /// The directory of the run.
        path: PathBuf,
    },

    /// A store was to be opened where none was created, or where its creation did not come to an end.
    #[error("{} holds no records of a run", path.display())]
    Missing {
        /// What was looked for.
        path: PathBuf,
    },

    /// What was durable is not there any more, or is not what was written.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// The directory or file that is damaged.
        path: PathBuf,
        /// What was expected, and what was seen.
        what: String,
        /// What to do.
        hint: String,
    },

    /// A newer version wrote it.
    #[error("{} was written in format {found}, this version knows formats up to {known}", path.display())]
    Newer {
        /// The store.
        path: PathBuf,
        /// The format that was found.
        found: u8,
        /// The newest format that is known.
        known: u8,
    },

    /// No space or no quota is left.
    #[error("no space is left for {}", path.display())]
    Full {
        /// What was to be written.
        path: PathBuf,
    },

    /// The place may not be written to, or not even be read.
    #[error("{} cannot be used", path.display())]
    ReadOnly {
        /// What was to be written or read.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: Arc<io::Error>,
    },

    /// Another error of the operating system.
    #[error("failed to access {}", path.display())]
    Io {
        /// What was accessed.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: Arc<io::Error>,
    },

    /// There is no blob of this digest.
    #[error("there is no blob `{digest}`")]
    NoSuchBlob {
        /// What was asked for.
        digest: String,
    },

    /// A record is not a JSON object on one line.
    #[error("a record must be one line of UTF-8 text in braces, but {why}")]
    NotALine {
        /// What is wrong with it.
        why: &'static str,
    },

    /// A record is too large.
    #[error("a record of {size} bytes is larger than the limit of {limit} bytes")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
}

impl StoreError {
    /// Says what a person can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Locked { .. } => "wait until that process has ended, or end it; the lock is released with it".into(),
            Self::Exists { .. } => "resume that run, or begin a new one".into(),
            Self::Missing { .. } => "check the name of the run and the state directory".into(),
            Self::Damaged { hint, .. } => hint.clone(),
            Self::Newer { .. } => "use the version that began the run, or a newer one".into(),
            Self::Full { path } => {
                format!("free space on the file system of {}, then resume the run", path.display())
            }
            Self::ReadOnly { path, .. } => {
                format!(
                    "make {} readable and writable for this user, or work as the user that it belongs to",
                    path.display()
                )
            }
            Self::Io { path, .. } => format!("check {} and the file system it lies on, then resume", path.display()),
            Self::NoSuchBlob { .. } => "compare the digest with the record that names it".into(),
            Self::NotALine { .. } => "write the record as one line of JSON".into(),
            Self::TooLarge { .. } => "put the content into a blob and its digest into the record".into(),
        }
    }

    /// Sorts an error of the operating system by what a person can do about it.
    pub(crate) fn from_io(path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path },
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
                Self::ReadOnly { path, source: Arc::new(source) }
            }
            _ => Self::Io { path, source: Arc::new(source) },
        }
    }
}

/// Names the file in an error: `File::open(path).map_err(at(path))`.
pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    move |source| StoreError::from_io(path, source)
}
