//! Take trained couplings away: look at them, convert them, run them, and see what hardware makes of them.

#[path = "couplings/arguments.rs"]
mod arguments;
#[path = "couplings/convert.rs"]
mod convert;
#[path = "couplings/inspect.rs"]
mod inspect;
#[path = "couplings/perturb.rs"]
mod perturb;
#[path = "couplings/simulate.rs"]
mod simulate;
#[path = "couplings/tune.rs"]
mod tune;

use std::ops::ControlFlow;
use std::process::ExitCode;

use clap::Parser;

use crate::arguments::{Arguments, Task};

fn main() -> ExitCode {
    // What is printed is often read by another program, which may close its end early.
    #[cfg(unix)]
    // SAFETY: no other thread runs yet.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
    let Arguments { task } = Arguments::parse();
    let done = |result: anyhow::Result<()>| result.map(|()| ControlFlow::Continue(()));
    if let Err(error) = thermograd_experiments::begin() {
        thermograd_experiments::end(Err(error));
    }
    let outcome = match task {
        Task::Inspect(task) => done(inspect::inspect(&task)),
        Task::Diff(task) => match inspect::diff(&task) {
            // As diff does.
            Ok(false) => return ExitCode::from(1),
            outcome => done(outcome.map(|_| ())),
        },
        Task::Convert(task) => done(convert::convert(&task)),
        Task::Simulate(task) => done(simulate::simulate(&task)),
        Task::Perturb(task) => perturb::perturb(&task),
        Task::Prune(task) => tune::prune(&task),
        Task::Tune(task) => tune::tune(&task),
        Task::Quantize(task) => tune::quantize(&task),
    };
    thermograd_experiments::end(outcome);
    ExitCode::SUCCESS
}
