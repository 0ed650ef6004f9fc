//! Hard problems: rules and colours against enumeration (the sampling by them is tested beside the spins), energies against their
//! definition, solutions against exact ones.

use std::ops::ControlFlow;

use rand::RngExt;
use thermograd::{Ising, Key, Ladder, Landscape, Metropolis, Tempering, run};
use thermograd_models::optimize::assignment::Assignments;
use thermograd_models::optimize::langevin::Cooled;
use thermograd_models::optimize::moves::{Moves, Walk};
use thermograd_models::optimize::partition::Numbers;
use thermograd_models::optimize::search::{Found, Method, search};
use thermograd_models::optimize::spins;
use thermograd_models::optimize::tour::Tours;

use crate::common::{chi_squared, deviations};

const TEMPERING: Method = Method::Tempering { replicas: 12, clusters: false };
const CLUSTERS: Method = Method::Tempering { replicas: 12, clusters: true };
const ANNEALING: Method = Method::Annealing { chains: 12, sweeps: 100 };

fn go_on(_: &thermograd_models::optimize::search::Look) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// A model of whole numbers, some of them zero.
fn model(n: usize, key: Key) -> Ising {
    let mut rng = key.rng();
    let pairs = (0..n).flat_map(|j| (0..j).map(move |i| [i, j]));
    let couplings = pairs.map(|pair| (pair, f64::from(rng.random_range(-3_i32..=3)))).collect();
    let mut rng = key.fork("fields").rng();
    let fields = (0..n).map(|_| f64::from(rng.random_range(-2_i32..=2))).collect();
    Ising { fields, couplings, offset: 0.0 }
}

fn spins_of(state: usize, n: usize) -> Vec<i8> {
    (0..n).map(|i| if state >> i & 1 == 1 { 1 } else { -1 }).collect()
}

/// Both rules leave exp(−βE) as it is to rounding where spins of one colour are drawn together, in f64 and with the colours of the
/// graph; and neither does where coupled spins are drawn together.
#[test]
fn sweeps_by_colours_leave_the_boltzmann_weights_alone() {
    const N: usize = 7;
    let model = model(N, Key::new(1));
    let model = Ising {
        // A sparse graph, of more colours than two.
        couplings: model.couplings.iter().copied().filter(|([i, j], _)| (i + 2 * j) % 3 != 0).collect(),
        ..model
    };
    let graph = spins::graph(&model).unwrap();
    assert!(graph.colours() >= 3 && graph.colours() < N);
    let beta = 0.37;
    let weights: Vec<f64> = (0..1 << N).map(|s| (-beta * model.energy(&spins_of(s, N))).exp()).collect();
    let sum: f64 = weights.iter().sum();
    let pi: Vec<f64> = weights.iter().map(|weight| weight / sum).collect();
    // The probability that a spin is flipped in a state.
    let flip = |state: usize, i: usize, metropolis: bool| {
        let cost = model.energy(&spins_of(state ^ 1 << i, N)) - model.energy(&spins_of(state, N));
        if metropolis { (-beta * cost).exp().min(1.0) } else { 1.0 / (1.0 + (beta * cost).exp()) }
    };
    let step = |p: &[f64], members: &[usize], metropolis: bool| {
        let mut next = vec![0.0; p.len()];
        for (state, p) in p.iter().enumerate() {
            for subset in 0..1 << members.len() {
                let (mut to, mut chance) = (state, *p);
                for (k, &i) in members.iter().enumerate() {
                    let flips = flip(state, i, metropolis);
                    if subset >> k & 1 == 1 {
                        (to, chance) = (to ^ 1 << i, chance * flips);
                    } else {
                        chance *= 1.0 - flips;
                    }
                }
                next[to] += chance;
            }
        }
        next
    };
    let off = |p: &[f64]| p.iter().zip(&pi).map(|(a, b)| (a - b).abs()).sum::<f64>();
    for metropolis in [false, true] {
        let mut p = pi.clone();
        for colour in 0..graph.colours() {
            let members: Vec<usize> = (0..N).filter(|&i| graph.colour(i) == colour).collect();
            p = step(&p, &members, metropolis);
        }
        assert!(off(&p) < 1e-12, "{}", off(&p));
        let together = step(&pi, &(0..N).collect::<Vec<_>>(), metropolis);
        assert!(off(&together) > 0.01, "{}", off(&together));
    }
    // Exchanges: π(a)π(b) P(a, b → b, a) is symmetric.
    let other = 0.9;
    let joint = |a: usize, b: usize| {
        (-beta * model.energy(&spins_of(a, N)) - other * model.energy(&spins_of(b, N))).exp()
    };
    let chance = |a: usize, b: usize| {
        let gap = model.energy(&spins_of(a, N)) - model.energy(&spins_of(b, N));
        ((beta - other) * gap).exp().min(1.0)
    };
    for (a, b) in (0..1 << N).flat_map(|a| (0..8).map(move |k| (a, (37 * a + 11 * k) % (1 << N)))) {
        let (there, back) = (joint(a, b) * chance(a, b), joint(b, a) * chance(b, a));
        assert!((there - back).abs() <= 1e-12 * there.max(back));
    }
}

