//! How long a machine must be averaged, and in how many chains, from the spectrum of A.
//!
//! An average over a time T of a machine in equilibrium, overdamped and at temperature kT, has the mean squared errors
//!
//! ```text
//! E‖x̄ − A⁻¹b‖² = (2kT/T) Σ_i λ_i⁻²,      E‖Σ̂ − kT A⁻¹‖_F² = (2kT²/T) Σ_ij (1 + δ_ij)/(λ_i λ_j (λ_i + λ_j)),       (32)
//! E(q̄ − ⟨q⟩)² = (4kT²/T) Σ_ij M_ij²/(λ_i λ_j (λ_i + λ_j))      of q = xᵀMx
//! ```
//!
//! with λ the eigenvalues of A, and M in their basis: twice the integrals of the autocovariances kT e^(−λt)/λ, and of the products of two of them,
//! which is Isserlis' theorem for the fourth moments of normal variables. M. Aifer et al., "Thermodynamic linear algebra", npj
//! Unconventional Computing 1, 13 (2024), give the same scaling.
//!
//! Chains run side by side, and each has a burn-in B of its own; from few of them the error is known less well, and an interval
//! by Student's t is wider by w_N = t_(N−1)/t_∞ at 95 %. Both cost time of the machine,
//!
//! ```text
//! T w_N² + N B                                                                                            (40)
//! ```
//!
//! in all, which has its minimum near N = √(2.4 T/B).

use faer::Mat;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal, StudentsT};
use thermograd::OrnsteinUhlenbeck;

/// How long an average is.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Until {
    /// The standard error of the answer: relative to its norm, or absolute for a logarithm of a determinant.
    Error(f64),
    /// The time that is averaged, of all chains and machines together, in units of the slowest time constant.
    Time(f64),
}

/// Slowest time constants that are left out at the beginning, at least.
const BURN_IN: f64 = 5.0;

/// The same where no error is asked for.
pub const LONG_BURN_IN: f64 = 10.0;

impl Until {
    /// Slowest time constants that are left out at the beginning.
    pub fn burn_in(self) -> f64 {
        match self {
            Self::Error(error) => BURN_IN.max((20.0 / error).ln()),
            Self::Time(_) => LONG_BURN_IN,
        }
    }
}

/// T·E‖x̄ − A⁻¹b‖².
pub fn of_position(rates: &[f64], kt: f64) -> f64 {
    2.0 * kt * rates.iter().map(|rate| rate.powi(-2)).sum::<f64>()
}

/// T·E‖Σ̂ − kT A⁻¹‖_F².
pub fn of_square(rates: &[f64], kt: f64) -> f64 {
    let term = |i: usize, j: usize| {
        let (a, b) = (rates[i], rates[j]);
        (if i == j { 2.0 } else { 1.0 }) / (a * b * (a + b))
    };
    let all = (0..rates.len()).flat_map(|i| (0..rates.len()).map(move |j| (i, j)));
    2.0 * kt * kt * all.map(|(i, j)| term(i, j)).sum::<f64>()
}

/// ‖kT A⁻¹‖_F.
pub fn norm_of_inverse(rates: &[f64], kt: f64) -> f64 {
    kt * rates.iter().map(|rate| rate.powi(-2)).sum::<f64>().sqrt()
}

/// T·E(q̄ − ⟨q⟩)² of q = xᵀMx, where A is symmetric: by its eigenvectors, of which the machine knows nothing. None for other machines.
pub fn of_form(system: &OrnsteinUhlenbeck, form: &Mat<f64>, kt: f64) -> Option<f64> {
    let (modes, vectors) = system.modes()?;
    let (form, rates) = (vectors.transpose() * form * &vectors, modes.rates());
    let term = |i: usize, j: usize| {
        let (a, b) = (rates[i], rates[j]);
        form[(i, j)].powi(2) / (a * b * (a + b))
    };
    let all = (0..rates.len()).flat_map(|j| (0..rates.len()).map(move |i| (i, j)));
    Some(4.0 * kt * kt * all.map(|(i, j)| term(i, j)).sum::<f64>())
}

/// How many standard errors of `groups` values an interval reaches to each side, at a level such as 0.95.
pub fn quantile(groups: usize, level: f64) -> f64 {
    let t = StudentsT::new(0.0, 1.0, (groups - 1) as f64).expect("two groups at least");
    t.inverse_cdf(0.5 + 0.5 * level)
}

/// How much wider an interval of 95 % is for so few groups.
pub fn widening(groups: usize) -> f64 {
    quantile(groups, 0.95) / Normal::standard().inverse_cdf(0.975)
}

/// Chains, where theory does not tell.
pub const CHAINS: usize = 32;

/// Chains that theory may choose: the spread of fewer is hardly known, and more take memory.
const RANGE: std::ops::RangeInclusive<usize> = 8..=128;

/// The number of chains whose time is least by (40), for averages of T in all and a burn-in of B each, in the same unit.
pub fn chains(time: f64, burn_in: f64) -> usize {
    let all = |chains: usize| time * widening(chains).powi(2) + chains as f64 * burn_in;
    RANGE.min_by(|&a, &b| all(a).total_cmp(&all(b))).unwrap_or(CHAINS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_cost_their_burn_in_and_save_what_an_interval_is_wider() {
        // Student's t of 1, 7 and 31 degrees of freedom, from tables.
        for (groups, t) in [(2, 12.706), (8, 2.365), (32, 2.040)] {
            assert!((quantile(groups, 0.95) - t).abs() < 5e-4, "{groups}");
        }
        for time in [500.0, 2e3, 3e4] {
            let (found, near) = (chains(time, 6.0) as f64, 1.0 + (2.42 * time / 6.0_f64).sqrt());
            assert!((found / near - 1.0).abs() < 0.15, "{time}: {found}, {near}");
        }
        assert_eq!((chains(1.0, 6.0), chains(1e9, 6.0)), (8, 128));
    }
}
