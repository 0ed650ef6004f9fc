//! Code that the experiments share: settings, run folders, sessions and reports.

pub mod report;
pub mod workbench;

use anyhow::Result;
use thermograd::ranks;

use crate::workbench::output;
use crate::workbench::progress::Interrupted;

/// This allocator keeps its pages, which pays because a training step allocates hundreds of states and frees them
/// together.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs an experiment that several processes may share. An error is printed in one line, and the exit status says what happened.
pub fn conduct(experiment: impl FnOnce() -> Result<()>) {
    // Burn first loads the optimiser state of a resumed run on its default device. In a build with a GPU backend this
    // is the GPU, whether or not the machine has one.
    if std::env::var_os("BURN_DEVICE").is_none() {
        // SAFETY: no other thread is running yet.
        unsafe { std::env::set_var("BURN_DEVICE", "flex") };
    }
    match experiment().and_then(|()| output::end()) {
        Ok(()) => ranks::end(),
        Err(error) => {
            if let Some(interrupted) = error.downcast_ref::<Interrupted>() {
                interrupted.exit();
            }
            // On any rank, which ends the others.
            output::complain(format_args!("error: {error:#}"));
            ranks::abort(1);
            std::process::exit(1);
        }
    }
}

/// Runs an experiment that is one process.
pub fn conduct_alone(experiment: impl FnOnce() -> Result<()>) {
    conduct(|| {
        ranks::refuse_several()?;
        experiment()
    });
}
