//! What can be heated and cooled: states with an energy, and moves between them at a temperature.

use std::ops::RangeInclusive;

use rand::RngExt;

use crate::dynamics::gibbs::{Bath, Chains, sweep};
use crate::network::spins::Spins;
use crate::noise::Key;

/// States with an energy that are moved at a temperature, many independent chains side by side.
///
/// [`Tempering`](crate::Tempering) and [`Annealing`](crate::Annealing) run on any landscape: on [`Spins`], which are drawn by
/// the heat bath, on [`Metropolis`], or on one of your own.
pub trait Landscape {
    /// Chains of states.
    type Chains: Clone;

    /// Chains that start at random, a function of `key` and their number in turn.
    fn random(&self, count: usize, key: Key) -> Self::Chains;

    /// The energy of every chain.
    fn energies(&self, chains: &Self::Chains) -> Vec<f64>;

    /// Moves that all chains have made since they began, proposals that were refused left out.
    fn moves(&self, chains: &Self::Chains) -> u64;

    /// As many moves as there are units, of every chain at its own inverse temperature. Energies follow the moves. Noise is a
    /// function of `key`, `index` and the number of the chain.
    fn sweep(
        &self,
        chains: Self::Chains,
        energies: &mut [f64],
        betas: &[f64],
        index: u32,
        key: Key,
    ) -> Self::Chains;

    /// A move of two chains at one temperature that keeps the sum of their energies; none by default.
    fn isoenergetic(
        &self,
        _chains: &mut Self::Chains,
        _energies: &mut [f64],
        _pair: [usize; 2],
        _rng: &mut impl RngExt,
    ) {
    }
}

impl Landscape for Spins {
    type Chains = Chains;

    fn random(&self, count: usize, key: Key) -> Chains {
        Chains::random(self, count, key)
    }

    fn energies(&self, chains: &Chains) -> Vec<f64> {
        Spins::energies(self, chains)
    }

    fn moves(&self, chains: &Chains) -> u64 {
        chains.flips()
    }

    fn sweep(&self, chains: Chains, energies: &mut [f64], betas: &[f64], index: u32, key: Key) -> Chains {
        sweep(Bath::of(self), chains, &twice(betas), Some(energies), index, key)
    }

    fn isoenergetic(
        &self,
        chains: &mut Chains,
        energies: &mut [f64],
        pair: [usize; 2],
        rng: &mut impl RngExt,
    ) {
        houdayer(self, chains, energies, pair, rng);
    }
}

/// Spins that are proposed to flip one after the other,
///
/// ```text
/// P(flip) = min(1, exp(−β ΔE)),      ΔE = −2 s_i x_i      (41)
/// ```
///
/// (N. Metropolis et al., J. Chem. Phys. 21, 1087, 1953) with x of the heat bath. It flips more often than the heat bath does,
/// and a flip that costs nothing always: at β = 0 all spins flip in turn and nothing is random, so a landscape is not sampled there.
#[derive(Clone, Copy, Debug)]
pub struct Metropolis<'a>(pub &'a Spins);

impl Landscape for Metropolis<'_> {
    type Chains = Chains;

    fn random(&self, count: usize, key: Key) -> Chains {
        self.0.random(count, key)
    }

    fn energies(&self, chains: &Chains) -> Vec<f64> {
        self.0.energies(chains)
    }

    fn moves(&self, chains: &Chains) -> u64 {
        chains.flips()
    }

    fn sweep(&self, chains: Chains, energies: &mut [f64], betas: &[f64], index: u32, key: Key) -> Chains {
        sweep(Bath::metropolis(self.0), chains, &twice(betas), Some(energies), index, key)
    }

    fn isoenergetic(
        &self,
        chains: &mut Chains,
        energies: &mut [f64],
        pair: [usize; 2],
        rng: &mut impl RngExt,
    ) {
        self.0.isoenergetic(chains, energies, pair, rng);
    }
}

fn twice(betas: &[f64]) -> Vec<f32> {
    betas.iter().map(|&beta| 2.0 * beta as f32).collect()
}

/// Clusters of a share of all spins in this range are exchanged: smaller and larger ones change little.
const SHARES: RangeInclusive<f64> = 0.0..=0.75;

/// The spins in which two chains differ fall into clusters of coupled neighbours; one of them is exchanged (J. Houdayer, Eur. Phys.
/// J. B 22, 479, 2001). Couplings to the rest change in one chain by what they change in the other, with opposite sign.
fn houdayer(
    spins: &Spins,
    chains: &mut Chains,
    energies: &mut [f64],
    [a, b]: [usize; 2],
    rng: &mut impl RngExt,
) {
    let differ = |chains: &Chains, place: usize| chains.at(place)[a] != chains.at(place)[b];
    let others: Vec<usize> = (0..spins.len()).filter(|&place| differ(chains, place)).collect();
    // Where most differ, the mirror image of a chain is closer, and differences percolate.
    if others.is_empty() || !SHARES.contains(&(others.len() as f64 / spins.len() as f64)) {
        return;
    }
    let root = others[rng.random_range(0..others.len())];
    let mut inside = vec![false; spins.len()];
    inside[root] = true;
    let mut cluster = vec![root];
    let mut next = 0;
    while let Some(&place) = cluster.get(next) {
        next += 1;
        for &(other, _) in spins.neighbours(place) {
            let other = other as usize;
            if !inside[other] && differ(chains, other) {
                inside[other] = true;
                cluster.push(other);
            }
        }
    }
    // ΔE of flipping the cluster in each chain: couplings within it keep their energy.
    for chain in [a, b] {
        let cost = |&place: &usize| {
            let outside = |&&(other, _): &&(u32, f32)| !inside[other as usize];
            let s = |place: usize| f64::from(chains.at(place)[chain]);
            let around = spins.neighbours(place).iter().filter(outside);
            let field = around.map(|&(other, j)| f64::from(j) * s(other as usize)).sum::<f64>();
            -2.0 * s(place) * (f64::from(spins.field(place)) + field)
        };
        energies[chain] += cluster.iter().map(cost).sum::<f64>();
    }
    for place in cluster {
        for chain in [a, b] {
            chains.flip(place, chain);
        }
    }
}
