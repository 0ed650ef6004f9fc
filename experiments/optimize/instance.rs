//! Problems, as they are read or made, and what solutions of them are worth.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use burn::tensor::Device;
use rand::RngExt;
use thermograd::{Couplings, Hardware, Imperfection, Ising, Key, Scale, Schedule};
use thermograd_datasets::gap::Assignment;
use thermograd_datasets::gset::Graph;
use thermograd_datasets::text::{self, TextProblem};
use thermograd_datasets::tsplib::Cities;
use thermograd_experiments::workbench::run;
use thermograd_models::optimize::assignment::Assignments;
use thermograd_models::optimize::partition::Numbers;
use thermograd_models::optimize::tour::Tours;

use crate::arguments::{Arguments, Common, Problem};

/// A problem.
pub struct Instance {
    /// Where it is from.
    from: String,
    /// What it is.
    pub kind: Kind,
    /// The best objective that is known.
    pub optimum: Option<f64>,
}

/// The kinds of problems.
pub enum Kind {
    /// The largest cut.
    Cut(Graph),
    /// The lowest energy.
    Form(Ising),
    /// The shortest tour.
    Tour(Cities, Tours),
    /// The best assignment.
    Assignment(Assignment, Assignments, bool),
    /// The smallest difference.
    Partition(Numbers),
}

/// A solution, as the problem has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Solution {
    /// ±1 of every spin, node or number.
    Spins(Vec<i8>),
    /// Cities in turn.
    Tour(Vec<usize>),
    /// The agent of every job.
    Agents(Vec<usize>),
}

/// What a solution is worth, recomputed from the problem as it was read.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Worth {
    /// The objective.
    pub objective: f64,
    /// By how much constraints are broken.
    pub violations: i64,
}

impl Instance {
    /// The problem of a command line.
    pub fn of(arguments: &Arguments) -> Result<Self> {
        let common = &arguments.common;
        let key = common.key().fork("instance");
        let given = |file: &Path| file.display().to_string();
        let made = |what: &str| format!("{what}, seed {}", common.seed);
        let usual = Problem::Tour { file: None, random: 60 };
        let (from, kind) = match arguments.problem.as_ref().unwrap_or(&usual) {
            Problem::Maxcut { file: Some(file) } => {
                (given(file), Kind::Cut(text::read(file, Graph::decode)?))
            }
            Problem::Maxcut { file: None } => (made("a random graph"), Kind::Cut(graph(200, key))),
            Problem::Qubo { file: Some(file) } => (given(file), Kind::Form(form(file)?)),
            Problem::Qubo { file: None } => (made("a random model"), Kind::Form(glass(100, key))),
            Problem::Tour { file: Some(file), .. } => {
                let cities = text::read(file, Cities::decode)?;
                let tours = Tours::new(&cities.distances)?;
                (given(file), Kind::Tour(cities, tours))
            }
            &Problem::Tour { file: None, random } => {
                let cities = places(random, key)?;
                let tours = Tours::new(&cities.distances)?;
                (made("random cities"), Kind::Tour(cities, tours))
            }
            Problem::Assign { file, agents, jobs, problem, maximise } => {
                let (from, all) = match file {
                    Some(file) => (given(file), text::read(file, Assignment::decode)?),
                    None => (made("random jobs"), vec![work(*agents, *jobs, key)?]),
                };
                let count = all.len();
                let one = problem.checked_sub(1).and_then(|index| all.into_iter().nth(index));
                let one = one.with_context(|| format!("--problem {problem}: there are 1 to {count}"))?;
                if let Some(reason) = one.infeasible() {
                    bail!("{from}: no assignment is feasible: {reason}");
                }
                let moves = Assignments::new(&one.costs, &one.takes, &one.capacities, *maximise)?;
                (from, Kind::Assignment(one, moves, *maximise))
            }
            Problem::Partition { file: Some(file), .. } => {
                let numbers = text::read(file, |text| {
                    let number = |(line, word): (usize, &str)| {
                        let positive = word.parse::<i64>().ok().filter(|number| *number > 0);
                        let reason = || format!("`{word}` is no positive whole number of 63 bits");
                        positive.ok_or_else(|| TextProblem::Line { line, reason: reason() })
                    };
                    text::words(text).map(number).collect::<Result<Vec<i64>, _>>()
                })?;
                (given(file), Kind::Partition(Numbers::new(numbers).with_context(|| given(file))?))
            }
            &Problem::Partition { file: None, random, bits } => {
                ensure!((2..=1_000_000).contains(&random), "--random {random}: 2 to 1000000 are possible");
                ensure!((1..=50).contains(&bits), "--bits {bits}: 1 to 50 are possible");
                let mut rng = key.rng();
                let numbers = (0..random).map(|_| rng.random_range(1..=(1_i64 << bits) - 1)).collect();
                (made("random numbers"), Kind::Partition(Numbers::new(numbers)?))
            }
        };
        let mut instance = Self { from, kind, optimum: common.optimum };
        if let (Some(Problem::Tour { file: Some(file), .. }), None) = (&arguments.problem, common.optimum) {
            instance.beside(file)?;
        }
        Ok(instance)
    }

