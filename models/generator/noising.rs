//! Noising: uncoupled units in the field of an image, which fades until only noise is left.
//!
//! The untrained computer (J = b = 0) starts in equilibrium with a field that pulls the unit of a pixel of value s ∈
//! [−1, 1] to one side, and the field is then reduced to zero (S. Whitelam, PRL 136, 037101 (2026)):
//!
//! ```text
//! V₀(x, t) = Σ_i J₂x_i² + J₄x_i⁴ − λ(t) p_i x_i,      p_i = 2s_i,      λ(t) = 1 − t/(0.75 t_f), then 0.      (14)
//! ```
//!
//! To reverse these steps, a computer must exert on unit i the coupling force
//!
//! ```text
//! T_i = 2V₀′(x_i) − λ p_i,      V₀′ = 2J₂x + 4J₄x³,      (15)
//! ```
//!
//! up to terms that average out against every other unit. Units are independent during noising, so their means,
//! variances and ⟨T⟩ are those of a single unit, and a table over the 256 grey values describes every image.
//!
//! Wells that move answer to a unit's own displacement, too, for which those terms do not average out. With the density ρ of the unit, the
//! force that reverses its noising is T + 2kT ∂_x ln ρ (B. D. O. Anderson, Stoch. Process. Appl. 12, 313 (1982)), and its regression on x is
//!
//! ```text
//! ⟨T⟩ + a (x − ⟨x⟩),      a = (Cov(2V₀′, x) − 2kT)/Var(x),      (57)
//! ```
//!
//! since ⟨(x − ⟨x⟩) ∂_x ln ρ⟩ = −1.

use std::collections::BTreeMap;

use burn::tensor::{Tensor, TensorData};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use thermograd::{Control, Group, Key, Protocol, Schedule, Shards, Step, Substrate, Well};

use crate::error::Result;

/// The parameters of noising.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Noising {
    /// The initial field on the unit of a white pixel.
    pub field: f64,
    /// The fraction of the duration in which the field falls to zero.
    pub fade: f64,
    /// Δt and the duration t_f.
    pub schedule: Schedule,
}

impl Default for Noising {
    fn default() -> Self {
        Self { field: 2.0, fade: 0.75, schedule: Schedule { dt: 1e-3, steps: 2500 } }
    }
}

/// The number of grey values.
pub const LEVELS: usize = 256;

/// The value in [−1, 1] of a grey value.
pub fn level(pixel: u8) -> f64 {
    f64::from(pixel) / 127.5 - 1.0
}

impl Noising {
    /// λ, the fraction of the field that is left.
    pub fn strength(&self, time: f64) -> f64 {
        (1.0 - time / (self.fade * self.schedule.duration())).clamp(0.0, 1.0)
    }

    /// The protocol of images whose units start in the field p.
    ///
    /// # Shapes
    /// `p` `[batch, unit]`.
    ///
    /// # Errors
    /// [`thermograd::Error::Protocol`] when the constants do not form a protocol.
    pub fn protocol(&self, p: Tensor<2>) -> Result<Protocol> {
        let gone = p.zeros_like();
        let end = self.fade * self.schedule.duration();
        Ok(Protocol::new(vec![0.0, end], vec![Control::from(-p), Control::from(gone)])?)
    }

