//! Training of a generator on its own samples: its images shall have the features of real ones.
//!
//! The regression of [`classes`](crate::generator::classes) makes every step of the noising likely backwards. Errors of many steps add up all the
//! same, and nothing tells the computer of them. Here images are drawn, and the couplings follow the gradient of
//!
//! ```text
//! L = Σ_c n_c/n ‖E ψ(x) − μ_c‖²,      estimated by  Σ_{i≠j} (ψ_i − μ_c)·(ψ_j − μ_c)/n_c(n_c − 1)      (61)
//! ```
//!
//! over the n_c images of each class c in a batch of n, where ψ are features of visible units at t_f, and μ_c their means over visible units
//! that are held at real images of the class: the squared maximum mean discrepancy of a kernel ψ·ψ′ (A. Gretton et al., J. Mach. Learn.
//! Res. 13, 723, 2012), which trained networks that make images before (Y. Li, K. Swersky and R. Zemel, ICML 2015). The features are those of filters that
//! are drawn once, max(0, w·patch + b) of patches of 7 × 7 pixels, whose kernel is known (Y. Cho and L. K. Saul, NeurIPS 2009); the
//! judge has others.
//!
//! Gradients go through the steps of the last stretch between two knots, all units simulated, by the [adjoint of the
//! step](thermograd::Unrolled) along one path of noise each. Up to there hidden units are at their mean, and nothing is differentiated; they
//! start that stretch without couplings, and have forgotten it after a fraction of it.

use burn::module::{Module, Param};
use burn::optim::GradientsParams;
use burn::tensor::activation::relu;
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use thermograd::tensors::gather;
use thermograd::{
    Control, Key, Overdamped, Pattern, Protocol, Schedule, Shards, Substrate, Unrolled, Well, to_f64,
};

use crate::error::{Error, Result};
use crate::generator::classes::{Denoiser, Exported};
use crate::generator::model::{Generator, HiddenUnits, Request};
use crate::generator::noising::level;
use crate::training::examples::Examples;
use crate::training::fit::{Gradient, Part, Recipe, Training, backward};
use crate::training::network::rows;
use crate::training::parts::pack;

/// How a generator is trained on its own samples.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refinement {
    /// Steps of the training; none if zero.
    pub steps: usize,
    /// Images of a step.
    pub batch: usize,
    /// The peak learning rate of Adam.
    pub learning_rate: f64,
    /// Filters of the features.
    pub filters: usize,
    /// Real images whose features are averaged.
    pub real: usize,
}

impl Default for Refinement {
    fn default() -> Self {
        Self { steps: 0, batch: 512, learning_rate: 3e-4, filters: 32, real: 20_000 }
    }
}

/// The parameters of the computer that a denoiser is, as those of a module.
#[derive(Module, Debug)]
struct Computer {
    substrate: Substrate,
    /// `[knot, free unit]`.
    gains: Param<Tensor<2>>,
    /// d, `[knot, free unit]`.
    wells: Param<Tensor<2>>,
}

impl Computer {
    fn of(denoiser: &Denoiser) -> Result<Self> {
        let exported = denoiser.valid().exported()?;
        let substrate = exported.substrate()?;
        let [gains, wells] = [exported.gains, exported.wells].map(Param::from_tensor);
        Ok(Self { substrate, gains, wells })
    }

    /// Gradients at its parameters as those at the parameters of the denoiser that it was made of.
    fn back(&self, gradients: &GradientsParams, denoiser: &Denoiser) -> Result<GradientsParams> {
        let Exported { config, couplings, gains, wells } = denoiser.exported()?;
        let blocks = config.topology.blocks.iter().zip(couplings);
        let stored = blocks.map(|(block, coupling)| match &block.pattern {
            Pattern::Full => coupling,
            Pattern::Pairs(pairs) => gather(coupling, pairs),
        });
        let values = stored.chain([gains, wells]);
        let device = self.wells.device().inner();
        let product = |(value, gradient): (Tensor<2>, Option<TensorData>)| {
            gradient.map(|gradient| (value * Tensor::from_data(gradient, &device)).sum())
        };
        let products = values.zip(pack(self, gradients)).filter_map(product);
        let sum = products.reduce(|a, b| a + b).expect("there are couplings");
        Ok(backward(sum, denoiser).1)
    }