    /// The optimum of a tour beside a problem.
    fn beside(&mut self, file: &Path) -> Result<()> {
        let (tour, Kind::Tour(cities, _)) = (file.with_extension("opt.tour"), &self.kind) else {
            return Ok(());
        };
        if tour.exists() {
            let tour = text::read(&tour, |text| Cities::decode_tour(text, cities.count()))?;
            self.optimum = Some(cities.length(&tour) as f64);
        }
        Ok(())
    }

    /// Its name on the command line.
    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::Cut(_) => "maxcut",
            Kind::Form(_) => "qubo",
            Kind::Tour(..) => "tour",
            Kind::Assignment(..) => "assign",
            Kind::Partition(_) => "partition",
        }
    }

    /// It in a few words.
    pub fn described(&self) -> String {
        let from = &self.from;
        match &self.kind {
            Kind::Cut(graph) => format!("{from}: {} nodes, {} edges", graph.nodes, graph.edges.len()),
            Kind::Form(model) => {
                format!("{from}: {} spins, {} couplings", model.fields.len(), model.couplings.len())
            }
            Kind::Tour(cities, _) => format!("{from}: {} cities", cities.count()),
            Kind::Assignment(one, ..) => format!("{from}: {} agents, {} jobs", one.agents, one.jobs),
            Kind::Partition(numbers) => {
                let (count, bits) = (numbers.all().len(), numbers.bits());
                format!(
                    "{from}: {count} numbers of {bits} bits, {:.2} bits a number",
                    f64::from(bits) / count as f64
                )
            }
        }
    }

    /// What its objective is.
    pub fn objective(&self) -> &'static str {
        match self.kind {
            Kind::Cut(_) => "cut",
            Kind::Form(_) => "energy",
            Kind::Tour(..) => "length",
            Kind::Assignment(_, _, false) => "cost",
            Kind::Assignment(_, _, true) => "profit",
            Kind::Partition(_) => "difference",
        }
    }

    /// Whether a larger objective is better.
    pub fn rises(&self) -> bool {
        matches!(self.kind, Kind::Cut(_) | Kind::Assignment(_, _, true))
    }

    /// What sums of a spin model may be rounded by: nothing where all numbers are whole and double precision holds their sums.
    fn rounding(&self) -> f64 {
        let Kind::Form(model) = &self.kind else { return 0.0 };
        let numbers =
            || model.fields.iter().chain(model.couplings.iter().map(|(_, j)| j)).chain([&model.offset]);
        // A binary form of whole numbers has quarters of them here.
        let whole = numbers().all(|x| (4.0 * x).fract() == 0.0);
        let sum: f64 = numbers().map(|x| x.abs()).sum();
        if whole && sum < 1e15 { 0.0 } else { 1e-12 * sum }
    }

    /// Whether an objective is as good as another: exactly, but for energies of spin models that are rounded.
    pub fn reaches(&self, objective: f64, wanted: f64) -> bool {
        let margin = self.rounding();
        if self.rises() { objective >= wanted - margin } else { objective <= wanted + margin }
    }

    /// How far an objective is from the optimum, as a part of it, or as it is where that is zero.
    pub fn gap(&self, objective: f64) -> Option<f64> {
        let optimum = self.optimum?;
        let off = if self.rises() { optimum - objective } else { objective - optimum };
        Some(if optimum == 0.0 { off } else { off / optimum.abs() })
    }

    /// The objective of a solver's energy.
    pub fn of_energy(&self, energy: f64) -> f64 {
        match &self.kind {
            // A cut is half of all weights less half of the energy.
            Kind::Cut(graph) => 0.5 * (graph.edges.iter().map(|(_, w)| *w).sum::<i64>() as f64 - energy),
            Kind::Assignment(_, _, true) => -energy,
            Kind::Form(model) => energy + model.offset,
            _ => energy,
        }
    }

    /// What a solution is worth: in whole numbers, where the problem is.
    pub fn worth(&self, solution: &Solution) -> Worth {
        let fair = |objective: f64| Worth { objective, violations: 0 };
        match (&self.kind, solution) {
            (Kind::Cut(graph), Solution::Spins(spins)) => {
                fair(graph.cut(&spins.iter().map(|s| *s > 0).collect::<Vec<_>>()) as f64)
            }
            (Kind::Form(model), Solution::Spins(spins)) => fair(model.energy(spins)),
            (Kind::Partition(numbers), Solution::Spins(spins)) => fair(numbers.difference(spins) as f64),
            (Kind::Tour(cities, _), Solution::Tour(tour)) => {
                let mut seen = vec![0_i64; cities.count()];
                tour.iter().for_each(|&city| seen[city] += 1);
                let violations = seen.iter().map(|times| (times - 1).abs()).sum();
                Worth { objective: cities.length(tour) as f64, violations }
            }
            (Kind::Assignment(one, ..), Solution::Agents(agents)) => {
                let (cost, loads) = one.judge(agents);
                let over = loads.iter().zip(&one.capacities).map(|(load, capacity)| (load - capacity).max(0));
                Worth { objective: cost as f64, violations: over.sum() }
            }
            _ => Worth { objective: f64::NAN, violations: i64::MAX },
        }
    }

    /// The problem as a spin model.
    pub fn model(&self, penalty: f64) -> Result<Ising> {
        match &self.kind {
            Kind::Cut(graph) => {
                let couplings = graph.edges.iter().map(|&(pair, weight)| (pair, weight as f64)).collect();
                Ok(Ising { fields: vec![0.0; graph.nodes], couplings, offset: 0.0 })
            }
            Kind::Form(model) => Ok(model.clone()),
            Kind::Tour(_, tours) => Ok(tours.ising(penalty)?),
            Kind::Partition(numbers) => {
                let all = numbers.all();
                ensure!(all.len() <= 4000, "{} numbers: the couplings of up to 4000 are written", all.len());
                let sum = all.iter().map(|&a| i128::from(a)).sum::<i128>();
                ensure!(
                    sum < 1 << 26,
                    "the numbers add up to {sum}: the energy of couplings is the squared difference, which is exact in double \
                     precision for sums below 2^26 = {}",
                    1 << 26
                );
                let pairs = (0..all.len()).flat_map(|i| (0..i).map(move |j| [j, i]));
                let couplings =
                    pairs.map(|pair| (pair, 2.0 * all[pair[0]] as f64 * all[pair[1]] as f64)).collect();
                let offset = all.iter().map(|&a| (a as f64).powi(2)).sum();
                Ok(Ising { fields: vec![0.0; all.len()], couplings, offset })
            }
            Kind::Assignment(..) => bail!(
                "an assignment needs spins for what is left of every capacity, and is hardly ever feasible so: it is not written as a \
                 spin model"
            ),
        }
    }

    /// The file of a solution in the problem's own format.
    pub fn file(&self, solution: &Solution) -> Result<(&'static str, String)> {
        Ok(match (&self.kind, solution) {
            (Kind::Tour(cities, _), Solution::Tour(tour)) => ("solution.tour", cities.encode_tour(tour)),
            (_, Solution::Spins(spins)) => ("solution.json", serde_json::to_string(spins)? + "\n"),
            (_, Solution::Agents(agents)) => {
                let counted: Vec<usize> = agents.iter().map(|agent| agent + 1).collect();
                ("solution.json", serde_json::to_string(&counted)? + "\n")
            }
            (_, Solution::Tour(tour)) => ("solution.json", serde_json::to_string(tour)? + "\n"),
        })
    }
}