    /// Means, variances and targets of a unit of `group` at kT = `kt`, at the midpoints of `bins` equal intervals of
    /// the duration.
    ///
    /// # Errors
    /// Those of [`Well::new`].
    pub fn table(&self, group: &Group, kt: f64, bins: usize) -> Result<Table> {
        let well = Well::new(group, kt, self.field.abs())?;
        let duration = self.schedule.duration();
        // Fine enough that the error of the trapezoidal rule is negligible, and such that the midpoint of every bin
        // is one of the times.
        let steps_per_half = (250.0 / bins as f64).ceil() as usize;
        let dt = duration / (2 * bins * steps_per_half) as f64;
        let times = (0..bins).map(|bin| duration * (bin as f64 + 0.5) / bins as f64).collect();
        let column = |pixel: usize| -> Vec<Moment> {
            let p = self.field * level(pixel as u8);
            let mut density = well.equilibrium(p);
            let mut column = Vec::with_capacity(bins);
            for step in 0..(2 * bins - 1) * steps_per_half {
                density = well.relax(&density, p * self.strength((step as f64 + 0.5) * dt), dt);
                let (half, rest) = ((step + 1) / steps_per_half, (step + 1) % steps_per_half);
                if rest == 0 && half % 2 == 1 {
                    let (mean, variance) = density.moments();
                    let pull = self.strength((step + 1) as f64 * dt) * p;
                    let slope = density.mean_of(|x| well.slope(x));
                    let covariance = density.mean_of(|x| well.slope(x) * (x - mean));
                    let stiffness = (2.0 * covariance - 2.0 * kt) / variance;
                    column.push(Moment { mean, variance, target: 2.0 * slope - pull, stiffness });
                }
            }
            column
        };
        let columns = Shards::new(16).map(LEVELS, |pixels| pixels.map(column).collect::<Vec<_>>()).concat();
        let moments = (0..bins).map(|bin| columns.iter().map(|column| column[bin]).collect()).collect();
        Ok(Table { times, moments })
    }

    /// The initial states of noising: every unit of an uncoupled computer in equilibrium in the field of its pixel.
    ///
    /// # Shapes
    /// `pixels`: one grey value per unit, row-major `[image, unit]` → `[image, unit]`.
    ///
    /// # Errors
    /// Those of [`Well::new`] and [`Substrate::simulate`].
    pub fn fall(
        &self,
        untrained: &Substrate,
        pixels: &[u8],
        key: Key,
        observe: impl FnMut(&Step),
    ) -> Result<Tensor<2>> {
        let units = untrained.free_units();
        let options = untrained.options();
        let tensor = |values: Vec<f64>| {
            let shape = [values.len() / units, units];
            Tensor::<2>::from_data(TensorData::new(values, shape), options.clone())
        };
        let groups = untrained.topology().free();
        let wells: Result<Vec<_>, _> = groups
            .map(|group| Well::new(group, untrained.kt(), self.field.abs()).map(|well| (group.units, well)))
            .collect();
        let wells = wells?;
        // The quantiles of each group and grey value that occurs, computed when first needed.
        let mut quantiles = BTreeMap::new();
        let mut rng = key.fork("start").rng();
        let mut start = Vec::with_capacity(pixels.len());
        for row in pixels.chunks(units) {
            let of_group =
                wells.iter().enumerate().flat_map(|(group, (units, _))| std::iter::repeat_n(group, *units));
            for (group, &pixel) in of_group.zip(row) {
                let force = self.field * level(pixel);
                let quantiles = quantiles
                    .entry((group, pixel))
                    .or_insert_with(|| wells[group].1.equilibrium(force).quantiles());
                start.push(quantiles.at(rng.random::<f64>()));
            }
        }
        let p = tensor(pixels.iter().map(|&pixel| self.field * level(pixel)).collect());
        Ok(untrained.simulate(tensor(start), self.protocol(p)?, self.schedule, key, observe)?)
    }
}

/// The moments of one unit at one time.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Moment {
    /// ⟨x⟩.
    pub mean: f64,
    /// ⟨x²⟩ − ⟨x⟩².
    pub variance: f64,
    /// ⟨T⟩ of equation (15).
    pub target: f64,
    /// a of equation (57).
    pub stiffness: f64,
}

