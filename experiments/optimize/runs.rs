//! Independent runs on all cores.

use std::ops::ControlFlow;
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Result, ensure};
use burn::tensor::Device;
use thermograd::{Ising, Key, Landscape, Metropolis};
use thermograd_experiments::say;
use thermograd_experiments::workbench::{bar, interrupted};
use thermograd_models::optimize::langevin::{Cooled, Course};
use thermograd_models::optimize::moves::{Moves, Walk};
use thermograd_models::optimize::search::{Found, Look, Method, search};
use thermograd_models::optimize::spins;

use crate::arguments::{Common, Solver};
use crate::instance::{Instance, Kind, Solution, Worth, held};

/// What one run did.
pub struct Done {
    /// Its best solution, if it found one that counts.
    pub solution: Option<Solution>,
    /// What that is worth, or else what comes nearest to a solution.
    pub worth: Option<Worth>,
    /// The best before descent, of langevin.
    pub raw: Option<f64>,
    /// Seconds on its thread.
    pub seconds: f64,
    /// Sweeps or steps of every chain.
    pub sweeps: usize,
    /// Moves proposed, in all chains.
    pub attempted: f64,
    /// Moves made, in all chains; units of langevin move all the time.
    pub accepted: Option<u64>,
    /// Its course.
    pub looks: Vec<Look>,
    /// Exchanges between rungs that were accepted.
    pub acceptance: Vec<f64>,
    /// Inverse temperatures.
    pub betas: Vec<f64>,
    /// Replicas that went up and down the ladder.
    pub round_trips: u64,
    /// Paths of langevin units.
    pub path: Vec<(f64, Vec<f64>)>,
}

/// The run with the best solution that breaks no constraint.
pub fn best<'a>(instance: &Instance, all: &'a [Done]) -> Option<&'a Done> {
    let feasible = all.iter().filter(|done| done.objective().is_some());
    feasible.reduce(|a, b| match (a.objective(), b.objective()) {
        (Some(own), Some(other)) if !instance.reaches(own, other) => b,
        _ => a,
    })
}

impl Done {
    /// The objective of its solution, if that breaks no constraint.
    pub fn objective(&self) -> Option<f64> {
        self.worth.filter(|worth| worth.violations == 0).map(|worth| worth.objective)
    }
}

/// What is told while runs are made.
struct Progress<'a> {
    instance: &'a Instance,
    common: &'a Common,
    bar: Mutex<thermograd_experiments::workbench::Bar>,
    state: Mutex<(Vec<f64>, Option<f64>)>,
}