    /// The control parameters at one knot, with labels of some strength.
    fn control(
        &self,
        knot: usize,
        labels: &[usize],
        classes: usize,
        strength: f64,
    ) -> thermograd::Result<Control> {
        let ([knots, _], device) = (self.gains.dims(), self.gains.device().inner());
        let mut clock = vec![0.0_f32; knots];
        clock[knot] = 1.0;
        let mut label = vec![0.0_f32; labels.len() * knots * classes];
        for (image, class) in labels.iter().enumerate() {
            label[(image * knots + knot) * classes + class] = strength as f32;
        }
        let clamped =
            [rows(clock.repeat(labels.len()), labels.len(), &device), rows(label, labels.len(), &device)];
        let at = |values: &Param<Tensor<2>>| Some(values.val().slice_dim(0, knot..knot + 1));
        Ok(Control {
            gain: at(&self.gains),
            well: at(&self.wells),
            ..Control::from(self.substrate.field(&clamped)?)
        })
    }
}

impl Refinement {
    /// Refuses what cannot be trained on some examples of so many classes.
    ///
    /// # Errors
    /// [`Error::Request`] for batches with fewer than two images a class, no filters, learning rates that are not positive, and classes of which
    /// there is no real image.
    pub fn check(&self, examples: &Examples, classes: usize) -> Result<()> {
        if self.steps == 0 {
            return Ok(());
        }
        let there =
            |class: usize| (0..self.real.min(examples.len())).any(|index| examples.label(index) == class);
        if let Some(class) = (0..classes).find(|class| !there(*class)) {
            let reason =
                format!("refinement.real = {}: there is no image of class {class} among them", self.real);
            return Err(Error::Request(reason));
        }
        let Self { batch, filters, learning_rate, .. } = *self;
        if batch >= 2 * classes && filters > 0 && learning_rate > 0.0 && learning_rate.is_finite() {
            return Ok(());
        }
        let reason = format!(
            "refinement needs a batch of {} at least, filters and a positive learning rate, not {batch}, {filters} and \
             {learning_rate}",
            2 * classes
        );
        Err(Error::Request(reason))
    }

    /// The training of a denoiser, which is this generator so far, whose labels have some strength when it draws.
    ///
    /// # Errors
    /// [`Error::Request`] where a class has no image, and those of [`Generator::white`].
    pub fn training<'a>(
        &self,
        generator: &Generator,
        strength: f64,
        examples: &'a Examples,
        shards: Shards,
        key: Key,
    ) -> Result<Training<'a, Denoiser>> {
        let (noising, dt) = (generator.noising, generator.schedule.dt);
        let classes = generator.classes().expect("a generator of classes");
        let features = Features::new(*self, generator, examples, classes, shards, key.fork("features"))?;
        let recipe = Recipe {
            epochs: 1,
            batch: self.batch,
            learning_rate: self.learning_rate,
            warm_up: self.steps / 10,
            ..Recipe::default()
        };
        let drawing = Drawing { features, classes, strength, dt };
        let gradient = move |model: &Denoiser, Part { indices, batch, key, .. }: Part| {
            // Classes as often as among real images.
            let labels: Vec<usize> =
                indices.iter().map(|index| examples.label(index % examples.len())).collect();
            let request = Request {
                count: labels.len(),
                labels: Some(labels.clone()),
                label_strength: strength,
                hidden: HiddenUnits::Langevin,
                accounts: 0,
            };
            let begun = model.valid().generator(noising, dt)?.at_the_last_knot_but_one(&request, key)?;
            drawing.gradient(model, begun, &labels, labels.len() as f64 / batch as f64, key)
        };
        Ok(Training::new("refinement", recipe, self.steps * self.batch, gradient))
    }
}

/// How images are drawn for a gradient.
struct Drawing {
    features: Features,
    classes: usize,
    strength: f64,
    dt: f64,
}

