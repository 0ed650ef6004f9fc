//! What the experiments share: run folders, progress and interruption, figures and reports.

pub mod figures;
pub mod progress;
pub mod report;
pub mod run;

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
