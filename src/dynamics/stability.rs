//! The largest time step: both schemes of [`overdamped`](crate::dynamics::overdamped) are stable only below 2/λ.
//!
//! λ is the largest eigenvalue of √μ(C + sJs)√μ, where C is the curvature of each uncoupled well on the thermal
//! scale: 2J₂ + 12J₄⟨x²⟩ with ⟨x²⟩ ≤ min(kT/2J₂, √(kT/4J₄)). In a double well C is at least −4J₂, the curvature at
//! the minima, and at least 12J₄√(kT/4J₄), the curvature for a unit so hot that the barrier does not matter. Under a
//! protocol, λ is computed with the largest gains, the stiffest wells and the highest temperature at any knot.

use burn::tensor::Tensor;

use crate::error::{Error, Result};
use crate::network::protocol::Protocol;
use crate::network::quadratic::Symmetric;
use crate::network::substrate::Substrate;
use crate::tensors::to_f64;

impl Substrate {
    /// Refuses a time step beyond [`step_limit`](Self::step_limit).
    ///
    /// # Errors
    /// [`Error::StepTooLarge`] with the limit.
    pub fn check_step(&self, dt: f64) -> Result<()> {
        check_rates(dt, &relaxation_rates(self, None, &[], self.kt()))
    }

    /// The largest stable step, 2/λ.
    ///
    /// Strong fields drive units further out, where quartic wells are stiffer, so a step below the limit can still
    /// diverge. A step above it does diverge if the stiffest unit is harmonic.
    pub fn step_limit(&self) -> f64 {
        2.0 / relaxation_rates(self, None, &[], self.kt()).largest_eigenvalue()
    }
}

/// Refuses a time step that is too large at some knot of a protocol, and couplings under which units are not confined
/// at some time.
pub(crate) fn check_under(substrate: &Substrate, dt: f64, protocol: &Protocol) -> Result<()> {
    let controls = protocol.controls();
    // Between two knots, the softest wells and the largest gains of both are the worst case.
    for knot in 0..controls.len() {
        let both = &controls[knot..controls.len().min(knot + 2)];
        let softest = both.iter().filter_map(|control| control.well.clone()).reduce(Tensor::min_pair);
        let largest = both.iter().filter_map(|control| control.gain.clone().map(Tensor::abs));
        substrate.check_confinement_under(softest, largest.reduce(Tensor::max_pair))?;
    }
    let gains = controls.iter().filter_map(|control| control.gain.clone().map(Tensor::abs));
    let wells: Vec<Vec<f64>> =
        controls.iter().filter_map(|control| control.well.clone().map(to_f64)).collect();
    let kt = protocol.temperatures().map_or(substrate.kt(), |(_, highest)| highest);
    check_rates(dt, &relaxation_rates(substrate, gains.reduce(Tensor::max_pair), &wells, kt))
}

fn check_rates(dt: f64, rates: &Symmetric) -> Result<()> {
    // No eigenvalue is above this bound, and most steps are below its limit, so most need no eigenvalue.
    if dt < 2.0 / rates.bound() {
        return Ok(());
    }
    let rate = rates.largest_eigenvalue();
    let limit = 2.0 / rate;
    match dt < limit {
        true => Ok(()),
        false => Err(Error::StepTooLarge { dt, limit, rate }),
    }
}

/// √μ(C + sJs)√μ, with the stiffest wells that the shifts produce.
fn relaxation_rates(
    substrate: &Substrate,
    gain: Option<Tensor<2>>,
    shifts: &[Vec<f64>],
    kt: f64,
) -> Symmetric {
    let (j2, j4) =
        (substrate.unit_values(|group, i| group.j2.at(i)), substrate.unit_values(|group, i| group.j4.at(i)));
    let stiffest = |i: usize| {
        let shifted = shifts.iter().map(|shift| well_curvature(j2[i] + shift[i], j4[i], kt));
        shifted.reduce(f64::max).unwrap_or_else(|| well_curvature(j2[i], j4[i], kt))
    };
    let mobility = substrate.unit_values(|group, unit| group.mobility.at(unit));
    let mut pairs = substrate.steered_pairs(gain);
    pairs.iter_mut().for_each(|([i, j], value)| *value *= (mobility[*i] * mobility[*j]).sqrt());
    Symmetric { diagonal: (0..j2.len()).map(|i| mobility[i] * stiffest(i)).collect(), pairs }
}

/// The curvature of one well in the range where an uncoupled unit at `kt` moves.
fn well_curvature(j2: f64, j4: f64, kt: f64) -> f64 {
    let quartic = if j4 > 0.0 { (kt / (4.0 * j4)).sqrt() } else { f64::INFINITY };
    if j2 < 0.0 {
        return f64::max(-4.0 * j2, 12.0 * j4 * quartic);
    }
    let quadratic = if j2 > 0.0 { kt / (2.0 * j2) } else { f64::INFINITY };
    2.0 * j2 + 12.0 * j4 * quadratic.min(quartic)
}
