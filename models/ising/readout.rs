//! What the average of so many sweeps is expected to read.
//!
//! The means M_c of the R output spins of every class c over G sweeps have
//!
//! ```text
//! means m_c, covariances f(G) C_cd,      C_cd = S_cd + δ_cd ⟨1 − m² − g² V⟩_c/R      (28)
//! S_cd = Σ_{t≥1} Σ_h u_ch(t) N_h u_dh(t),      N = g/k + (1 − m² − g − g² s)
//! u^l(t+1) = A^(l+1)ᵀ g u^(l+1)(t) + γ A^l g u^(l−1)(t),      u_cn(0) = 1/R for the outputs n of class c
//! m = ⟨tanh(f + √s z)⟩,     g = ⟨1 − tanh²(f + √s z)⟩ over normal z
//! V_n = v_n r,     r = 1 + ⟨S_ee − T_ee⟩/Σ_n g² v_n,     u_en(0) = e_n of random signs e for all outputs at once
//! ```
//!
//! f and s are the mean and the variance of a spin's field, A its couplings to the layer below and γAᵀ those to the layer above, k the copies of every
//! spin, and ⟨⟩_c is the mean over the output spins of a class. m is from passes of the closure, one up and some more that take the way back into
//! account, and then some by these means over the noise. There s has two parts more: what comes
//! back from the outputs to the last hidden layer, γ² Σ_n A_nh² (1 − m_n²); and, for the outputs, what spins of the last hidden layer
//! have in common: V instead of the variance v that independent ones give the field of an output. Signs at random tell the sum of V over the outputs of an image
//! from few answers, since other pairs of outputs cancel on average (M. F. Hutchinson, Commun. Stat. Simul. Comput. 18, 1059 (1989)); T is that part of S which
//! independent spins below give, so that ⟨T_ee⟩ is Σ_n g² v_n, and signs err in the rest alone. S is worked out with v, and g with V instead changes it, and g² V, by
//! one factor for each class. Where spins come back to themselves by way of another
//! layer, the noise that comes along takes away what that adds to their means; noise that comes back to layers further down is left out of s.
//!
//! S is linear response, backwards in time. Layers are drawn in turns, and a spin varies for two reasons: by chance in its field, with the variance
//! 1 − tanh² of which g is the mean, k times less for copies; and with its field, by the slope g, and by 1 − m² − g − g² s more, since tanh is no
//! line, in which copies are alike. u(t) is how the outputs of a class answer to chance t turns before. S counts an
//! output spin with itself too, g² V, which its own 1 − m² has already.
//! It is tested with one hidden layer and all of the way back, two and a tenth of it, and three without; where much comes back to deep layers, S can be
//! too small by a third.
//!
//! f(G) = (1 + 2Σ_t (1 − t/G) aᵗ)/G is what the average of G values leaves of the variance of one, if they are correlated
//! as aᵗ with the autocorrelation time τ = ½ (1 + a)/(1 − a): 1 at G = 1, and 2τ/G for many.
//!
//! Classes share S; what C_cc has beyond it, none shares. Given what they share they are independent: the chance that the right one is the largest is a mean over
//! a few draws of what they share, for every image its own. Of many spins and sweeps M_c is nearly normal. Few, R·G up to 32, are counted: the spins of a class
//! are independent, each with its own mean, in a common field that is normal, such that M_c has the same variance, and correlated
//! with those of other classes as what they share is; and ties are shared.

use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use thermograd::{Key, Shards, to_f64};

use crate::ising::network::{IsingNet, mean_spin, softened};
use crate::ising::sampling::shares;
use crate::ising::training::Forward;
use crate::training::examples::Examples;
use crate::training::network::rows;

/// What is expected of the outputs of some examples.
#[derive(Clone, PartialEq, Debug)]
pub struct Expected {
    classes: usize,
    labels: Vec<usize>,
    /// R.
    replicas: usize,
    shards: Shards,
    /// m of every output spin, `[image, class and replica]`.
    spins: Vec<f64>,
    /// m_c, `[image, class]`.
    means: Vec<f64>,
    /// C, `[image, class, class]`.
    covariances: Vec<f64>,
    /// The part of C_cc that class c shares with no other, `[image, class]`.
    own: Vec<f64>,
}

/// The cheapest average that is expected to reach an accuracy.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Cheapest {
    /// Sweeps to average.
    pub sweeps: usize,
    /// What is expected of them.
    pub accuracy: f64,
}

/// A part of S below which what another turn adds is left out.
const LEAST: f64 = 1e-3;

/// How many sums of outputs with random signs tell the variance of their fields.
const SIGNS: usize = 2;

/// How often noise goes back and forth at most: what is left of it falls by the square of a gain each time.
const PASSES_OF_NOISE: usize = 10;

