//! Networks of heat: one that reads images, one that tells exclusive or, and twins of real houses.
//!
//! read: image → warm and cold reservoirs → hidden nodes → the hottest output → loss → gradient → conductances → report.
//! twin: table → likelihood → fit → errors and whiteness → forecast → schedule → report.

#[path = "thermal/arguments.rs"]
mod arguments;
#[path = "thermal/read.rs"]
mod read;
#[path = "thermal/reading.rs"]
mod reading;
#[path = "thermal/settings.rs"]
mod settings;
#[path = "thermal/twin.rs"]
mod twin;
#[path = "thermal/twinning.rs"]
mod twinning;
#[path = "thermal/xor.rs"]
mod xor;

use crate::arguments::{Arguments, Task};

fn main() {
    thermograd_experiments::conduct_alone(|| match Arguments::read().task {
        Task::Read(task) => read::train(&task),
        Task::Xor(task) => xor::train(&task),
        Task::Twin(task) => twin::fit(&task),
    });
}
