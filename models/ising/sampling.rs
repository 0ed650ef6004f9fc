//! Gibbs sampling of layered spins, and what its time average reads.
//!
//! Odd layers are drawn together, then even ones: spins of a layer are not coupled to each other, nor layers that are two
//! apart. The answer is the class whose output spins have the largest sum over all sweeps; where several have it, each is
//! the answer by its share.

use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use thermograd::{Correlation, Dynamics, Key, Place, Shards, ranks, run, to_f64};

use crate::error::Result;
use crate::ising::network::{IsingNet, coins, drawn};
use crate::training::examples::Examples;

/// Sweeps of layered spins under clamped images; a step is one sweep.
pub struct LayeredGibbs<'a> {
    network: &'a IsingNet,
    /// A¹x + b¹ of every image.
    clamped: Tensor<2>,
    key: Key,
}

/// Spins of every layer, `[image, copy and spin]`, ±1.
#[derive(Clone, Debug)]
pub struct LayeredSpins(pub Vec<Tensor<2>>);

impl<'a> LayeredGibbs<'a> {
    /// Sweeps of a network whose inputs are held at some images.
    ///
    /// # Shapes
    /// `inputs` `[image, pixel]`.
    pub fn new(network: &'a IsingNet, inputs: Tensor<2>, key: Key) -> Self {
        Self { network, clamped: network.forward_field(0, inputs), key: key.fork("sweeps") }
    }

    /// Fair coins.
    pub fn start(&self, key: Key) -> LayeredSpins {
        let (images, device) = (self.clamped.dims()[0], self.clamped.device());
        let layer = |(index, spins)| coins(images, spins, key.fork("start").at(index as u64), &device);
        LayeredSpins(self.network.spins().into_iter().enumerate().map(layer).collect())
    }

    /// The mean over the copies of every spin of a layer, `[image, spin]`.
    pub fn means(&self, spins: &LayeredSpins, layer: usize) -> Tensor<2> {
        let (s, copies) = (spins.0[layer].clone(), self.network.copies(layer));
        if copies == 1 {
            return s;
        }
        let [images, all] = s.dims();
        s.reshape([images, copies, all / copies]).mean_dim(1).reshape([images, all / copies])
    }

    /// The field of the spins of a layer, `[image, spin]`.
    fn field(&self, spins: &LayeredSpins, layer: usize) -> Tensor<2> {
        let up = match layer {
            0 => self.clamped.clone(),
            _ => self.network.forward_field(layer, self.means(spins, layer - 1)),
        };
        if layer + 1 == self.network.layers.len() {
            return up;
        }
        match self.network.feedback(layer, self.means(spins, layer + 1)) {
            Some(down) => up + down,
            None => up,
        }
    }
}

impl Dynamics for LayeredGibbs<'_> {
    type State = LayeredSpins;

    fn step(&self, index: usize, mut spins: LayeredSpins) -> LayeredSpins {
        let layers = self.network.layers.len();
        for layer in (0..layers).step_by(2).chain((1..layers).step_by(2)) {
            let (field, copies) = (self.field(&spins, layer), self.network.copies(layer));
            spins.0[layer] = drawn(field, copies, index as u32, self.key.at(layer as u64));
        }
        spins
    }

    fn diverged(&self, _state: &LayeredSpins) -> Option<Place> {
        None
    }
}

/// Sweeps before those that are read, and sweeps that are read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sweeps {
    /// Left out at the beginning.
    pub burn_in: usize,
    /// G, averaged.
    pub read: usize,
}

impl IsingNet {
    /// Sweeps until a network has forgotten its start: one for every two layers where nothing comes back, and else two a
    /// layer and five autocorrelation times of the outputs.
    pub fn burn_in(&self, tau: f64) -> usize {
        let layers = self.layers.len();
        if self.is_feed_forward() { layers.div_ceil(2) } else { 2 * layers + (5.0 * tau).ceil() as usize }
    }
}

/// What the time average of some images read.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Reading {
    /// Images.
    pub images: usize,
    /// Sweeps left out at the beginning.
    pub burn_in: usize,
    /// Accuracy of the average of so many sweeps, over as many such averages as there are one after the other.
    pub accuracy: Vec<(usize, f64)>,
    /// `[class][answer]`, of the longest average; ties are shared.
    pub confusion: Vec<Vec<f64>>,
    /// Spins that changed their sign, of an image, in all sweeps.
    pub flips_per_image: f64,
}

