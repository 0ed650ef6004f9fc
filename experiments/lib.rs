//! What the experiments share: a workbench of settings, run folders and sessions, and reports.

pub mod report;
pub mod workbench;

use anyhow::Result;

use crate::workbench::output;
use crate::workbench::progress::Interrupted;

/// Keeps its pages: a training step stores hundreds of states and frees them together.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// An experiment from beginning to end: an error is told in one line, and the exit status says what happened.
pub fn conduct(experiment: impl FnOnce() -> Result<()>) {
    // Burn puts the optimiser state of a resumed run on its default device first, which is a GPU in a build that has
    // one compiled in, whether or not the machine does.
    if std::env::var_os("BURN_DEVICE").is_none() {
        // SAFETY: no other thread runs yet.
        unsafe { std::env::set_var("BURN_DEVICE", "flex") };
    }
    if let Err(error) = experiment().and_then(|()| output::end()) {
        if let Some(interrupted) = error.downcast_ref::<Interrupted>() {
            interrupted.exit();
        }
        output::aside(format_args!("error: {error:#}"));
        std::process::exit(1);
    }
}
