//! Code that every experiment uses.
//!
//! | file | what |
//! |---|---|
//! | [`flags`] | the command line that experiments share, and its help |
//! | [`settings`] | settings of a run: a file, overridden by flags |
//! | [`data`] | images, device and key of the settings |
//! | [`knob`] | imperfections of hardware that can be swept |
//! | [`memory`] | check of the memory of the machine |
//! | [`run`] | the folder of a run |
//! | [`session`] | one session of a run: begin, resume, interrupt |
//! | [`training`] | one training stage: progress bar, metrics, checkpoints |
//! | [`progress`] | progress bars and Ctrl-C |
//! | [`output`] | printing |

pub mod data;
pub mod flags;
pub mod knob;
pub mod memory;
pub mod output;
pub mod progress;
pub mod run;
pub mod session;
pub mod settings;
pub mod training;

pub use data::{Bench, Data, Dataset, SHARD, Source};
pub use flags::{DataFlags, RunFlags, parse, with_defaults};
pub use knob::Knob;
pub use memory::afford;
pub use progress::{Bar, Interrupted, bar, interrupted, shown};
pub use run::Run;
pub use session::Session;
pub use settings::{Settings, check_recipes, name, refuse_useless, set, version};
pub use training::{HeldOut, Metric, unlike};
