//! Hardware imperfections: a device as a wrapper of the ideal substrate.
//!
//! Nothing here changes the dynamics. Most [imperfections](Imperfection) produce another [`Substrate`], with other
//! couplings, wells or temperature. Two act while a device is used and are stored next to the substrate: noise of the
//! read-out, and couplings that follow their units with a [delay](crate::hardware::delay).

use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::dynamics::run::{Step, run};
use crate::error::{Error, Result};
use crate::hardware::delay::Delayed;
use crate::network::substrate::{Substrate, SubstrateConfig};
use crate::network::topology::{Block, Group, PerUnit};
use crate::noise::Key;
use crate::schedule::Schedule;
use crate::tensors::to_f64;

/// Which couplings share one full scale when they are quantised.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// All couplings between two groups.
    Block,
    /// The couplings from one group to one unit of the other (the group that a block names last); within a group, all
    /// couplings.
    #[default]
    Unit,
}

/// One way in which a device differs from the ideal one.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Imperfection {
    /// Couplings are rounded to 2^bits − 1 equally spaced levels, one of them zero, and biases likewise with one
    /// scale per group. The full scale is chosen for the least squared error.
    Quantised {
        /// At least 2.
        bits: u32,
        /// Which couplings share a full scale.
        scale: Scale,
    },
    /// Couplings and biases are multiplied by 1 + sd·η, each with its own standard normal η.
    Mismatch {
        /// The relative standard deviation.
        sd: f64,
    },
    /// Couplings are clipped at ±limit.
    Range {
        /// The largest magnitude, as an energy.
        limit: f64,
    },
    /// Each free unit keeps its strongest couplings. A coupling between two free units must be among the strongest of
    /// both.
    FanIn {
        /// How many couplings a unit keeps.
        limit: usize,
    },
    /// A bath at another temperature.
    Temperature {
        /// kT is multiplied by this factor.
        factor: f64,
    },
    /// A drift of the wells of all free units.
    Wells {
        /// J₂ is multiplied by this factor.
        j2: f64,
        /// J₄ is multiplied by this factor.
        j4: f64,
    },
    /// J₂, J₄ and μ of every free unit are multiplied by 1 + sd·η, each with its own standard normal η.
    UnitMismatch {
        /// The relative standard deviation.
        sd: f64,
    },
    /// Independent normal noise on every value that is read.
    ReadOut {
        /// Its standard deviation, in the units of x.
        sd: f64,
    },
    /// Couplings that follow their units with bandwidth ω.
    Bandwidth {
        /// ω, in units of 1/time.
        rate: f64,
    },
}

/// A device: the substrate as manufactured, and how it is read.
#[derive(Clone, Debug)]
pub struct Hardware {
    /// Its actual couplings, wells and temperature.
    pub substrate: Substrate,
    /// The standard deviation of the read-out noise.
    pub read_out: f64,
    /// The bandwidth of its couplings; infinite if none.
    pub bandwidth: Option<f64>,
    /// ∂(actual coupling)/∂(intended coupling) for every parameter; 1 if none.
    slope: Option<Substrate>,
}

impl Hardware {
    /// The ideal device.
    pub fn ideal(substrate: Substrate) -> Self {
        Self { substrate, read_out: 0.0, bandwidth: None, slope: None }
    }

