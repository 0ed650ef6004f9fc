//! Simulated annealing: a landscape that is cooled again and again.
//!
//! ```text
//! β(t) = β_hot + (β_cold − β_hot) t/(n − 1),      t = 0 … n − 1, and then from a new start      (42)
//! ```
//!
//! (S. Kirkpatrick, C. D. Gelatt and M. P. Vecchi, Science 220, 671, 1983).

use crate::dynamics::gibbs::check_beta;
use crate::dynamics::landscape::Landscape;
use crate::dynamics::run::{Dynamics, Place};
use crate::error::Result;
use crate::noise::Key;

/// Cools all chains of a landscape in a number of sweeps; a step is a sweep.
#[derive(Debug)]
pub struct Annealing<'a, L> {
    landscape: &'a L,
    hot: f64,
    cold: f64,
    sweeps: usize,
    key: Key,
    first: usize,
}

/// Chains that are cooled.
#[derive(Clone, PartialEq, Debug)]
pub struct Annealed<C> {
    /// The states.
    pub chains: C,
    /// The energy of each chain.
    pub energies: Vec<f64>,
    /// Moves of the coolings before.
    before: u64,
}

impl<'a, L: Landscape> Annealing<'a, L> {
    /// From β = `hot` to β = `cold` in `sweeps` sweeps.
    ///
    /// # Errors
    /// [`Error::Spins`](crate::Error::Spins) when a β is not positive and finite.
    pub fn new(landscape: &'a L, [hot, cold]: [f64; 2], sweeps: usize, key: Key) -> Result<Self> {
        check_beta(hot)?;
        check_beta(cold)?;
        Ok(Self { landscape, hot, cold, sweeps: sweeps.max(1), key, first: 0 })
    }

    /// The same whose first step has this number: for a run that goes on.
    #[must_use]
    pub fn starting_at(self, first: usize) -> Self {
        Self { first, ..self }
    }

    /// Chains that start at random.
    pub fn start(&self, count: usize) -> Annealed<L::Chains> {
        self.restart(count, 0, 0)
    }

    /// Moves that all chains have made, in all coolings.
    pub fn moves(&self, state: &Annealed<L::Chains>) -> u64 {
        state.before + self.landscape.moves(&state.chains)
    }

    fn restart(&self, count: usize, time: usize, before: u64) -> Annealed<L::Chains> {
        let chains = self.landscape.random(count, self.key.fork("start").at(time as u64));
        let energies = self.landscape.energies(&chains);
        Annealed { chains, energies, before }
    }

    /// β of a step.
    pub fn beta(&self, index: usize) -> f64 {
        let part = ((self.first + index) % self.sweeps) as f64 / (self.sweeps - 1).max(1) as f64;
        self.hot + (self.cold - self.hot) * part
    }
}

impl<L: Landscape> Dynamics for Annealing<'_, L> {
    type State = Annealed<L::Chains>;

    fn step(&self, index: usize, state: Annealed<L::Chains>) -> Annealed<L::Chains> {
        let (number, count) = (self.first + index, state.energies.len());
        let Annealed { chains, mut energies, before } = match number {
            0 => state,
            _ if number.is_multiple_of(self.sweeps) => self.restart(count, number, self.moves(&state)),
            _ => state,
        };
        let betas = vec![self.beta(index); count];
        let chains = self.landscape.sweep(chains, &mut energies, &betas, number as u32, self.key);
        Annealed { chains, energies, before }
    }

    fn diverged(&self, _state: &Annealed<L::Chains>) -> Option<Place> {
        None
    }
}