/// The model as imprecise hardware has it.
pub fn held(model: &Ising, common: &Common) -> Result<Ising> {
    let all = [
        common.coupling_bits.map(|bits| Imperfection::Quantised { bits, scale: Scale::default() }),
        common.mismatch.map(|sd| Imperfection::Mismatch { sd }),
        common.fan_in.map(|limit| Imperfection::FanIn { limit }),
    ];
    if all.iter().all(Option::is_none) {
        return Ok(model.clone());
    }
    let couplings = model.couplings()?;
    let mut device = Hardware::ideal(couplings.substrate(&Device::flex())?);
    for (index, imperfection) in all.into_iter().enumerate() {
        if let Some(imperfection) = imperfection {
            device = device.with(imperfection, common.key().fork("device").at(index as u64))?;
        }
    }
    let schedule = Schedule { dt: 1e-3, steps: 1 };
    Ok(Ising::of(&Couplings::of(&device.substrate, schedule, None))?)
}

fn form(file: &Path) -> Result<Ising> {
    let model = run::load_spins(file)?;
    ensure!(!model.fields.is_empty(), "{}: there are no spins", file.display());
    Ok(model)
}

fn graph(nodes: usize, key: Key) -> Graph {
    let mut rng = key.rng();
    let mut edges = Vec::new();
    for j in 0..nodes {
        for i in 0..j {
            if rng.random_bool(0.05) {
                edges.push(([i, j], if rng.random() { 1 } else { -1 }));
            }
        }
    }
    Graph { nodes, edges }
}

