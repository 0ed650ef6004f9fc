//! What the experiments share: run folders, progress and interruption, figures and reports.

pub mod figures;
pub mod progress;
pub mod report;
pub mod run;

/// Keeps its pages: a training step stores hundreds of states and frees them together.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
