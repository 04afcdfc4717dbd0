//! Standard output: data for a person or a program, who may stop reading at any time.

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
