//! What every experiment is made with.
//!
//! | file | what |
//! |---|---|
//! | [`flags`] | the command line that experiments share, and its help |
//! | [`settings`] | settings of a run: a file, and flags on top |
//! | [`data`] | images, device and key that settings ask for |
//! | [`memory`] | what fits into the memory of the machine |
//! | [`run`] | the folder of a run |
//! | [`session`] | one session of a run: begun or resumed, and interrupted |
//! | [`training`] | one training of a session: bar, metrics, checkpoints |
//! | [`progress`] | bars, and Ctrl-C |
//! | [`output`] | what is printed |

pub mod data;
pub mod flags;
pub mod memory;
pub mod output;
pub mod progress;
pub mod run;
pub mod session;
pub mod settings;
pub mod training;

pub use data::{Bench, Data, Dataset, SHARD, Source};
pub use flags::{DataFlags, RunFlags, parse, with_defaults};
pub use memory::afford;
pub use progress::{Bar, Interrupted, bar, interrupted, shown};
pub use run::Run;
pub use session::Session;
pub use settings::{Settings, check_recipes, name, refuse_useless, set, version};
pub use training::{HeldOut, Metric};