impl Drawing {
    /// (61) times `part`, and its gradient, of images that are as they are at the last knot but one, with the time from there to the end.
    fn gradient(
        &self,
        denoiser: &Denoiser,
        (start, rest): (Tensor<2>, f64),
        labels: &[usize],
        part: f64,
        key: Key,
    ) -> Result<Gradient> {
        let computer = Computer::of(denoiser)?;
        let (schedule, last) = (Schedule::new(self.dt, rest)?, computer.gains.dims()[0] - 1);
        let machine = |computer: &Computer| {
            let at = |knot| computer.control(knot, labels, self.classes, self.strength);
            let protocol = Protocol::new(vec![0.0, rest], vec![at(last - 1)?, at(last)?])?;
            let key = key.fork("last stretch");
            Ok((Overdamped::new(&computer.substrate, protocol, self.dt, key)?, start.clone()))
        };
        let pixels = self.features.image.iter().product();
        let loss = |_: &Computer, x: Tensor<2>| {
            Ok(self.features.discrepancy(x.slice_dim(1, 0..pixels), labels) * part)
        };
        let (loss, gradients) = Unrolled::new(schedule.steps).gradient(&computer, machine, loss)?;
        Ok((loss, computer.back(&gradients, denoiser)?))
    }
}

/// ψ, and its means over real images.
struct Features {
    /// `[filter, 1, row, column]`.
    weight: Tensor<4>,
    bias: Tensor<1>,
    /// Rows and columns of an image.
    image: [usize; 2],
    /// ⟨x⟩ of a unit that is held at a white pixel.
    white: f64,
    /// μ, `[class, feature]`.
    means: Tensor<2>,
}

/// Pixels of a side of a patch, and between two.
const PATCH: usize = 7;
const STRIDE: usize = 2;

impl Features {
    /// Features whose filters are drawn by `key`, and their means over real images.
    fn new(
        config: Refinement,
        generator: &Generator,
        examples: &Examples,
        classes: usize,
        shards: Shards,
        key: Key,
    ) -> Result<Self> {
        let device = generator.substrate.coupling(0).device();
        let (pixels, filters) = (examples.pixels_each(), config.filters);
        let image = [pixels / examples.width(), examples.width()];
        let weight = rows(key.fork("filters").normals(0, filters, PATCH * PATCH), filters, &device);
        let weight = (weight / PATCH as f64).reshape([filters, 1, PATCH, PATCH]);
        let bias = rows(key.fork("biases").normals(0, 1, filters), 1, &device).reshape([filters]);
        let white = generator.white()?;
        let mut features = Self { weight, bias, image, white, means: Tensor::zeros([1, 1], &device) };
        // Visible units in equilibrium with the fields of the pixels.
        let (noising, visible) = (generator.noising, generator.visible());
        let well = Well::new(visible, generator.substrate.kt(), noising.field.abs())?;
        let quantiles: Vec<_> =
            (0..=255).map(|pixel| well.equilibrium(noising.field * level(pixel)).quantiles()).collect();
        let count = config.real.min(examples.len());
        let sums = shards.map(count, |range| {
            let uniforms = key.fork("real").skip(range.start as u64).uniforms(0, range.len(), pixels);
            let held = range.clone().flat_map(|index| examples.pixels(index));
            let x =
                held.zip(uniforms).map(|(&pixel, u)| quantiles[usize::from(pixel)].at(f64::from(u)) as f32);
            let psi = features.of(rows(x.collect(), range.len(), &device));
            let labels: Vec<usize> = range.map(|index| examples.label(index)).collect();
            let of = membership(&labels, classes, &device);
            (of.clone().matmul(psi), of.sum_dim(1))
        });
        let (sum, count) =
            sums.into_iter().reduce(|(a, n), (b, m)| (a + b, n + m)).expect("there are examples");
        if let Some(class) = to_f64(count.clone()).iter().position(|count| *count == 0.0) {
            return Err(Error::Request(format!(
                "there is no image of class {class} to learn its features from"
            )));
        }
        features.means = sum / count;
        Ok(features)
    }