/// Energies that follow a million flips, exchanges and clusters are those of the definition: whole numbers are exact.
#[test]
fn energies_that_follow_flips_are_those_of_the_definition() {
    let model = model(120, Key::new(2));
    let graph = spins::graph(&model).unwrap();
    let metropolis = Metropolis(&graph);
    let ladder = Ladder::geometric(0.02, 0.5, 24).unwrap();
    let tempering = Tempering::new(&metropolis, ladder, 2, Key::new(3)).with_clusters();
    // Fewer than the sweeps after which they are computed anew.
    let end = run(&tempering, tempering.start(Key::new(4)), 1000, |_| {}).unwrap();
    assert!(end.chains.flips() > 1_000_000, "{}", end.chains.flips());
    assert_eq!(end.energies, graph.energies(&end.chains));
    for chain in [0, 17] {
        assert_eq!(end.energies[chain], model.energy(&end.chains.chain(&graph, chain)));
    }
}

/// All three solvers find the lowest of 2^14 states, and the energy they report is that of the state.
#[test]
fn the_lowest_state_of_small_models_is_found() {
    for seed in 0..4 {
        let model = model(14, Key::new(10 + seed));
        let lowest = (0..1 << 14).map(|s| model.energy(&spins_of(s, 14))).fold(f64::INFINITY, f64::min);
        let graph = spins::graph(&model).unwrap();
        for method in [TEMPERING, CLUSTERS, ANNEALING] {
            let betas = if method == ANNEALING { spins::annealed(&model) } else { spins::tempered(&model) };
            let found: Found<Vec<i8>> = search(
                &Metropolis(&graph),
                method,
                betas,
                (14, 400),
                Key::new(seed),
                |c, i| {
                    let spins = c.chain(&graph, i);
                    let energy = model.energy(&spins);
                    (spins, Some(energy))
                },
                go_on,
            )
            .unwrap();
            assert_eq!(found.energy, lowest, "{method:?}");
            assert_eq!(model.energy(&found.best.unwrap()), lowest);
        }
        let cooled = Cooled::new(&model, 400, Key::new(seed), &burn::tensor::Device::flex()).unwrap();
        let mut course = cooled.cool(32, |_| ControlFlow::Continue(())).unwrap();
        let best = course.spins.iter_mut().map(|spins| {
            spins::descend(&model, spins);
            model.energy(spins)
        });
        assert_eq!(best.fold(f64::INFINITY, f64::min), lowest, "langevin");
        assert!(course.path.len() > 100);
    }
}

/// The ladder is respaced four times and then left alone; a run that is stopped and one that goes on agree until then.
#[test]
fn the_ladder_is_left_alone_after_its_burn_in() {
    let model = model(40, Key::new(5));
    let graph = spins::graph(&model).unwrap();
    let betas = |sweeps: usize| {
        let found: Found<()> = search(
            &Metropolis(&graph),
            TEMPERING,
            spins::tempered(&model),
            (40, sweeps),
            Key::new(6),
            |_, _| ((), None),
            go_on,
        )
        .unwrap();
        assert!(found.best.is_none() && found.energy.is_infinite());
        found.betas
    };
    let (early, settled, late) = (betas(10), betas(160), betas(1000));
    assert_ne!(early, settled);
    assert_eq!(settled, late);
    assert_eq!((settled[0], settled[11]), (early[0], early[11]));
}