impl IsingNet {
    /// What is expected of the outputs of some examples: from one pass up, and so many more that take the way back into
    /// account. `progress` is told the fraction that is done.
    pub fn expected(
        &self,
        examples: &Examples,
        passes: usize,
        shards: Shards,
        mut progress: impl FnMut(f64),
    ) -> Expected {
        let network = self.valid();
        let shards = Shards { size: shards.size.min(100), ..shards };
        let (mut spins, mut means) = (Vec::new(), Vec::new());
        let (mut covariances, mut own) = (Vec::new(), Vec::new());
        let outputs = *self.spins().last().expect("a layer");
        let key = Key::new(0).fork("signs");
        // In chunks, so that progress can be told.
        let chunk = shards.size * 2 * shards.threads;
        for start in (0..examples.len()).step_by(chunk) {
            let count = chunk.min(examples.len() - start);
            let parts = shards.map(count, |range| {
                let indices: Vec<usize> = range.map(|index| start + index).collect();
                let inputs = examples.clamped(&indices, &network.normalisation, None, &network.device());
                let width = SIGNS * outputs;
                let signs = key.skip(indices[0] as u64).normals(0, indices.len(), width);
                let signs =
                    rows(signs.into_iter().map(f32::signum).collect(), indices.len(), &network.device());
                let (spins, c, own) = network.outputs(inputs, signs, passes);
                let means = network.class_means(spins.clone());
                (to_f64(spins), to_f64(means), to_f64(c), to_f64(own))
            });
            for (last, m, c, e) in parts {
                spins.extend(last);
                means.extend(m);
                covariances.extend(c);
                own.extend(e);
            }
            progress((start + count) as f64 / examples.len() as f64);
        }
        let labels = (0..examples.len()).map(|index| examples.label(index)).collect();
        let classes = self.classes;
        Expected { classes, labels, replicas: outputs / classes, shards, spins, means, covariances, own }
    }

    /// The accuracy of the means of the outputs after so many passes of the closure: quicker than [`expected`](Self::expected), since it
    /// leaves out what noise does to means beyond that.
    pub fn accuracy_of_means(&self, examples: &Examples, passes: usize, shards: Shards) -> f64 {
        let network = self.valid();
        let right = shards.map(examples.len(), |range| {
            let indices: Vec<usize> = range.collect();
            let inputs = examples.clamped(&indices, &network.normalisation, None, &network.device());
            let means = network.closed(inputs, passes).1.pop().expect("a layer");
            let means = to_f64(network.class_means(means));
            let read = indices.iter().zip(means.chunks(network.classes));
            read.map(|(&index, m)| shares(m)[examples.label(index)]).sum::<f64>()
        });
        right.into_iter().sum::<f64>() / examples.len() as f64
    }

    /// A¹x + b¹, and the means of every layer after so many passes of the closure.
    fn closed(&self, inputs: Tensor<2>, passes: usize) -> (Tensor<2>, Vec<Tensor<2>>) {
        let up = self.pass(inputs, Forward::Closure, Key::new(0));
        let clamped = up.fields[0].clone();
        // Half of the old: the layers may go round each other.
        let means = self.settled(&clamped, up.values, passes, 0.5);
        (clamped, means)
    }

    /// Means of every layer after so many passes of the closure that take the way back into account. What is new counts by
    /// the part `new`.
    ///
    /// # Shapes
    /// `clamped` `[image, spin]`, A¹x + b¹; `means` `[image, spin]` of every layer.
    pub(crate) fn settled(
        &self,
        clamped: &Tensor<2>,
        mut means: Vec<Tensor<2>>,
        passes: usize,
        new: f64,
    ) -> Vec<Tensor<2>> {
        let layers = means.len();
        for layer in (0..passes).flat_map(|_| 0..layers) {
            let down = means.get(layer + 1).and_then(|above| self.feedback(layer, above.clone()));
            let whole = |up: Tensor<2>| down.map_or(up.clone(), |down| up + down);
            let mean = if layer == 0 {
                mean_spin(whole(clamped.clone()))
            } else {
                let (up, variance) = self.forward_moments(layer, means[layer - 1].clone());
                mean_spin(softened(whole(up), variance))
            };
            means[layer] = if new < 1.0 { means[layer].clone() * (1.0 - new) + mean * new } else { mean };
        }
        means
    }

    /// Another pass through all layers, which counts the noise of every field. What is new counts by the part `new`.
    fn passed(&self, clamped: &Tensor<2>, means: &mut [Tensor<2>], new: f64) -> Passed {
        let last = self.layers.len() - 1;
        let mut passed = Passed::default();
        for layer in 0..=last {
            let (mut field, variance) = match layer {
                0 => (clamped.clone(), clamped.zeros_like()),
                _ => {
                    let (below, factor) = (means[layer - 1].clone(), self.factor(layer));
                    // Copies of a spin are in one field.
                    let spread = self.spread(layer - 1, below.clone()) + self.alike(layer - 1, &passed);
                    let (mean, variance) = self.layers[layer].moments(below, spread);
                    (mean * factor, variance * factor.powi(2))
                }
            };
            let (mut all, mut still) = (variance.clone(), layer == 0);
            if let Some(above) = means.get(layer + 1)
                && let Some(down) = self.feedback(layer, above.clone())
            {
                field = field + down;
                if layer + 1 == last {
                    // Of the outputs, which every spin below is coupled to.
                    let weight = self.layers[last].weight() * (self.factor(last) * self.gamma(layer));
                    all = all + self.spread(last, above.clone()).matmul(weight.square().transpose());
                    still = false;
                }
            }
            let (mean, slope) = if still { without_noise(&field) } else { in_noise(&field, &all) };
            means[layer] = means[layer].clone() * (1.0 - new) + mean * new;
            passed.slopes.push(slope);
            passed.fields.push(field);
            passed.variances.push(variance);
            passed.noises.push(all);
        }
        passed
    }

