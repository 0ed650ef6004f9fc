//! Conversion between reduced units and SI units.
//!
//! The crate computes in reduced units: energy in units of a reference thermal energy, time in units of 1/μ, and
//! dimensionless couplings, biases and displacements. The constants for joules are in this module only.

/// Boltzmann's constant in J/K (exact, SI 2019).
pub const BOLTZMANN: f64 = 1.380_649e-23;

/// Room temperature in K, at which heat is compared with digital hardware: kT = 4.14e-21 J.
pub const ROOM_TEMPERATURE: f64 = 300.0;

/// kT in joules at `kelvin`.
pub fn thermal_energy(kelvin: f64) -> f64 {
    BOLTZMANN * kelvin
}

/// The energy of `count` multiply–accumulates at `picojoule` each, in units of kT at 300 K.
///
/// A price of 1 pJ per multiply–accumulate is the order of magnitude of digital hardware without its memory traffic
/// (M. Horowitz, "Computing's energy problem", ISSCC 2014: 4.6 pJ for a 32-bit floating-point multiply and add at 45
/// nm). State the price wherever the ratio is stated.
pub fn digital_energy_kt(count: f64, picojoule: f64) -> f64 {
    count * picojoule * 1e-12 / thermal_energy(ROOM_TEMPERATURE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_multilayer_perceptron_in_kt() {
        let energy = digital_energy_kt(50_816.0, 1.0);
        assert!((energy / 1.2269e13 - 1.0).abs() < 1e-3, "{energy:e}");
    }
}