    /// ψ(x).
    ///
    /// # Shapes
    /// `[image, pixel]` → `[image, feature]`.
    fn of(&self, x: Tensor<2>) -> Tensor<2> {
        let ([count, _], [high, wide]) = (x.dims(), self.image);
        let options = ConvOptions::new([STRIDE; 2], [PATCH / 2; 2], [1; 2], 1);
        let x = (x / self.white).reshape([count, 1, high, wide]);
        let psi = relu(conv2d(x, self.weight.clone(), Some(self.bias.clone()), options));
        psi.reshape([count as i64, -1])
    }

    /// (61), of one feature in the mean. Classes with a single image do not count.
    fn discrepancy(&self, x: Tensor<2>, labels: &[usize]) -> Tensor<1> {
        let psi = self.of(x);
        let [classes, count] = self.means.dims();
        let of = membership(labels, classes, &psi.device().inner());
        let away = psi - of.clone().transpose().matmul(self.means.clone());
        let each = of.clone().sum_dim(1);
        let pairs = (each.clone() * (each.clone() - 1.0)).clamp_min(1.0);
        let sum = of.clone().matmul(away.clone()).square().sum_dim(1) - of.matmul(away.square()).sum_dim(1);
        (sum / pairs * each).sum() / (labels.len() * count) as f64
    }
}

/// Which image is of which class, `[class, image]`.
fn membership(labels: &[usize], classes: usize, device: &Device) -> Tensor<2> {
    let mut of = vec![0.0_f32; classes * labels.len()];
    labels.iter().enumerate().for_each(|(image, class)| of[class * labels.len() + image] = 1.0);
    rows(of, classes, device)
}

#[cfg(test)]
mod tests {
    use burn::optim::SgdConfig;
    use thermograd::Estimate;

    use super::*;
    use crate::generator::classes::ClassesConfig;
    use crate::generator::noising::Noising;

    const PIXELS: usize = 12 * 16;

    fn examples() -> Examples {
        let pixels = Key::new(1).uniforms(0, 32, PIXELS).into_iter();
        // Bright on the left or on the right.
        let side = |at: usize| at % 16 < 8;
        let bright = |(at, u): (usize, f32)| {
            if side(at) == (at / PIXELS).is_multiple_of(2) { 200.0 + 55.0 * u } else { 55.0 * u }
        };
        let pixels = pixels.enumerate().map(|each| bright(each) as u8).collect();
        Examples::new(16, 12, pixels, (0..32).map(|k| k % 2).collect()).unwrap()
    }

    fn noising() -> Noising {
        Noising { schedule: Schedule { dt: 1e-2, steps: 100 }, ..Noising::default() }
    }

    fn denoiser() -> Denoiser {
        let config = ClassesConfig {
            hidden: 5,
            filters: 3,
            knots: 3,
            hidden_mobility: 5.0,
            unit_gains: true,
            scale: 0.2,
            ..ClassesConfig::default()
        };
        config.init([1, 12, 16], 2, Key::new(2), &Device::flex()).unwrap().train()
    }

    fn features(examples: &Examples, generator: &Generator) -> Features {
        let config = Refinement { filters: 4, ..Refinement::default() };
        Features::new(config, generator, examples, 2, Shards { size: 7, threads: 2 }, Key::new(3)).unwrap()
    }

