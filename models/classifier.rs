//! A thermodynamic computer that reads digits.
//!
//! The image is clamped on the input units; hidden and output units start at zero and run for t_f; the class is the
//! largest output at t_f (S. Whitelam, PNAS 123, e2528413123 (2026): 784 inputs, 64 hidden, 10 outputs,
//! μ = kT = J₂ = J₄ = 1, Δt = 1e-3, t_f = 0.2).

use std::ops::Range;

use burn::module::Module;
use burn::tensor::{Tensor, TensorCreationOptions};
use serde::{Deserialize, Serialize};
use thermograd::{
    Couplings, Estimate, Group, Hardware, Key, Normalisation, Problem, Schedule, Shards, Substrate,
    SubstrateConfig, Topology, to_f64,
};

use crate::error::{Error, Result};
use crate::examples::Examples;

/// Which groups of a classifier couple.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wiring {
    /// All: input–hidden, hidden–hidden, hidden–output, output–output, input–output.
    #[default]
    AllToAll,
    /// Input–hidden and hidden–output only.
    Layered,
}

/// The computer before training.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassifierConfig {
    /// Input units: pixels.
    pub inputs: usize,
    /// Hidden units.
    pub hidden: usize,
    /// Output units: classes.
    pub classes: usize,
    /// Which groups couple.
    pub wiring: Wiring,
    /// J₂ of hidden and output units.
    pub j2: f64,
    /// J₄ of hidden and output units.
    pub j4: f64,
    /// kT.
    pub kt: f64,
    /// Δt and t_f.
    pub schedule: Schedule,
}

impl ClassifierConfig {
    /// The published computer for images of `inputs` pixels, with `hidden` hidden units.
    pub fn new(inputs: usize, hidden: usize, classes: usize) -> Self {
        let schedule = Schedule { dt: 1e-3, steps: 200 };
        Self { inputs, hidden, classes, wiring: Wiring::AllToAll, j2: 1.0, j4: 1.0, kt: 1.0, schedule }
    }

    /// The untrained classifier, for images prepared by `normalisation`.
    ///
    /// # Errors
    /// Those of [`SubstrateConfig::init`].
    pub fn init(
        &self,
        normalisation: Normalisation,
        options: impl Into<TensorCreationOptions>,
    ) -> Result<Classifier> {
        let groups = [
            Group::clamped("input", self.inputs),
            Group::free("hidden", self.hidden).wells(self.j2, self.j4),
            Group::free("output", self.classes).wells(self.j2, self.j4),
        ];
        let topology = match self.wiring {
            Wiring::AllToAll => Topology::all_to_all(groups),
            Wiring::Layered => Topology::layered(groups),
        };
        let substrate = SubstrateConfig::new(topology).with_kt(self.kt).init(options)?;
        Classifier::new(substrate, self.schedule, normalisation)
    }
}

