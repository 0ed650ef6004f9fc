//! Printing that does not end a run if the reader goes away or the disk is full.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};
use std::sync::Mutex;

use anyhow::{Result, anyhow};
use thermograd::ranks;

/// The first error of the standard output, if any.
static FAILED: Mutex<Option<std::io::Error>> = Mutex::new(None);

/// Prints a line. `println!` would panic if the reader has gone away.
#[macro_export]
macro_rules! say {
    ($($text:tt)*) => { $crate::workbench::output::line(format_args!($($text)*)) };
}

/// Prints one line, on the first rank; the first failure is kept for [`end`].
pub fn line(text: Arguments) {
    if !ranks::is_first() {
        return;
    }
    let mut failed = FAILED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if failed.is_none() {
        let mut out = std::io::stdout().lock();
        *failed = writeln!(out, "{text}").and_then(|()| out.flush()).err();
    }
}

/// Prints a line to the standard error and ignores failures.
pub fn aside(text: Arguments) {
    if ranks::is_first() {
        complain(text);
    }
}

/// The same on any rank.
pub fn complain(text: Arguments) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Checks that everything was printed. A reader that has gone away is not an error.
///
/// # Errors
/// Any other error of the standard output.
pub fn end() -> Result<()> {
    let mut failed = FAILED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    match failed.take() {
        Some(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(anyhow!(error).context("cannot write to the standard output"))
        }
        _ => Ok(()),
    }
}