    /// The device with one more imperfection. The key stands for the specimen: another key gives another device, and
    /// a whole batch runs on the same one.
    ///
    /// # Errors
    /// [`Error::Constant`] when a parameter is out of range, [`Error::NotConfining`] when drifted wells no longer
    /// confine their units.
    pub fn with(self, imperfection: Imperfection, key: Key) -> Result<Self> {
        let (Self { substrate, .. }, key) = (&self, key.batch());
        let substrate = match imperfection {
            Imperfection::Quantised { bits, scale } => {
                check("bits", f64::from(bits), (2..=24).contains(&bits), "must be 2 to 24")?;
                quantised(substrate, bits, scale)?
            }
            Imperfection::Mismatch { sd } => {
                check("mismatch", sd, sd >= 0.0, "must not be negative")?;
                let key = key.fork("mismatch");
                let substrate = mismatched(substrate, sd, key)?;
                let slope = self.slope.map_or_else(|| ones(&substrate), Ok)?;
                return Ok(Self { substrate, slope: Some(mismatched(&slope, sd, key)?), ..self });
            }
            Imperfection::Range { limit } => {
                check("coupling range", limit, limit >= 0.0, "must not be negative")?;
                each_block(substrate, |_, couplings| {
                    couplings.iter().map(|j| j.clamp(-limit, limit)).collect()
                })?
            }
            Imperfection::FanIn { limit } => fanned_in(substrate, limit)?,
            Imperfection::Temperature { factor } => {
                check("temperature", factor, factor >= 0.0, "must not be negative")?;
                let kt = substrate.kt() * factor;
                substrate.clone().with_config(substrate.config().clone().with_kt(kt))?
            }
            Imperfection::Wells { j2, j4 } => drifted(substrate, j2, j4)?,
            Imperfection::UnitMismatch { sd } => {
                check("mismatch of units", sd, sd >= 0.0, "must not be negative")?;
                unlike(substrate, sd, key.fork("unit mismatch"))?
            }
            Imperfection::ReadOut { sd } => {
                check("read-out noise", sd, sd >= 0.0, "must not be negative")?;
                return Ok(Self { read_out: self.read_out.hypot(sd), ..self });
            }
            Imperfection::Bandwidth { rate } => {
                check("bandwidth", rate, rate > 0.0, "must be positive")?;
                return Ok(Self {
                    bandwidth: Some(self.bandwidth.map_or(rate, |own| own.min(rate))),
                    ..self
                });
            }
        };
        Ok(Self { substrate, ..self })
    }

    /// Turns the gradient with respect to the actual couplings into the gradient with respect to the intended ones.
    /// It passes rounding, clipping and limited fan-in unchanged (straight-through estimator), because these have no
    /// useful derivative (Y. Bengio et al., arXiv:1308.3432 (2013)).
    pub fn pull_back(&self, mut gradients: GradientsParams) -> GradientsParams {
        let Some(slope) = &self.slope else {
            return gradients;
        };
        for parameter in slope.couplings.iter().chain(&slope.biases) {
            if let Some(gradient) = gradients.remove::<2>(parameter.id) {
                gradients.register(parameter.id, gradient * parameter.val());
            }
        }
        gradients
    }

    /// Runs the device at constant clamped values.
    ///
    /// # Shapes
    /// As [`Substrate::simulate`].
    ///
    /// # Errors
    /// As [`Substrate::simulate`].
    pub fn simulate(
        &self,
        x0: Tensor<2>,
        field: Tensor<2>,
        schedule: Schedule,
        key: Key,
        mut observe: impl FnMut(&Step),
    ) -> Result<Tensor<2>> {
        let Some(rate) = self.bandwidth else {
            return self.substrate.simulate(x0, field, schedule, key, observe);
        };
        let delayed = Delayed::new(&self.substrate, field, rate, schedule.dt, key)?;
        let seen = |step: &Step<_>| observe(&delayed.displacements(step));
        Ok(run(&delayed, delayed.at_rest(x0), schedule.steps, seen)?.x)
    }

    /// The read-out of a state.
    ///
    /// # Shapes
    /// `[batch, unit]` → `[batch, unit]`.
    pub fn read(&self, x: Tensor<2>, key: Key) -> Tensor<2> {
        if self.read_out == 0.0 {
            return x;
        }
        let [batch, units] = x.dims();
        let noise = key.normals(0, batch, units);
        let noise = Tensor::from_data(TensorData::new(noise, [batch, units]), (&x.device(), x.dtype()));
        x + noise * self.read_out
    }
}

fn check(name: &str, value: f64, good: bool, expected: &'static str) -> Result<()> {
    match good && value.is_finite() {
        true => Ok(()),
        false => Err(Error::Constant { name: name.into(), value, expected }),
    }
}

