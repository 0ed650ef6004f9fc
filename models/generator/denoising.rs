//! How well a generator of classes denoises at every time of its run.

use serde::Serialize;
use thermograd::{Key, Shards, to_f64};

use crate::error::Result;
use crate::generator::adiabatic::Adiabatic;
use crate::generator::model::{Generator, HiddenUnits, Request};
use crate::generator::noising::Moment;
use crate::training::examples::Examples;
use crate::training::network::rows;

/// What is left to know at one time of the run, as parts of the variance over images of the mean force ⟨T⟩ of equation (15), all pixels together.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Denoised {
    /// The time of the run, from its start.
    pub time: f64,
    /// The mean square of F less (57), for the force F that the computer exerts on noisy images, hidden units at their mean. Where guidance (58) was
    /// trained, what it adds is missed on purpose and counts too: before an image can be seen, w times the spread of class means.
    pub left: f64,
    /// The variance of ⟨T⟩ within classes: of one who knows the class and nothing else.
    pub within_classes: f64,
}

impl Generator {
    /// Compares the forces on noisy versions of some examples with those that reverse their noising, at so many times. Labels have the strength of
    /// training, 1.
    ///
    /// # Errors
    /// Those of [`Noising::table`](crate::Noising::table), of [`sample`](Self::sample) for a computer without classes, and
    /// of [`Adiabatic`](crate::generator::adiabatic).
    pub fn denoising(
        &self,
        examples: &Examples,
        times: usize,
        shards: Shards,
        key: Key,
    ) -> Result<Vec<Denoised>> {
        let table = self.noising.table(self.visible(), self.substrate.kt(), times)?;
        let (end, pixels, device) =
            (self.schedule.duration(), self.pixels(), self.substrate.coupling(0).device());
        let missed = shards.map(examples.len(), |range| -> Result<Vec<f64>> {
            let request = Request {
                count: range.len(),
                labels: Some(range.clone().map(|index| examples.label(index)).collect()),
                label_strength: 1.0,
                hidden: HiddenUnits::Adiabatic,
                accounts: 0,
            };
            let protocol = self.protocol(&self.clamped(&request, 0..range.len()))?;
            let fast = Adiabatic::new(&self.substrate, &protocol)?;
            let key = key.skip(range.start as u64);
            let at = |(step, (time, moments)): (usize, (&f64, &Vec<_>))| {
                let normals = key.normals(step as u32, range.len(), pixels);
                let held = range.clone().flat_map(|index| examples.pixels(index));
                let of = |pixel: &u8| -> &Moment { &moments[usize::from(*pixel)] };
                let drawn = held.zip(normals).map(|(pixel, z)| {
                    let (moment, z) = (of(pixel), f64::from(z));
                    let displaced = moment.variance.sqrt() * z;
                    let target = moment.target + moment.stiffness * displaced;
                    ((moment.mean + displaced) as f32, target as f32)
                });
                let (x, target): (Vec<f32>, Vec<f32>) = drawn.unzip();
                let [x, target] = [x, target].map(|values| rows(values, range.len(), &device));
                let missed = (fast.force(end - time, &x) - target).square().sum();
                to_f64(missed)[0]
            };
            Ok(table.times.iter().zip(&table.moments).enumerate().map(at).collect())
        });
        let mut left = vec![0.0; times];
        for missed in missed {
            left.iter_mut().zip(missed?).for_each(|(sum, more)| *sum += more);
        }
        let classes = self.classes().unwrap_or(1);
        let at = |((time, moments), left): ((&f64, &Vec<Moment>), f64)| {
            // Of every class, how many images, and ΣT and ΣT² of every pixel.
            let mut sums = vec![(0.0, vec![[0.0; 2]; pixels]); classes];
            for index in 0..examples.len() {
                let (count, sums) = &mut sums[examples.label(index)];
                *count += 1.0;
                for (sum, pixel) in sums.iter_mut().zip(examples.pixels(index)) {
                    let target = moments[usize::from(*pixel)].target;
                    *sum = [sum[0] + target, sum[1] + target * target];
                }
            }
            let spread = |(count, sums): &(f64, Vec<[f64; 2]>)| {
                sums.iter().map(|[sum, square]| square - sum * sum / count.max(1.0)).sum::<f64>()
            };
            let all = sums.iter().fold((0.0, vec![[0.0; 2]; pixels]), |(n, a), (m, b)| {
                (n + m, a.iter().zip(b).map(|([s, t], [u, v])| [s + u, t + v]).collect())
            });
            let (within, all) = (sums.iter().map(spread).sum::<f64>(), spread(&all));
            Denoised { time: end - time, left: left / all, within_classes: within / all }
        };
        // From the start of the run.
        Ok(table.times.iter().zip(&table.moments).zip(left).map(at).rev().collect())
    }
}
