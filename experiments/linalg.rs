//! Linear algebra by thermal noise: matrix and force → machine → averages → answer with its error → report.

#[path = "linalg/arguments.rs"]
mod arguments;
#[path = "linalg/boards.rs"]
mod boards;
#[path = "linalg/report.rs"]
mod report;
#[path = "linalg/scaling.rs"]
mod scaling;
#[path = "linalg/summary.rs"]
mod summary;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use clap::Parser;
use faer::Mat;
use thermograd::CellArray;
use thermograd_experiments::say;
use thermograd_experiments::workbench::progress::catch_interrupts;
use thermograd_experiments::workbench::run::{self, Identity};
use thermograd_experiments::workbench::{Bar, Run, afford, bar, interrupted};
use thermograd_models::linear::answer::{Outcome, Search, answer};
use thermograd_models::linear::gaussian::{Process, samples};
use thermograd_models::linear::machine::{Device, Precision};
use thermograd_models::linear::matrices::normals;
use thermograd_models::linear::netlist::{self, Transient, Units};
use thermograd_models::linear::plan::{CHAINS, Until};
use thermograd_models::linear::problem::{Problem, Program, regression};

use crate::arguments::{Arguments, Common, Named, Settings, Task, digital, npy, read, vector};
use crate::report::Extra;
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
    if let Some(file) = &common.netlist {
        ensure!(
            file.extension().is_some_and(|extension| extension == "cir"),
            "--netlist: the file is named .cir"
        );
        run::try_place(file)?;
    }
    let device = match common.named()? {
        Named::Machine(device) => device,
        Named::Board(board) => {
            ensure!(
                matches!(arguments.task, None | Some(Task::Inverse { a: None })),
                "--device {}: a board has its own matrix, and what it computes is the inverse of that; `linalg inverse \
                 --device {0}`",
                common.device
            );
            let &Common { error, time, single, .. } = common;
            let idle =
                error.is_none() && time.is_none() && !single && common.precision() == Precision::default();
            ensure!(
                idle,
                "a board is simulated for a given time without imprecision: --error, --time, --single and those flags do nothing"
            );
            return boards::compare(common, &board);
        }
    };
    ensure!(common.band.is_none(), "--band: of the instrument of a board, and {} is none", common.device);
    ensure!(
        common.netlist.is_none() || matches!(arguments.task, Some(Task::Inverse { .. })),
        "--netlist: of `linalg inverse --device rlc`, and of boards"
    );
    catch_interrupts()?;
    let solve = Task::Solve { a: None, b: None };
    match arguments.task.as_ref().unwrap_or(&solve) {
        Task::Solve { a, b } => {
            let a = common.matrix(a.as_deref())?;
            let b = match b {
                Some(b) => vector(b)?,
                None => (0..a.nrows()).map(|i| (0..a.ncols()).map(|j| a[(i, j)]).sum()).collect(),
            };
            Job::new(common, device, "solve", "solution.npy", Problem::Solve { a: a.into(), b })
                .run(Extra::None)
        }
        Task::Inverse { a } => {
            let problem = Problem::Inverse { a: common.matrix(a.as_deref())?.into() };
            Job::new(common, device, "inverse", "inverse.npy", problem).run(Extra::None)
        }
        Task::Logdet { a, over } => {
            let a = common.matrix(a.as_deref())?.into();
            let over = over.as_deref().map(read).transpose()?.map(Into::into);
            Job::new(common, device, "logdet", "logdet.npy", Problem::LogDeterminant { a, over })
                .run(Extra::None)
        }
        Task::Expm { a, duration } => {
            let sign = if a.is_some() { 1.0 } else { -1.0 };
            let a = common.matrix(a.as_deref())? * faer::Scale(sign);
            let problem = Problem::Exponential { a: a.into(), time: *duration };
            Job::new(common, device, "expm", "exponential.npy", problem).run(Extra::None)
        }
        Task::Lyapunov { a, d } => {
            let a = common.matrix(a.as_deref())?;
            let d = match d {
                Some(d) => read(d)?,
                None => Mat::identity(a.nrows(), a.nrows()),
            };
            Job::new(
                common,
                device,
                "lyapunov",
                "covariance.npy",
                Problem::Lyapunov { a: a.into(), d: d.into() },
            )
            .run(Extra::None)
        }
        Task::Regress { x, y, noise, prior } => {
            let x = read(x)?;
            let n = x.ncols() as u128;
            afford(&format!("normal equations of {n} weights"), 60 * n * n)?;
            let problem = regression(&x, &vector(y)?, *noise, *prior)?;
            Job::new(common, device, "regress", "weights.npy", problem).run(Extra::None)
        }
        Task::Gp { points, amplitude, length, noise, grid } => {
            let process = Process { amplitude: *amplitude, length: *length, noise: *noise };
            let (x, y) = match points {
                Some(file) => {
                    let points = read(file)?;
                    ensure!(points.ncols() == 2, "{}: two columns are needed, x and y", file.display());
                    let column = |j: usize| (0..points.nrows()).map(|i| points[(i, j)]).collect::<Vec<f64>>();
                    (column(0), column(1))
                }
                None => example(common, *noise),
            };
            let n = *grid as u128;
            afford(&format!("a process on {n} points"), 60 * n * n)?;
            let (places, problem) = process.posterior(&x, &y, *grid)?;
            Job::new(common, device, "gp", "mean.npy", problem).run(Extra::Band { x, y, places })
        }
        Task::Sample { a, b, samples: count, spacing } => {
            let a = common.matrix(a.as_deref())?;
            let b = b.as_deref().map_or_else(|| Ok(vec![0.0; a.nrows()]), vector)?;
            sample(common, device, a, b, *count, *spacing)
        }
        Task::Scaling => scaling::measure(common),
    }
}

