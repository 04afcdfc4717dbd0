//! Files that somebody names, and named pipes among them: to open one waits until somebody writes, perhaps without end.

use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::{fs, io};

/// Refuses to open a named pipe. What a shell has opened already, as it does for `<(command)` and for standard input, is none.
pub fn refuse(path: &Path) -> io::Result<()> {
    let is_open = ["/dev/fd", "/dev/stdin", "/proc/self/fd"].iter().any(|open| path.starts_with(open));
    if !is_open && fs::metadata(path)?.file_type().is_fifo() {
        return Err(io::Error::other("it is a named pipe, in which there may never be anything"));
    }
    Ok(())
}