/// What 20,000 independent walkers come to in 60 sweeps is a sample of exp(−βE): for tours, assignments and partitions that are enumerated.
/// `number` tells which of `energies` a state has.
fn walks<M: Moves>(name: &str, moves: M, energies: &[f64], beta: f64, number: impl Fn(&M::State) -> usize) {
    const WALKERS: usize = 20_000;
    let walk = Walk(moves);
    let mut walkers = walk.random(WALKERS, Key::new(61));
    let mut carried = walk.energies(&walkers);
    for index in 0..60 {
        walkers = walk.sweep(walkers, &mut carried, &[beta; WALKERS], index, Key::new(62));
    }
    let weights: Vec<f64> = energies.iter().map(|energy| (-beta * energy).exp()).collect();
    let sum: f64 = weights.iter().sum();
    let p: Vec<f64> = weights.iter().map(|weight| weight / sum).collect();
    let mut counts = vec![0; energies.len()];
    for (state, carried) in walkers.states.iter().zip(&carried) {
        let number = number(state);
        assert!((energies[number] - carried).abs() < 1e-6);
        counts[number] += 1;
    }
    let (found, most) = (chi_squared(&counts, &p), p.iter().copied().fold(0.0, f64::max));
    println!("{name}: {found:.2} deviations; the most probable of {} states has {most:.3}", p.len());
    // Weights differ enough for a wrong rule to show.
    assert!(most > 3.0 / p.len() as f64 && found < deviations(1e-6 / 3.0), "{name}: {found}");
    let flat = vec![1.0 / p.len() as f64; p.len()];
    assert!(chi_squared(&counts, &flat) > 20.0);
}

#[test]
fn walkers_have_the_boltzmann_weights() {
    let mut rng = Key::new(60).rng();
    let places: Vec<[f64; 2]> = (0..6).map(|_| [rng.random(), rng.random()]).collect();
    let pairs = (0..6).flat_map(|i| (0..6).map(move |j| (i, j)));
    let distance = |(i, j): (usize, usize)| {
        (1e3 * (places[i][0] - places[j][0]).hypot(places[i][1] - places[j][1])).round() as i64
    };
    let tours = Tours::new(&pairs.map(distance).collect::<Vec<_>>()).unwrap();
    // From city 0, in the direction in which the second is less than the last.
    let canonical = |order: &[u32]| {
        let start = order.iter().position(|&city| city == 0).unwrap();
        let mut order: Vec<u32> = (0..6).map(|k| order[(start + k) % 6]).collect();
        if order[1] > order[5] {
            order[1..].reverse();
        }
        order
    };
    let mut all: Vec<Vec<u32>> = (0..6_usize.pow(5))
        .map(|code| {
            [0].into_iter().chain((0..5).map(|k| (code / 6_usize.pow(k) % 6) as u32)).collect::<Vec<_>>()
        })
        .filter(|order: &Vec<u32>| (0..6).all(|city| order.contains(&city)) && order[1] < order[5])
        .collect();
    all.sort_unstable();
    assert_eq!(all.len(), 60);
    let energies: Vec<f64> = all.iter().map(|order| tours.energy(order)).collect();
    walks("tours", &tours, &energies, 1.0 / 300.0, |order| all.binary_search(&canonical(order)).unwrap());

    let mut numbers = |count: usize, least: i64, most: i64| -> Vec<i64> {
        (0..count).map(|_| rng.random_range(least..=most)).collect()
    };
    let (costs, takes) = (numbers(12, 0, 20), numbers(12, 1, 9));
    let one = Assignments::new(&costs, &takes, &[9, 8, 7], false).unwrap();
    let states = 3_usize.pow(4);
    let agent = |state: usize, job: usize| state / 3_usize.pow(job as u32) % 3;
    let energy = |state: usize| {
        let of = |list: &[i64], job: usize| list[4 * agent(state, job) + job] as f64;
        let load = |agent_: usize| {
            (0..4).filter(|&job| agent(state, job) == agent_).map(|job| of(&takes, job)).sum::<f64>()
        };
        let over = |k: usize| one.penalties()[k] * (load(k) - [9.0, 8.0, 7.0][k]).max(0.0);
        (0..4).map(|job| of(&costs, job)).sum::<f64>() + (0..3).map(over).sum::<f64>()
    };
    let energies: Vec<f64> = (0..states).map(energy).collect();
    walks("assignments", &one, &energies, 0.1, |state| {
        state.agents.iter().enumerate().map(|(job, &agent)| 3_usize.pow(job as u32) * agent as usize).sum()
    });

    let list = Numbers::new(numbers(8, 1, 60)).unwrap();
    let energies: Vec<f64> = (0..256).map(|s| list.difference(&spins_of(s, 8)) as f64).collect();
    walks("partitions", &list, &energies, 0.03, |state| {
        state.sides.iter().enumerate().map(|(i, &side)| usize::from(side > 0) << i).sum()
    });
}

