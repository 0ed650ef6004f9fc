//! What a real circuit of heat makes of its conductances, and what an inference and its programming cost.
//!
//! | line | in J | assumption |
//! |---|---|---|
//! | inference | the heat that warm inputs give up | none in units of C₀ΔT; C₀ and ΔT are given |
//! | conversion | inputs and outputs · 2^bits · price | one conversion a pixel and an output, as in the account of couplings |
//! | programming | conductances · price of a write | every conductance once; phase change in nanoseconds, or fluids that are moved in seconds |
//!
//! Nothing is counted for heating and cooling the reservoirs themselves, for sensors and for control.

use serde::{Deserialize, Serialize};
use thermograd::{HeatCircuit, Key, Link, Node};

use crate::error::{Error, Result};

/// How conductances are set.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Writing {
    /// Seconds of a write.
    pub seconds: f64,
    /// Joules of a write.
    pub joules: f64,
}

impl Writing {
    /// A phase-change cell: 100 ns and 100 pJ, the order of magnitude of electrical memories of that kind (H.-S. P. Wong et al., Proc.
    /// IEEE 98, 2201, 2010).
    pub const PHASE_CHANGE: Self = Self { seconds: 1e-7, joules: 1e-10 };
    /// A microfluidic channel that is filled: a second and a millijoule, an assumption.
    pub const MICROFLUIDIC: Self = Self { seconds: 1.0, joules: 1e-3 };
}

/// Sizes and prices that a simulation cannot provide.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThermalAssumptions {
    /// T_env, in K.
    pub kelvin: f64,
    /// C₀, in J/K.
    pub capacity: f64,
    /// K₀, in W/K.
    pub conductance: f64,
    /// Bits of a conversion.
    pub bits: u32,
    /// Joules of a conversion step.
    pub conversion_joules: f64,
}

impl Default for ThermalAssumptions {
    /// 300 K; 1 pJ/K and 1 µW/K, about a cubic micrometre of silicon on a bridge of a micrometre; 8 bits at 10 fJ a step.
    fn default() -> Self {
        Self { kelvin: 300.0, capacity: 1e-12, conductance: 1e-6, bits: 8, conversion_joules: 1e-14 }
    }
}

/// Energy and time of one inference, and of programming.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct ThermalAccount {
    /// ΔT, in K.
    pub delta_kelvin: f64,
    /// σ of a node of this capacity at the real Boltzmann constant.
    pub sigma: f64,
    /// Heat drawn, in J.
    pub drawn_joules: f64,
    /// The same in units of k_BT_env.
    pub drawn_kt: f64,
    /// Of converters.
    pub conversion_joules: f64,
    /// Of an inference.
    pub seconds: f64,
    /// Conductances that are written.
    pub writes: usize,
    /// Programming by phase change.
    pub phase_change: Writing,
    /// Programming by moving fluids, one after the other.
    pub microfluidic: Writing,
}

impl ThermalAssumptions {
    /// The account of an inference that draws this heat, in units of C₀ΔT, in a time in units of C₀/K₀, of a network of so many
    /// inputs (pixels) and outputs in surroundings of T_env/ΔT.
    ///
    /// # Errors
    /// [`Error::Request`] for sizes and prices that are not positive.
    pub fn account(
        &self,
        drawn: f64,
        time: f64,
        surroundings: f64,
        converted: usize,
        writes: usize,
    ) -> Result<ThermalAccount> {
        let all = [
            ("kelvin", self.kelvin),
            ("capacity", self.capacity),
            ("conductance", self.conductance),
            ("conversion_joules", self.conversion_joules),
        ];
        if let Some((name, value)) = all.into_iter().find(|(_, value)| !(*value > 0.0 && value.is_finite())) {
            return Err(Error::Request(format!("{name} = {value}: it must be positive and finite")));
        }
        if !(1..=32).contains(&self.bits) {
            return Err(Error::Request(format!("bits = {}: between 1 and 32 are possible", self.bits)));
        }
        let (delta, boltzmann) = (self.kelvin / surroundings, thermograd::units::BOLTZMANN);
        let drawn_joules = drawn * self.capacity * delta;
        let times = |writing: Writing| Writing {
            seconds: writes as f64 * writing.seconds,
            joules: writes as f64 * writing.joules,
        };
        Ok(ThermalAccount {
            delta_kelvin: delta,
            sigma: (boltzmann / self.capacity).sqrt() * surroundings,
            drawn_joules,
            drawn_kt: drawn_joules / (boltzmann * self.kelvin),
            conversion_joules: converted as f64 * f64::from(self.bits).exp2() * self.conversion_joules,
            seconds: time * self.capacity / self.conductance,
            writes,
            phase_change: times(Writing::PHASE_CHANGE),
            microfluidic: times(Writing::MICROFLUIDIC),
        })
    }
}

/// What conductances of a made circuit are.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Flaw {
    /// So many levels, evenly spaced in the logarithm between the smallest and the largest.
    Levels(usize),
    /// Each is multiplied by e^(s.d. times a normal number).
    Mismatch(f64),
}

/// The circuit with such conductances; leaks are conductances too.
///
/// # Errors
/// [`Error::Request`] for fewer than two levels and a mismatch that is negative or not finite.
pub fn flawed(circuit: &HeatCircuit, flaw: Flaw, key: Key) -> Result<HeatCircuit> {
    match flaw {
        Flaw::Levels(levels) if levels < 2 => {
            return Err(Error::Request(format!("{levels} levels: two are needed")));
        }
        Flaw::Mismatch(sd) if !(sd >= 0.0 && sd.is_finite()) => {
            return Err(Error::Request(format!("mismatch {sd}: it must be finite and not negative")));
        }
        _ => {}
    }
    let all = || circuit.links().iter().map(|link| link.conductance).chain(circuit.leaks().iter().copied());
    let some = || all().filter(|k| *k > 0.0);
    let (low, high) = (some().fold(f64::INFINITY, f64::min).ln(), some().fold(0.0, f64::max).ln());
    let normals = key.normals(0, 1, all().count());
    let changed = |(k, normal): (f64, &f32)| match flaw {
        _ if k == 0.0 => 0.0,
        Flaw::Levels(levels) => {
            let step = (high - low).max(f64::MIN_POSITIVE) / (levels - 1) as f64;
            (low + ((k.ln() - low) / step).round() * step).exp()
        }
        Flaw::Mismatch(sd) => k * (sd * f64::from(*normal)).exp(),
    };
    let new: Vec<f64> = all().zip(&normals).map(changed).collect();
    let (links, leaks) = new.split_at(circuit.links().len());
    let links =
        circuit.links().iter().zip(links).map(|(link, &conductance)| Link { conductance, ..*link }).collect();
    let nodes: Vec<Node> = circuit.nodes().to_vec();
    Ok(HeatCircuit::new(nodes, links, leaks.to_vec(), circuit.surroundings())?)
}
