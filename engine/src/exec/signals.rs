//! The signals that stop a run: once, nothing new begins; twice, the process ends at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// A signal that asks to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Ctrl-C.
    Interrupt,
    /// The polite end.
    Terminate,
}

impl Stop {
    /// Returns the exit status of a process that such a signal stopped.
    #[must_use]
    pub fn exit_status(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

/// Begins to listen. Each signal arrives once on the channel.
pub fn listen() -> std::io::Result<mpsc::UnboundedReceiver<Stop>> {
    let mut interrupts = signal(SignalKind::interrupt())?;
    let mut terminations = signal(SignalKind::terminate())?;
    let mut hangups = signal(SignalKind::hangup())?;
    let (to, from) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let stop = tokio::select! {
                got = interrupts.recv() => got.map(|()| Stop::Interrupt),
                got = terminations.recv() => got.map(|()| Stop::Terminate),
                // The terminal is gone: what runs is left to a resume, as with a polite end.
                got = hangups.recv() => got.map(|()| Stop::Terminate),
            };
            let Some(stop) = stop else { return };
            if to.send(stop).is_err() {
                return;
            }
        }
    });
    Ok(from)
}