impl IsingNet {
    /// Reads examples by the average of up to `sweeps.read` sweeps: the accuracy at each of `marks` below that, and there.
    /// `progress` is told the fraction that is done.
    ///
    /// # Errors
    /// Those of [`run`].
    pub fn read(
        &self,
        examples: &Examples,
        sweeps: Sweeps,
        marks: &[usize],
        shards: Shards,
        key: Key,
        progress: impl FnMut(f64),
    ) -> Result<Reading> {
        let network = self.valid();
        let shards = Shards { size: shards.size.min(100), ..shards };
        tallied(examples, sweeps, marks, self.classes, shards, progress, |part| {
            let key = key.skip(part.indices[0] as u64);
            let inputs = examples.clamped(&part.indices, &network.normalisation, None, &network.device());
            let gibbs = LayeredGibbs::new(&network, inputs, key);
            let mut flips = 0.0;
            run(&gibbs, gibbs.start(key), sweeps.burn_in + sweeps.read, |step| {
                for (before, after) in step.before.0.iter().zip(&step.after.0) {
                    let same = (before.clone() * after.clone()).sum().into_scalar::<f64>();
                    flips += 0.5 * (before.dims().iter().product::<usize>() as f64 - same);
                }
                part.read(step.index, || {
                    let outputs = step.after.0.last().expect("a layer").clone();
                    to_f64(network.class_means(outputs))
                });
            })?;
            part.flips = flips;
            Ok(())
        })
    }

    /// The integrated autocorrelation time of the class means, in sweeps, and its standard error, over the first `images`
    /// examples and `sweeps` sweeps. None if the sweeps are too few for it. Classes of an image may fluctuate together: the
    /// error is as if each image had one of them. `progress` is told the fraction that is done.
    ///
    /// # Errors
    /// Those of [`run`].
    pub fn tau(
        &self,
        examples: &Examples,
        images: usize,
        sweeps: usize,
        key: Key,
        mut progress: impl FnMut(f64),
    ) -> Result<Option<Correlation>> {
        let network = self.valid();
        let indices: Vec<usize> = (0..images.min(examples.len())).collect();
        let inputs = examples.clamped(&indices, &network.normalisation, None, &network.device());
        let key = key.fork("tau");
        let gibbs = LayeredGibbs::new(&network, inputs, key);
        let burn_in = sweeps / 4;
        let mut series = vec![Vec::with_capacity(sweeps); indices.len() * self.classes];
        run(&gibbs, gibbs.start(key), burn_in + sweeps, |step| {
            if step.index >= burn_in {
                let outputs = step.after.0.last().expect("a layer").clone();
                let means = to_f64(network.class_means(outputs));
                series.iter_mut().zip(means).for_each(|(series, mean)| series.push(mean));
            }
            progress((step.index + 1) as f64 / (burn_in + sweeps) as f64);
        })?;
        let tau_error = |found: Correlation| found.tau_error * (self.classes as f64).sqrt();
        let found = Correlation::of_deviations(&series);
        Ok(found.map(|found| Correlation { tau_error: tau_error(found), ..found }))
    }
}

/// Reads examples piece by piece, each sampled by `sample`.
pub(crate) fn tallied(
    examples: &Examples,
    sweeps: Sweeps,
    marks: &[usize],
    classes: usize,
    shards: Shards,
    mut progress: impl FnMut(f64),
    sample: impl Fn(&mut Part) -> Result<()> + Sync,
) -> Result<Reading> {
    let mut marks: Vec<usize> =
        marks.iter().copied().filter(|&mark| mark > 0 && mark < sweeps.read).collect();
    marks.push(sweeps.read);
    let (mut right, mut confusion) = (vec![0.0; marks.len()], vec![vec![0.0; classes]; classes]);
    let mut flips = 0.0;
    // In chunks, so that progress can be told.
    let chunk = shards.size * 2 * shards.threads * ranks::count();
    for start in (0..examples.len()).step_by(chunk) {
        let count = chunk.min(examples.len() - start);
        let parts = shards.gather(count, |range| -> Result<_> {
            let indices: Vec<usize> = range.map(|index| start + index).collect();
            let none = vec![0.0; indices.len() * classes];
            let answers = vec![none.clone(); marks.len()];
            let starts = answers.clone();
            let (burn_in, marks) = (sweeps.burn_in, &marks[..]);
            let mut part = Part { burn_in, marks, indices, classes, sums: none, starts, answers, flips: 0.0 };
            sample(&mut part)?;
            Ok((part.indices, part.answers, part.flips))
        });
        for (indices, answers, part_flips) in parts? {
            flips += part_flips;
            for (mark, answers) in answers.iter().enumerate() {
                for (&index, shares) in indices.iter().zip(answers.chunks(classes)) {
                    let label = examples.label(index);
                    right[mark] += shares[label] / (sweeps.read / marks[mark]) as f64;
                    if mark + 1 == marks.len() {
                        confusion[label].iter_mut().zip(shares).for_each(|(sum, share)| *sum += share);
                    }
                }
            }
        }
        progress((start + count) as f64 / examples.len() as f64);
    }
    let images = examples.len();
    let accuracy = marks.into_iter().zip(right).map(|(mark, right)| (mark, right / images as f64)).collect();
    let flips_per_image = flips / images as f64;
    Ok(Reading { images, burn_in: sweeps.burn_in, accuracy, confusion, flips_per_image })
}

