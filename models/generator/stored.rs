//! A generator that stores a few images, as published, with three ways to find its couplings.
//!
//! All of them maximise the probability that the trained computer reverses the steps of the
//! [noising](crate::generator::noising) (S. Whitelam, PRL 136, 037101 (2026)).
//!
//! | method | the gradient of the reversed action |
//! |---|---|
//! | [`Descent`], batch | summed over whole trajectories before each descent step (as published) |
//! | [`Descent`], online | a local rule, applied at every step of the trajectory (H. Wang, W. Deng, arXiv 2609.15439) |
//! | [`exact`] | set to zero, and solved from the moments of single units without trajectories (new here) |

use std::collections::BTreeSet;

use burn::tensor::{Tensor, TensorCreationOptions};
use serde::{Deserialize, Serialize};
use thermograd::{
    Direction, Group, Key, LocalRule, Moments, Ridge, Schedule, Step, Substrate, SubstrateConfig, Topology,
    to_f64,
};

use crate::error::{Error, Result};
use crate::generator::model::Generator;
use crate::generator::noising::Noising;
use crate::training::examples::Examples;

/// The configuration of an untrained generator.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredConfig {
    /// Hidden units.
    pub hidden: usize,
    /// J₂ of all units.
    pub j2: f64,
    /// J₄ of all units.
    pub j4: f64,
    /// kT.
    pub kt: f64,
}

impl Default for StoredConfig {
    fn default() -> Self {
        Self { hidden: 512, j2: 1.0, j4: 1.0, kt: 0.1 }
    }
}

impl StoredConfig {
    /// The untrained computer for images of `pixels` pixels: visible–hidden and hidden–hidden couplings, biases on
    /// hidden units.
    ///
    /// # Errors
    /// Those of [`SubstrateConfig::init`].
    pub fn init(
        &self,
        pixels: usize,
        schedule: Schedule,
        noising: Noising,
        options: impl Into<TensorCreationOptions>,
    ) -> Result<Generator> {
        let groups = [Group::free("visible", pixels).unbiased(), Group::free("hidden", self.hidden)];
        let mut topology = Topology::all_to_all(groups.map(|group| group.wells(self.j2, self.j4)));
        topology.blocks.retain(|block| block.to == "hidden");
        let substrate = SubstrateConfig::new(topology).with_kt(self.kt).init(options)?;
        Generator::new(substrate, None, schedule, noising)
    }
}

/// Images to store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stored {
    /// Their pixels.
    pub images: Vec<Vec<u8>>,
    /// Their classes.
    pub labels: Vec<usize>,
}

impl Stored {
    /// The first `each` examples of every requested digit.
    ///
    /// # Errors
    /// [`Error::Request`] when no digit is requested, a digit is given twice, or there are too few examples.
    pub fn choose(examples: &Examples, digits: &[usize], each: usize) -> Result<Self> {
        let refuse = |reason: String| Err(Error::Request(reason));
        if digits.is_empty() || each == 0 {
            return refuse("at least one digit and one image of each are needed".into());
        }
        if digits.iter().collect::<BTreeSet<_>>().len() != digits.len() {
            return refuse(format!("a digit is given twice in {digits:?}"));
        }
        let mut stored = Self { images: Vec::new(), labels: Vec::new() };
        for &digit in digits {
            let found: Vec<usize> =
                (0..examples.len()).filter(|&index| examples.label(index) == digit).take(each).collect();
            if found.len() < each {
                return refuse(format!("{} images of digit {digit}, but {each} are requested", found.len()));
            }
            stored.images.extend(found.iter().map(|&index| examples.pixels(index).to_vec()));
            stored.labels.extend(found.iter().map(|_| digit));
        }
        Ok(stored)
    }

    /// The images as examples, `width` pixels wide.
    ///
    /// # Errors
    /// [`Error::Examples`] when the width does not divide the number of pixels.
    pub fn examples(&self, width: usize) -> Result<Examples> {
        let height = self.images.first().map_or(0, |image| image.len() / width);
        let labels = self.labels.iter().map(|&label| label as u8).collect();
        Examples::new(width, height, self.images.concat(), labels)
    }

    /// The grey value of the noising field on each unit of a generator: the pixels on the visible units, and the same
    /// pixels again, from the first, on the hidden units.
    fn pixels(image: &[u8], units: usize) -> impl Iterator<Item = u8> {
        (0..units).map(|unit| image[unit % image.len()])
    }
}