/// The substrate with the couplings of every block replaced by a function of them, each pair once.
fn each_block(substrate: &Substrate, change: impl Fn(&Block, &[f64]) -> Vec<f64>) -> Result<Substrate> {
    let mut blocks = substrate.topology().blocks.iter().enumerate();
    blocks.try_fold(substrate.clone(), |substrate, (index, block)| {
        let couplings = change(block, &substrate.pair_couplings(index));
        substrate.with_pair_couplings(index, &couplings)
    })
}

fn with_bias(substrate: Substrate, bias: Vec<f64>) -> Result<Substrate> {
    let shape = [1, bias.len()];
    let bias = Tensor::from_data(TensorData::new(bias, shape), substrate.options());
    substrate.with_bias(bias)
}

/// Ones in the shapes of all couplings and biases.
fn ones(substrate: &Substrate) -> Result<Substrate> {
    let ones = each_block(substrate, |_, couplings| vec![1.0; couplings.len()])?;
    with_bias(ones, vec![1.0; substrate.free_units()])
}

fn mismatched(substrate: &Substrate, sd: f64, key: Key) -> Result<Substrate> {
    let factors = |index: u64, count: usize| -> Vec<f64> {
        key.at(index).normals(0, 1, count).into_iter().map(|normal| 1.0 + sd * f64::from(normal)).collect()
    };
    let mut made = substrate.clone();
    for index in 0..substrate.topology().blocks.len() {
        let mut couplings = substrate.pair_couplings(index);
        let factors = factors(1 + index as u64, couplings.len());
        couplings.iter_mut().zip(factors).for_each(|(coupling, factor)| *coupling *= factor);
        made = made.with_pair_couplings(index, &couplings)?;
    }
    let bias = to_f64(substrate.bias());
    let factors = factors(0, bias.len());
    with_bias(made, bias.iter().zip(factors).map(|(bias, factor)| bias * factor).collect())
}

fn quantised(substrate: &Substrate, bits: u32, scale: Scale) -> Result<Substrate> {
    let topology = substrate.topology();
    let made = each_block(substrate, |block, couplings| {
        let apart = scale == Scale::Unit && block.from != block.to;
        let columns = if apart { topology.units(&block.to) } else { 1 };
        let column = |[_, j]: [usize; 2]| if apart { j } else { 0 };
        let mut shares = vec![Vec::new(); columns];
        for (pair, coupling) in topology.pairs(block).zip(couplings) {
            shares[column(pair)].push(*coupling);
        }
        let steps: Vec<f64> = shares.iter().map(|share| level_spacing(share, bits)).collect();
        let rounded = topology.pairs(block).zip(couplings);
        rounded.map(|(pair, coupling)| round_to_level(*coupling, steps[column(pair)], bits)).collect()
    })?;
    let mut bias = to_f64(substrate.bias());
    for group in topology.free() {
        let local = &mut bias[topology.columns(&group.name)?];
        let step = level_spacing(local, bits);
        local.iter_mut().for_each(|bias| *bias = round_to_level(*bias, step, bits));
    }
    with_bias(made, bias)
}

/// The largest level in units of the spacing: 2^(bits − 1) − 1.
fn levels(bits: u32) -> f64 {
    f64::from((1_u32 << (bits - 1)) - 1)
}

fn round_to_level(value: f64, step: f64, bits: u32) -> f64 {
    let most = levels(bits);
    // Adding zero turns −0 into 0, so the two are one level.
    if step > 0.0 { (value / step).round().clamp(-most, most) * step + 0.0 } else { 0.0 }
}

/// The spacing of levels with the least squared rounding error, among those that put the highest level at 4/16, 5/16,
/// … 16/16 of the largest magnitude.
fn level_spacing(values: &[f64], bits: u32) -> f64 {
    let largest = values.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    let error = |step: f64| -> f64 {
        values.iter().map(|&value| (round_to_level(value, step, bits) - value).powi(2)).sum()
    };
    let spacings = (4..=16).map(|sixteenths| largest * f64::from(sixteenths) / 16.0 / levels(bits));
    spacings.min_by(|&a, &b| error(a).total_cmp(&error(b))).unwrap_or(0.0)
}

