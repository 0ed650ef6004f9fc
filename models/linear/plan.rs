//! How long a machine must be averaged, from the spectrum of A.
//!
//! An average over a time T of a machine in equilibrium, overdamped and at temperature kT, has the mean squared errors
//!
//! ```text
//! E‖x̄ − A⁻¹b‖² = (2kT/T) Σ_i λ_i⁻²,      E‖Σ̂ − kT A⁻¹‖_F² = (2kT²/T) Σ_ij (1 + δ_ij)/(λ_i λ_j (λ_i + λ_j))        (32)
//! ```
//!
//! with λ the eigenvalues of A: twice the integrals of the autocovariances kT e^(−λt)/λ, and of the products of two of them,
//! which is Isserlis' theorem for the fourth moments of normal variables. M. Aifer et al., "Thermodynamic linear algebra", npj
//! Unconventional Computing 1, 13 (2024), give the same scaling.

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
