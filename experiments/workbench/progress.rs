//! Bars with an estimate of the time left, and Ctrl-C.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};

use crate::say;
use crate::workbench::output;

/// The exit status of a run ended by Ctrl-C, as shells have it.
const INTERRUPTED: i32 = 130;

static STOP: AtomicBool = AtomicBool::new(false);

/// Makes Ctrl-C a request to save and stop; a second one ends the program at once. Before that, where there is nothing
/// to save, the first one does.
pub fn catch_interrupts() -> Result<()> {
    let handler = || {
        if STOP.swap(true, Ordering::SeqCst) {
            std::process::exit(INTERRUPTED);
        }
        output::aside(format_args!("\nstopping at the next step; press Ctrl-C again to stop at once"));
    };
    ctrlc::set_handler(handler).context("cannot catch Ctrl-C")
}

/// Whether Ctrl-C was pressed.
pub fn interrupted() -> bool {
    STOP.load(Ordering::SeqCst)
}

/// An experiment that was ended by Ctrl-C, with its last words.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Interrupted(pub String);

impl Interrupted {
    /// What cannot be continued.
    pub fn stopped() -> Self {
        Self("stopped".into())
    }

    /// Says the last words and ends the program.
    pub fn exit(&self) -> ! {
        say!("\n{}", self.0);
        std::process::exit(INTERRUPTED);
    }
}

/// A bar of `length` steps; drawn on a terminal only.
pub fn bar(name: &str, length: u64) -> ProgressBar {
    let template = "{prefix:>10} {bar:32} {pos}/{len}  {elapsed} (left {eta})  {msg}";
    let style = ProgressStyle::with_template(template).expect("a valid template");
    ProgressBar::new(length).with_style(style.progress_chars("=> ")).with_prefix(name.to_owned())
}

/// Does work that tells the fraction it has done, which is where Ctrl-C ends the program.
pub fn shown<T>(name: &str, last_words: Interrupted, work: impl FnOnce(&mut dyn FnMut(f64)) -> T) -> T {
    let bar = bar(name, 100);
    let done = work(&mut |fraction| {
        bar.set_position((100.0 * fraction) as u64);
        if interrupted() {
            bar.finish_and_clear();
            last_words.exit();
        }
    });
    bar.finish_and_clear();
    done
}
