//! Runs a landscape down and keeps the best that was seen.

use std::ops::ControlFlow;

use thermograd::{Annealing, Key, Ladder, Landscape, Tempering, run};

use crate::error::Result;

/// How a landscape is searched.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Method {
    /// Replicas on a ladder of temperatures, which is respaced in the first 160 sweeps and then left alone.
    Tempering {
        /// How many.
        replicas: usize,
        /// On two ladders, whose replicas at one temperature exchange clusters.
        clusters: bool,
    },
    /// Chains that are cooled together, again and again.
    Annealing {
        /// How many.
        chains: usize,
        /// Sweeps from hot to cold.
        sweeps: usize,
    },
}

impl Method {
    /// Chains that are swept side by side.
    pub fn chains(self) -> usize {
        match self {
            Self::Tempering { replicas, clusters } => replicas * (1 + usize::from(clusters)),
            Self::Annealing { chains, .. } => chains,
        }
    }
}

/// Where a run is.
#[derive(Clone, PartialEq, Debug)]
pub struct Look {
    /// Sweeps of every chain.
    pub sweeps: usize,
    /// The lowest energy that counts, seen so far.
    pub best: f64,
    /// The energy of every chain: by rung, the hottest first, where there is a ladder.
    pub energies: Vec<f64>,
}

/// What a run found.
#[derive(Clone, Debug)]
pub struct Found<S> {
    /// The best state, if any counts.
    pub best: Option<S>,
    /// Its energy; infinite if there is none.
    pub energy: f64,
    /// The lowest state that does not count, as long as none does.
    pub nearest: Option<S>,
    /// The sweep after which it was seen first.
    pub at: usize,
    /// Sweeps of every chain.
    pub sweeps: usize,
    /// Moves that were made, in all chains.
    pub moves: u64,
    /// The course of the run: at most [`LOOKS`] of its looks, evenly spaced.
    pub looks: Vec<Look>,
    /// How often exchanges between neighbouring rungs were accepted, since the ladder was left alone.
    pub acceptance: Vec<f64>,
    /// Inverse temperatures of the ladder.
    pub betas: Vec<f64>,
    /// Replicas that went from the hottest rung to the coldest and back.
    pub round_trips: u64,
}

/// Looks that are kept.
pub const LOOKS: usize = 400;

/// Sweeps after which the ladder is respaced.
const RESPACED: [usize; 4] = [20, 40, 80, 160];

/// Moves between two looks.
const STRETCH: usize = 1 << 18;

/// Keeps the best and the course.
struct Keeper<S> {
    found: Found<S>,
    /// The energy of the nearest.
    nearest: f64,
    /// Every how many looks one is kept.
    every: usize,
    seen: usize,
}

impl<S> Keeper<S> {
    fn new(betas: Vec<f64>) -> Self {
        let found = Found {
            best: None,
            energy: f64::INFINITY,
            nearest: None,
            at: 0,
            sweeps: 0,
            moves: 0,
            looks: Vec::new(),
            acceptance: Vec::new(),
            betas,
            round_trips: 0,
        };
        Self { found, nearest: f64::INFINITY, every: 1, seen: 0 }
    }

    /// Takes the energies after a sweep; `state` gives that of a chain, and its energy anew if it counts.
    fn take(&mut self, sweeps: usize, energies: &[f64], state: impl Fn(usize) -> (S, Option<f64>)) {
        // Energies that follow their moves may be rounded: those that are much the same are not looked at.
        let below = self.found.energy - 1e-9 * self.found.energy.abs().min(1e6);
        let lower = |energy: f64| energy < below || self.found.energy == f64::INFINITY;
        if !energies.iter().any(|&energy| lower(energy)) {
            return;
        }
        let mut order: Vec<usize> = (0..energies.len()).filter(|&chain| lower(energies[chain])).collect();
        order.sort_unstable_by(|&a, &b| energies[a].total_cmp(&energies[b]));
        for chain in order {
            match state(chain) {
                (state, Some(energy)) if energy < self.found.energy => {
                    let found = &mut self.found;
                    (found.best, found.energy, found.nearest) = (Some(state), energy, None);
                    found.at = sweeps;
                    return;
                }
                (state, None) if self.found.best.is_none() && energies[chain] < self.nearest => {
                    (self.found.nearest, self.nearest) = (Some(state), energies[chain]);
                }
                _ => {}
            }
        }
    }

