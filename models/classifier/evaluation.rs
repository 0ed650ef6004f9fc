//! Evaluation of a classifier: accuracy, heat and read-out time.

use std::ops::{AddAssign, Range};
use std::sync::{Mutex, PoisonError};

use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use thermograd::{Estimate, Hardware, Key, Schedule, Shards, SubstrateConfig, ranks, to_f64};

use crate::classifier::model::Classifier;
use crate::error::{Error, Result};
use crate::training::examples::Examples;
use crate::training::network::ranking;

/// The accuracy of a classifier and the heat it costs.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Evaluation {
    /// Images.
    pub images: usize,
    /// The number of independent trajectories of every image.
    pub trajectories: usize,
    /// Accuracy of a single trajectory: statistics over the trajectories.
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

/// The result of reading the outputs at another time.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct ReadOut {
    /// The time.
    pub time: f64,
    /// Single-trajectory accuracy.
    pub accuracy: f64,
    /// Mean heat until then, in units of kT.
    pub heat: f64,
}

/// Read-out times of an evaluation.
const READ_OUTS: usize = 40;

/// Trajectories, over images, between two reports of progress.
const PIECE: usize = 8192;

impl Classifier {
    /// Runs every example `trajectories` times, and once without noise. `progress` receives the fraction that is
    /// done.
    ///
    /// # Errors
    /// Those of [`prepare`](Self::prepare) and [`Substrate::simulate`](thermograd::Substrate::simulate).
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
        let mut tally = Tally::default();
        // In chunks of images and pieces of their trajectories, so that progress can be reported.
        let chunk = shards.size.saturating_mul(4 * shards.threads * ranks::count()).min(examples.len());
        for start in (0..examples.len()).step_by(chunk) {
            let count = chunk.min(examples.len() - start);
            let sheet = |range: Range<usize>| {
                let indices: Vec<usize> = range.map(|index| start + index).collect();
                Ok(Mutex::new(this.sheet(examples, &indices)?))
            };
            let ranges = shards.ranges(count);
            let total = ranges.len();
            let mine = ranges.into_iter().enumerate().filter(|(index, _)| ranks::is_mine(*index));
            let sheets: Vec<_> = mine.map(|(_, range)| sheet(range)).collect::<Result<_>>()?;
            // Work on every sheet, on as many threads as there are.
            let each = Shards { size: 1, threads: shards.threads };
            let on_all = |work: &(dyn Fn(&mut Sheet) -> Result<()> + Sync)| -> Result<()> {
                let work = |one: Range<usize>| {
                    work(&mut sheets[one.start].lock().unwrap_or_else(PoisonError::into_inner))
                };
                each.map(sheets.len(), work).into_iter().collect()
            };
            let piece = (PIECE / count).max(1);
            for first in (0..trajectories).step_by(piece) {
                let last = trajectories.min(first + piece);
                on_all(&|sheet| this.run(sheet, first..last, key))?;
                let done = start as f64 + count as f64 * last as f64 / trajectories as f64;
                progress(done / examples.len() as f64);
            }
            on_all(&|sheet| this.close(sheet, key))?;
            let tallies =
                sheets.into_iter().map(|sheet| sheet.into_inner().unwrap_or_else(PoisonError::into_inner));
            for part in ranks::collect(tallies.map(|sheet| Ok::<_, Error>(sheet.tally)).collect(), total)? {
                tally.merge(part);
            }
        }
        Ok(tally.finish(self.outputs().len(), self.schedule, self.substrate.kt()))
    }

    /// An empty sheet for some images.
    fn sheet(&self, examples: &Examples, indices: &[usize]) -> Result<Sheet> {
        let classes = self.outputs().len();
        let (field, x0) = self.prepare(examples, indices)?;
        let labels: Vec<usize> = indices.iter().map(|&index| examples.label(index)).collect();
        let confusion = vec![0; classes * classes];
        let tally = Tally { images: labels.len(), confusion, ..Tally::default() };
        let sum = vec![0.0; labels.len() * classes];
        Ok(Sheet { first: indices[0], labels, field, x0, sum, tally })
    }

    /// Runs the next trajectories of every image of a sheet.
    fn run(&self, sheet: &mut Sheet, trajectories: Range<usize>, key: Key) -> Result<()> {
        let classes = self.outputs().len();
        let Sheet { first, labels, field, x0, sum, tally } = sheet;
        let every = self.schedule.steps.div_ceil(READ_OUTS);
        let potential = self.substrate.potential();
        for trajectory in trajectories {
            let key = key.at(trajectory as u64).skip(*first as u64);
            let (mut right_at, mut heat_at) = (Vec::new(), Vec::new());
            let x = self.substrate.simulate(x0.clone(), field.clone(), self.schedule, key, |step| {
                if (step.index + 1) % every == 0 {
                    right_at.push(right(&self.read(&step.after), labels, 1));
                    let energy = potential.energy(step.after.clone(), field.clone());
                    heat_at.push(-to_f64(energy).iter().sum::<f64>());
                }
            })?;
            add(&mut tally.right_at, &right_at);
            add(&mut tally.heat_at, &heat_at);
            let outputs = self.read(&x);
            let heat = self.substrate.heat(x0.clone(), x, field.clone());
            tally.heat.extend(to_f64(heat).into_iter().map(|heat| heat / self.substrate.kt()));
            tally.top1.push(right(&outputs, labels, 1));
            tally.top2.push(right(&outputs, labels, 2));
            for (row, label) in outputs.chunks(classes).zip(labels.iter()) {
                tally.confusion[label * classes + ranking(row)[0]] += 1;
            }
            sum.iter_mut().zip(outputs).for_each(|(sum, output)| *sum += output);
        }
        Ok(())
    }

    /// Adds what all trajectories of a sheet's images give together, and one trajectory without noise.
    fn close(&self, sheet: &mut Sheet, key: Key) -> Result<()> {
        let Sheet { labels, field, x0, sum, tally, .. } = sheet;
        let cold = SubstrateConfig { kt: 0.0, ..self.substrate.config().clone() };
        let cold = self.substrate.clone().with_config(cold)?;
        let noiseless = cold.carry(x0.clone(), field.clone(), self.schedule, key)?;
        tally.top1_average = right(sum, labels, 1);
        tally.top2_average = right(sum, labels, 2);
        tally.top1_noiseless = right(&self.read(&noiseless), labels, 1);
        Ok(())
    }

    /// The accuracy of a device, with one trajectory per example.
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
        let rights = shards.gather(examples.len(), |range| -> Result<usize> {
            let indices: Vec<usize> = range.clone().collect();
            let labels: Vec<usize> = indices.iter().map(|&index| examples.label(index)).collect();
            let (field, x0) = this.prepare(examples, &indices)?;
            let first = range.start as u64;
            let x = device.simulate(x0, field, self.schedule, key.fork("run").skip(first), |_| {})?;
            let x = device.read(x, key.fork("read-out").skip(first));
            Ok(right(&self.read(&x), &labels, 1))
        });
        Ok(rights?.into_iter().sum::<usize>() as f64 / examples.len() as f64)
    }
}

