//! A bar with an estimate of the time left, and Ctrl-C.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};

/// The exit status of a run ended by Ctrl-C, as shells have it.
pub const INTERRUPTED: i32 = 130;

static STOP: AtomicBool = AtomicBool::new(false);

/// Makes Ctrl-C a request to save and stop; a second one ends the program at once.
pub fn catch_interrupts() -> Result<()> {
    let handler = || {
        if STOP.swap(true, Ordering::SeqCst) {
            std::process::exit(INTERRUPTED);
        }
        eprintln!("\nstopping at the next step; press Ctrl-C again to stop at once");
    };
    ctrlc::set_handler(handler).context("cannot catch Ctrl-C")
}

/// Whether Ctrl-C was pressed.
pub fn interrupted() -> bool {
    STOP.load(Ordering::SeqCst)
}

/// A bar of `length` steps; drawn on a terminal only.
pub fn bar(name: &str, length: u64) -> ProgressBar {
    let template = "{prefix:>10} {bar:32} {pos}/{len}  {elapsed} (left {eta})  {msg}";
    let style = ProgressStyle::with_template(template).expect("a valid template");
    ProgressBar::new(length).with_style(style.progress_chars("=> ")).with_prefix(name.to_owned())
}

/// A bar for work that tells the part it has done.
pub fn part_bar(name: &str) -> (ProgressBar, impl FnMut(f64)) {
    let bar = bar(name, 100);
    let shown = bar.clone();
    (bar, move |part| shown.set_position((100.0 * part) as u64))
}
