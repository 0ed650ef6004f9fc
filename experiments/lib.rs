//! What the experiments share: run folders, progress and interruption, figures and reports.

pub mod data;
pub mod figures;
pub mod progress;
pub mod report;
pub mod run;
pub mod settings;
pub mod training;

use std::ops::ControlFlow;

/// Keeps its pages: a training step stores hundreds of states and frees them together.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What every binary does first: Ctrl-C becomes a request to save.
///
/// # Errors
/// When the system does not let Ctrl-C be caught.
pub fn begin() -> anyhow::Result<()> {
    // Burn puts the optimiser state of a resumed run on its default device first, which is a GPU in a build that has
    // one compiled in, whether or not the machine does.
    if std::env::var_os("BURN_DEVICE").is_none() {
        // SAFETY: no other thread runs yet.
        unsafe { std::env::set_var("BURN_DEVICE", "flex") };
    }
    progress::catch_interrupts()
}

/// What every binary does last: an error in one line, and an exit status that tells what happened.
pub fn end(outcome: anyhow::Result<ControlFlow<()>>) {
    match outcome {
        Ok(ControlFlow::Continue(())) => {}
        Ok(ControlFlow::Break(())) => std::process::exit(progress::INTERRUPTED),
        Err(error) => {
            eprintln!("error: {error:#}");
            std::process::exit(1);
        }
    }
}