/// Values of a sine at random places with noise.
fn example(common: &Common, noise: f64) -> (Vec<f64>, Vec<f64>) {
    let key = common.key().fork("points");
    let numbers = normals(12, 2, key);
    let x: Vec<f64> = (0..12).map(|k| 6.0 * (k as f64 + 0.3 * numbers[(k, 0)]) / 11.0).collect();
    let y = x.iter().enumerate().map(|(k, x)| x.sin() + noise * numbers[(k, 1)]).collect();
    (x, y)
}

/// A task on a machine.
struct Job<'a> {
    common: &'a Common,
    device: Device,
    task: &'static str,
    /// The file of the answer.
    file: &'static str,
    problem: Problem,
}

impl<'a> Job<'a> {
    fn new(
        common: &'a Common,
        device: Device,
        task: &'static str,
        file: &'static str,
        problem: Problem,
    ) -> Self {
        Self { common, device, task, file, problem }
    }

    /// Asks the machine, compares with a digital solver, and writes and prints what came of it.
    fn run(self, extra: Extra) -> Result<()> {
        let Self { common, device, task, file, ref problem } = self;
        let key = common.key();
        let n = problem.matrix().nrows();
        self.afford(if task == "logdet" { 8 } else { 1 }, common.chains.unwrap_or(1))?;
        let program = problem.program(device, common.kt, &common.precision(), key.fork("machine"))?;
        let search = common.search(&program);
        self.afford(program.parts.len() / common.precision().machines(), search.chains)?;
        if let Some(file) = &common.netlist {
            self.netlist(file)?;
        }
        let run = folder(common, task, search.chains)?;
        self.announce(&program, &search);
        let since = Instant::now();
        let outcome = self.ask(&program, search)?;
        let seconds = since.elapsed().as_secs_f64();
        let answer = &outcome.answer;
        answer.check()?;
        match &outcome.hopeless {
            Some(reason) => {
                say!("the error that was asked for cannot be reached: {reason}; this is the answer so far")
            }
            None if !outcome.finished => say!("stopped: this is the answer so far"),
            None => {}
        }
        run::write(&run.path(file), &npy(&answer.mean))?;
        run::write(
            &run.path("standard-errors.npy"),
            &npy(&(&answer.error * faer::Scale(answer.widening()))),
        )?;
        if matches!(extra, Extra::Band { .. }) || task == "regress" {
            let deviations: Vec<f64> =
                answer.variance.iter().map(|variance| variance.max(0.0).sqrt()).collect();
            let deviations = Mat::from_fn(deviations.len(), 1, |i, _| deviations[i]);
            run::write(&run.path("deviations.npy"), &npy(&deviations))?;
        }
        // Only now is a digital solver asked.
        let truth = match common.blind || n > 2048 {
            true => None,
            false => problem.digital(&digital()).map_err(|error| say!("no digital answer: {error}")).ok(),
        };
        let summary =
            Summary::new(task, common, device, problem, &program, &search, &outcome, truth.as_ref(), seconds);
        run.write_json("summary.json", &summary)?;
        summary.print(answer);
        let page = report::page(
            common,
            device,
            problem,
            &program,
            &outcome,
            truth.as_ref(),
            &summary,
            &extra,
            &search,
        )?;
        run.write("report.html", page.as_bytes())?;
        say!("answer: {}", run.path(file).display());
        say!("report: {}", run.path("report.html").display());
        Ok(())
    }

    /// Refuses what does not fit into memory: matrices of the machines, and sums of every chain.
    fn afford(&self, machines: usize, chains: usize) -> Result<()> {
        let (n, machines, chains) = (self.problem.matrix().nrows() as u128, machines as u128, chains as u128);
        let (wide, sums) = match (&self.problem, self.device) {
            (Problem::Solve { .. }, Device::Rc) => (1, n),
            (Problem::Solve { .. }, _) => (2, n),
            (Problem::LogDeterminant { .. }, _) => (1, 1),
            (_, Device::Rc) => (1, n * n),
            _ => (2, n * n),
        };
        let wide = if self.common.bandwidth > 0.0 { wide + 1 } else { wide };
        let machines = machines * self.common.precision().machines() as u128;
        let matrix = 8 * (wide * n).pow(2);
        let what = format!("{chains} chains of {n} unknowns");
        afford(&what, machines * (4 * matrix + 8 * sums * chains) + 8 * n * chains * 40)
    }

