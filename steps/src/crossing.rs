//! The places between two acts where a crash tells whether an order is kept: before and after every append, barrier,
//! capsule transition and effect.
//!
//! In a debug build a test can have them listed (`REQUORUM_CROSSINGS=FILE` appends each as it is reached) and can have the
//! process killed, as by SIGKILL, when it first reaches one of them (`REQUORUM_DIE_AT=NAME`). In a release build nothing
//! of this is there.

/// Marks a place; `name` says which, and which item is about to cross it.
#[cfg(debug_assertions)]
pub fn crossing(name: impl FnOnce() -> String) {
    use std::ffi::OsString;
    use std::fs::OpenOptions;
    use std::io::Write as _;
    use std::sync::OnceLock;

    static TEST: OnceLock<(Option<OsString>, Option<String>)> = OnceLock::new();
    let (list, end) =
        TEST.get_or_init(|| (std::env::var_os("REQUORUM_CROSSINGS"), std::env::var("REQUORUM_DIE_AT").ok()));
    if list.is_none() && end.is_none() {
        return;
    }
    let name = name();
    if let Some(list) = list {
        let written = OpenOptions::new()
            .append(true)
            .create(true)
            .open(list)
            .and_then(|mut file| file.write_all(format!("{name}\n").as_bytes()));
        if let Err(error) = written {
            tracing::warn!(%error, "REQUORUM_CROSSINGS cannot be written");
        }
    }
    if end.as_deref() == Some(name.as_str()) {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        // The signal is on its way; nothing more may happen.
        loop {
            std::thread::park();
        }
    }
}

/// Marks a place; here it is nothing.
#[cfg(not(debug_assertions))]
pub fn crossing(_name: impl FnOnce() -> String) {}