/// The number of times at which moments of the noising are taken.
const BINS: usize = 50;

/// The couplings that minimise the expected reversed action, at which its gradient is zero.
///
/// # Errors
/// Those of [`Noising::table`] and [`Moments::optimum`].
pub fn exact(generator: &Generator, stored: &Stored, ridge: f64) -> Result<Substrate> {
    let substrate = &generator.substrate;
    let table = generator.noising.table(generator.visible(), substrate.kt(), BINS)?;
    let units = substrate.free_units();
    let mut moments = Moments::new(substrate);
    let (mut means, mut variances, mut targets) = (Vec::new(), Vec::new(), Vec::new());
    for image in &stored.images {
        for at_time in &table.moments {
            for pixel in Stored::pixels(image, units) {
                let moment = at_time[usize::from(pixel)];
                means.push(moment.mean);
                variances.push(moment.variance);
                targets.push(moment.target);
            }
        }
    }
    moments.add_expected(&means, &variances, &targets)?;
    Ok(moments.optimum(substrate, Ridge { free: ridge, tolerance: 1e-5, ..Ridge::default() })?)
}

/// When the couplings are updated.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// After every cycle.
    Batch,
    /// At every step.
    Online,
}

/// Gradient descent on the reversed action of noising trajectories.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Descent {
    /// The number of noising trajectories per image.
    pub cycles: usize,
    /// The learning rate in units of Δt/t_f.
    pub rate: f64,
}

impl Default for Descent {
    fn default() -> Self {
        Self { cycles: 100, rate: 1.0 }
    }
}

/// The number of steps whose gradients are computed together, which limits the memory for a trajectory.
const CHUNK: usize = 100;

impl Descent {
    /// One cycle: every image is noised and the couplings are updated. Returns the new couplings, and the mean
    /// reversed action per step and unit before the update.
    ///
    /// # Errors
    /// Those of [`Substrate::simulate`].
    pub fn cycle(
        &self,
        generator: &Generator,
        stored: &Stored,
        rule: Rule,
        cycle: usize,
        key: Key,
    ) -> Result<(Substrate, f64)> {
        let (noising, key) = (generator.noising, key.fork("descent").at(cycle as u64));
        let mut substrate = generator.substrate.clone();
        let untrained = substrate.config().init(substrate.options())?;
        let (units, images) = (substrate.free_units(), stored.images.len());
        let pixels = stored.images.iter().flat_map(|image| Stored::pixels(image, units)).collect::<Vec<_>>();
        let schedule = noising.schedule;
        let rate = self.rate / schedule.steps as f64 / images as f64;
        let chunk = if rule == Rule::Online { 1 } else { CHUNK };
        let mut action = 0.0;
        let mut gradient: Option<LocalRule> = None;
        let (mut before, mut after): (Vec<Tensor<2>>, Vec<Tensor<2>>) = (Vec::new(), Vec::new());
        let mut outcome = Ok(());
        let mut learn = |step: &Step| -> Result<()> {
            before.push(step.before.clone());
            after.push(step.after.clone());
            if before.len() < chunk && step.index + 1 < schedule.steps {
                return Ok(());
            }
            let rows = |states: &mut Vec<Tensor<2>>| Tensor::cat(std::mem::take(states), 0);
            let (x, next) = (rows(&mut before), rows(&mut after));
            let rule_of = |substrate: &Substrate| {
                substrate.local_rule(&[], x.clone(), next.clone(), schedule.dt, Direction::Reverse)
            };
            let judge = substrate.step_action(schedule.dt, Direction::Reverse)?;
            action += to_f64(judge.of(x.clone(), next.clone(), substrate.field(&[])?).sum())[0];
            match rule {
                Rule::Batch => {
                    let rule = rule_of(&substrate)?;
                    gradient = Some(gradient.take().map_or(rule.clone(), |sum| sum.plus(&rule)));
                }
                Rule::Online => substrate = substrate.clone().descend(&rule_of(&substrate)?, rate)?,
            }
            Ok(())
        };
        noising.fall(&untrained, &pixels, key, |step| {
            if outcome.is_ok() {
                outcome = learn(step);
            }
        })?;
        outcome?;
        if let Some(gradient) = gradient {
            substrate = substrate.descend(&gradient, rate)?;
        }
        Ok((substrate, action / (images * units * schedule.steps) as f64))
    }
}