    fn announce(&self, program: &Program, search: &Search) {
        let (n, slowest) = (self.problem.matrix().nrows(), program.slowest());
        let part = &program.parts[0];
        let condition = part.machine.system.fastest() * part.machine.slowest();
        say!(
            "{}: {n} unknowns on {}, fastest rate over slowest {condition:.3}; the slowest time constant is {slowest:.3e} = {:.3e} s",
            self.task,
            self.common.device,
            slowest * self.common.ohms * self.common.farads
        );
        let chosen = match (self.common.chains, program.chains(search.until)) {
            (Some(_), _) => "as asked for",
            (None, Some(_)) => "which by theory take the least time of the machine",
            (None, None) => "because theory does not tell how long this takes",
        };
        say!("{} chains, {chosen}", search.chains);
    }

    /// Runs the machine with a bar.
    fn ask(&self, program: &Program, search: Search) -> Result<Outcome> {
        let bar = bar(self.task, 1000);
        let outcome = answer(program, search, self.common.shards(), self.common.key(), |fraction, error| {
            if let Some(error) = error {
                bar.set_message(format!("error {error:.3}"));
            }
            advanced(&bar, fraction)
        });
        bar.end();
        let outcome = outcome?;
        if let (Until::Error(wanted), Some(planned)) = (search.until, outcome.planned) {
            say!(
                "by theory, an error of {wanted} takes {:.4e} time constants of averaging: {} chains of {:.3e} each",
                planned / program.slowest(),
                search.chains,
                planned / program.slowest() / search.chains as f64
            );
        }
        Ok(outcome)
    }

    fn netlist(&self, file: &Path) -> Result<()> {
        let Device::Rlc { inductance, resistance } = self.device else {
            bail!("--netlist: a netlist is written of the rlc device and of boards; add --device rlc");
        };
        let capacitance = self.problem.matrix().clone();
        let array = CellArray { capacitance, inductance, resistance, kt: self.common.kt };
        let system = array.dynamics()?;
        let (slowest, fastest) = (1.0 / system.rates()[0], system.fastest());
        let units = Units { farads: self.common.farads, ohms: self.common.ohms, ..Units::default() };
        let second = units.farads * units.ohms;
        let transient = Transient { dt: 0.1 * second / fastest, end: 500.0 * second * slowest };
        run::write(file, netlist::cells(&array, units, transient, &run::table_of(file)?)?.as_bytes())?;
        say!("netlist: {}, {:.1e} steps", file.display(), transient.end / transient.dt);
        Ok(())
    }
}

/// Moves a bar of a thousand steps, and goes on unless Ctrl-C was pressed.
fn advanced(bar: &Bar, fraction: f64) -> ControlFlow<()> {
    bar.set_position((1000.0 * fraction) as u64);
    if interrupted() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// Makes the run folder.
pub fn folder(common: &Common, task: &str, chains: usize) -> Result<Run> {
    let command = format!("linalg {task}");
    let settings = Settings {
        command: command.clone(),
        device: &common.device,
        seed: common.seed,
        chains,
        kt: common.kt,
        until: common.until(),
        precision: common.precision(),
    };
    let text = toml::to_string(&settings)?;
    let name = command.replace(' ', "-");
    Run::begin(Identity { command: name, continues: false }, common.out.as_deref(), &text)
}

/// Samples of a machine.
fn sample(
    common: &Common,
    device: Device,
    a: Mat<f64>,
    b: Vec<f64>,
    count: usize,
    spacing: f64,
) -> Result<()> {
    let n = b.len() as u128;
    afford(&format!("{count} samples of {n} numbers"), 16 * n * count as u128 + 80 * n * n)?;
    let precision = common.precision();
    ensure!(precision.dithers == 0, "--dithers: samples are of one machine");
    let (a, force) = (Arc::new(a), Arc::new(Mat::from_fn(b.len(), 1, |i, _| b[i])));
    let (held, pushed) =
        (precision.held(&a, 0, common.key().fork("A")), precision.held(&force, 0, common.key().fork("b")));
    let machine = device.programmed(held, pushed.col_as_slice(0).to_vec(), common.kt, &precision)?;
    let chains = common.chains.unwrap_or(CHAINS);
    let run = folder(common, "sample", chains)?;
    let bar = bar("sample", 1000);
    let all = samples(&machine, count, chains, spacing, common.shards(), common.key(), |fraction| {
        advanced(&bar, fraction)
    });
    bar.end();
    let all = all?;
    run::write(&run.path("samples.npy"), &npy(&all))?;
    let summary = summary::Sampled::new(common, &machine, &all, spacing, (&a, &b));
    run.write_json("summary.json", &summary)?;
    summary.print();
    run.write("report.html", report::sampled(common, &all, &summary)?.as_bytes())?;
    say!("samples: {}", run.path("samples.npy").display());
    say!("report: {}", run.path("report.html").display());
    Ok(())
}
