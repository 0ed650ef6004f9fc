//! A generator of digits by class: one physical potential, trained without simulation.
//!
//! Visible units couple to hidden units only. Hidden units are fast, so they act on visible units by their mean.
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

use std::collections::BTreeMap;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use thermograd::network::protocol::weights;
use thermograd::{
    Block, Course, Group, Key, Response, Schedule, Substrate, SubstrateConfig, Topology, to_f64,
};

use crate::error::{Error, Result};
use crate::generator::adiabatic::{group, mean_field_force, response};
use crate::generator::model::Generator;
use crate::generator::noising::{LEVELS, Moment, Noising};
use crate::training::examples::Examples;
use crate::training::fit::{Recipe, Training, backward};
use crate::training::network::rows;

/// The configuration of an untrained generator, and its training.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassesConfig {
    /// Hidden units.
    pub hidden: usize,
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
    /// Its training.
    pub recipe: Recipe,
}

impl Default for ClassesConfig {
    fn default() -> Self {
        let recipe =
            Recipe { epochs: 14, batch: 256, learning_rate: 3e-3, warm_up: 100, ..Recipe::default() };
        Self {
            hidden: 1024,
            kt: 0.1,
            hidden_j2: -0.5,
            hidden_j4: 1.0,
            hidden_mobility: 40.0,
            knots: 11,
            scale: 0.05,
            bins: 50,
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
    /// 2d, `[knot, visible]`.
    stiffness: Param<Tensor<2>>,
}

impl ClassesConfig {
    /// The untrained generator of images of `pixels` pixels in `classes` classes.
    ///
    /// # Errors
    /// Those of [`SubstrateConfig::init`], and [`Error::Request`] for fewer than two knots.
    pub fn init(&self, pixels: usize, classes: usize, key: Key, device: &Device) -> Result<Denoiser> {
        if self.knots < 2 || self.bins == 0 {
            return Err(Error::Request("a course needs at least two knots and one time".into()));
        }
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
        Ok(Denoiser {
            substrate: substrate.with_coupling(block, coupling)?,
            gain: Param::from_tensor(Tensor::ones([1, self.knots], device)),
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
        let row = |moments: &Vec<Moment>| {
            moments.iter().map(|m| [m.mean, m.variance.sqrt(), m.target].map(|value| value as f32)).collect()
        };
        let noisy = Noisy {
            weights: table.times.iter().map(at).collect(),
            table: table.moments.iter().map(row).collect(),
            classes: group(topology, "label")?.units / self.knots,
        };
        let response = response(group(topology, "hidden")?, self.kt)?;
        let gradient = move |model: &Denoiser, indices: &[usize], batch: usize, key: Key| {
            let drawn = noisy.draw(examples, indices, key, &model.gain.device().inner());
            let deviation = model.force(&drawn, &response)? - drawn.target;
            let loss = (deviation.clone() * deviation).mean() * (indices.len() as f64 / batch as f64);
            Ok(backward(loss, model))
        };
        Ok(Training::new("classes", self.recipe, examples.len(), gradient))
    }
}

/// The states of images during noising, and the forces that reverse it.
struct Noisy {
    /// ⟨x⟩, standard deviation of x and ⟨T⟩, `[time][grey value]`.
    table: Vec<Vec<[f32; 3]>>,
    /// The weights of the knots at each time.
    weights: Vec<Vec<f32>>,
    classes: usize,
}

/// A batch of states during noising.
struct Drawn {
    x: Tensor<2>,
    target: Tensor<2>,
    /// `[row, knot]`.
    clock: Tensor<2>,
    /// `[row, knot · class]`.
    label: Tensor<2>,
}

impl Noisy {
    fn draw(&self, examples: &Examples, indices: &[usize], key: Key, device: &Device) -> Drawn {
        let (count, pixels, knots) = (indices.len(), examples.pixels_each(), self.weights[0].len());
        let mut x = key.fork("state").normals(0, count, pixels);
        let mut target = Vec::with_capacity(count * pixels);
        let (mut clock, mut label) = (Vec::new(), vec![0.0_f32; count * knots * self.classes]);
        for (row, &index) in indices.iter().enumerate() {
            let time = key.row(row as u64).rng().random_range(0..self.table.len());
            let moments: &[[f32; 3]; LEVELS] = self.table[time][..].try_into().expect("one a grey value");
            for (value, &pixel) in x[row * pixels..].iter_mut().zip(examples.pixels(index)) {
                let [mean, deviation, pull] = moments[usize::from(pixel)];
                *value = mean + deviation * *value;
                target.push(pull);
            }
            for (knot, &weight) in self.weights[time].iter().enumerate() {
                clock.push(weight);
                label[(row * knots + knot) * self.classes + examples.label(index)] = weight;
            }
        }
        let tensor = |values| rows(values, count, device);
        Drawn { x: tensor(x), target: tensor(target), clock: tensor(clock), label: tensor(label) }
    }
}

/// The times of the knots, for a run that ends at `end`.
fn times(knots: usize, end: f64) -> Vec<f64> {
    (0..knots).map(|knot| end * knot as f64 / (knots - 1) as f64).collect()
}

impl Denoiser {
    /// Equation (16) for each row of a batch.
    fn force(&self, drawn: &Drawn, response: &Response) -> Result<Tensor<2>> {
        let pixels = drawn.x.dims()[1];
        let field = self.substrate.field(&[drawn.clock.clone(), drawn.label.clone()])?;
        let units = field.dims()[1];
        let wells = drawn.clock.clone().matmul(self.stiffness.val()) * drawn.x.clone();
        let fields = [field.clone().slice_dim(1, 0..pixels) + wells, field.slice_dim(1, pixels..units)];
        let gain = drawn.clock.clone().matmul(self.gain.val().transpose());
        let one = Tensor::ones_like(&gain).detach();
        let (block, _) = self.substrate.topology().block_between("visible", "hidden").expect("made with it");
        Ok(mean_field_force(drawn.x.clone(), self.substrate.coupling(block), fields, [gain, one], response))
    }

    /// The trained generator, to be run with time step `dt` for the duration of its training.
    ///
    /// # Errors
    /// Those of [`Schedule::new`].
    pub fn generator(&self, noising: Noising, dt: f64) -> Result<Generator> {
        let end = noising.schedule.duration();
        let gains = to_f64(self.gain.val().inner());
        let wells = to_f64(self.stiffness.val().inner());
        let course = Course {
            times: times(gains.len(), end),
            gains: BTreeMap::from([("visible".into(), gains)]),
            wells: BTreeMap::from([("visible".into(), wells.iter().map(|k| 0.5 * *k as f32).collect())]),
            kt: None,
        };
        Generator::new(self.substrate.valid(), Some(course), Schedule::new(dt, end)?, noising)
    }
}
