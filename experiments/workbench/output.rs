//! What is printed: a reader that goes away, or a full disk, ends no run.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};
use std::sync::Mutex;

use anyhow::{Result, anyhow};

/// Why the standard output took no more, if it did not.
static FAILED: Mutex<Option<std::io::Error>> = Mutex::new(None);

/// Prints a line. `println!` would panic where nobody reads it.
#[macro_export]
macro_rules! say {
    ($($text:tt)*) => { $crate::workbench::output::line(format_args!($($text)*)) };
}

/// Prints one line; the first failure is kept for [`end`].
pub fn line(text: Arguments) {
    let mut failed = FAILED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if failed.is_none() {
        let mut out = std::io::stdout().lock();
        *failed = writeln!(out, "{text}").and_then(|()| out.flush()).err();
    }
}

/// Tells something on the standard error, if anybody listens.
pub fn aside(text: Arguments) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Whether everything that was said was written: a reader that has gone away wanted no more of it.
///
/// # Errors
/// Any other reason why the standard output took no more.
pub fn end() -> Result<()> {
    let mut failed = FAILED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    match failed.take() {
        Some(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(anyhow!(error).context("cannot write to the standard output"))
        }
        _ => Ok(()),
    }
}