    /// The sum over pairs is (61), and over real images it is zero in the mean.
    #[test]
    fn the_discrepancy_is_that_of_pairs_and_unbiased() {
        let (examples, generator) = (examples(), denoiser().generator(noising(), 1e-2).unwrap());
        let features = features(&examples, &generator);
        let labels = [0, 1, 1, 0, 1];
        let x = rows(Key::new(4).normals(0, 5, PIXELS), 5, &Device::flex());
        let found = to_f64(features.discrepancy(x.clone(), &labels))[0];
        let (psi, means) = (to_f64(features.of(x)), to_f64(features.means.clone()));
        let count = psi.len() / 5;
        let away = |i: usize, k: usize| psi[i * count + k] - means[labels[i] * count + k];
        let dot = |i: usize, j: usize| (0..count).map(|k| away(i, k) * away(j, k)).sum::<f64>();
        let of = |class: usize| {
            let all: Vec<usize> = (0..5).filter(|i| labels[*i] == class).collect();
            let pairs =
                all.iter().flat_map(|i| all.iter().filter(move |j| *j != i).map(move |j| dot(*i, *j)));
            pairs.sum::<f64>() / (all.len() - 1) as f64 / (5 * count) as f64
        };
        let expected = of(0) + of(1);
        assert!((found - expected).abs() < 1e-4 * expected.abs(), "{found} {expected}");
        // Visible units that are held at the images themselves.
        let well = Well::new(generator.visible(), 0.1, 2.0).unwrap();
        let quantiles: Vec<_> = (0..=255).map(|p| well.equilibrium(2.0 * level(p)).quantiles()).collect();
        let one = |k: u64| {
            let chosen: Vec<usize> = (0..16).map(|i| (5 * k as usize + 3 * i) % 32).collect();
            let uniforms = Key::new(5).at(k).uniforms(0, 16, PIXELS);
            let held = chosen.iter().flat_map(|i| examples.pixels(*i)).zip(uniforms);
            let x = held.map(|(p, u)| quantiles[usize::from(*p)].at(f64::from(u)) as f32).collect();
            let labels: Vec<usize> = chosen.iter().map(|i| examples.label(*i)).collect();
            to_f64(features.discrepancy(rows(x, 16, &Device::flex()), &labels))[0]
        };
        let real = Estimate::of(&(0..200).map(one).collect::<Vec<_>>());
        println!("{found} of noise, {} ± {} of real images", real.mean, real.standard_error());
        // 4.9 standard errors, and what the 32 noisy states that the means are of leave: the square of their error.
        assert!(real.mean.abs() < 4.9 * real.standard_error() + 0.02 * found);
    }

    /// Along its gradient, the loss changes by the square of it; and every parameter has one.
    #[test]
    fn gradients_reach_every_parameter_of_the_denoiser() {
        let (examples, denoiser) = (examples(), denoiser());
        let generator = denoiser.generator(noising(), 1e-2).unwrap();
        let drawing =
            Drawing { features: features(&examples, &generator), classes: 2, strength: 1.3, dt: 1e-2 };
        let labels = [0, 1, 1, 0, 1, 0, 0, 1];
        let request = Request {
            count: 8,
            labels: Some(labels.into()),
            label_strength: 1.3,
            hidden: HiddenUnits::Langevin,
            accounts: 0,
        };
        // Away from the zeros of fields and wells, which gradients of others are proportional to.
        let key = Key::new(6);
        let begun = generator.at_the_last_knot_but_one(&request, key).unwrap();
        assert_eq!(begun.1, 0.5);
        let at = |model: &Denoiser| drawing.gradient(model, begun.clone(), &labels, 1.0, key).unwrap();
        let moved = |model: &Denoiser, gradients: GradientsParams, by: f64| {
            SgdConfig::new().init().step(by, model.clone(), gradients)
        };
        let mut model = denoiser;
        for _ in 0..3 {
            let (_, gradients) = at(&model);
            model = moved(&model, gradients, 0.5);
        }
        let (loss, gradients) = at(&model);
        let parts = pack(&model, &gradients);
        let squares: Vec<f64> = parts
            .iter()
            .map(|part| part.as_ref().map_or(0.0, |part| part.iter::<f64>().map(|g| g * g).sum()))
            .collect();
        println!("{loss}, {squares:?}");
        assert!(squares.iter().all(|square| *square > 0.0), "{squares:?}");
        let all: f64 = squares.iter().sum();
        let by = 0.02 * loss.abs() / all;
        let gradients = || at(&model).1;
        let (down, up) = (at(&moved(&model, gradients(), by)).0, at(&moved(&model, gradients(), -by)).0);
        let slope = (up - down) / (2.0 * by);
        println!("{slope} {all}");
        assert!((slope / all - 1.0).abs() < 0.02, "{slope} {all}");
    }
}