fn permuted(k: usize, order: &mut Vec<u32>, tours: &Tours, best: &mut f64) {
    if k == order.len() {
        *best = best.min(tours.energy(order));
        return;
    }
    for i in k..order.len() {
        order.swap(k, i);
        permuted(k + 1, order, tours, best);
        order.swap(k, i);
    }
}

/// The shortest of all tours of nine cities is found, by both solvers.
#[test]
fn the_shortest_tour_of_few_cities_is_found() {
    for seed in 0..4 {
        let mut rng = Key::new(50 + seed).rng();
        let places: Vec<[f64; 2]> = (0..9).map(|_| [rng.random(), rng.random()]).collect();
        let pairs = (0..9).flat_map(|i| (0..9).map(move |j| (i, j)));
        let distance = |(i, j): (usize, usize)| {
            (1e4 * (places[i][0] - places[j][0]).hypot(places[i][1] - places[j][1])).round() as i64
        };
        let tours = Tours::new(&pairs.map(distance).collect::<Vec<_>>()).unwrap();
        let mut best = f64::INFINITY;
        permuted(1, &mut (0..9).collect(), &tours, &mut best);
        for method in [TEMPERING, ANNEALING] {
            let found: Found<Vec<u32>> = search(
                &Walk(&tours),
                method,
                tours.betas(),
                (18, 300),
                Key::new(seed),
                |c, i| (c.states[i].clone(), Some(tours.energy(&c.states[i]))),
                go_on,
            )
            .unwrap();
            assert!((found.energy - best).abs() < 1e-6, "{method:?}: {} for {best}", found.energy);
            assert!((tours.energy(&found.best.unwrap()) - best).abs() < 1e-6);
        }
    }
}

/// Partitions: the smallest difference of 2^15, in whole numbers.
#[test]
fn the_best_partition_of_few_numbers_is_found() {
    for seed in 0..4 {
        let mut rng = Key::new(70 + seed).rng();
        let numbers = Numbers::new((0..15).map(|_| rng.random_range(1..1 << 20)).collect()).unwrap();
        let least = (0..1 << 15).map(|s| numbers.difference(&spins_of(s, 15))).min().unwrap();
        assert!(numbers.differencing() >= least);
        let found: Found<Vec<i8>> = search(
            &Walk(&numbers),
            TEMPERING,
            numbers.betas(),
            (30, 20_000),
            Key::new(seed),
            |c, i| (c.states[i].sides.clone(), Some(numbers.energy(&c.states[i]))),
            go_on,
        )
        .unwrap();
        assert_eq!(numbers.difference(&found.best.unwrap()), least);
    }
}

/// Units that pull together, one by one or all on one, and stars, come to rest at their lowest states: no step is too long for them.
#[test]
fn bistable_units_that_agree_do_not_diverge() {
    let all = |n: usize, j: f64| -> Vec<([usize; 2], f64)> {
        (0..n).flat_map(|b| (0..b).map(move |a| ([a, b], j))).collect()
    };
    let bipartite = (0..60).flat_map(|a| (60..120).map(move |b| ([a, b], 1.0))).collect();
    let mut chain: Vec<([usize; 2], f64)> = (1..80).map(|b| ([b - 1, b], -1.0)).collect();
    chain[40].1 = -1e5;
    let star = (1..100).map(|b| ([0, b], -1.0)).collect();
    for (name, couplings, n) in [
        ("all", all(100, -1.0), 100),
        ("bipartite", bipartite, 120),
        ("chain", chain, 80),
        ("star", star, 100),
    ] {
        let (mut fields, lowest) =
            (vec![0.0; n], -couplings.iter().map(|(_, j): &(_, f64)| j.abs()).sum::<f64>());
        fields[0] = 1e-3;
        let model = Ising { fields, couplings, offset: 0.0 };
        let cooled = Cooled::new(&model, 1000, Key::new(9), &burn::tensor::Device::flex()).unwrap();
        let course = cooled.cool(4, |_| ControlFlow::Continue(())).unwrap();
        let best = course.spins.iter().map(|spins| {
            let mut spins = spins.clone();
            spins::descend(&model, &mut spins);
            model.energy(&spins)
        });
        let best = best.fold(f64::INFINITY, f64::min);
        println!("{name}: {best} of {lowest}");
        // Walls of a chain may be left.
        assert!(best < 0.9 * lowest, "{name}: {best} of {lowest}");
    }
}