    /// What the noise of their common field does to all copies of a spin, (1 − 1/k) g² s of a hidden layer.
    fn alike(&self, layer: usize, passed: &Passed) -> Tensor<2> {
        let part = 1.0 - 1.0 / self.copies(layer) as f64;
        passed.slopes[layer].clone().square() * passed.variances[layer].clone() * part
    }

    /// The means of the output spins, `[image, spin]`, C of (28), `[image, class, class]`, and the part of C_cc that class c
    /// shares with no other, `[image, class]`. `signs` are those of [`SIGNS`] sums, `[image, sum · spin]`.
    fn outputs(
        &self,
        inputs: Tensor<2>,
        signs: Tensor<2>,
        passes: usize,
    ) -> (Tensor<2>, Tensor<3>, Tensor<2>) {
        let last = self.layers.len() - 1;
        let (clamped, mut means) = self.closed(inputs, passes);
        for _ in 0..if self.is_feed_forward() { 0 } else { PASSES_OF_NOISE } {
            self.passed(&clamped, &mut means, 0.5);
        }
        let passed = self.passed(&clamped, &mut means, 1.0);
        let Passed { slopes, fields, variances, .. } = &passed;
        let [images, spins] = means[last].dims();
        let (classes, replicas) = (self.classes, spins / self.classes);
        let weight = self.layers[last].weight() * self.factor(last);
        let noise: Vec<Tensor<2>> =
            (0..=last).map(|layer| self.chance(layer, &means[layer], &passed)).collect();
        // How classes answer to the last hidden layer, ⟨g A_h⟩_c, and sums of outputs with random signs, `[image, class or sum, spin below]`.
        let total = classes + SIGNS;
        let one = |k: usize| {
            let of = k * replicas..(k + 1) * replicas;
            let [slope, weight] = [&slopes[last], &weight].map(|x| x.clone().slice_dim(1, of.clone()));
            slope.matmul(weight.transpose()) / replicas as f64
        };
        let sum = |k: usize| {
            let sign = signs.clone().slice_dim(1, k * spins..(k + 1) * spins);
            // As large as the answer of a class without what it has in common.
            let unit = replicas as f64 * (classes as f64).sqrt();
            (slopes[last].clone() * sign).matmul(weight.clone().transpose()) / unit
        };
        let b = Tensor::stack::<3>((0..classes).map(one).chain((0..SIGNS).map(sum)).collect(), 1);
        let diagonal = |c: &Tensor<3>| {
            let size = c.dims()[1];
            (c.clone() * Tensor::<2>::eye(size, &c.device()).unsqueeze_dim::<3>(0))
                .sum_dim(2)
                .reshape([images, size])
        };
        let linear = self.answered(b.clone(), slopes, &noise);
        // r: what the sums have, over what independent spins below give them.
        let independent = self.spread(last - 1, means[last - 1].clone()) + self.alike(last - 1, &passed);
        let there = (b.square() * independent.unsqueeze_dim::<3>(1)).sum_dim(2).reshape([images, total]);
        let more = (diagonal(&linear) - there).slice_dim(1, classes..total).mean_dim(1)
            * (replicas * replicas * classes) as f64;
        let alone = (slopes[last].clone().square() * variances[last].clone()).sum_dim(1);
        let variance = variances[last].clone() * (more / alone.clamp_min(1e-30) + 1.0).clamp_min(0.0);
        let (m, softer) = in_noise(&fields[last], &variance);
        let slope = self.class_means(slopes[last].clone()).clamp_min(1e-6);
        let softer = self.class_means(softer) / slope;
        let each = |row: Tensor<2>| row.reshape([images, classes, 1]);
        let shared = linear.slice([0..images, 0..classes, 0..classes])
            * each(softer.clone())
            * each(softer.clone()).swap_dims(1, 2);
        let itself = self.class_means(slopes[last].clone().square() * variance) * softer.square();
        let own = (self.class_means(m.clone().square() * -1.0 + 1.0) - itself) / replicas as f64;
        let same = Tensor::<2>::eye(classes, &weight.device()).unsqueeze_dim::<3>(0);
        let c = shared + same.clone() * each(own.clone());
        // A mean of spins cannot vary by more.
        let most = (self.class_means(m.clone()).square() * -1.0 + 1.0).reshape([images, classes, 1]);
        let excess = (each(diagonal(&c)) - most).clamp_min(0.0);
        let c = c - same * excess;
        (m, c, own)
    }

    /// N of a layer, `[image, spin]`.
    fn chance(&self, layer: usize, mean: &Tensor<2>, passed: &Passed) -> Tensor<2> {
        let slope = passed.slopes[layer].clone();
        let line = slope.clone().square() * passed.noises[layer].clone();
        let bent = (mean.clone().square() * -1.0 + 1.0 - slope.clone() - line).clamp_min(0.0);
        slope / self.copies(layer) as f64 + bent
    }

