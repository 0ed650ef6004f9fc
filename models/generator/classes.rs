//! A generator of digits by class: one physical potential, trained without simulation.
//!
//! Visible units couple to hidden units only, to all of them or, if they are local, to those near them. Hidden
//! units are fast, so they act on visible units by their mean.
//! Clamped label units select the class. Fields, wells and one gain change slowly in time, as a [`Course`]. The force
//! of the couplings on the visible units is then
//!
//! ```text
//! F(x, t) = −h_v(t) − 2d(t)∘x − s(t) W φ(−h_h(t) − s(t) Wᵀx),      φ(f) = ⟨x⟩ of one hidden unit under f,      (16)
//! ```
//!
//! with a shift d of the wells of visible units and fields h(t) = Σ_k w_k(t) (b_k + U_k,class) interpolated between
//! the knots k. Training draws an image with its class and a time, draws the state of the visible units from the
//! [noising](crate::generator::noising) table of its pixels, and regresses F on the force T that reverses the
//! noising. This is the least-squares form of the reversed likelihood of S. Whitelam, PRL 136, 037101 (2026). Labels,
//! gains, courses and training without simulation are new here.
//!
//! Three changes of the regression are settings. Each time can count by 1/(T_rms + 0.05), since T is small where there is most to
//! learn about classes. The target can be that of equation (57). And with guidance w the target is
//!
//! ```text
//! T + w [F(x, t, class) − F(x, t, no class)],      (58)
//! ```
//!
//! as it is then, without a gradient: classifier-free guidance (J. Ho and T. Salimans, arXiv 2207.12598), taught to the couplings instead of
//! computed while they run (as Z. Tang et al., arXiv 2502.12154, do for networks). For it some labels are dropped in training.
//!
//! Two more are about heat. Most of it is given off by hidden units that fall into the fields that they are in from the start;
//! fields and couplings can rise from zero instead, between the first knot and the second, slowly enough for hidden units to follow. And what their order costs can be added to
//! the loss,
//!
//! ```text
//! λ ⟨φ²⟩/2⟨x²⟩₀      (60)
//! ```
//!
//! in the mean over hidden units, with ⟨x²⟩₀ of one without a field: kT/λ times this is the free energy that the order of a unit costs, to lowest order in
//! its mean φ. Of it a slow change gives the bath the part 1 − d ln⟨x²⟩₀/d ln T, which is nearly 0.9 with the wells that are the default.

use std::collections::BTreeMap;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use thermograd::network::protocol::weights;
use thermograd::{
    Block, Course, Group, Key, Pattern, Response, Schedule, Substrate, SubstrateConfig, Topology, Well,
    to_f64,
};

use crate::error::{Error, Result};
use crate::generator::adiabatic::{full, group, pull, response};
use crate::generator::local::{self, Local};
use crate::generator::model::Generator;
use crate::generator::noising::{LEVELS, Moment, Noising, Table};
use crate::training::examples::Examples;
use crate::training::fit::{Part, Recipe, Training, backward};
use crate::training::network::rows;

/// The configuration of an untrained generator, and its training.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassesConfig {
    /// Hidden units that are coupled to all pixels.
    pub hidden: usize,
    /// Filters of local hidden units, one unit of each for every 4 × 4 pixels; none if zero.
    pub filters: usize,
    /// kT.
    pub kt: f64,
    /// J₂ of hidden units; if negative, they are bistable.
    pub hidden_j2: f64,
    /// J₄ of hidden units.
    pub hidden_j4: f64,
    /// μ of hidden units; visible units have μ = 1.
    pub hidden_mobility: f64,
    /// The number of knots of the course.
    pub knots: usize,
    /// Standard deviation of the couplings before training.
    pub scale: f64,
    /// The number of times at which the noising is tabulated.
    pub bins: usize,
    /// w of equation (58).
    pub guidance: f64,
    /// The fraction of the training after which there is guidance.
    pub guided_after: f64,
    /// The fraction of the examples without a label, if there is guidance.
    pub dropped: f64,
    /// Whether times count by 1/(T_rms + 0.05).
    pub weighted: bool,
    /// Whether the target is that of equation (57).
    pub corrected: bool,
    /// Whether every hidden unit that is coupled to all pixels, and every filter, has a course of gains of its own.
    pub unit_gains: bool,
    /// Whether fields and couplings rise from zero between the first two knots.
    pub rising: bool,
    /// λ of equation (60).
    pub heat_price: f64,
    /// Its training.
    pub recipe: Recipe,
}

