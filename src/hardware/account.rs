//! The energy of one inference on a device: what is measured, what is assumed, and what a digital network would
//! spend.
//!
//! | line | in kT | assumption |
//! |---|---|---|
//! | trajectory | ⟨Q⟩ = ⟨V(x₀) − V(x(t_f))⟩, equation (9) | none: the simulation gives it |
//! | reset | ⟨V₀(x(t_f)) − V₀(x₀)⟩ with V₀ = Σ(J₂x² + J₄x⁴) | couplings and fields are switched off instantly, and the units relax in their wells |
//! | clamping | Σ⟨C (V₀X)²⟩/k_BT | every clamped unit is a line of capacitance C that is charged from a supply and discharged: CV² |
//! | conversion | clamped units · 2^bits · price | inputs arrive as numbers, through converters with the same price per step as those of the read-out |
//! | read-out | read units · 2^bits · price | one analogue-to-digital conversion per unit, at a price per conversion step |
//! | digital | multiply–accumulates · price | the conventional network with the same layers |
//!
//! Trajectory and reset together are the work done on the device by switching couplings and fields on and off in one
//! cycle that ends as it began, at rest or in thermal noise; all of it becomes heat. These two lines scale with kT.
//! The other lines are costs of electronics and do not. No line covers the amplifiers that realise couplings, their
//! bias currents, clocks, memory or control.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::export::circuit::Scales;
use crate::network::substrate::Substrate;
use crate::tensors::to_f64;
use crate::units::thermal_energy;

/// Prices and sizes that a simulation cannot provide.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assumptions {
    /// The temperature of the bath.
    pub kelvin: f64,
    /// The capacitance of the line of a clamped unit.
    pub farads: f64,
    /// Volts per unit of X; if none, the voltage of thermal noise, √(k_BT/C).
    pub volts: Option<f64>,
    /// Bits of a conversion.
    pub bits: u32,
    /// Joules per conversion step: the energy of a conversion over 2^bits.
    pub conversion_joules: f64,
    /// Joules per multiply–accumulate.
    pub mac_joules: f64,
}

impl Default for Assumptions {
    /// 300 K, 1 fF, 8 bits at 10 fJ per step (the order of magnitude of good converters: B. Murmann, "ADC Performance
    /// Survey 1997–2024"), 1 pJ per multiply–accumulate (M. Horowitz, ISSCC 2014).
    fn default() -> Self {
        Self {
            kelvin: 300.0,
            farads: 1e-15,
            volts: None,
            bits: 8,
            conversion_joules: 1e-14,
            mac_joules: 1e-12,
        }
    }
}

impl Assumptions {
    /// Checks that prices and sizes are in range.
    ///
    /// # Errors
    /// [`Error::Constant`] when one is not positive, or when the number of bits is out of range.
    pub fn validate(&self) -> Result<()> {
        let positive = [
            ("kelvin", self.kelvin),
            ("farads", self.farads),
            ("volts", self.volts()),
            ("energy of a conversion step", self.conversion_joules),
            ("energy of a multiply–accumulate", self.mac_joules),
        ];
        let odd = positive.into_iter().find(|(_, value)| !(*value > 0.0 && value.is_finite()));
        let (name, value, expected) = match odd {
            Some((name, value)) => (name, value, "must be positive"),
            None if (1..=32).contains(&self.bits) => return Ok(()),
            None => ("bits of a conversion", self.bits.into(), "must be from 1 to 32"),
        };
        Err(Error::Constant { name: name.into(), value, expected })
    }

    fn volts(&self) -> f64 {
        self.volts.unwrap_or_else(|| Scales::thermal(self.farads, 1.0, self.kelvin).volts)
    }
}

/// What a simulation measures, as means over inferences.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Measured {
    /// Heat of the trajectory, in kT.
    pub heat: f64,
    /// Energy in the wells at the end minus that at the start, in kT: [`reset`].
    pub reset: f64,
    /// ΣX² over the clamped units.
    pub clamped_square: f64,
    /// How many units are clamped.
    pub clamped: usize,
    /// How many units are read.
    pub read: usize,
    /// Multiply–accumulates of the conventional network, if there is one.
    pub macs: Option<f64>,
}