/// Rows whose class is among the `guesses` largest outputs.
fn right(outputs: &[f64], labels: &[usize], guesses: usize) -> usize {
    let classes = outputs.len() / labels.len();
    let rows = outputs.chunks(classes).zip(labels);
    rows.filter(|(row, label)| ranking(row)[..guesses.min(classes)].contains(label)).count()
}

/// Images that are run together, and their results so far.
struct Sheet {
    /// The number of the first image.
    first: usize,
    labels: Vec<usize>,
    field: Tensor<2>,
    x0: Tensor<2>,
    /// Outputs, summed over trajectories.
    sum: Vec<f64>,
    tally: Tally,
}

/// Sums of an evaluation in progress, over images.
#[derive(Default, Serialize, Deserialize)]
struct Tally {
    images: usize,
    /// Images classified correctly: by each trajectory, with one guess and with two.
    top1: Vec<usize>,
    top2: Vec<usize>,
    /// By the average of all trajectories, and without noise.
    top1_average: usize,
    top2_average: usize,
    top1_noiseless: usize,
    /// `[class · classes + guess]`.
    confusion: Vec<usize>,
    /// One per trajectory.
    heat: Vec<f64>,
    /// Images classified correctly at each read-out time, and heat until then.
    right_at: Vec<usize>,
    heat_at: Vec<f64>,
}

/// Adds to sums, which are empty at first.
fn add<T: Copy + Default + AddAssign>(sums: &mut Vec<T>, values: &[T]) {
    sums.resize(values.len().max(sums.len()), T::default());
    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += *value);
}

impl Tally {
    fn merge(&mut self, other: Self) {
        self.images += other.images;
        add(&mut self.top1, &other.top1);
        add(&mut self.top2, &other.top2);
        self.top1_average += other.top1_average;
        self.top2_average += other.top2_average;
        self.top1_noiseless += other.top1_noiseless;
        add(&mut self.confusion, &other.confusion);
        self.heat.extend(other.heat);
        add(&mut self.right_at, &other.right_at);
        add(&mut self.heat_at, &other.heat_at);
    }

    fn finish(self, classes: usize, schedule: Schedule, kt: f64) -> Evaluation {
        let images = self.images as f64;
        let fraction = |count: usize| count as f64 / images;
        let fractions = |counts: Vec<usize>| counts.into_iter().map(fraction).collect::<Vec<_>>();
        let (runs, every) = (images * self.top1.len() as f64, schedule.steps.div_ceil(READ_OUTS));
        let reads = self.right_at.iter().zip(&self.heat_at).enumerate();
        let reads = reads.map(|(index, (&right, &heat))| ReadOut {
            time: schedule.dt * ((index + 1) * every) as f64,
            accuracy: right as f64 / runs,
            heat: heat / runs / kt,
        });
        Evaluation {
            images: self.images,
            trajectories: self.top1.len(),
            top1_single: Estimate::of(&fractions(self.top1)),
            top2_single: Estimate::of(&fractions(self.top2)),
            top1_average: fraction(self.top1_average),
            top2_average: fraction(self.top2_average),
            top1_noiseless: fraction(self.top1_noiseless),
            confusion: self.confusion.chunks(classes).map(<[usize]>::to_vec).collect(),
            heat: Estimate::of(&self.heat),
            read_outs: reads.collect(),
        }
    }
}
