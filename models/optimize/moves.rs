//! Landscapes of states that are changed move by move.

use rand::RngExt;
use thermograd::{Key, Landscape};

/// States, and moves that keep them valid.
pub trait Moves {
    /// A state.
    type State: Clone;

    /// A random state.
    fn random(&self, rng: &mut impl RngExt) -> Self::State;

    /// Its energy.
    fn energy(&self, state: &Self::State) -> f64;

    /// Proposals of a sweep.
    fn proposals(&self) -> usize;

    /// Proposes a move, and makes it if `accepts` says so of what it costs and a uniform number, times how much likelier the move is
    /// proposed than its reverse. The cost, if it was made.
    fn propose(
        &self,
        state: &mut Self::State,
        rng: &mut impl RngExt,
        accepts: impl FnMut(f64, f64) -> bool,
    ) -> Option<f64>;
}

impl<M: Moves> Moves for &M {
    type State = M::State;

    fn random(&self, rng: &mut impl RngExt) -> M::State {
        (**self).random(rng)
    }

    fn energy(&self, state: &M::State) -> f64 {
        (**self).energy(state)
    }

    fn proposals(&self) -> usize {
        (**self).proposals()
    }

    fn propose(
        &self,
        state: &mut M::State,
        rng: &mut impl RngExt,
        accepts: impl FnMut(f64, f64) -> bool,
    ) -> Option<f64> {
        (**self).propose(state, rng, accepts)
    }
}

/// The landscape of moves that are accepted by the rule of Metropolis and Hastings.
#[derive(Clone, Copy, Debug)]
pub struct Walk<M>(pub M);

/// Chains of states.
#[derive(Clone, Debug)]
pub struct Walkers<S> {
    /// The state of each.
    pub states: Vec<S>,
    /// Moves that were accepted, in all.
    pub accepted: u64,
}

impl<M: Moves> Landscape for Walk<M> {
    type Chains = Walkers<M::State>;

    fn random(&self, count: usize, key: Key) -> Self::Chains {
        let states = (0..count).map(|chain| self.0.random(&mut key.row(chain as u64).rng())).collect();
        Walkers { states, accepted: 0 }
    }

    fn energies(&self, chains: &Self::Chains) -> Vec<f64> {
        chains.states.iter().map(|state| self.0.energy(state)).collect()
    }

    fn moves(&self, chains: &Self::Chains) -> u64 {
        chains.accepted
    }

    fn sweep(
        &self,
        mut chains: Self::Chains,
        energies: &mut [f64],
        betas: &[f64],
        index: u32,
        key: Key,
    ) -> Self::Chains {
        let all = chains.states.iter_mut().zip(energies).zip(betas).enumerate();
        for (chain, ((state, energy), &beta)) in all {
            let mut rng = key.fork("moves").row(chain as u64).at(u64::from(index)).rng();
            for _ in 0..self.0.proposals() {
                // u < e⁻ˣ. Most moves cost too much, and no exponential is needed to see it: e⁻ˣ(1 + x + x²/2 + x³/6) < 1; a u of 0 is less than 2^−24.
                let accepts = |cost: f64, u: f64| {
                    let x = beta * cost;
                    let may = x <= 0.0
                        || (x < 17.0 || u > 0.0) && u * (1.0 + x * (1.0 + x * (0.5 + x / 6.0))) < 1.0;
                    may && (x <= 0.0 && u < 1.0 || u < (-x).exp())
                };
                if let Some(cost) = self.0.propose(state, &mut rng, accepts) {
                    *energy += cost;
                    chains.accepted += 1;
                }
            }
        }
        chains
    }
}