impl Default for ClassesConfig {
    fn default() -> Self {
        let recipe =
            Recipe { epochs: 14, batch: 256, learning_rate: 3e-3, warm_up: 100, ..Recipe::default() };
        Self {
            hidden: 1024,
            filters: 0,
            kt: 0.1,
            hidden_j2: -0.5,
            hidden_j4: 1.0,
            hidden_mobility: 40.0,
            knots: 11,
            scale: 0.05,
            bins: 50,
            guidance: 0.5,
            guided_after: 0.3,
            dropped: 0.1,
            weighted: true,
            corrected: true,
            unit_gains: true,
            rising: false,
            heat_price: 0.0,
            recipe,
        }
    }
}

/// A generator in training: its couplings, and the gain and the shifts of the wells of the visible units at each
/// knot.
#[derive(Module, Debug)]
pub struct Denoiser {
    substrate: Substrate,
    /// `[1, knot]`.
    gain: Param<Tensor<2>>,
    /// `[knot, hidden]`, if hidden units have gains of their own.
    hidden_gain: Option<Param<Tensor<2>>>,
    /// 2d, `[knot, visible]`.
    stiffness: Param<Tensor<2>>,
    /// Hidden units that are not in the substrate yet.
    local: Option<Local>,
    /// Whether all is zero at the first knot.
    #[module(skip)]
    rising: bool,
}

/// The parameters of the computer that a denoiser is.
pub(crate) struct Exported {
    pub(crate) config: SubstrateConfig,
    /// Of every block, `[unit, unit]`.
    pub(crate) couplings: Vec<Tensor<2>>,
    /// `[knot, free unit]`.
    pub(crate) gains: Tensor<2>,
    /// d, `[knot, free unit]`.
    pub(crate) wells: Tensor<2>,
}

impl Exported {
    /// The computer without its course.
    pub(crate) fn substrate(&self) -> Result<Substrate> {
        let mut substrate = self.config.init(&self.wells.device())?;
        for (block, coupling) in self.couplings.iter().enumerate() {
            substrate = substrate.with_coupling(block, coupling.clone())?;
        }
        Ok(substrate)
    }
}

impl ClassesConfig {
    /// Refuses what cannot be made for images of some channels, rows and columns.
    ///
    /// # Errors
    /// [`Error::Request`] for fewer than two knots or no times, a price of heat below zero, and for filters on images that have colours or sides that are no
    /// multiples of four.
    pub fn check(&self, image: [usize; 3]) -> Result<()> {
        if self.knots < 2 || self.bins == 0 {
            return Err(Error::Request("a course needs at least two knots and one time".into()));
        }
        if !self.heat_price.is_finite() || self.heat_price < 0.0 {
            return Err(Error::Request(format!("a price of heat cannot be {}", self.heat_price)));
        }
        if self.filters > 0 { local::units(self.filters, image).map(drop) } else { Ok(()) }
    }