    fn look(&mut self, sweeps: usize, energies: Vec<f64>) -> Look {
        let look = Look { sweeps, best: self.found.energy, energies };
        self.found.sweeps = sweeps;
        if self.seen.is_multiple_of(self.every) {
            if self.found.looks.len() >= LOOKS {
                let mut even = false;
                self.found.looks.retain(|_| {
                    even = !even;
                    even
                });
                self.every *= 2;
            }
            self.found.looks.push(look.clone());
        }
        self.seen += 1;
        look
    }
}

/// Searches a landscape between two inverse temperatures, for at most so many sweeps, until `watch` breaks. `state` gives the
/// state of a chain, and its energy, computed anew, if it counts as a solution; `watch` is called about every quarter of a million moves.
///
/// # Errors
/// [`thermograd::Error::Spins`] for inverse temperatures that are none.
pub fn search<L: Landscape, S>(
    landscape: &L,
    method: Method,
    betas: [f64; 2],
    (units, sweeps): (usize, usize),
    key: Key,
    state: impl Fn(&L::Chains, usize) -> (S, Option<f64>),
    mut watch: impl FnMut(&Look) -> ControlFlow<()>,
) -> Result<Found<S>> {
    let stretch = (STRETCH / (units * method.chains()).max(1)).max(1);
    match method {
        Method::Tempering { replicas, clusters } => {
            let ladder = Ladder::geometric(betas[0], betas[1], replicas)?;
            let mut keeper = Keeper::new(ladder.betas().to_vec());
            let mut tempering = Tempering::new(landscape, ladder, 1 + usize::from(clusters), key);
            if clusters {
                tempering = tempering.with_clusters();
            }
            let mut all = tempering.start(key.fork("start"));
            keeper.take(0, &all.energies, |chain| state(&all.chains, chain));
            let mut made = 0;
            while made < sweeps {
                let next = RESPACED.into_iter().find(|&end| end > made).unwrap_or(usize::MAX);
                let end = sweeps.min(next).min(made + stretch);
                all = run(&tempering, all, end - made, |step| {
                    let after = &step.after;
                    keeper.take(made + step.index + 1, &after.energies, |chain| state(&after.chains, chain));
                })?;
                made = end;
                let respaced = if RESPACED.contains(&made) {
                    let respaced = tempering.ladder().respaced(&all.acceptance());
                    all = all.uncounted();
                    respaced
                } else {
                    tempering.ladder().clone()
                };
                tempering = tempering.going_on(respaced, made);
                let energies = (0..replicas).map(|rung| all.energies[all.on(0, rung)]).collect();
                if watch(&keeper.look(made, energies)).is_break() {
                    break;
                }
            }
            let mut found = keeper.found;
            (found.acceptance, found.round_trips) = (all.acceptance(), all.round_trips());
            found.moves = landscape.moves(&all.chains);
            found.betas = tempering.ladder().betas().to_vec();
            Ok(found)
        }
        Method::Annealing { chains, sweeps: each } => {
            let mut annealing = Annealing::new(landscape, betas, each, key)?;
            let mut keeper = Keeper::new(betas.to_vec());
            let mut all = annealing.start(chains);
            keeper.take(0, &all.energies, |chain| state(&all.chains, chain));
            let mut made = 0;
            while made < sweeps {
                let end = sweeps.min(made + stretch);
                all = run(&annealing, all, end - made, |step| {
                    let after = &step.after;
                    keeper.take(made + step.index + 1, &after.energies, |chain| state(&after.chains, chain));
                })?;
                made = end;
                annealing = annealing.starting_at(made);
                if watch(&keeper.look(made, all.energies.clone())).is_break() {
                    break;
                }
            }
            Ok(Found { moves: annealing.moves(&all), ..keeper.found })
        }
    }
}
