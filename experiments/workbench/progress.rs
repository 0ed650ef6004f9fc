//! Progress bars with an estimate of the remaining time, and Ctrl-C.

use std::cell::Cell;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use thermograd::ranks;

use crate::say;
use crate::workbench::output;

/// The exit status after Ctrl-C, by the convention of shells.
const INTERRUPTED: i32 = 130;

static STOP: AtomicBool = AtomicBool::new(false);

/// From here on, Ctrl-C is a request to save and stop, and a second Ctrl-C ends the program at once. Before this
/// call, while there is nothing to save, the first one does.
pub fn catch_interrupts() -> Result<()> {
    let handler = || {
        ranks::ask_to_stop();
        if STOP.swap(true, Ordering::SeqCst) {
            std::process::exit(INTERRUPTED);
        }
        output::aside(format_args!("\nstopping at the next step; press Ctrl-C again to stop at once"));
    };
    ctrlc::set_handler(handler).context("cannot catch Ctrl-C")
}

/// Whether Ctrl-C was pressed; of several ranks, which must all ask at the same place, whether it was on any.
pub fn interrupted() -> bool {
    ranks::agreed_to_stop().unwrap_or_else(|error| {
        output::complain(format_args!("error: {error}"));
        ranks::abort(1);
        std::process::exit(1);
    })
}

/// The error of an experiment that was ended by Ctrl-C, with its final message.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Interrupted(pub String);

impl Interrupted {
    /// For a run that cannot be continued.
    pub fn stopped() -> Self {
        Self("stopped".into())
    }

    /// Prints the message and ends the program.
    pub fn exit(&self) -> ! {
        say!("\n{}", self.0);
        ranks::end();
        std::process::exit(INTERRUPTED);
    }
}

/// Seconds between two lines of progress if there is no terminal.
const TELL: Duration = Duration::from_secs(5);

/// Shows progress: as a bar on a terminal, and elsewhere as a line every few seconds.
pub struct Bar {
    bar: ProgressBar,
    /// When the last line was written, or work began; none on a terminal.
    told: Option<Cell<Instant>>,
}

/// Progress through `length` steps.
pub fn bar(name: &str, length: u64) -> Bar {
    let template = "{prefix:>10} {bar:32} {pos}/{len}  {elapsed} (left {eta})  {msg}";
    let style = ProgressStyle::with_template(template).expect("a valid template");
    let bar = ProgressBar::new(length).with_style(style.progress_chars("=> ")).with_prefix(name.to_owned());
    if !ranks::is_first() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let told = (!std::io::stderr().is_terminal()).then(|| Cell::new(Instant::now()));
    Bar { bar, told }
}

impl Bar {
    /// How many steps there are.
    pub fn set_length(&self, length: u64) {
        self.bar.set_length(length);
    }

    /// Sets the text next to the bar.
    pub fn set_message(&self, message: String) {
        self.bar.set_message(message);
    }

    /// Steps done.
    pub fn set_position(&self, position: u64) {
        self.bar.set_position(position);
        let Some(told) = self.told.as_ref().filter(|told| told.get().elapsed() >= TELL) else { return };
        told.set(Instant::now());
        let percent = 100 * position / self.bar.length().unwrap_or(0).max(1);
        let message = self.bar.message();
        let comma = if message.is_empty() { "" } else { ", " };
        let seconds = self.bar.elapsed().as_secs();
        output::aside(format_args!("{}: {percent} % after {seconds} s{comma}{message}", self.bar.prefix()));
    }

    /// One more step done.
    pub fn step(&self) {
        self.set_position(self.bar.position() + 1);
    }

    /// Shows activity during work that does not report its progress.
    pub fn keep_moving(&self) {
        self.bar.enable_steady_tick(Duration::from_millis(200));
    }

    /// Prints something above the bar.
    pub fn above<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }

    /// Removes the bar.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// Does work that reports the fraction done; Ctrl-C ends the program at such a report.
pub fn shown<T>(name: &str, last_words: Interrupted, work: impl FnOnce(&mut dyn FnMut(f64)) -> T) -> T {
    let bar = bar(name, 100);
    let done = work(&mut |fraction| {
        bar.set_position((100.0 * fraction) as u64);
        if interrupted() {
            bar.end();
            last_words.exit();
        }
    });
    bar.end();
    done
}