impl Progress<'_> {
    /// The part of a run that is done, and its best objective; breaks when it is enough.
    fn tell(&self, run: usize, part: f64, objective: Option<f64>) -> ControlFlow<()> {
        let reached =
            |target: f64| objective.is_some_and(|objective| self.instance.reaches(objective, target));
        let enough = self.common.target.is_some_and(reached);
        let Ok(mut state) = self.state.lock() else { return ControlFlow::Break(()) };
        state.0[run] = if enough { 1.0 } else { part.min(1.0) };
        let better = match (objective, state.1) {
            (Some(new), Some(old)) => !self.instance.reaches(old, new),
            (Some(_), None) => true,
            _ => false,
        };
        if better {
            state.1 = objective;
        }
        if let Ok(bar) = self.bar.lock() {
            if let (true, Some(objective)) = (better, objective) {
                bar.set_message(format!("best {} {objective}", self.instance.objective()));
            }
            let done = state.0.iter().sum::<f64>() / state.0.len() as f64;
            bar.set_position((1000.0 * done) as u64);
        }
        if enough || interrupted() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// The spin model that the solver has, if it solves one; refuses flags that the problem or the solver has no use for.
pub fn check(instance: &Instance, common: &Common) -> Result<Option<Ising>> {
    let imprecise = common.coupling_bits.is_some() || common.mismatch.is_some() || common.fan_in.is_some();
    let spins = matches!(instance.kind, Kind::Cut(_) | Kind::Form(_));
    if !spins {
        ensure!(!imprecise, "--coupling-bits, --mismatch and --fan-in: of the couplings of maxcut and qubo");
        ensure!(
            common.solver != Solver::Langevin,
            "--solver langevin: of spins, as maxcut and qubo have them"
        );
        ensure!(!common.clusters, "--clusters: of spins, as maxcut and qubo have them");
    }
    ensure!(
        !(imprecise && common.target.is_some()),
        "--target: a solver of imprecise couplings does not know the true objective; give --seconds or --sweeps"
    );
    ensure!(
        common.temperature.is_none() || common.solver != Solver::Langevin,
        "--temperature: of tempering and annealing"
    );
    ensure!(
        !(common.clusters && common.solver != Solver::Tempering),
        "--clusters: of replicas at the same temperature, which only tempering has"
    );
    ensure!(common.fan_in != Some(0), "--fan-in 0: at least one coupling a spin is needed");
    ensure!(
        instance.optimum.is_some() || common.within == 1.0,
        "--within {}: of an optimum that is known; give it with --optimum",
        common.within
    );
    if let Some(optimum) = instance.optimum {
        let wanted = common.within * optimum;
        ensure!(
            instance.reaches(optimum, wanted),
            "--within {}: {wanted} would be better than the optimum {optimum}",
            common.within
        );
    }
    let model = spins.then(|| held(&instance.model(1.0)?, common)).transpose()?;
    if let Some(scale) = model.as_ref().map(spins::scale) {
        ensure!(
            scale == 0.0 || (1e-30..1e30).contains(&scale),
            "fields of spins are about {scale:.1e}: 1e-30 to 1e30 are possible; multiply all numbers by one that helps"
        );
    }
    Ok(model)
}

/// All runs of a command line, in the order of their numbers.
pub fn all(instance: &Instance, common: &Common, model: Option<&Ising>) -> Result<Vec<Done>> {
    let progress = Progress {
        instance,
        common,
        bar: Mutex::new(bar(instance.name(), 1000)),
        state: Mutex::new((vec![0.0; common.runs], None)),
    };
    let done = common.shards().map(common.runs, |range| {
        let run = range.start;
        let key = common.key().fork("run").at(run as u64);
        if interrupted() {
            return Ok(None);
        }
        one(instance, common, model, &progress, run, key).map(Some)
    });
    if let Ok(bar) = progress.bar.lock() {
        bar.end();
    }
    let done: Vec<Done> = done.into_iter().collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
    if interrupted() {
        say!("stopped: this is the best so far, of {} runs", done.len());
    }
    ensure!(!done.is_empty(), "stopped before anything was found");
    Ok(done)
}

fn one(
    instance: &Instance,
    common: &Common,
    model: Option<&Ising>,
    progress: &Progress,
    run: usize,
    key: Key,
) -> Result<Done> {
    let tempering = common.solver == Solver::Tempering;
    let factor = 1.0 / common.temperature.unwrap_or(1.0);
    let scaled = |betas: [f64; 2]| betas.map(|beta| beta * factor);
    let task = Task { instance, common, progress, run, key };
    match (&instance.kind, model) {
        (Kind::Cut(_) | Kind::Form(_), Some(model)) => {
            if common.solver == Solver::Langevin {
                return cooled(&task, model);
            }
            let graph = spins::graph(model)?;
            let betas = if tempering { spins::tempered(model) } else { spins::annealed(model) };
            let landscape = Metropolis(&graph);
            task.searched(&landscape, scaled(betas), 32, graph.len(), 1, |chains, chain| {
                let spins = chains.chain(&graph, chain);
                let energy = model.energy(&spins) - model.offset;
                (Solution::Spins(spins), Some(energy))
            })
        }
        (Kind::Tour(_, tours), _) => {
            let wide = |order: &Vec<u32>| order.iter().map(|&city| city as usize).collect();
            task.searched(&Walk(tours), scaled(tours.betas()), 8, tours.count(), 2, |all, chain| {
                let order = &all.states[chain];
                (Solution::Tour(wide(order)), Some(tours.energy(order)))
            })
        }
        (Kind::Assignment(_, moves, _), _) => {
            task.searched(&Walk(moves), scaled(moves.betas()), 8, moves.jobs(), 2, |all, chain| {
                let state = &all.states[chain];
                let agents = state.agents.iter().map(|&agent| agent as usize).collect();
                (Solution::Agents(agents), moves.is_feasible(state).then(|| moves.energy(state)))
            })
        }
        (Kind::Partition(numbers), _) => task.searched(
            &Walk(numbers),
            scaled(numbers.betas()),
            32,
            numbers.all().len(),
            2,
            |all, chain| {
                let sides = all.states[chain].sides.clone();
                let difference = numbers.difference(&sides) as f64;
                (Solution::Spins(sides), Some(difference))
            },
        ),
        (Kind::Cut(_) | Kind::Form(_), None) => unreachable!("spins have a model"),
    }
}

/// One run.
struct Task<'a> {
    instance: &'a Instance,
    common: &'a Common,
    progress: &'a Progress<'a>,
    run: usize,
    key: Key,
}

