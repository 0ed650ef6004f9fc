//! What an answer costs a device, and a digital solver.
//!
//! A network in contact with a bath at its own temperature gives off heat when it is programmed, and none while it fluctuates in
//! equilibrium: A and b appear, the potential of x = 0 does not change, and the mean energy falls to its equilibrium,
//!
//! ```text
//! Q = −⟨V⟩ = ½ bᵀA⁻¹b − ½ n kT.                                                                       (35)
//! ```
//!
//! It is negative for b = 0: fluctuations are then taken from the bath. Where noise is not thermal but made by amplifiers, as in
//! what was built so far, friction gives off what noise puts in: ⟨|Ax − b|²⟩ = kT tr A per time and mobility. Nothing here counts how couplings are set, how
//! voltages are read, and what amplifiers consume.

use faer::Mat;

use crate::linear::machine::Machine;

/// Multiply–accumulates of a Cholesky factorisation and two triangular solutions of n unknowns.
pub fn cholesky_macs(n: usize) -> f64 {
    let n = n as f64;
    n.powi(3) / 6.0 + n * n
}

/// The heat of programming a network, (35), from the mean and the variances of x in its steady state, in the units of kT.
///
/// ⟨V⟩ = ½⟨xᵀAx⟩ − bᵀ⟨x⟩, and in equilibrium ⟨xᵀ(Ax − b)⟩ = n kT.
pub fn programming(mean: &Mat<f64>, b: &[f64], kt: f64) -> f64 {
    let work: f64 = b.iter().enumerate().map(|(i, b)| b * mean[(i, 0)]).sum();
    0.5 * work - 0.5 * b.len() as f64 * kt
}

/// The power of amplified noise into a machine, in kT per time: the trace of its drift, without the filters of its read-out.
///
/// That of an overdamped network is tr A, that of a damped one nγ, and that of an RLC array tr C⁻¹/R; where the noise is not of
/// one temperature, energies are ½|x|² and this is right as far as A + Aᵀ = D.
pub fn driven(machine: &Machine) -> f64 {
    let drift = machine.system.drift();
    (0..machine.unfiltered()).map(|i| drift[(i, i)]).sum()
}