/// ⟨V₀(x(t_f)) − V₀(x₀)⟩ over trajectories from x₀ to x, in kT.
///
/// # Shapes
/// `x0` and `x` `[batch, unit]`.
pub fn reset(substrate: &Substrate, x0: Tensor<2>, x: Tensor<2>) -> f64 {
    let wells = |x| to_f64(substrate.potential().wells(x));
    let (before, after) = (wells(x0), wells(x));
    let gained: f64 = after.iter().zip(&before).map(|(after, before)| after - before).sum();
    gained / after.len() as f64 / substrate.kt()
}

/// One line of the account.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Line {
    /// What is paid for.
    pub name: &'static str,
    /// In kT of the bath.
    pub kt: f64,
    /// In joules.
    pub joules: f64,
    /// Where the number comes from.
    pub basis: String,
}

/// The account of one inference.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Account {
    /// What was assumed.
    pub assumptions: Assumptions,
    /// What was measured.
    pub measured: Measured,
    /// Trajectory, reset, clamping, conversion, read-out.
    pub lines: Vec<Line>,
    /// Their sum, in joules.
    pub total_joules: f64,
    /// The conventional network.
    pub digital: Option<Line>,
}

impl Account {
    /// Computes the account.
    ///
    /// # Errors
    /// Those of [`Assumptions::validate`].
    pub fn new(measured: Measured, assumptions: Assumptions) -> Result<Self> {
        assumptions.validate()?;
        let Assumptions { kelvin, farads, bits, conversion_joules, mac_joules, .. } = assumptions;
        let volts = assumptions.volts();
        let kt = thermal_energy(kelvin);
        let line = |name, joules: f64, basis: String| Line { name, kt: joules / kt, joules, basis };
        let conversions = |units: usize| units as f64 * 2_f64.powi(bits as i32) * conversion_joules;
        let price = format!("{bits} bits at {conversion_joules:e} J per step");
        let lines = vec![
            line("trajectory", measured.heat * kt, "measured: V(0) - V(t_f), inputs held".into()),
            line("reset", measured.reset * kt, "measured: couplings off, units relax in their wells".into()),
            line(
                "clamping",
                farads * volts * volts * measured.clamped_square,
                format!(
                    "assumed: {} lines of {farads:e} F charged to X times {volts:.2e} V and discharged",
                    measured.clamped
                ),
            ),
            line(
                "conversion",
                conversions(measured.clamped),
                format!("assumed: {} inputs, {price}", measured.clamped),
            ),
            line(
                "read-out",
                conversions(measured.read),
                format!("assumed: {} outputs, {price}", measured.read),
            ),
        ];
        let total_joules = lines.iter().map(|line| line.joules).sum();
        let digital = measured.macs.map(|macs| {
            let basis = format!("assumed: {macs:.0} multiply-accumulates at {mac_joules:e} J");
            line("digital network", macs * mac_joules, basis)
        });
        Ok(Self { assumptions, measured, lines, total_joules, digital })
    }

    /// The energy of the digital network over the sum of the first `lines` lines.
    pub fn ratio(&self, lines: usize) -> Option<f64> {
        let spent: f64 = self.lines.iter().take(lines).map(|line| line.joules).sum();
        self.digital.as_ref().map(|digital| digital.joules / spent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand: at 300 K, kT is 4.1419e-21 J; with V₀ = √(kT/C), a clamped unit with X² = 1 costs one kT.
    #[test]
    fn lines_add_up_to_the_numbers_of_a_calculator() {
        let measured = Measured {
            heat: 1000.0,
            reset: 50.0,
            clamped_square: 200.0,
            clamped: 4,
            read: 2,
            macs: Some(1e4),
        };
        let account = Account::new(measured, Assumptions::default()).unwrap();
        let kt: Vec<f64> = account.lines.iter().map(|line| line.kt).collect();
        let step = 256.0 * 1e-14 / 4.141_947e-21;
        let expected = [1000.0, 50.0, 200.0, 4.0 * step, 2.0 * step];
        for (found, expected) in kt.iter().zip(expected) {
            assert!((found / expected - 1.0).abs() < 1e-6, "{kt:?}");
        }
        assert!((account.ratio(5).unwrap() - 1e-8 / account.total_joules).abs() < 1e-6);
        assert!((account.total_joules / (6.0 * 2.56e-12) - 1.0).abs() < 1e-6);
        let free = Assumptions { mac_joules: 0.0, ..Assumptions::default() };
        assert!(Account::new(measured, free).is_err());
        for bits in [0, 33, 4_000_000_000] {
            let odd = Account::new(measured, Assumptions { bits, ..Assumptions::default() });
            assert!(odd.unwrap_err().to_string().contains("bits of a conversion"));
        }
    }
}