    /// The untrained generator of images of some channels, rows and columns in `classes` classes.
    ///
    /// # Errors
    /// Those of [`check`](Self::check) and [`SubstrateConfig::init`].
    pub fn init(&self, image: [usize; 3], classes: usize, key: Key, device: &Device) -> Result<Denoiser> {
        self.check(image)?;
        let pixels = image.iter().product();
        let groups = vec![
            Group::clamped("clock", self.knots),
            Group::clamped("label", self.knots * classes),
            Group::free("visible", pixels).unbiased(),
            Group::free("hidden", self.hidden)
                .wells(self.hidden_j2, self.hidden_j4)
                .mobility(self.hidden_mobility)
                .unbiased(),
        ];
        let pairs = [
            ("clock", "visible"),
            ("clock", "hidden"),
            ("label", "visible"),
            ("label", "hidden"),
            ("visible", "hidden"),
        ];
        let blocks = pairs.map(|(from, to)| Block::full(from, to)).into();
        let substrate = SubstrateConfig::new(Topology { groups, blocks }).with_kt(self.kt).init(device)?;
        let values = key.fork("couplings").normals(0, pixels, self.hidden);
        let coupling = rows(values, pixels, device) * self.scale;
        let (block, _) =
            substrate.topology().block_between("visible", "hidden").expect("the last of the pairs");
        let sizes = [self.filters, self.knots, classes];
        let gains = |count: usize| match self.unit_gains {
            true => rows(waking(self.knots, count), self.knots, device),
            false => Tensor::ones([self.knots, 1], device),
        };
        let local = (self.filters > 0)
            .then(|| Local::new(sizes, gains(self.filters), image, self.scale, key.fork("filters"), device));
        Ok(Denoiser {
            local: local.transpose()?,
            rising: self.rising,
            substrate: substrate.with_coupling(block, coupling)?,
            gain: Param::from_tensor(Tensor::ones([1, self.knots], device)),
            hidden_gain: self.unit_gains.then(|| Param::from_tensor(gains(self.hidden))),
            stiffness: Param::from_tensor(Tensor::zeros([self.knots, pixels], device)),
        })
    }

    /// The training of a denoiser to reverse the noising of some examples.
    ///
    /// # Errors
    /// Those of [`Noising::table`].
    pub fn training<'a>(
        &self,
        denoiser: &Denoiser,
        noising: Noising,
        examples: &'a Examples,
    ) -> Result<Training<'a, Denoiser>> {
        let topology = denoiser.substrate.topology();
        let table = noising.table(group(topology, "visible")?, self.kt, self.bins)?;
        let end = noising.schedule.duration();
        let knots = times(self.knots, end);
        let at = |time: &f64| weights(&knots, end - time).into_iter().map(|weight| weight as f32).collect();
        let corrected = self.corrected;
        let row = |moments: &Vec<Moment>| {
            let of = |m: &Moment| {
                let own = if corrected { m.stiffness } else { 0.0 };
                [m.mean, m.variance.sqrt(), m.target, own].map(|value| value as f32)
            };
            moments.iter().map(of).collect()
        };
        let mut weights: Vec<Vec<f32>> = table.times.iter().map(at).collect();
        if self.rising {
            weights.iter_mut().for_each(|weights| weights[0] = 0.0);
        }
        let noisy = Noisy {
            weights,
            counts: if self.weighted { counts(&table, examples) } else { vec![1.0; self.bins] },
            table: table.moments.iter().map(row).collect(),
            classes: group(topology, "label")?.units / self.knots,
            dropped: if self.guidance == 0.0 { 0.0 } else { self.dropped },
        };
        let hidden = group(topology, "hidden")?;
        let response = response(hidden, self.kt)?;
        let (guidance, after) = (self.guidance, self.guided_after);
        let (_, free) = Well::new(hidden, self.kt, 0.0)?.equilibrium(0.0).moments();
        let price = self.heat_price / (2.0 * free);
        let gradient = move |model: &Denoiser, Part { indices, batch, key, done }: Part| {
            let drawn = noisy.draw(examples, indices, key, &model.gain.device().inner());
            let (force, order) = model.force(&drawn, &drawn.label, &response)?;
            let target = match guidance != 0.0 && done >= after {
                true => {
                    let (anyone, _) = model.valid().force(&drawn, &drawn.label.zeros_like(), &response)?;
                    // Rows without a label have the same force with and without.
                    drawn.target.clone() + (force.clone().inner() - anyone) * guidance
                }
                false => drawn.target.clone(),
            };
            let deviation = force - Tensor::from_inner(target);
            let mut loss = (deviation.clone() * deviation * Tensor::from_inner(drawn.count)).mean();
            if price > 0.0 {
                loss = loss + order * price;
            }
            Ok(backward(loss * (indices.len() as f64 / batch as f64), model))
        };
        Ok(Training::new("classes", self.recipe, examples.len(), gradient))
    }
}

