//! How well a classifier reads, and at what cost.

use burn::module::Module;
use serde::{Deserialize, Serialize};
use thermograd::{Estimate, Hardware, Key, Schedule, Shards, SubstrateConfig, to_f64};

use crate::classifier::model::Classifier;
use crate::error::Result;
use crate::training::examples::Examples;
use crate::training::network::ranking;

/// How well a classifier does, and at what cost.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Evaluation {
    /// Images.
    pub images: usize,
    /// Independent trajectories of every image.
    pub trajectories: usize,
    /// Accuracy of one trajectory: mean and spread over the trajectories.
    pub top1_single: Estimate,
    /// The same with two guesses.
    pub top2_single: Estimate,
    /// Accuracy of the outputs averaged over all trajectories.
    pub top1_average: f64,
    /// The same with two guesses.
    pub top2_average: f64,
    /// Accuracy without noise.
    pub top1_noiseless: f64,
    /// `[class][guess]`: counts over images and trajectories.
    pub confusion: Vec<Vec<usize>>,
    /// Heat of one inference in units of kT, over images and trajectories.
    pub heat: Estimate,
    /// Read-out times with single-trajectory accuracy and mean heat until then, in units of kT.
    pub read_outs: Vec<ReadOut>,
}

/// What reading the outputs at some time would give.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct ReadOut {
    /// When.
    pub time: f64,
    /// Single-trajectory accuracy.
    pub accuracy: f64,
    /// Mean heat until then, in units of kT.
    pub heat: f64,
}

/// Read-out times of an evaluation.
const READ_OUTS: usize = 40;

impl Classifier {
    /// Runs every example `trajectories` times, and once without noise. `progress` is told the fraction that is done.
    ///
    /// # Errors
    /// Those of [`prepare`](Self::prepare) and [`Substrate::simulate`].
    pub fn evaluate(
        &self,
        examples: &Examples,
        trajectories: usize,
        shards: Shards,
        key: Key,
        mut progress: impl FnMut(f64),
    ) -> Result<Evaluation> {
        let this = self.with_substrate(self.substrate.valid());
        let key = key.fork("evaluation");
        let mut tally = Tally::new(self.outputs().len(), trajectories);
        // In chunks, so that progress can be told.
        let chunk = shards.size.saturating_mul(4 * shards.threads).min(examples.len());
        for start in (0..examples.len()).step_by(chunk) {
            let count = chunk.min(examples.len() - start);
            let tallies = shards.map(count, |range| {
                let indices: Vec<usize> = range.map(|index| start + index).collect();
                this.tally(examples, &indices, trajectories, key)
            });
            for one in tallies {
                tally.merge(one?);
            }
            progress((start + count) as f64 / examples.len() as f64);
        }
        Ok(tally.finish(self.schedule))
    }

    fn tally(&self, examples: &Examples, indices: &[usize], trajectories: usize, key: Key) -> Result<Tally> {
        let classes = self.outputs().len();
        let (field, x0) = self.prepare(examples, indices)?;
        let labels: Vec<usize> = indices.iter().map(|&index| examples.label(index)).collect();
        let mut tally = Tally::new(classes, trajectories);
        let mut sum = vec![0.0; labels.len() * classes];
        let every = self.schedule.steps.div_ceil(READ_OUTS);
        let potential = self.substrate.potential();
        for trajectory in 0..trajectories {
            let key = key.at(trajectory as u64).skip(indices[0] as u64);
            let mut reads = Vec::new();
            let x = self.substrate.simulate(x0.clone(), field.clone(), self.schedule, key, |step| {
                if (step.index + 1) % every == 0 {
                    let outputs = self.read(&step.after);
                    let energy = potential.energy(step.after.clone(), field.clone());
                    reads.push((right(&outputs, &labels, 1), -to_f64(energy).iter().sum::<f64>()));
                }
            })?;
            tally.add_reads(reads);
            let outputs = self.read(&x);
            let heat = self.substrate.heat(x0.clone(), x, field.clone());
            tally.heat.extend(to_f64(heat).into_iter().map(|heat| heat / self.substrate.kt()));
            tally.top1[trajectory] += right(&outputs, &labels, 1);
            tally.top2[trajectory] += right(&outputs, &labels, 2);
            for (row, label) in outputs.chunks(classes).zip(&labels) {
                tally.confusion[*label][ranking(row)[0]] += 1;
            }
            sum.iter_mut().zip(outputs).for_each(|(sum, output)| *sum += output);
        }
        let cold = SubstrateConfig { kt: 0.0, ..self.substrate.config().clone() };
        let cold = self.substrate.clone().with_config(cold)?;
        let noiseless = cold.simulate(x0, field, self.schedule, key, |_| {})?;
        tally.noiseless += right(&self.read(&noiseless), &labels, 1);
        tally.average1 += right(&sum, &labels, 1);
        tally.average2 += right(&sum, &labels, 2);
        tally.images += labels.len();
        tally.kt = self.substrate.kt();
        Ok(tally)
    }