/// Some images while they are sampled.
pub(crate) struct Part<'a> {
    burn_in: usize,
    marks: &'a [usize],
    /// The images.
    pub(crate) indices: Vec<usize>,
    classes: usize,
    /// Sums of class means over the sweeps read, `[image, class]`.
    sums: Vec<f64>,
    /// The sums where the average of so many sweeps began, by mark.
    starts: Vec<Vec<f64>>,
    /// How often each class was the answer of such an average, ties by their shares, by mark: `[image, class]`.
    answers: Vec<Vec<f64>>,
    /// Spins that changed their sign.
    pub(crate) flips: f64,
}

impl Part<'_> {
    /// Adds the class means `[image, class]` of a sweep, unless it belongs to the burn-in.
    pub(crate) fn read(&mut self, index: usize, means: impl FnOnce() -> Vec<f64>) {
        let Some(before) = index.checked_sub(self.burn_in) else { return };
        self.sums.iter_mut().zip(means()).for_each(|(sum, mean)| *sum += mean);
        for (mark, (start, answers)) in self.marks.iter().zip(self.starts.iter_mut().zip(&mut self.answers)) {
            if !(before + 1).is_multiple_of(*mark) {
                continue;
            }
            let averaged: Vec<f64> =
                self.sums.iter().zip(start.iter()).map(|(sum, start)| sum - start).collect();
            let shares = averaged.chunks(self.classes).flat_map(shares);
            answers.iter_mut().zip(shares).for_each(|(answer, share)| *answer += share);
            start.copy_from_slice(&self.sums);
        }
    }
}

/// One over the number of largest values for each of them, and nothing for the others.
pub(crate) fn shares(values: &[f64]) -> Vec<f64> {
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    // Sums of counts divided by R: equal up to rounding where the counts are equal.
    let ties = |value: &&f64| most - **value < 1e-6;
    let count = values.iter().filter(ties).count() as f64;
    values.iter().map(|value| if ties(&value) { 1.0 / count } else { 0.0 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of seven sweeps after two of burn-in there are seven averages of one, two of three and one of all.
    #[test]
    fn all_averages_of_so_many_sweeps_are_read() {
        let examples = Examples::new(1, 1, vec![0; 3], vec![0, 1, 1]).unwrap();
        // By how much class 0 is ahead of class 1, the same for all images.
        let ahead = [9.0, 9.0, 0.5, -1.0, -1.0, 0.0, 1.0, -0.5, 1.5];
        let sweeps = Sweeps { burn_in: 2, read: 7 };
        let shards = Shards { size: 2, threads: 2 };
        let sample = |part: &mut Part| {
            for (index, ahead) in ahead.iter().enumerate() {
                let count = part.indices.len();
                part.read(index, || [ahead / 2.0, -ahead / 2.0].repeat(count));
            }
            Ok(())
        };
        let reading = tallied(&examples, sweeps, &[1, 3, 40], 2, shards, |_| {}, sample).unwrap();
        // Class 0 is the answer of 3½ sweeps, of the second average of three, and of that of all.
        let right = |first: f64| (first + 2.0 * (1.0 - first)) / 3.0;
        let expected = [(1, right(3.5 / 7.0)), (3, right(0.5)), (7, right(1.0))];
        for ((mark, found), (expected_mark, accuracy)) in reading.accuracy.iter().zip(expected) {
            assert!(*mark == expected_mark && (found - accuracy).abs() < 1e-12, "{:?}", reading.accuracy);
        }
        assert_eq!(reading.confusion, [[1.0, 0.0], [2.0, 0.0]]);
    }
}