impl Task<'_> {
    /// By tempering or annealing: `moves` proposals a unit and sweep.
    fn searched<L: Landscape>(
        &self,
        landscape: &L,
        betas: [f64; 2],
        replicas: usize,
        units: usize,
        moves: usize,
        state: impl Fn(&L::Chains, usize) -> (Solution, Option<f64>),
    ) -> Result<Done> {
        let Self { instance, common, progress, run, key } = *self;
        let replicas = common.replicas.unwrap_or(replicas);
        let method = match common.solver {
            Solver::Annealing => Method::Annealing { chains: replicas, sweeps: common.cooling() },
            _ => Method::Tempering { replicas, clusters: common.clusters },
        };
        let (since, limit) = (Instant::now(), common.limit());
        let sweeps = common.sweeps.unwrap_or(4_000_000_000);
        let watch = |look: &Look| {
            let objective = look.best.is_finite().then(|| instance.of_energy(look.best));
            let seconds = since.elapsed().as_secs_f64();
            let part = limit.map_or(0.0, |limit| seconds / limit).max(look.sweeps as f64 / sweeps as f64);
            let told = progress.tell(run, part, objective);
            if limit.is_some_and(|limit| seconds >= limit) { ControlFlow::Break(()) } else { told }
        };
        let found: Found<Solution> =
            search(landscape, method, betas, (units * moves, sweeps), key, state, watch)?;
        let worth = found.best.as_ref().or(found.nearest.as_ref()).map(|state| instance.worth(state));
        Ok(Done {
            worth,
            solution: found.best,
            raw: None,
            seconds: since.elapsed().as_secs_f64(),
            sweeps: found.sweeps,
            attempted: (units * moves) as f64 * found.sweeps as f64 * method.chains() as f64,
            accepted: Some(found.moves),
            looks: found.looks,
            acceptance: found.acceptance,
            betas: found.betas,
            round_trips: found.round_trips,
            path: Vec::new(),
        })
    }
}

/// By units that are cooled, again and again while there is time.
fn cooled(task: &Task, model: &Ising) -> Result<Done> {
    let Task { instance, common, progress, run, key } = *task;
    let (since, limit) = (Instant::now(), common.limit());
    let replicas = common.replicas.unwrap_or(16);
    let most = common.sweeps.unwrap_or(usize::MAX);
    let (mut best, mut raw): (Option<(f64, Solution)>, Option<f64>) = (None, None);
    let (mut looks, mut path, mut steps, mut round) = (Vec::new(), Vec::new(), 0, 0);
    while steps == 0 || (steps < most && limit.is_none_or(|limit| since.elapsed().as_secs_f64() < limit)) {
        let cooling = Cooled::new(model, common.cooling().min(most - steps), key.at(round), &Device::flex())?;
        let begun = steps as f64;
        let told = |part: f64| {
            let made = begun + part * common.cooling() as f64;
            let time = limit.map_or(0.0, |limit| since.elapsed().as_secs_f64() / limit);
            let objective = best.as_ref().map(|best| best.0);
            let told = progress.tell(run, time.max(made / most as f64), objective);
            // The first course is made to its end, whatever the time.
            if begun > 0.0 && time >= 1.0 { ControlFlow::Break(()) } else { told }
        };
        let wanted = common.cooling().min(most - steps);
        let Course { spins, path: course, steps: made } = cooling.cool(replicas, told)?;
        steps += made;
        round += 1;
        if path.is_empty() {
            path = course;
        }
        for mut spins in spins {
            let worth = |spins: &Vec<i8>| instance.worth(&Solution::Spins(spins.clone())).objective;
            let signs = worth(&spins);
            if raw.is_none_or(|raw| !instance.reaches(raw, signs)) {
                raw = Some(signs);
            }
            spins::descend(model, &mut spins);
            let objective = worth(&spins);
            if best.as_ref().is_none_or(|best| !instance.reaches(best.0, objective)) {
                best = Some((objective, Solution::Spins(spins)));
            }
        }
        let energies = Vec::new();
        looks.push(Look {
            sweeps: steps,
            best: best.as_ref().map_or(f64::INFINITY, |best| best.0),
            energies,
        });
        if made < wanted {
            break;
        }
    }
    let solution = best.map(|best| best.1);
    Ok(Done {
        worth: solution.as_ref().map(|solution| instance.worth(solution)),
        solution,
        raw,
        seconds: since.elapsed().as_secs_f64(),
        sweeps: steps,
        attempted: (steps * replicas * model.fields.len()) as f64,
        accepted: None,
        looks,
        acceptance: Vec::new(),
        betas: Vec::new(),
        round_trips: 0,
        path,
    })
}