    /// The fraction of the examples that one trajectory each of a device gets right.
    ///
    /// # Errors
    /// Those of [`prepare`](Self::prepare) and [`Hardware::simulate`].
    pub fn accuracy_on(
        &self,
        device: &Hardware,
        examples: &Examples,
        shards: Shards,
        key: Key,
    ) -> Result<f64> {
        let this = self.with_substrate(device.substrate.valid());
        let rights = shards.map(examples.len(), |range| -> Result<usize> {
            let indices: Vec<usize> = range.clone().collect();
            let labels: Vec<usize> = indices.iter().map(|&index| examples.label(index)).collect();
            let (field, x0) = this.prepare(examples, &indices)?;
            let first = range.start as u64;
            let x = device.simulate(x0, field, self.schedule, key.fork("run").skip(first), |_| {})?;
            let x = device.read(x, key.fork("read-out").skip(first));
            Ok(right(&self.read(&x), &labels, 1))
        });
        let rights: usize = rights.into_iter().sum::<Result<usize>>()?;
        Ok(rights as f64 / examples.len() as f64)
    }
}

/// Rows whose class is among the `guesses` largest outputs.
fn right(outputs: &[f64], labels: &[usize], guesses: usize) -> usize {
    let classes = outputs.len() / labels.len();
    let rows = outputs.chunks(classes).zip(labels);
    rows.filter(|(row, label)| ranking(row)[..guesses.min(classes)].contains(label)).count()
}

/// Counts of an evaluation in progress.
struct Tally {
    images: usize,
    kt: f64,
    top1: Vec<usize>,
    top2: Vec<usize>,
    average1: usize,
    average2: usize,
    noiseless: usize,
    confusion: Vec<Vec<usize>>,
    heat: Vec<f64>,
    reads: Vec<(usize, f64)>,
}

impl Tally {
    fn new(classes: usize, trajectories: usize) -> Self {
        Self {
            images: 0,
            kt: 1.0,
            top1: vec![0; trajectories],
            top2: vec![0; trajectories],
            average1: 0,
            average2: 0,
            noiseless: 0,
            confusion: vec![vec![0; classes]; classes],
            heat: Vec::new(),
            reads: Vec::new(),
        }
    }

    fn add_reads(&mut self, reads: Vec<(usize, f64)>) {
        self.reads.resize(reads.len().max(self.reads.len()), (0, 0.0));
        for (sum, (right, heat)) in self.reads.iter_mut().zip(reads) {
            *sum = (sum.0 + right, sum.1 + heat);
        }
    }

    fn merge(&mut self, other: Self) {
        let add = |sums: &mut [usize], values: &[usize]| {
            sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        };
        self.images += other.images;
        self.kt = other.kt;
        add(&mut self.top1, &other.top1);
        add(&mut self.top2, &other.top2);
        self.average1 += other.average1;
        self.average2 += other.average2;
        self.noiseless += other.noiseless;
        self.confusion.iter_mut().zip(&other.confusion).for_each(|(sums, values)| add(sums, values));
        self.heat.extend(other.heat);
        self.add_reads(other.reads);
    }

    fn finish(self, schedule: Schedule) -> Evaluation {
        let images = self.images as f64;
        let fractions =
            |counts: &[usize]| -> Vec<f64> { counts.iter().map(|&count| count as f64 / images).collect() };
        let runs = images * self.top1.len() as f64;
        let every = schedule.steps.div_ceil(READ_OUTS);
        let reads = self.reads.iter().enumerate().map(|(index, &(right, heat))| ReadOut {
            time: schedule.dt * ((index + 1) * every) as f64,
            accuracy: right as f64 / runs,
            heat: heat / runs / self.kt,
        });
        Evaluation {
            images: self.images,
            trajectories: self.top1.len(),
            top1_single: Estimate::of(&fractions(&self.top1)),
            top2_single: Estimate::of(&fractions(&self.top2)),
            top1_average: self.average1 as f64 / images,
            top2_average: self.average2 as f64 / images,
            top1_noiseless: self.noiseless as f64 / images,
            confusion: self.confusion,
            heat: Estimate::of(&self.heat),
            read_outs: reads.collect(),
        }
    }
}