/// Gains before training, `[knot, unit]`, of units that count most one after the other: 0.3 + 0.9 exp(−(τ − c)²/(2·0.25²)) at τ = t/t_f,
/// with centres c from −0.1 to 1.1.
fn waking(knots: usize, count: usize) -> Vec<f32> {
    let at = |knot: usize, unit: usize| {
        let time = knot as f64 / (knots - 1) as f64;
        let centre = -0.1 + 1.2 * (unit as f64 + 0.5) / count as f64;
        (0.3 + 0.9 * (-(time - centre).powi(2) / (2.0 * 0.25_f64.powi(2))).exp()) as f32
    };
    (0..knots).flat_map(|knot| (0..count).map(move |unit| at(knot, unit))).collect()
}

/// What each time counts: 1/(T_rms + 0.05) of the pixels there are, with a mean of 1.
fn counts(table: &Table, examples: &Examples) -> Vec<f32> {
    let mut pixels = [0.0; LEVELS];
    for index in 0..examples.len() {
        examples.pixels(index).iter().for_each(|&pixel| pixels[usize::from(pixel)] += 1.0);
    }
    let all: f64 = pixels.iter().sum();
    let square = |moments: &Vec<Moment>| {
        moments.iter().zip(&pixels).map(|(m, count)| count / all * m.target * m.target).sum::<f64>()
    };
    let counts: Vec<f64> = table.moments.iter().map(|m| 1.0 / (square(m).sqrt() + 0.05)).collect();
    let mean = counts.iter().sum::<f64>() / counts.len() as f64;
    counts.into_iter().map(|count| (count / mean) as f32).collect()
}

/// The states of images during noising, and the forces that reverse it.
struct Noisy {
    /// ⟨x⟩, standard deviation of x, ⟨T⟩ and its slope in x, `[time][grey value]`.
    table: Vec<Vec<[f32; 4]>>,
    /// The weights of the knots at each time.
    weights: Vec<Vec<f32>>,
    /// What each time counts.
    counts: Vec<f32>,
    classes: usize,
    /// The fraction of rows without a label.
    dropped: f64,
}

/// A batch of states during noising.
struct Drawn {
    x: Tensor<2>,
    target: Tensor<2>,
    /// `[row, knot]`.
    clock: Tensor<2>,
    /// `[row, knot · class]`.
    label: Tensor<2>,
    /// `[row, 1]`.
    count: Tensor<2>,
}

impl Noisy {
    fn draw(&self, examples: &Examples, indices: &[usize], key: Key, device: &Device) -> Drawn {
        let (count, pixels, knots) = (indices.len(), examples.pixels_each(), self.weights[0].len());
        let mut x = key.fork("state").normals(0, count, pixels);
        let mut target = Vec::with_capacity(count * pixels);
        let (mut clock, mut label) = (Vec::new(), vec![0.0_f32; count * knots * self.classes]);
        let mut counts = Vec::with_capacity(count);
        for (row, &index) in indices.iter().enumerate() {
            let mut rng = key.row(row as u64).rng();
            let time = rng.random_range(0..self.table.len());
            let labelled = self.dropped == 0.0 || rng.random::<f64>() >= self.dropped;
            counts.push(self.counts[time]);
            let moments: &[[f32; 4]; LEVELS] = self.table[time][..].try_into().expect("one a grey value");
            for (value, &pixel) in x[row * pixels..].iter_mut().zip(examples.pixels(index)) {
                let [mean, deviation, pull, own] = moments[usize::from(pixel)];
                let displaced = deviation * *value;
                *value = mean + displaced;
                target.push(pull + own * displaced);
            }
            for (knot, &weight) in self.weights[time].iter().enumerate() {
                clock.push(weight);
                if labelled {
                    label[(row * knots + knot) * self.classes + examples.label(index)] = weight;
                }
            }
        }
        let tensor = |values| rows(values, count, device);
        let [x, target, clock, label, count] = [x, target, clock, label, counts].map(tensor);
        Drawn { x, target, clock, label, count }
    }
}

/// The times of the knots, for a run that ends at `end`.
fn times(knots: usize, end: f64) -> Vec<f64> {
    (0..knots).map(|knot| end * knot as f64 / (knots - 1) as f64).collect()
}