    /// S of (28), from how outputs answer to the last hidden layer, `[image, class, spin]`, slopes and N of every layer.
    fn answered(&self, b: Tensor<3>, slopes: &[Tensor<2>], noise: &[Tensor<2>]) -> Tensor<3> {
        let (layers, [images, classes, _]) = (self.layers.len(), b.dims());
        let each = |row: &Tensor<2>| row.clone().unsqueeze_dim::<3>(1);
        // Of every image, `[image, 1]`.
        let largest = |s: &Tensor<3>| s.clone().reshape([images, classes * classes]).abs().max_dim(1);
        let part = |more: &Tensor<3>, sum: &Tensor<3>| -> f64 {
            (largest(more) / largest(sum).clamp_min(1e-30)).max().into_scalar()
        };
        let mut sum = Tensor::zeros([images, classes, classes], &b.device());
        let mut answers: Vec<Option<Tensor<3>>> = vec![None; layers];
        answers[layers - 2] = Some(b);
        // Up to the first layer, and back and forth as often as it counts.
        for turn in 0..layers + 2 * PASSES_OF_NOISE {
            let mut before: Vec<Option<Tensor<3>>> = vec![None; layers];
            let mut add = |layer: usize, more: Tensor<2>| {
                let more = more.reshape([images as i64, classes as i64, -1]);
                before[layer] = Some(match before[layer].take() {
                    Some(answer) => answer + more,
                    None => more,
                });
            };
            let mut more = sum.zeros_like();
            for (layer, u) in answers.into_iter().enumerate() {
                let Some(u) = u else { continue };
                more = more + (u.clone() * each(&noise[layer])).matmul(u.clone().transpose());
                let through = (u * each(&slopes[layer])).reshape([(images * classes) as i64, -1]);
                if layer > 0 {
                    add(layer - 1, self.layers[layer].back(through.clone()) * self.factor(layer));
                }
                let strength =
                    if layer + 1 < layers { self.gamma(layer) * self.factor(layer + 1) } else { 0.0 };
                if strength > 0.0 {
                    add(layer + 1, self.layers[layer + 1].product(through) * strength);
                }
            }
            sum = sum + more.clone();
            if before.iter().all(Option::is_none) || turn >= layers && part(&more, &sum) < LEAST {
                break;
            }
            answers = before;
        }
        sum
    }
}

/// What a pass finds of every layer, `[image, spin]`.
#[derive(Default)]
struct Passed {
    /// g.
    slopes: Vec<Tensor<2>>,
    fields: Vec<Tensor<2>>,
    /// Those of the fields from below.
    variances: Vec<Tensor<2>>,
    /// Those of the whole fields, s.
    noises: Vec<Tensor<2>>,
}

/// tanh, and its slope.
fn without_noise(field: &Tensor<2>) -> (Tensor<2>, Tensor<2>) {
    let mean = mean_spin(field.clone());
    (mean.clone(), mean.square() * -1.0 + 1.0)
}

/// The mean of tanh over normal fields, and that of its slope.
fn in_noise(field: &Tensor<2>, variance: &Tensor<2>) -> (Tensor<2>, Tensor<2>) {
    let sd = variance.clone().sqrt();
    let (mut mean, mut slope) = (field.zeros_like(), field.zeros_like());
    for (z, weight) in nodes() {
        let (spin, steep) = without_noise(&(field.clone() + sd.clone() * z));
        mean = mean + spin * weight;
        slope = slope + steep * weight;
    }
    (mean, slope)
}

/// Spins of a class in all sweeps up to which their number is counted.
const FEW: usize = 32;

/// Draws of the noise that classes share, each with its opposite: of an image, and of all of them at least.
const DRAWS: usize = 2;
const ALL_DRAWS: usize = 20_000;

impl Expected {
    /// m_c, `[image, class]`.
    pub fn means(&self) -> &[f64] {
        &self.means
    }

    /// C, `[image, class, class]`.
    pub fn covariances(&self) -> &[f64] {
        &self.covariances
    }

    /// The accuracy that the average of `sweeps` sweeps is expected to have at an autocorrelation time τ. What classes share is
    /// drawn by a key of its own, the same for any number of sweeps.
    pub fn accuracy(&self, sweeps: usize, tau: f64) -> f64 {
        let left = variance_left(sweeps, tau);
        let width = self.classes * DRAWS.max(ALL_DRAWS / self.labels.len().max(1));
        let key = Key::new(0).fork("shared noise");
        let right = self.shards.map(self.labels.len(), |range| {
            let normals = key.skip(range.start as u64).normals(0, range.len(), width);
            let images = range.zip(normals.chunks(width));
            images.map(|(image, normals)| self.chance(image, sweeps, left, normals)).sum::<f64>()
        });
        right.into_iter().sum::<f64>() / self.labels.len() as f64
    }

