//! Standard output, data for a person or a program, and standard error: whoever reads them may stop at any time.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write as _};

use super::error::CommandError;

/// Prints text. Whoever closes the pipe has read enough: that is no error.
pub fn print(text: Arguments<'_>) -> Result<(), CommandError> {
    let mut out = std::io::stdout().lock();
    match out.write_fmt(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Prints a line of text.
pub fn line(text: Arguments<'_>) -> Result<(), CommandError> {
    print(format_args!("{text}\n"))
}

/// Tells a person something on standard error. If nobody listens any more, the exit status has to do.
pub fn tell(text: Arguments<'_>) {
    let mut out = std::io::stderr().lock();
    let _ = out.write_fmt(text).and_then(|()| out.flush());
}

/// Tells a person a line.
pub fn tell_line(text: Arguments<'_>) {
    tell(format_args!("{text}\n"));
}
