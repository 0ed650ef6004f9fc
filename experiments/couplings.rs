//! Inspect, convert, simulate and compress trained couplings, and test them on imperfect hardware.

#[path = "couplings/arguments.rs"]
mod arguments;
#[path = "couplings/convert.rs"]
mod convert;
#[path = "couplings/diff.rs"]
mod diff;
#[path = "couplings/inspect.rs"]
mod inspect;
#[path = "couplings/perturb.rs"]
mod perturb;
#[path = "couplings/reader.rs"]
mod reader;
#[path = "couplings/settings.rs"]
mod settings;
#[path = "couplings/simulate.rs"]
mod simulate;
#[path = "couplings/tune.rs"]
mod tune;

use crate::arguments::{Arguments, Task};

fn main() {
    thermograd_experiments::conduct(|| match Arguments::read().task {
        Task::Inspect(task) => inspect::inspect(&task),
        Task::Diff(task) => diff::diff(&task),
        Task::Convert(task) => convert::convert(&task),
        Task::Simulate(task) => simulate::simulate(&task),
        Task::Perturb(task) => perturb::perturb(&task),
        Task::Prune(task) => tune::prune(&task),
        Task::Tune(task) => tune::tune(&task),
        Task::Quantize(task) => tune::quantize(&task),
    });
}