    /// The chance that one image is read right, if f(G) is `left`: the mean over what classes share.
    fn chance(&self, image: usize, sweeps: usize, left: f64, normals: &[f32]) -> f64 {
        let (n, label) = (self.classes, self.labels[image]);
        let m = &self.means[image * n..][..n];
        let spins = self.spins[image * n * self.replicas..][..n * self.replicas].chunks(self.replicas);
        let c = &self.covariances[image * n * n..][..n * n];
        let all = |k: usize| left * c[k * n + k];
        let own: Vec<f64> =
            (0..n).map(|k| (left * self.own[image * n + k]).clamp(0.0, all(k).max(0.0))).collect();
        let mean = |chance: &dyn Fn(&[f64]) -> f64| {
            let pair = |z: &[f32]| [1.0, -1.0].map(|sign| z.iter().map(|z| sign * f64::from(*z)).collect());
            let draws: Vec<Vec<f64>> = normals.chunks(n).flat_map(pair).collect();
            draws.iter().map(|z| chance(z)).sum::<f64>() / draws.len() as f64
        };
        // All covariances, without what classes have alone.
        let root =
            |alone: &[f64]| Root::new(n, |i, j| left * c[i * n + j] - if i == j { alone[i] } else { 0.0 });
        if self.replicas * sweeps > FEW {
            let root = root(&own);
            return mean(&|z| {
                let m: Vec<f64> = root.times(z).zip(m).map(|(shift, m)| m + shift).collect();
                chance_of_normals(label, &m, &own)
            });
        }
        let classes: Vec<Common> =
            spins.enumerate().map(|(k, m)| Common::matched(sweeps, m, all(k))).collect();
        let alone: Vec<f64> =
            classes.iter().enumerate().map(|(k, class)| class.alone(sweeps).min(all(k))).collect();
        let root = root(&alone);
        mean(&|z| {
            let sd = |k: usize| (all(k) - alone[k]).max(1e-30).sqrt();
            let shifts = root.times(z).enumerate().map(|(k, shift)| shift / sd(k));
            let all = classes.iter().zip(shifts).map(|(class, z)| class.counts(sweeps, z));
            chance_of_few(label, &all.collect::<Vec<_>>())
        })
    }

    /// The accuracy of an average that lasts for ever.
    pub fn limit(&self) -> f64 {
        let images = self.labels.iter().zip(self.means.chunks(self.classes));
        images.map(|(&label, m)| shares(m)[label]).sum::<f64>() / self.labels.len() as f64
    }

    /// The fewest sweeps that are expected to reach `accuracy`, at most `most`.
    pub fn cheapest(&self, accuracy: f64, tau: f64, most: usize) -> Option<Cheapest> {
        let reaches = |sweeps: usize| self.accuracy(sweeps, tau) >= accuracy;
        // The first of a geometric series, since more sweeps are not better everywhere, and then between it and the one before.
        let next = |sweeps: &usize| (*sweeps < most).then(|| (sweeps * 5 / 4 + 1).min(most));
        let marks: Vec<usize> = std::iter::successors(Some(1), next).collect();
        let first = marks.iter().position(|&sweeps| reaches(sweeps))?;
        let (mut below, mut enough) = (first.checked_sub(1).map_or(0, |before| marks[before]), marks[first]);
        while enough - below > 1 {
            let middle = (below + enough) / 2;
            if reaches(middle) { enough = middle } else { below = middle }
        }
        Some(Cheapest { sweeps: enough, accuracy: self.accuracy(enough, tau) })
    }
}

/// The Cholesky factor of a matrix of covariances, where what rounding has left below zero counts as none.
struct Root {
    n: usize,
    lower: Vec<f64>,
}

impl Root {
    fn new(n: usize, matrix: impl Fn(usize, usize) -> f64) -> Self {
        let mut lower = vec![0.0; n * n];
        for j in 0..n {
            for i in j..n {
                let known: f64 = (0..j).map(|k| lower[i * n + k] * lower[j * n + k]).sum();
                let rest = matrix(i, j) - known;
                let pivot = lower[j * n + j];
                if i == j && rest < 0.0 {
                    // More than there is: as much as there is.
                    let part = (matrix(j, j).max(0.0) / known).sqrt();
                    lower[j * n..j * n + j].iter_mut().for_each(|value| *value *= part);
                }
                lower[i * n + j] = if i == j {
                    rest.max(0.0).sqrt()
                } else if pivot > 1e-6 * matrix(j, j).sqrt() {
                    rest / pivot
                } else {
                    0.0
                };
            }
        }
        Self { n, lower }
    }

    fn times<'a>(&'a self, z: &'a [f64]) -> impl Iterator<Item = f64> + 'a {
        self.lower.chunks(self.n).map(move |row| row.iter().zip(z).map(|(l, z)| l * z).sum())
    }
}

/// f(G) of (28).
fn variance_left(sweeps: usize, tau: f64) -> f64 {
    let (g, a) = (sweeps as f64, (2.0 * tau - 1.0) / (2.0 * tau + 1.0));
    ((1.0 + a) / (1.0 - a) - 2.0 * a * (1.0 - a.powf(g)) / (g * (1.0 - a).powi(2))) / g
}

/// The chance that of independent normals of means m and variances v, that of `label` is the largest.
fn chance_of_normals(label: usize, m: &[f64], v: &[f64]) -> f64 {
    let sd = |class: usize| v[class].sqrt().max(1e-9);
    // A step that resolves the narrowest of the others, within limits.
    let narrowest = (0..m.len()).map(sd).fold(f64::INFINITY, f64::min);
    let points = (24.0 * (sd(label) / narrowest).clamp(1.0, 20.0)) as i32;
    let below =
        |class: usize, x: f64| 0.5 * libm::erfc((m[class] - x) / sd(class) * std::f64::consts::FRAC_1_SQRT_2);
    let (mut sum, mut weights) = (0.0, 0.0);
    for point in -points..=points {
        let z = 4.5 * f64::from(point) / f64::from(points);
        let weight = (-z * z / 2.0).exp();
        let x = m[label] + z * sd(label);
        let others = (0..m.len()).filter(|&class| class != label);
        sum += weight * others.map(|class| below(class, x)).product::<f64>();
        weights += weight;
    }
    sum / weights
}