fn fanned_in(substrate: &Substrate, limit: usize) -> Result<Substrate> {
    let topology = substrate.topology();
    let all: Vec<Vec<f64>> =
        (0..topology.blocks.len()).map(|block| substrate.pair_couplings(block)).collect();
    // For each unit, the couplings (block, index) that reach it.
    let mut reaching = vec![Vec::new(); substrate.free_units()];
    for (index, block) in topology.blocks.iter().enumerate() {
        let ends =
            [&block.from, &block.to].map(|name| topology.columns(name).ok().map(|columns| columns.start));
        for (index_of_pair, pair) in topology.pairs(block).enumerate() {
            for (start, unit) in ends.iter().zip(pair) {
                if let Some(start) = start {
                    reaching[start + unit].push((index, index_of_pair));
                }
            }
        }
    }
    let mut kept = all.clone();
    for couplings in &mut reaching {
        // The strongest first; among equals, the first one is kept.
        couplings.sort_by(|a, b| all[b.0][b.1].abs().total_cmp(&all[a.0][a.1].abs()));
        couplings.iter().skip(limit).for_each(|&(block, pair)| kept[block][pair] = 0.0);
    }
    let with =
        |made: Substrate, (index, couplings): (usize, &Vec<f64>)| made.with_pair_couplings(index, couplings);
    kept.iter().enumerate().try_fold(substrate.clone(), with)
}

fn drifted(substrate: &Substrate, j2: f64, j4: f64) -> Result<Substrate> {
    let mut config: SubstrateConfig = substrate.config().clone();
    for group in config.topology.groups.iter_mut().filter(|group| !group.clamped) {
        (group.j2, group.j4) = (group.j2.map(|own| own * j2), group.j4.map(|own| own * j4));
    }
    substrate.clone().with_config(config)
}

/// Multiplies every constant of every free unit by its own factor.
fn unlike(substrate: &Substrate, sd: f64, key: Key) -> Result<Substrate> {
    let mut config: SubstrateConfig = substrate.config().clone();
    for (index, group) in config.topology.groups.iter_mut().enumerate().filter(|(_, group)| !group.clamped) {
        let Group { units, j2, j4, mobility, .. } = group;
        for (constant, name) in [(j2, "J2"), (j4, "J4"), (mobility, "mobility")] {
            let normals = key.at(index as u64).fork(name).normals(0, 1, *units);
            let made = |(unit, normal): (usize, f32)| constant.at(unit) * (1.0 + sd * f64::from(normal));
            *constant = PerUnit::Each(normals.into_iter().enumerate().map(made).collect());
        }
    }
    substrate.clone().with_config(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_few_and_near() {
        let values: Vec<f64> = Key::new(3).normals(0, 1, 4000).into_iter().map(f64::from).collect();
        for bits in [2, 4, 6] {
            let step = level_spacing(&values, bits);
            let rounded: Vec<f64> = values.iter().map(|&value| round_to_level(value, step, bits)).collect();
            let mut distinct = rounded.clone();
            distinct.sort_by(f64::total_cmp);
            distinct.dedup();
            assert!(distinct.len() < 1 << bits, "{bits} bits: {} levels", distinct.len());
            let error = values.iter().zip(&rounded).map(|(a, b)| (a - b).powi(2)).sum::<f64>() / 4000.0;
            // The best uniform quantiser of a normal has a mean squared error of 0.1902, 0.01154 and 0.00104 with 3
            // to 2^bits levels (J. Max, IRE Trans. Inf. Theory 6, 7 (1960)); this one has one level less.
            let bound = [0.25, 0.016, 0.0015][(bits as usize - 2) / 2];
            println!("{bits} bits: mean squared error {error:.5}, bound {bound}");
            assert!(error < bound);
        }
        assert_eq!(level_spacing(&[0.0, 0.0], 4), 0.0);
        assert_eq!(round_to_level(0.3, 0.0, 4), 0.0);
    }
}