impl Denoiser {
    /// Equation (16) for each row of a batch, with these labels `[row, knot · class]`, and ⟨φ²⟩ over all of its hidden units.
    fn force(&self, drawn: &Drawn, label: &Tensor<2>, response: &Response) -> Result<(Tensor<2>, Tensor<1>)> {
        let pixels = drawn.x.dims()[1];
        let field = self.substrate.field(&[drawn.clock.clone(), label.clone()])?;
        let units = field.dims()[1];
        let wells = drawn.clock.clone().matmul(self.stiffness.val()) * drawn.x.clone();
        let (h_visible, h_hidden) =
            (field.clone().slice_dim(1, 0..pixels) + wells, field.slice_dim(1, pixels..units));
        let gain = drawn.clock.clone().matmul(self.gain.val().transpose());
        let own = match &self.hidden_gain {
            Some(gains) => drawn.clock.clone().matmul(gains.val()),
            None => Tensor::ones_like(&gain).detach(),
        };
        let (block, _) = self.substrate.topology().block_between("visible", "hidden").expect("made with it");
        let (to_units, to_pixels) = full(self.substrate.coupling(block));
        let x = drawn.x.clone() * gain.clone();
        let (mut pulls, means) = pull(x.clone(), to_units, to_pixels, h_hidden, own, response);
        let (mut units, mut squares) = (means.dims()[1], means.square().sum());
        let rows = drawn.x.dims()[0];
        if let Some(local) = &self.local {
            let (more, means) = local.pull(x, &drawn.clock, label, response);
            pulls = pulls + more;
            units += means.dims()[1];
            squares = squares + means.square().sum();
        }
        Ok((-(h_visible + pulls * gain), squares / (rows * units) as f64))
    }

    /// The computer that it is, with its local hidden units.
    pub(crate) fn exported(&self) -> Result<Exported> {
        let substrate = &self.substrate;
        let mut config = substrate.config().clone();
        let topology = &mut config.topology;
        let mut couplings: Vec<_> =
            (0..topology.blocks.len()).map(|block| substrate.coupling(block)).collect();
        let (knots, device) = (self.stiffness.dims()[0], self.stiffness.device());
        let over = |gains: Tensor<2>, units: usize| gains.expand([knots, units]);
        let pixels = self.stiffness.dims()[1];
        let hidden = group(topology, "hidden")?.clone();
        let own = self.hidden_gain.as_ref().map(Param::val);
        let own = own.unwrap_or_else(|| Tensor::ones([knots, 1], &device.clone().inner()));
        let mut gains = vec![over(self.gain.val().transpose(), pixels), over(own, hidden.units)];
        if let Some(local) = &self.local {
            let [to_visible, clock, label] = local.couplings();
            let units = to_visible.dims()[1];
            topology.groups.push(Group { name: "local".into(), units, ..hidden });
            topology.blocks.push(Block::full("clock", "local"));
            topology.blocks.push(Block::full("label", "local"));
            let pattern = Pattern::Pairs(local.pairs());
            topology.blocks.push(Block { from: "visible".into(), to: "local".into(), pattern });
            couplings.extend([clock, label, to_visible]);
            gains.push(over(local.gains(), units));
        }
        for (block, coupling) in topology.blocks.iter().zip(&mut couplings) {
            if ["clock", "label"].contains(&&block.from[..]) {
                coupling.inplace(|coupling| self.risen(coupling, knots));
            }
        }
        let gains = self.risen(Tensor::cat(gains, 1), knots);
        let still = Tensor::zeros([knots, gains.dims()[1] - pixels], &device.inner());
        let wells = self.risen(Tensor::cat(vec![self.stiffness.val() * 0.5, still], 1), knots);
        Ok(Exported { config, couplings, gains, wells })
    }

    /// Values at every knot, one or more rows for each, without those of the first one if they rise from zero.
    fn risen(&self, values: Tensor<2>, knots: usize) -> Tensor<2> {
        if !self.rising {
            return values;
        }
        let [rows, _] = values.dims();
        let first = values.clone().slice_dim(0, 0..rows / knots);
        Tensor::cat(vec![first.zeros_like(), values.slice_dim(0, rows / knots..rows)], 0)
    }

