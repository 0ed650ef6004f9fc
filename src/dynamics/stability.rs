//! The largest time step: both schemes of [`overdamped`](crate::dynamics::overdamped) are stable only below 2/λ.
//!
//! λ is the largest eigenvalue of √μ(C + sJs)√μ, where C is the curvature of each uncoupled well on the thermal scale:
//! 2J₂ + 12J₄⟨x²⟩ with ⟨x²⟩ ≤ min(kT/2J₂, √(kT/4J₄)), and in a double well at least −4J₂, that of its bottoms, and
//! 12J₄√(kT/4J₄), that of a unit hot enough not to see its barrier. Under a protocol, the largest gains, the stiffest
//! wells and the highest temperature at any knot count. Of [sparse](crate::Topology::is_sparse) networks, λ is Gershgorin's bound
//! on it, the largest sum of a row's magnitudes.

use burn::tensor::Tensor;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::matrix_free::eigen::{partial_self_adjoint_eigen, partial_self_adjoint_eigen_scratch};
use faer::{Col, Mat, Par, Scale, Side};

use crate::error::{Error, Result};
use crate::network::protocol::Protocol;
use crate::network::substrate::Substrate;
use crate::tensors::to_f64;

impl Substrate {
    /// Refuses a time step beyond [`step_limit`](Self::step_limit).
    ///
    /// # Errors
    /// [`Error::StepTooLarge`] with the limit.
    pub fn check_step(&self, dt: f64) -> Result<()> {
        check_rates(dt, &Rates::of(self, None, &[], self.kt()))
    }

    /// The largest stable step, 2/λ.
    ///
    /// Strong fields drive units further out, where the quartic wells are stiffer still: a step below the limit
    /// can diverge, and one above it does where the stiffest unit is harmonic.
    pub fn step_limit(&self) -> f64 {
        2.0 / Rates::of(self, None, &[], self.kt()).largest()
    }
}

/// Refuses a time step that is too large at some knot of a protocol.
pub(crate) fn check_step_under(substrate: &Substrate, dt: f64, protocol: &Protocol) -> Result<()> {
    let controls = protocol.controls();
    let gains = controls.iter().filter_map(|control| control.gain.clone().map(Tensor::abs));
    let gain = gains.reduce(Tensor::max_pair).map(to_f64);
    let wells: Vec<Vec<f64>> =
        controls.iter().filter_map(|control| control.well.clone().map(to_f64)).collect();
    let kt = protocol.temperatures().map_or(substrate.kt(), |(_, highest)| highest);
    check_rates(dt, &Rates::of(substrate, gain, &wells, kt))
}

fn check_rates(dt: f64, rates: &Rates) -> Result<()> {
    // No eigenvalue is above the largest row sum (Gershgorin): most steps need no closer look.
    if dt < 2.0 / rates.largest_row_sum() {
        return Ok(());
    }
    let rate = rates.largest();
    let limit = 2.0 / rate;
    match dt < limit {
        true => Ok(()),
        false => Err(Error::StepTooLarge { dt, limit, rate }),
    }
}

/// √μ(C + sJs)√μ: its diagonal, and what couples a pair of units, each once.
struct Rates {
    diagonal: Vec<f64>,
    pairs: Vec<([usize; 2], f64)>,
    sparse: bool,
}

impl Rates {
    /// With the stiffest of the wells that some shifts make.
    fn of(substrate: &Substrate, gain: Option<Vec<f64>>, shifts: &[Vec<f64>], kt: f64) -> Self {
        let j2 = substrate.unit_values(|group, i| group.j2.at(i));
        let j4 = substrate.unit_values(|group, i| group.j4.at(i));
        let mobility = substrate.unit_values(|group, unit| group.mobility.at(unit));
        let stiffest = |i: usize| {
            let shifted = shifts.iter().map(|shift| well_curvature(j2[i] + shift[i], j4[i], kt));
            shifted.reduce(f64::max).unwrap_or_else(|| well_curvature(j2[i], j4[i], kt))
        };
        let gain = |unit: usize| gain.as_ref().map_or(1.0, |gain| gain[unit]);
        let pair = |([i, j], coupling): ([usize; 2], f64)| {
            ([i, j], (mobility[i] * mobility[j]).sqrt() * gain(i) * coupling * gain(j))
        };
        let topology = substrate.topology();
        Self {
            diagonal: (0..j2.len()).map(|i| mobility[i] * stiffest(i)).collect(),
            pairs: substrate.free_pairs().into_iter().map(pair).collect(),
            sparse: topology.blocks.iter().any(|block| topology.is_sparse(block)),
        }
    }