/// The moments of one unit by time and grey value.
#[derive(Clone, Debug)]
pub struct Table {
    /// The times.
    pub times: Vec<f64>,
    /// `[time][grey value]`.
    pub moments: Vec<Vec<Moment>>,
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};
    use thermograd::{Estimate, Key, SubstrateConfig, Topology, to_f64};

    use super::*;

    /// The variance of a unit falls as dσ²/dt = 2kT − 2 Cov(V₀′, x) = −aσ²: a of (57), which is worked out from moments at one time, is the rate that
    /// the variances of neighbouring times have. In a parabola nothing but its mean moves.
    #[test]
    fn a_unit_is_pulled_back_at_the_rate_at_which_its_variance_falls() {
        let group = Group::free("visible", 1).unbiased();
        let (noising, bins) = (Noising::default(), 400);
        let table = noising.table(&group, 0.1, bins).unwrap();
        let end = noising.fade * noising.schedule.duration();
        let mut largest = 0.0_f64;
        for bin in (1..bins - 1).filter(|&bin| (table.times[bin] - end).abs() > 0.02) {
            let [before, after] = [bin - 1, bin + 1];
            let step = table.times[after] - table.times[before];
            for pixel in [0, 60, 128, 255] {
                let at = |bin: usize| table.moments[bin][pixel];
                let rate = -(at(after).variance.ln() - at(before).variance.ln()) / step;
                largest = largest.max(rate.abs());
                assert!(
                    (at(bin).stiffness - rate).abs() < 2e-3,
                    "{bin} {pixel}: {} {rate}",
                    at(bin).stiffness
                );
            }
        }
        println!("at most {largest}");
        assert!(largest > 0.3);
        let harmonic = noising.table(&group.wells(1.0, 0.0), 0.1, 20).unwrap();
        let all = harmonic.moments.iter().flatten();
        assert!(all.map(|moment| moment.stiffness.abs()).fold(0.0, f64::max) < 1e-3);
    }

    /// Compares the table with simulated trajectories of the untrained computer.
    #[test]
    fn the_table_is_what_trajectories_do() {
        let (noising, kt) =
            (Noising { schedule: Schedule { dt: 1e-3, steps: 1000 }, ..Noising::default() }, 0.1);
        let group = Group::free("visible", 2).unbiased();
        let table = noising.table(&group, kt, 5).unwrap();
        let topology = Topology { groups: vec![group.clone()], blocks: vec![] };
        let substrate = SubstrateConfig::new(topology).with_kt(kt).init(&Device::flex()).unwrap();
        let rows = 20_000;
        let well = Well::new(&group, kt, 2.0).unwrap();
        let pixels = [255_u8, 80];
        let p = pixels.map(|pixel| noising.field * level(pixel));
        let start = |unit: usize| -> Vec<f32> {
            let quantiles = well.equilibrium(p[unit]).quantiles();
            (0..rows).map(|row| quantiles.at((row as f64 + 0.5) / rows as f64) as f32).collect()
        };
        let (a, b) = (start(0), start(1));
        let x0: Vec<f32> = a.iter().zip(&b).flat_map(|(a, b)| [*a, *b]).collect();
        let tensor = |values: Vec<f32>, rows: usize| {
            Tensor::<2>::from_data(TensorData::new(values, [rows, 2]), &Device::flex())
        };
        let protocol = noising.protocol(tensor(p.map(|p| p as f32).to_vec(), 1)).unwrap();
        let (mut seen, times) = (Vec::new(), table.times.clone());
        let observe = |step: &thermograd::Step| {
            if times.iter().any(|time| (time / 1e-3).round() as usize == step.index + 1) {
                seen.push(to_f64(step.after.clone()));
            }
        };
        substrate.simulate(tensor(x0, rows), protocol, noising.schedule, Key::new(5), observe).unwrap();
        assert_eq!(seen.len(), times.len());
        for (bin, values) in seen.iter().enumerate() {
            for (unit, &pixel) in pixels.iter().enumerate() {
                let states: Vec<f64> = values.iter().skip(unit).step_by(2).copied().collect();
                let (found, moment) = (Estimate::of(&states), table.moments[bin][usize::from(pixel)]);
                let target = states.iter().map(|&x| 2.0 * well.slope(x)).sum::<f64>() / rows as f64
                    - noising.strength(times[bin]) * p[unit];
                // The tolerance is 4.9 standard errors, plus 1e-3 of the values for the error of the scheme in Δt.
                let allowed = 4.9 * found.standard_error() + 1e-3;
                println!("{bin} {unit}: {} {} / {target} {}", found.mean, moment.mean, moment.target);
                assert!((found.mean - moment.mean).abs() < allowed);
                assert!((found.sd.powi(2) / moment.variance - 1.0).abs() < 0.06);
                assert!((target - moment.target).abs() < 8.0 * allowed);
            }
        }
    }
}