    /// The trained generator, to be run with time step `dt` for the duration of its training.
    ///
    /// # Errors
    /// Those of [`Schedule::new`].
    pub fn generator(&self, noising: Noising, dt: f64) -> Result<Generator> {
        let end = noising.schedule.duration();
        let knots = self.stiffness.val().dims()[0];
        let risen = |values: Tensor<2>| to_f64(self.risen(values, knots));
        let gains = risen(self.gain.val().inner().transpose());
        let wells = risen(self.stiffness.val().inner());
        let mut all = BTreeMap::from([("visible".into(), gains)]);
        if let Some(gains) = &self.hidden_gain {
            all.insert("hidden".into(), risen(gains.val().inner()));
        }
        if let Some(local) = &self.local {
            all.insert("local".into(), risen(local.valid().gains()));
        }
        let course = Course {
            times: times(knots, end),
            gains: all,
            wells: BTreeMap::from([("visible".into(), wells.iter().map(|k| 0.5 * *k as f32).collect())]),
            kt: None,
        };
        Generator::new(self.valid().exported()?.substrate()?, Some(course), Schedule::new(dt, end)?, noising)
    }
}

#[cfg(test)]
mod tests {
    use thermograd::{Couplings, Shards};

    use super::*;
    use crate::generator::adiabatic::Adiabatic;
    use crate::training::fit::Fit;

    const PIXELS: usize = 12 * 16;

    fn noising() -> Noising {
        Noising { schedule: Schedule { dt: 1e-2, steps: 100 }, ..Noising::default() }
    }

    /// Images of 12 rows and 16 columns of random pixels of two classes.
    fn examples() -> Examples {
        let mut rng = Key::new(1).rng();
        let pixels = (0..32 * PIXELS).map(|_| rng.random_range(0..=255)).collect();
        Examples::new(16, 12, pixels, (0..32).map(|k| k % 2).collect()).unwrap()
    }

    fn trained(config: &ClassesConfig, examples: &Examples) -> Denoiser {
        let denoiser = config.init([1, 12, 16], 2, Key::new(2), &Device::flex()).unwrap();
        let training = config.training(&denoiser, noising(), examples).unwrap();
        let mut fit = Fit::new(training, denoiser, Shards { size: 16, threads: 2 }, Key::new(3));
        let end = fit.run(|_, _| Ok::<_, Error>(std::ops::ControlFlow::Continue(())));
        assert!(end.unwrap().is_continue());
        fit.finish()
    }

    /// The forces that are trained are those of the couplings that leave: local units with their shared filters, fields and gains
    /// included, of a group or of every unit, with and without a label, at a knot and between two.
    #[test]
    fn trained_forces_are_those_of_the_exported_couplings() {
        for (unit_gains, rising) in [(false, false), (true, false), (true, true)] {
            exported_forces_are_trained(unit_gains, rising);
        }
    }