    fn largest_row_sum(&self) -> f64 {
        let mut sums: Vec<f64> = self.diagonal.iter().map(|rate| rate.abs()).collect();
        for ([i, j], rate) in &self.pairs {
            sums[*i] += rate.abs();
            sums[*j] += rate.abs();
        }
        sums.into_iter().fold(0.0, f64::max)
    }

    /// The largest eigenvalue, or the bound on it.
    fn largest(&self) -> f64 {
        if self.sparse {
            return self.largest_row_sum();
        }
        let n = self.diagonal.len();
        let mut matrix = Mat::from_fn(n, n, |i, j| if i == j { self.diagonal[i] } else { 0.0 });
        for ([i, j], rate) in &self.pairs {
            (matrix[(*i, *j)], matrix[(*j, *i)]) = (*rate, *rate);
        }
        largest_eigenvalue(&matrix)
    }
}

/// The curvature of one well where an uncoupled unit at `kt` spends its time.
fn well_curvature(j2: f64, j4: f64, kt: f64) -> f64 {
    let quartic = if j4 > 0.0 { (kt / (4.0 * j4)).sqrt() } else { f64::INFINITY };
    if j2 < 0.0 {
        return f64::max(-4.0 * j2, 12.0 * j4 * quartic);
    }
    let quadratic = if j2 > 0.0 { kt / (2.0 * j2) } else { f64::INFINITY };
    2.0 * j2 + 12.0 * j4 * quadratic.min(quartic)
}

fn largest_row_sum(symmetric: &Mat<f64>) -> f64 {
    symmetric.col_iter().map(|column| column.norm_l1()).fold(0.0, f64::max)
}

/// Units up to which all eigenvalues are as quickly found as the largest one.
const FEW: usize = 128;

/// The largest eigenvalue of a symmetric matrix: of few units by the full decomposition; of many by Lanczos' iteration
/// on a shift that makes it the largest in magnitude. Where an iteration does not converge, the bound of Gershgorin,
/// which is on the safe side.
fn largest_eigenvalue(symmetric: &Mat<f64>) -> f64 {
    let (n, shift) = (symmetric.nrows(), largest_row_sum(symmetric));
    if n <= FEW {
        return symmetric.self_adjoint_eigenvalues(Side::Lower).map_or(shift, |all| all[n - 1]);
    }
    let shifted = Mat::from_fn(n, n, |i, j| symmetric[(i, j)] + if i == j { shift } else { 0.0 });
    let start = Col::from_fn(n, |i| 1.0 + (i as f64 * 0.7).sin());
    let start = &start * Scale(1.0 / start.norm_l2());
    let (mut vector, mut value, settings) = (Mat::zeros(n, 1), [0.0], Default::default());
    let mut memory = MemBuffer::new(partial_self_adjoint_eigen_scratch(&shifted, 1, Par::Seq, settings));
    let found = partial_self_adjoint_eigen(
        vector.as_mut(),
        &mut value,
        &shifted,
        start.as_ref(),
        1e-12,
        Par::Seq,
        MemStack::new(&mut memory),
        settings,
    );
    if found.n_converged_eigen == 0 { shift } else { value[0] - shift }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Key;

    /// Against the full decomposition: random symmetric matrices, one of them with eigenvalues far below zero.
    #[test]
    fn the_largest_eigenvalue_is_that_of_the_whole_spectrum() {
        for (n, offset) in [(1, 2.0), (2, 1.0), (128, 3.0), (129, 0.0), (200, -20.0), (200, 90.0)] {
            let normals = Key::new(n as u64).normals(0, n, n);
            let value = |i: usize, j: usize| f64::from(normals[i * n + j] + normals[j * n + i]);
            let matrix = Mat::from_fn(n, n, |i, j| value(i, j) + if i == j { offset } else { 0.0 });
            let all = matrix.self_adjoint_eigenvalues(Side::Lower).unwrap();
            let (found, expected) = (largest_eigenvalue(&matrix), all[n - 1]);
            assert!((found - expected).abs() < 1e-9 * (1.0 + expected.abs()), "{n}: {found} {expected}");
        }
    }
}
