//! Normal distributions: samples of a machine, and Gaussian processes on a line.
//!
//! A machine at rest under A and b is N(A⁻¹b, A⁻¹): it samples the distribution whose precision is A. That of a Gaussian process on
//! a grid is known without an inversion. The Matérn process of smoothness 3/2, amplitude s and length ℓ is white noise through
//! (κ² − d²/dx²) with κ = √3/ℓ (P. Whittle, 1954; F. Lindgren, H. Rue and J. Lindström, J. R. Stat. Soc. B 73, 423, 2011), so that
//! on a grid of spacing Δ
//!
//! ```text
//! fᵀK⁻¹f = (Δ/4κ³s²) Σ_inside ((κ² + L)f)² + ½s⁻² Σ_ends (f + ∂f/κ)²,      L = −d²/dx² by differences,
//! A = K⁻¹ + Σ_k w_k w_kᵀ/(σ² + v_k),      b = Σ_k w_k y_k/(σ² + v_k)                                         (37)
//! ```
//!
//! where w_k interpolates the grid at x_k, σ is the noise of the values y_k, and v_k the variance of f(x_k) − w_kᵀf, which between two places
//! of the grid is s²(√3Δ/ℓ)³/12 at most. It is counted as noise of its own for every value, which makes a band near values wider than it
//! is on the line, by up to a third where v = σ², and nowhere narrower. What the ends add, with ∂ the slope outwards, makes
//! the process on the grid a piece of the one on the whole line: f and f′ are there independent, of variances s² and κ²s², and
//! along the path d(f′ + 2κf) = −κ²f dx + 2κ^(3/2)s dW, the square of which differs from that of the first term by these.

use faer::Mat;
use thermograd::{Key, Shards, run};

use crate::error::{Error, Result};
use crate::linear::averages::TOGETHER;
use crate::linear::machine::Machine;
use crate::linear::plan::LONG_BURN_IN;
use crate::linear::problem::Problem;

/// Samples of a machine, one a row.
///
/// Chains are read every `spacing` of the slowest time constants, after ten of them: samples of an overdamped chain are correlated
/// by e^(−spacing) at most. They make short steps all the way, which know no inverse.
///
/// # Errors
/// [`Error::Request`] for no samples, and those of [`run`].
pub fn samples(
    machine: &Machine,
    count: usize,
    chains: usize,
    spacing: f64,
    shards: Shards,
    key: Key,
    mut progress: impl FnMut(f64) -> std::ops::ControlFlow<()>,
) -> Result<Mat<f64>> {
    if count == 0 || chains == 0 || !(spacing > 0.0 && spacing.is_finite()) {
        return Err(Error::Request(format!(
            "{count} samples of {chains} chains, {spacing} time constants apart"
        )));
    }
    let h = machine.step(true);
    let (settle, apart) =
        ((LONG_BURN_IN * machine.slowest() / h).ceil(), (spacing * machine.slowest() / h).ceil());
    let all = settle + apart * count.div_ceil(chains.min(count)) as f64;
    if all > f64::from(u32::MAX) {
        return Err(Error::Request(format!(
            "{all:.3e} steps, and 4e9 are possible: use more chains or less spacing"
        )));
    }
    let (settle, apart) = (settle as usize, apart as usize);
    let steps = machine.steps::<f64>(h, key)?;
    let (chains, readings) = (chains.min(count), machine.readings());
    let rounds = count.div_ceil(chains);
    let shards = Shards { size: TOGETHER, ..shards };
    let begun = shards.map(chains, |range| {
        let steps = steps.clone().with_key(key.skip(range.start as u64));
        run(&steps, Mat::zeros(machine.system.size(), range.len()).into(), settle, |_| {})
    });
    let mut states = begun.into_iter().collect::<thermograd::Result<Vec<_>>>()?;
    let mut all = Mat::zeros(count, readings);
    for round in 0..rounds {
        let moved = shards.map(chains, |range| {
            let key = key.skip(range.start as u64);
            let steps = steps.clone().with_key(key).starting_at(settle + round * apart);
            let state = run(&steps, states[range.start / shards.size].clone(), apart, |_| {})?;
            Ok::<_, thermograd::Error>((machine.read(&state.x, key, round + 1), state))
        });
        let mut chain = 0;
        for (shard, moved) in moved.into_iter().enumerate() {
            let (seen, state) = moved?;
            states[shard] = state;
            for column in 0..seen.ncols() {
                let row = round * chains + chain;
                if row < count {
                    (0..readings).for_each(|i| all[(row, i)] = seen[(i, column)]);
                }
                chain += 1;
            }
        }
        if progress((round + 1) as f64 / rounds as f64).is_break() {
            let made = (round + 1) * chains;
            return Ok(all.get(..made.min(count), ..).to_owned());
        }
    }
    Ok(all)
}