/// The places, in standard deviations, that a normal field is told at, half of one apart, and what each counts.
fn nodes() -> [(f64, f64); 17] {
    std::array::from_fn(|k| {
        let z = 0.5 * (k as f64 - 8.0);
        (z, 0.5 * (-z * z / 2.0).exp() / std::f64::consts::TAU.sqrt())
    })
}

/// The spins of a class in a common normal field: what each is in without it, and the s.d. of that.
struct Common {
    fields: Vec<f64>,
    sd: f64,
}

impl Common {
    /// In a field of this s.d., spins of means `m`.
    fn new(m: &[f64], sd: f64) -> Self {
        let soft = (1.0 + std::f64::consts::FRAC_PI_2 * sd * sd).sqrt();
        let field = |m: &f64| m.clamp(-1.0 + 1e-7, 1.0 - 1e-7).atanh() * soft;
        Self { fields: m.iter().map(field).collect(), sd }
    }

    /// Spins of means `m`, read so many times, in a common field of which their mean has the variance `v`, or without one if
    /// that is less than independent spins have.
    fn matched(times: usize, m: &[f64], v: f64) -> Self {
        let mean = m.iter().sum::<f64>() / m.len() as f64;
        let matched = |sd: f64| {
            let mut common = Self::new(m, sd);
            // What the softened fields leave of the mean.
            for _ in 0..20 {
                let (found, _, slope) = common.moments(times);
                let off = mean - found;
                if off.abs() < 1e-3 * (1.0 - mean.abs()) {
                    break;
                }
                let shift = (off / slope.max(1e-9)).clamp(-0.5, 0.5);
                common.fields.iter_mut().for_each(|field| *field += shift);
            }
            common
        };
        let (mut low, mut high) = (0.0, 8.0);
        // One value of ±1 varies as its mean says, and by no more.
        if m.len() * times > 1 && Self::new(m, 0.0).moments(times).1 < v {
            for _ in 0..10 {
                let middle = 0.5 * (low + high);
                if matched(middle).moments(times).1 < v { low = middle } else { high = middle }
            }
        }
        matched(low)
    }

    /// The part of the variance of their mean that spins have in a given field.
    fn alone(&self, times: usize) -> f64 {
        self.moments(times).2 / (self.fields.len() * times) as f64
    }

    /// The mean of the mean spin, its variance where each spin is read so many times, and the mean of 1 − tanh².
    fn moments(&self, times: usize) -> (f64, f64, f64) {
        let (r, mut moments) = (self.fields.len() as f64, [0.0; 3]);
        for (z, weight) in nodes() {
            let (mut sum, mut squares) = (0.0, 0.0);
            for field in &self.fields {
                let s = (field + self.sd * z).tanh();
                (sum, squares) = (sum + s, squares + s * s);
            }
            let (mean, square) = (sum / r, squares / r);
            moments =
                [moments[0] + weight * mean, moments[1] + weight * mean * mean, moments[2] + weight * square];
        }
        let [mean, square, own] = moments;
        (mean, square - mean * mean + (1.0 - own) / (r * times as f64), 1.0 - own)
    }

    /// The probabilities that 0 to all of the spins are up, each read so many times, where the common field is z standard
    /// deviations.
    fn counts(&self, times: usize, z: f64) -> Vec<f64> {
        let mut once = vec![1.0];
        for field in &self.fields {
            let up = 0.5 + 0.5 * (field + self.sd * z).tanh();
            once.push(0.0);
            for k in (0..once.len()).rev() {
                once[k] = once[k] * (1.0 - up) + if k > 0 { once[k - 1] * up } else { 0.0 };
            }
        }
        let mut sum = once.clone();
        for _ in 1..times {
            let mut next = vec![0.0; sum.len() + once.len() - 1];
            for (i, a) in sum.iter().enumerate() {
                next[i..].iter_mut().zip(&once).for_each(|(next, b)| *next += a * b);
            }
            sum = next;
        }
        sum
    }
}

/// Nodes and weights of Gauss–Legendre quadrature on [0, 1], exact for nine other classes and fewer.
const TIES: [(f64, f64); 5] = [
    (0.046_910_077_030_668, 0.118_463_442_528_095),
    (0.230_765_344_947_158_5, 0.239_314_335_249_683),
    (0.5, 0.284_444_444_444_444_4),
    (0.769_234_655_052_841_5, 0.239_314_335_249_683),
    (0.953_089_922_969_332, 0.118_463_442_528_095),
];