/// A thermodynamic computer with an input and an output group, its read-out time and its inputs' scaling.
#[derive(Clone, Debug)]
pub struct Classifier {
    /// The computer.
    pub substrate: Substrate,
    /// Δt and t_f.
    pub schedule: Schedule,
    /// How images are prepared.
    pub normalisation: Normalisation,
    outputs: Range<usize>,
}

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
    /// A classifier of any substrate with one clamped group and a free group called `output`.
    ///
    /// # Errors
    /// [`thermograd::Error::Topology`] when the groups are others.
    pub fn new(substrate: Substrate, schedule: Schedule, normalisation: Normalisation) -> Result<Self> {
        let outputs = substrate.topology().columns("output")?;
        let clamped = substrate.topology().clamped().count();
        if clamped != 1 {
            let reason = format!("a classifier has one clamped group, this network has {clamped}");
            return Err(thermograd::Error::Topology(reason).into());
        }
        Ok(Self { substrate, schedule, normalisation, outputs })
    }

    /// The classifier of exported couplings.
    ///
    /// # Errors
    /// Those of [`Couplings::substrate`], and [`thermograd::Error::Couplings`] when no input normalisation is given.
    pub fn from_couplings(couplings: &Couplings, options: impl Into<TensorCreationOptions>) -> Result<Self> {
        let missing = || Problem::Unsupported("no input normalisation: these are not a classifier's".into());
        let normalisation =
            couplings.description.normalisation.ok_or_else(missing).map_err(thermograd::Error::from)?;
        Self::new(couplings.substrate(options)?, couplings.description.schedule, normalisation)
    }

    /// Its couplings, for export.
    pub fn couplings(&self) -> Couplings {
        Couplings::of(&self.substrate, self.schedule, Some(self.normalisation))
    }

    /// With other couplings.
    pub fn with_substrate(&self, substrate: Substrate) -> Self {
        Self { substrate, ..self.clone() }
    }

    /// The columns of a state that are outputs.
    pub fn outputs(&self) -> Range<usize> {
        self.outputs.clone()
    }

    /// Multiply–accumulates of the conventional network with the same layers, the digital peer of one inference.
    pub fn digital_macs(&self) -> f64 {
        let inputs = self.substrate.topology().clamped_units();
        let hidden = self.substrate.free_units() - self.outputs.len();
        (inputs * hidden + hidden * self.outputs.len()) as f64
    }

    /// The field of some examples, and the state they start in.
    ///
    /// # Errors
    /// [`Error::Examples`] when the images have another size than the input group.
    pub fn prepare(&self, examples: &Examples, indices: &[usize]) -> Result<(Tensor<2>, Tensor<2>)> {
        let inputs = self.substrate.topology().clamped_units();
        if examples.pixels_each() != inputs {
            return Err(Error::Examples(format!(
                "images of {} pixels for {inputs} input units",
                examples.pixels_each()
            )));
        }
        let options = self.substrate.options();
        let clamped = examples.clamped(indices, &self.normalisation, None, options.clone());
        let x0 = Tensor::zeros([indices.len(), self.substrate.free_units()], options);
        Ok((self.substrate.field(&[clamped])?, x0))
    }

    /// Runs every example `trajectories` times, and once without noise. `progress` is told the part that is done.
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
        let mut tally = Tally::new(self.outputs.len(), trajectories);
        // In parts, so that progress can be told.
        let part = shards.size.saturating_mul(4 * shards.threads).min(examples.len());
        for start in (0..examples.len()).step_by(part) {
            let count = part.min(examples.len() - start);
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
        let classes = self.outputs.len();
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

    /// The part of the examples that one trajectory each of a device gets right.
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

    /// The outputs of each state, row-major on the host.
    pub fn read(&self, state: &Tensor<2>) -> Vec<f64> {
        to_f64(state.clone().slice_dim(1, self.outputs.clone()))
    }
}

/// Classes from the largest output to the smallest; of equal ones the first comes first.
pub fn ranking(outputs: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..outputs.len()).collect();
    order.sort_by(|&a, &b| outputs[b].total_cmp(&outputs[a]));
    order
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
        let parts =
            |counts: &[usize]| -> Vec<f64> { counts.iter().map(|&count| count as f64 / images).collect() };
        let runs = images * self.top1.len() as f64;
        let every = schedule.steps.div_ceil(READ_OUTS);
        let reads = self.reads.iter().enumerate().map(|(place, &(right, heat))| ReadOut {
            time: schedule.dt * ((place + 1) * every) as f64,
            accuracy: right as f64 / runs,
            heat: heat / runs / self.kt,
        });
        Evaluation {
            images: self.images,
            trajectories: self.top1.len(),
            top1_single: Estimate::of(&parts(&self.top1)),
            top2_single: Estimate::of(&parts(&self.top2)),
            top1_average: self.average1 as f64 / images,
            top2_average: self.average2 as f64 / images,
            top1_noiseless: self.noiseless as f64 / images,
            confusion: self.confusion,
            heat: Estimate::of(&self.heat),
            read_outs: reads.collect(),
        }
    }
}