/// Assignments of up to 10 agents and 40 jobs are those of an exact solver of mixed-integer programs, and keep all capacities.
#[test]
fn assignments_are_those_of_an_exact_solver() {
    use microlp::{ComparisonOp, OptimizationDirection, Problem};
    for (seed, agents, jobs) in
        [(0, 3, 8), (1, 4, 12), (2, 5, 20), (3, 8, 24), (4, 10, 40), (5, 4, 16), (6, 4, 16)]
    {
        let mut rng = Key::new(90 + seed).rng();
        let size = agents * jobs;
        let mut costs: Vec<i64> = (0..size).map(|_| rng.random_range(10..=50)).collect();
        let mut takes: Vec<i64> = (0..size).map(|_| rng.random_range(5..=25)).collect();
        let capacity = (0.8 * takes.iter().sum::<i64>() as f64 / (agents * agents) as f64).ceil() as i64;
        let mut capacities = vec![capacity; agents];
        if seed > 4 {
            // Two agents that are cheap, alike, and too small for all jobs; the others cost far more.
            costs.copy_within(..jobs, jobs);
            takes.copy_within(..jobs, jobs);
            costs[2 * jobs..]
                .iter_mut()
                .for_each(|cost| *cost = 20 * *cost + if seed == 6 { 2000 } else { 0 });
            capacities = vec![capacity / 2, capacity / 2, 2 * capacity, 2 * capacity];
        }
        let mut program = Problem::new(OptimizationDirection::Minimize);
        let z: Vec<_> = costs.iter().map(|&cost| program.add_integer_var(cost as f64, (0, 1))).collect();
        for job in 0..jobs {
            let once: Vec<_> = (0..agents).map(|agent| (z[agent * jobs + job], 1.0)).collect();
            program.add_constraint(&once[..], ComparisonOp::Eq, 1.0);
        }
        for agent in 0..agents {
            let load = (0..jobs).map(|job| (z[agent * jobs + job], takes[agent * jobs + job] as f64));
            program.add_constraint(&load.collect::<Vec<_>>()[..], ComparisonOp::Le, capacities[agent] as f64);
        }
        let exact = program.solve().unwrap().into_solution().unwrap().objective().round();
        let problem = Assignments::new(&costs, &takes, &capacities, false).unwrap();
        let found: Found<Vec<u32>> = search(
            &Walk(&problem),
            Method::Tempering { replicas: 8, clusters: false },
            problem.betas(),
            (2 * jobs, 20_000),
            Key::new(seed),
            |c, i| {
                let state = &c.states[i];
                (state.agents.clone(), problem.is_feasible(state).then(|| problem.energy(state)))
            },
            go_on,
        )
        .unwrap();
        println!("{agents} agents, {jobs} jobs: {} for {exact}, at sweep {}", found.energy, found.at);
        let best = found.best.unwrap();
        let mut loads = vec![0; agents];
        best.iter()
            .enumerate()
            .for_each(|(job, &agent)| loads[agent as usize] += takes[agent as usize * jobs + job]);
        assert!(loads.iter().zip(&capacities).all(|(load, capacity)| load <= capacity));
        let cost: i64 = best.iter().enumerate().map(|(job, &agent)| costs[agent as usize * jobs + job]).sum();
        assert_eq!(cost as f64, exact);
        assert!((found.energy - exact).abs() < 1e-6);
    }
}
