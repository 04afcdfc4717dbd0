//! What a command ends with when it does not succeed: an exit status, a message, and what to do next.

use requorum_state::StoreError;

use crate::exec::journal::JournalError;

/// The exit statuses of requorum, as the README lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// An internal error.
    Internal = 1,
    /// Wrong usage.
    Usage = 2,
    /// The plan or the site is invalid.
    Invalid = 3,
    /// A precondition does not hold; nothing was changed.
    Precondition = 4,
    /// A step failed; the run can be resumed.
    Failed = 5,
    /// A person is needed.
    NeedsPerson = 6,
    /// Another operator holds the cluster.
    Locked = 7,
    /// The plan differs from the one the run began with.
    Differs = 8,
    /// Confirmation is needed.
    Unconfirmed = 9,
    /// Interrupted by Ctrl-C.
    Interrupted = 130,
    /// Told to end.
    Terminated = 143,
}

/// A command that did not succeed.
#[derive(Debug)]
pub struct CommandError {
    /// The exit status.
    pub exit: Exit,
    /// What went wrong; empty where it was reported already.
    pub message: String,
    /// What to do next.
    pub hints: Vec<String>,
}

impl CommandError {
    /// Makes an error.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hints: Vec::new() }
    }

    /// Makes an error whose details were reported already.
    #[must_use]
    pub fn reported(exit: Exit) -> Self {
        Self::new(exit, "")
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

/// Writes an error with its causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

impl From<StoreError> for CommandError {
    fn from(error: StoreError) -> Self {
        let exit = match &error {
            StoreError::Locked { .. } => Exit::Locked,
            StoreError::Missing { .. } => Exit::Usage,
            StoreError::Exists { .. }
            | StoreError::Damaged { .. }
            | StoreError::Newer { .. }
            | StoreError::Full { .. }
            | StoreError::ReadOnly { .. }
            | StoreError::Io { .. }
            | StoreError::NoSuchBlob { .. }
            | StoreError::NotALine { .. }
            | StoreError::TooLarge { .. } => Exit::Internal,
        };
        Self::new(exit, chain(&error)).hint(error.hint())
    }
}

impl From<JournalError> for CommandError {
    fn from(error: JournalError) -> Self {
        match error {
            // Nothing is wrong with requorum or the plan: the run can go on once there is space or leave again.
            JournalError::Store(error @ (StoreError::Full { .. } | StoreError::ReadOnly { .. })) => {
                let stopped = Self::from(error);
                Self { exit: Exit::Failed, message: format!("the run has stopped: {}", stopped.message), ..stopped }
                    .hint("what was started goes on by itself; a resume finds what became of it")
            }
            JournalError::Store(error) => error.into(),
            error => Self::new(Exit::Internal, chain(&error))
                .hint("nothing more was done; `requorum runs logs` shows what the journal holds"),
        }
    }
}

impl From<std::io::Error> for CommandError {
    fn from(error: std::io::Error) -> Self {
        Self::new(Exit::Internal, chain(&error))
    }
}