/// A Gaussian process of smoothness 3/2.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Process {
    /// s, the s.d. of the function.
    pub amplitude: f64,
    /// ℓ, the length over which it changes.
    pub length: f64,
    /// σ, the s.d. of the noise of its values.
    pub noise: f64,
}

impl Process {
    /// The grid of so many points over the data and two lengths beyond, and the machine of the posterior.
    ///
    /// # Errors
    /// [`Error::Request`] for points that do not fit each other or are not finite, for constants that are not positive, and for
    /// a grid that is coarser than a quarter of the length.
    pub fn posterior(&self, x: &[f64], y: &[f64], points: usize) -> Result<(Vec<f64>, Problem)> {
        let Self { amplitude, length, noise } = *self;
        if x.len() != y.len() || x.is_empty() || x.iter().chain(y).any(|value| !value.is_finite()) {
            let (found, values) = (x.len(), y.len());
            return Err(Error::Request(format!(
                "{found} places and {values} values: as many finite numbers of each are needed"
            )));
        }
        for (what, value) in [("amplitude", amplitude), ("length", length), ("noise", noise)] {
            if !(value > 0.0 && value.is_finite()) {
                return Err(Error::Request(format!(
                    "the {what} of the process is {value}: it must be positive and finite"
                )));
            }
        }
        let low = x.iter().copied().fold(f64::INFINITY, f64::min) - 2.0 * length;
        let high = x.iter().copied().fold(f64::NEG_INFINITY, f64::max) + 2.0 * length;
        let delta = (high - low) / (points.max(3) - 1) as f64;
        if delta > 0.25 * length {
            let needed = ((high - low) / (0.25 * length)).ceil() + 1.0;
            return Err(Error::Request(format!(
                "{points} grid points are {delta:.3e} apart, more than a quarter of the length {length}; {needed} are enough"
            )));
        }
        let n = points.max(3);
        let grid: Vec<f64> = (0..n).map(|i| low + i as f64 * delta).collect();
        let kappa = 3.0_f64.sqrt() / length;
        // The rows of √(Δ/4κ³s²) (κ² + L) inside, and one of (f + ∂f/κ)/√2s half-way to each end.
        let inside = (delta / (4.0 * kappa.powi(3))).sqrt() / amplitude;
        let end = 0.5_f64.sqrt() / amplitude;
        let rows = Mat::from_fn(n, n, |i, j| match (i == 0 || i == n - 1, i.abs_diff(j)) {
            (false, 0) => inside * (kappa * kappa + 2.0 / (delta * delta)),
            (false, 1) => -inside / (delta * delta),
            (true, 0) => end * (0.5 + 1.0 / (kappa * delta)),
            (true, 1) => end * (0.5 - 1.0 / (kappa * delta)),
            _ => 0.0,
        });
        let mut a = rows.transpose() * &rows;
        // What the process is off a straight line between two places, at a part p of the way.
        let kernel = |d: f64| amplitude * amplitude * (1.0 + kappa * d) * (-kappa * d).exp();
        let left = |p: f64| {
            let q = 1.0 - p;
            let own = kernel(0.0) * (1.0 + p * p + q * q) + 2.0 * p * q * kernel(delta);
            (own - 2.0 * q * kernel(p * delta) - 2.0 * p * kernel(q * delta)).max(0.0)
        };
        if left(0.5) > noise * noise {
            // v falls as Δ³.
            let finer = (left(0.5) / (noise * noise)).cbrt();
            let needed = ((high - low) / delta * finer).ceil() + 1.0;
            return Err(Error::Request(format!(
                "between {points} grid points the process is off a line by {:.3e}, more than the noise of {noise}; {needed} are enough",
                left(0.5).sqrt()
            )));
        }
        let mut b = vec![0.0; n];
        for (&x, &y) in x.iter().zip(y) {
            let place = (x - low) / delta;
            let i = (place as usize).min(n - 2);
            let weights = [1.0 - (place - i as f64), place - i as f64];
            let variance = noise * noise + left(weights[1]);
            for (p, first) in weights.iter().enumerate() {
                b[i + p] += first * y / variance;
                for (q, second) in weights.iter().enumerate() {
                    a[(i + p, i + q)] += first * second / variance;
                }
            }
        }
        let a = (&a + a.transpose()) * faer::Scale(0.5);
        Ok((grid, Problem::Solve { a: a.into(), b }))
    }
}