fn glass(spins: usize, key: Key) -> Ising {
    let mut rng = key.rng();
    let mut couplings = Vec::new();
    for j in 0..spins {
        for i in 0..j {
            couplings.push(([i, j], f64::from(rng.random_range(-100_i32..=100))));
        }
    }
    let fields = (0..spins).map(|_| f64::from(rng.random_range(-100_i32..=100))).collect();
    Ising { fields, couplings, offset: 0.0 }
}

fn places(count: usize, key: Key) -> Result<Cities> {
    ensure!((3..=5000).contains(&count), "--random {count}: 3 to 5000 cities are possible");
    let mut rng = key.rng();
    let mut coordinate = || (1000.0 * rng.random::<f64>()).round();
    let places = (0..count).map(|_| [coordinate(), coordinate()]).collect();
    Ok(Cities::on_plane(&format!("random{count}"), places)?)
}

fn work(agents: usize, jobs: usize, key: Key) -> Result<Assignment> {
    ensure!((1..=1000).contains(&agents), "--agents {agents}: 1 to 1000 are possible");
    ensure!((1..=10_000).contains(&jobs), "--jobs {jobs}: 1 to 10000 are possible");
    let mut rng = key.rng();
    let mut numbers = |low: i64, high: i64| -> Vec<i64> {
        (0..agents * jobs).map(|_| rng.random_range(low..=high)).collect()
    };
    let (costs, takes) = (numbers(10, 50), numbers(5, 25));
    let all: i64 = takes.iter().sum();
    let capacity = (0.8 * all as f64 / (agents * agents) as f64).ceil() as i64;
    Ok(Assignment { agents, jobs, costs, takes, capacities: vec![capacity; agents] })
}