    fn exported_forces_are_trained(unit_gains: bool, rising: bool) {
        let recipe = Recipe { epochs: 10, batch: 32, learning_rate: 3e-2, ..Recipe::default() };
        let config = ClassesConfig {
            hidden: 5,
            filters: 3,
            knots: 3,
            bins: 8,
            guidance: 0.3,
            weighted: true,
            corrected: true,
            unit_gains,
            rising,
            recipe,
            ..ClassesConfig::default()
        };
        let examples = examples();
        let denoiser = trained(&config, &examples);
        let generator = denoiser.generator(noising(), 1e-3).unwrap();
        // Through a file.
        let couplings = Couplings::decode(&generator.couplings().encode().unwrap()).unwrap();
        let generator = Generator::from_couplings(&couplings, noising(), &Device::flex()).unwrap();
        let course = generator.course.clone().unwrap();
        assert_eq!(course.gains["local"].len(), if unit_gains { 3 * 3 * 12 } else { 3 });
        assert_eq!(course.gains.get("hidden").map(Vec::len), unit_gains.then_some(3 * 5));
        let changed = course.gains["local"].iter().all(|gain| (gain - 1.0).abs() > 1e-3);
        assert!(changed, "{:?}", course.gains);
        let first =
            course.gains.values().map(|gains| gains[0]).chain([f64::from(course.wells["visible"][0])]);
        assert!(first.into_iter().all(|first| (first == 0.0) == rising), "{course:?}");
        let (device, response) =
            (Device::flex(), response(&Group::free("h", 1).wells(-0.5, 1.0), 0.1).unwrap());
        let x = rows(Key::new(4).normals(0, 4, PIXELS), 4, &device);
        for (time, labelled) in [(0.5, true), (0.5, false), (0.2, true), (0.9, true)] {
            let mut clock: Vec<f32> = weights(&course.times, time).into_iter().map(|w| w as f32).collect();
            if rising {
                clock[0] = 0.0;
            }
            let classes: Vec<f32> =
                (0..8).map(|k| if labelled && k % 2 == k / 2 % 2 { 1.0 } else { 0.0 }).collect();
            let label = (0..4).flat_map(|row| {
                let (clock, classes) = (&clock, &classes);
                clock.iter().flat_map(move |w| classes[2 * row..2 * row + 2].iter().map(move |c| w * c))
            });
            let drawn = Drawn {
                x: x.clone(),
                target: x.zeros_like(),
                clock: rows(clock.repeat(4), 4, &device),
                label: rows(label.collect(), 4, &device),
                count: Tensor::ones([4, 1], &device),
            };
            let (trained, _) = denoiser.force(&drawn, &drawn.label, &response).unwrap();
            let clamped = [Tensor::ones([4, 1], &device), rows(classes, 4, &device)];
            let protocol = generator.substrate.protocol(&course, &clamped).unwrap();
            let exported = Adiabatic::new(&generator.substrate, &protocol).unwrap().force(time, &x);
            let (trained, exported) = (to_f64(trained), to_f64(exported));
            let size = thermograd::Estimate::of(&exported).sd;
            assert!(size > 0.05, "{size}");
            for (trained, exported) in trained.iter().zip(&exported) {
                assert!((trained - exported).abs() < 1e-5 * (1.0 + size), "{time}: {trained} {exported}");
            }
        }
    }

    /// Of the two classes of 32 images, about a tenth loses its label, and every time counts as it should.
    #[test]
    fn labels_are_dropped_and_times_counted() {
        let examples = examples();
        let config = ClassesConfig { bins: 8, ..ClassesConfig::default() };
        let group = Group::free("visible", PIXELS).unbiased();
        let table = noising().table(&group, 0.1, 8).unwrap();
        let counts = counts(&table, &examples);
        assert!((counts.iter().sum::<f32>() / 8.0 - 1.0).abs() < 1e-5);
        let rms = |moments: &Vec<Moment>| {
            let of = |pixel: &u8| moments[usize::from(*pixel)].target.powi(2);
            let all = (0..32).flat_map(|index| examples.pixels(index)).map(of);
            (all.sum::<f64>() / (32 * PIXELS) as f64).sqrt()
        };
        let weighed: Vec<f64> =
            table.moments.iter().zip(&counts).map(|(m, count)| f64::from(*count) * (rms(m) + 0.05)).collect();
        assert!(weighed.iter().all(|weight| (weight / weighed[0] - 1.0).abs() < 1e-5), "{weighed:?}");
        let noisy = Noisy {
            table: vec![vec![[0.0; 4]; LEVELS]; 8],
            weights: vec![vec![1.0]; 8],
            counts,
            classes: 2,
            dropped: config.dropped,
        };
        let indices: Vec<usize> = (0..4000).map(|k| k % 32).collect();
        let drawn = noisy.draw(&examples, &indices, Key::new(6), &Device::flex());
        let labels = to_f64(drawn.label.sum_dim(1));
        let without = labels.iter().filter(|label| **label == 0.0).count() as f64 / 4000.0;
        println!("{without} without a label");
        // 4.9 standard errors, which one seed in a million exceeds.
        assert!((without - 0.1).abs() < 4.9 * (0.09_f64 / 4000.0).sqrt());
    }
}