/// The share of `label` in the answer where classes are counts of spins that are up, `all` of every class: of T others with as
/// many, one part in T + 1 goes to each, and the mean of 1/(T + 1) is ∫₀¹ of the mean of tᵀ.
fn chance_of_few(label: usize, all: &[Vec<f64>]) -> f64 {
    let others: Vec<&Vec<f64>> =
        all.iter().enumerate().filter(|(class, _)| *class != label).map(|(_, p)| p).collect();
    let mut below = vec![0.0; others.len()];
    let mut sum = 0.0;
    for (k, own) in all[label].iter().enumerate() {
        let share = |t: f64| others.iter().zip(&below).map(|(p, below)| below + t * p[k]).product::<f64>();
        sum += own * TIES.iter().map(|&(t, weight)| weight * share(t)).sum::<f64>();
        below.iter_mut().zip(&others).for_each(|(below, p)| *below += p[k]);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The probabilities of counts of spins of means m whose mean has the variance v.
    fn counts(times: usize, m: &[f64], v: f64) -> Vec<f64> {
        let (common, mut all) = (Common::matched(times, m, v), vec![0.0; m.len() * times + 1]);
        for (z, weight) in nodes() {
            all.iter_mut().zip(common.counts(times, z)).for_each(|(all, p)| *all += weight * p);
        }
        all
    }

    /// Counts have the mean and the variance they are made from, and shares of few are those of all outcomes of three classes.
    #[test]
    fn few_spins_are_counted() {
        for (times, m, v) in [
            (1, vec![0.3], 0.91),
            (1, vec![0.6; 10], 0.2),
            (1, vec![0.9, 0.2, -0.5, 0.99], 0.15),
            (3, vec![-0.95; 10], 0.02),
            (2, vec![0.999, 0.97], 0.01),
        ] {
            let p = counts(times, &m, v);
            let n = (times * m.len()) as f64;
            let spin = |k: usize| 2.0 * k as f64 / n - 1.0;
            let mean: f64 = p.iter().enumerate().map(|(k, p)| p * spin(k)).sum();
            let variance: f64 = p.iter().enumerate().map(|(k, p)| p * (spin(k) - mean).powi(2)).sum();
            let expected = m.iter().sum::<f64>() / m.len() as f64;
            assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-4);
            assert!(
                (mean - expected).abs() < 2e-3 && (variance / v - 1.0).abs() < 0.05,
                "{m:?}: {mean}, {variance} not {v}"
            );
        }
        // Less than independent spins have is what they have: two of unlike means.
        let p = counts(1, &[0.5, -0.5], 0.1);
        let exact = [0.25 * 0.75, 0.75 * 0.75 + 0.25 * 0.25, 0.75 * 0.25];
        assert!(p.iter().zip(exact).all(|(p, exact)| (p - exact).abs() < 1e-4), "{p:?}");
        let (m, v, n) = ([0.5, 0.2, -0.3], [0.2, 0.3, 0.25], 4);
        let p: Vec<Vec<f64>> = (0..3).map(|class| counts(1, &[m[class]; 4], v[class])).collect();
        let mut expected = 0.0;
        for (a, b, c) in (0..=n).flat_map(|a| (0..=n).flat_map(move |b| (0..=n).map(move |c| (a, b, c)))) {
            let share = shares(&[a as f64, b as f64, c as f64])[0];
            expected += p[0][a] * p[1][b] * p[2][c] * share;
        }
        assert!((chance_of_few(0, &p) - expected).abs() < 1e-12);
        // Of many it is the normal chance.
        let p: Vec<Vec<f64>> = (0..3).map(|class| counts(200, &[m[class]; 4], 0.1 * v[class])).collect();
        let many = chance_of_few(0, &p);
        assert!((many - chance_of_normals(0, &m, &v.map(|v| 0.1 * v))).abs() < 0.01, "{many}");
    }

    /// Two classes that share noise: Φ(Δm/√(f(G) (C₁₁ + C₂₂ − 2C₁₂))) of many sweeps, and of one the chance of two spins in
    /// normal fields, by a sum over both.
    #[test]
    fn shared_noise_moves_classes_together_or_apart() {
        let (images, m) = (20_000, [0.1, 0.0]);
        for apart in [-0.3, 0.3] {
            let own = m.map(|m: f64| 1.0 - m * m);
            let c = [own[0] / 2.0 + 0.2, -apart / 2.0, -apart / 2.0, own[1] / 2.0 + 0.2];
            let expected = |replicas: usize, c: [f64; 4]| Expected {
                classes: 2,
                labels: vec![0; images],
                replicas,
                shards: Shards { size: 1000, threads: 2 },
                spins: m.iter().flat_map(|m| vec![*m; replicas]).collect::<Vec<_>>().repeat(images),
                means: m.repeat(images),
                own: [c[0] - 0.2, c[3] - 0.2].repeat(images),
                covariances: c.repeat(images),
            };
            let phi = |z: f64| 0.5 * libm::erfc(-z * std::f64::consts::FRAC_1_SQRT_2);
            let exact = phi(0.1 * 8.0 / (c[0] + c[3] - 2.0 * c[1]).sqrt());
            let found = expected(2, c).accuracy(64, 0.5);
            // At most coins, one an image.
            let noise = 4.9 * 0.5 / (images as f64).sqrt();
            println!("{apart}: {found} ± {noise}, {exact}");
            assert!((found - exact).abs() < noise);
            let c = [own[0] / 8.0 + 0.2, -apart / 2.0, -apart / 2.0, own[1] / 8.0 + 0.2];
            let classes = [0, 3].map(|k| Common::matched(1, &[m[k / 3]; 8], c[k]));
            let rho = c[1] / 0.2;
            let pairs = nodes().into_iter().flat_map(|a| nodes().map(|b| (a, b)));
            let exact: f64 = pairs
                .map(|((x, p), (y, q))| {
                    let second = rho * x + (1.0 - rho * rho).sqrt() * y;
                    let all = [classes[0].counts(1, x), classes[1].counts(1, second)];
                    p * q * chance_of_few(0, &all)
                })
                .sum();
            let found = expected(8, c).accuracy(1, 0.5);
            println!("{apart}: {found} ± {noise}, {exact}");
            assert!((found - exact).abs() < noise);
        }
    }

    /// Most noise of a field may be an output's own, as here, and classes are correlated by the rest: the chance of two classes, by a sum over both.
    #[test]
    fn noise_of_single_outputs_moves_no_class() {
        let (images, spins, field, single, common) = (1000, 8, [1.0, 0.2], 1.0, 0.6);
        // The mean of a spin of class k whose common field is z standard deviations.
        let mean = |k: usize, z: f64| -> f64 {
            let spin = |own: f64| (field[k] + common * z + single * own).tanh();
            nodes().iter().map(|(own, weight)| weight * spin(*own)).sum()
        };
        let over = |k: usize, f: &dyn Fn(f64) -> f64| -> f64 {
            nodes().iter().map(|(z, weight)| weight * f(mean(k, *z))).sum()
        };
        let m = [0, 1].map(|k| over(k, &|m| m));
        let square = [0, 1].map(|k| over(k, &|m| m * m));
        let shared = [0, 1].map(|k| square[k] - m[k] * m[k]);
        let alone = square.map(|square| (1.0 - square) / spins as f64);
        let pairs = |rho: f64| {
            let second = move |x: f64, y: f64| rho * x + (1.0 - rho * rho).sqrt() * y;
            let all = nodes().into_iter().flat_map(|a| nodes().map(|b| (a, b)));
            all.map(move |((x, p), (y, q))| (x, second(x, y), p * q))
        };
        // The mean of the chance, and its standard deviation.
        let exact = |rho: f64| {
            let (mut chance, mut squares) = (0.0, 0.0);
            for (x, y, weight) in pairs(rho) {
                let one = |(k, z)| Common::new(&vec![mean(k, z); spins], 0.0).counts(1, 0.0);
                let here = chance_of_few(0, &[(0, x), (1, y)].map(one));
                (chance, squares) = (chance + weight * here, squares + weight * here * here);
            }
            (chance, (squares - chance * chance).sqrt())
        };
        for rho in [-0.95_f64, 0.95] {
            let both: f64 =
                pairs(rho).map(|(x, y, weight)| weight * (mean(0, x) - m[0]) * (mean(1, y) - m[1])).sum();
            let expected = Expected {
                classes: 2,
                labels: vec![0; images],
                replicas: spins,
                shards: Shards { size: 1000, threads: 2 },
                spins: m.iter().flat_map(|m| vec![*m; spins]).collect::<Vec<_>>().repeat(images),
                means: m.repeat(images),
                // As if what a class has alone were all counted with what it shares.
                own: [0.0; 2].repeat(images),
                covariances: [shared[0] + alone[0], both, both, shared[1] + alone[1]].repeat(images),
            };
            // Draws and their opposites count as one.
            let ((chance, sd), found) = (exact(rho), expected.accuracy(1, 0.5));
            let noise = 4.9 * sd / (ALL_DRAWS as f64).sqrt();
            let (wrong, _) = exact(rho * shared[0] / (shared[0] + alone[0]));
            println!("{rho}: {found} ± {noise}, {chance}, {wrong} if all were shared");
            // And what fields of one kind for all spins of a class leave out.
            assert!((found - chance).abs() < noise + 1e-3);
            assert!((wrong - chance).abs() > noise + 1e-3);
        }
    }

    #[test]
    fn averages_of_correlated_values_leave_what_the_double_sum_says() {
        for (sweeps, tau) in [(1, 0.5), (1, 3.0), (2, 1.5), (7, 0.8), (50, 4.0)] {
            let a: f64 = (2.0 * tau - 1.0) / (2.0 * tau + 1.0);
            let pairs = (0..sweeps).flat_map(|i: usize| (0..sweeps).map(move |j| i.abs_diff(j)));
            let exact = pairs.map(|lag| a.powi(lag as i32)).sum::<f64>() / (sweeps * sweeps) as f64;
            assert!((variance_left(sweeps, tau) - exact).abs() < 1e-12, "{sweeps}, {tau}");
        }
    }

    /// Two classes: Φ(Δm/√(v₁ + v₂)).
    #[test]
    fn the_chance_of_two_classes_is_a_normal_integral() {
        for (gap, v) in [
            (0.0_f64, [1.0_f64, 1.0]),
            (0.5, [0.2, 0.7]),
            (-1.0, [0.5, 0.1]),
            (2.0, [1e-4, 1.0]),
            (0.3, [1.0, 1e-4]),
        ] {
            let exact = 0.5 * libm::erfc(-gap / (v[0] + v[1]).sqrt() * std::f64::consts::FRAC_1_SQRT_2);
            let found = chance_of_normals(0, &[gap, 0.0], &v);
            assert!((found - exact).abs() < 2e-3, "{found} instead of {exact}");
        }
        assert!((chance_of_normals(3, &[0.0; 10], &[0.1; 10]) - 0.1).abs() < 1e-4);
    }
}
