//! Hard problems solved by thermal noise: file → landscape → runs → the best solution, judged from the file → report.

#[path = "optimize/arguments.rs"]
mod arguments;
#[path = "optimize/instance.rs"]
mod instance;
#[path = "optimize/report.rs"]
mod report;
#[path = "optimize/runs.rs"]
mod runs;
#[path = "optimize/summary.rs"]
mod summary;

use anyhow::{Result, bail, ensure};
use clap::Parser;
use thermograd::Format;
use thermograd_experiments::say;
use thermograd_experiments::workbench::Run;
use thermograd_experiments::workbench::progress::catch_interrupts;
use thermograd_experiments::workbench::run::{self, Identity};

use crate::arguments::Arguments;
use crate::instance::Instance;
use crate::summary::Summary;

fn main() {
    thermograd_experiments::conduct_alone(|| begin(&Arguments::parse()));
}

fn begin(arguments: &Arguments) -> Result<()> {
    let common = &arguments.common;
    common.check()?;
    if let Some(out) = &common.out {
        Run::check_free(out)?;
    }
    let instance = Instance::of(arguments)?;
    let model = runs::check(&instance, common)?;
    let exported = match &common.export {
        Some(file) => {
            ensure!(!file.exists(), "{} is there already; choose another --export", file.display());
            let inside = common.out.as_ref().is_some_and(|out| file.starts_with(out));
            ensure!(!inside, "--export {}: choose a place outside of --out", file.display());
            match Format::of_name(&file.to_string_lossy())?.holds_spins_alone() {
                true => run::try_place(file)?,
                false => run::check_export(file, false)?,
            }
            Some((file, instance.model(common.penalty)?))
        }
        None => None,
    };
    catch_interrupts()?;
    let identity = Identity { command: format!("optimize-{}", instance.name()), continues: false };
    let folder = Run::begin(identity, common.out.as_deref(), &toml::to_string(&common.settings(&instance))?)?;
    if let Some((file, model)) = exported {
        run::save_spins(file, &model)?;
        say!("couplings: {}", file.display());
    }
    say!("{}: {}", instance.name(), instance.described());
    let all = runs::all(&instance, common, model.as_ref())?;
    let summary = Summary::new(&instance, common, &all);
    folder.write_json("summary.json", &summary)?;
    summary.print();
    if let Some(best) = runs::best(&instance, &all).and_then(|done| done.solution.as_ref()) {
        let (name, text) = instance.file(best)?;
        folder.write(name, text.as_bytes())?;
        say!("solution: {}", folder.path(name).display());
    }
    folder.write("report.html", report::page(&instance, common, &all, &summary)?.as_bytes())?;
    say!("report: {}", folder.path("report.html").display());
    if let Some(violations) = summary.nearest() {
        bail!(
            "no run kept all constraints; the lowest state that was seen breaks them by {violations}: more --seconds or --runs may find one \
             that keeps them, if there is one"
        );
    }
    Ok(())
}
