//! What the average of so many sweeps is expected to read.
//!
//! The mean of the R output spins of class c over G sweeps has
//!
//! ```text
//! M_c:  mean m_c, variance f(G) v_c,      v_c = ⟨1 − m²⟩_c/R + p_c Σ_l Σ_h ((B^l_ch)² − U^l_ch) (1 − m_h²)/k + Σ_d L_cd² v_d   (28)
//! B^l = B^(l+1) g^(l+1) A^(l+1),     U^l_ch = Σ_n (B^(l+1)_cn g_n A_nh)²/k,     p_c = 1 − Σ_h u_ch (1 − m_h²)/Σ_h w_ch² (1 − m_h²),     w the B of the last hidden layer
//! w_ch = ⟨g A_h⟩_c,     u_ch = ⟨(g A_h)²⟩_c/R,     L_cd = Σ_h w_ch g_h γ R⟨A_h⟩_d,     g = (1 − m²)/√(1 + πs/2)
//! ```
//!
//! m is from passes of the closure, one up and some more that take the way back into account, ⟨⟩_c the mean over the output
//! spins of a class, h the spins of the last hidden layer, k copies each, and s the variance of a spin's field, which softens
//! its response g. The first term of v_c is all the noise of every output spin. The second is what the noise of the layers below
//! does to two of them at once: B is how the outputs of a class answer to a spin of layer l, by way of the layers between; w²
//! counts an output with itself too, which u takes out, and p is what that leaves in the last hidden layer, and is taken to leave of
//! the others. U takes out the same of hidden spins: what the layer below does to one alone is in its 1 − m² already. In the third, a fluctuation of class d
//! comes back to c by way of that layer, multiplied by L_cd: linear response by the naive mean field, with the covariances between
//! classes left out.
//!
//! f(G) = (1 + 2Σ_t (1 − t/G) aᵗ)/G is what the average of G values leaves of the variance of one, if they are correlated
//! as aᵗ with the autocorrelation time τ = ½ (1 + a)/(1 − a): 1 at G = 1, and 2τ/G for many.
//!
//! Of many spins and sweeps M_c is nearly normal. Few, R·G up to 32, are counted: the spins of a class are independent, each with
//! its own mean, in a common field that is normal and such that M_c has the same variance, and ties are shared. Classes are taken
//! as independent.

use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use thermograd::{Key, Shards, to_f64};

use crate::ising::network::{IsingNet, mean_spin, softened};
use crate::ising::sampling::shares;
use crate::ising::training::Forward;
use crate::training::examples::Examples;

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
    /// v_c, `[image, class]`.
    variances: Vec<f64>,
}

/// The cheapest average that is expected to reach an accuracy.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Cheapest {
    /// Sweeps to average.
    pub sweeps: usize,
    /// What is expected of them.
    pub accuracy: f64,
}

/// How often the noise of the outputs comes back: what is left of it falls by the square of a gain each time.
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
        let (mut spins, mut means, mut variances) = (Vec::new(), Vec::new(), Vec::new());
        // In chunks, so that progress can be told.
        let chunk = shards.size * 2 * shards.threads;
        for start in (0..examples.len()).step_by(chunk) {
            let count = chunk.min(examples.len() - start);
            let parts = shards.map(count, |range| {
                let indices: Vec<usize> = range.map(|index| start + index).collect();
                let inputs = examples.clamped(&indices, &network.normalisation, None, &network.device());
                let means = network.steady(inputs, passes);
                let (m, v) = network.outputs(&means);
                let last = means.last().expect("a layer").clone();
                (to_f64(last), to_f64(m), to_f64(v))
            });
            for (last, m, v) in parts {
                spins.extend(last);
                means.extend(m);
                variances.extend(v);
            }
            progress((start + count) as f64 / examples.len() as f64);
        }
        let labels = (0..examples.len()).map(|index| examples.label(index)).collect();
        let (classes, outputs) = (self.classes, *self.spins().last().expect("a layer"));
        Expected { classes, labels, replicas: outputs / classes, shards, spins, means, variances }
    }

    /// Mean magnetisations of every layer by the closure.
    pub(crate) fn steady(&self, inputs: Tensor<2>, passes: usize) -> Vec<Tensor<2>> {
        let up = self.pass(inputs, Forward::Closure, Key::new(0));
        // Half of the old: the layers may go round each other.
        self.settled(&up.fields[0], up.values, passes, 0.5)
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

    /// m_c and v_c of (28), `[image, class]`.
    fn outputs(&self, means: &[Tensor<2>]) -> (Tensor<2>, Tensor<2>) {
        let last = self.layers.len() - 1;
        let (m, hidden) = (means[last].clone(), means[last - 1].clone());
        let [images, spins] = m.dims();
        let (classes, replicas) = (self.classes, spins / self.classes);
        let weight = self.layers[last].weight() * self.factor(last);
        // ⟨A_h⟩_c, `[spin below, class]`.
        let towards = self.class_means(weight.clone());
        let spread = self.spread(last - 1, hidden.clone());
        let response = |layer: usize, m: Tensor<2>| {
            let slope = m.square() * -1.0 + 1.0;
            match layer {
                0 => slope,
                _ => softened(slope, self.forward_moments(layer, means[layer - 1].clone()).1),
            }
        };
        let slope = response(last, m.clone());
        let nearest = response(last - 1, hidden);
        let back = nearest.clone() * (self.gamma(last - 1) * replicas as f64);
        // Σ_l Σ_h ((B^l_ch)² − U^l_ch) (1 − m_h²)/k over the hidden layers below the last one.
        let from_below = |w: Tensor<2>| {
            let (mut sum, mut answer) = (w.clone().sum_dim(1) * 0.0, w * nearest.clone());
            for layer in (0..last - 1).rev() {
                let (_, variance) = self.forward_moments(layer + 1, means[layer].clone());
                let own = (answer.clone().square() * variance).sum_dim(1) / self.copies(layer + 1) as f64;
                answer = self.layers[layer + 1].back(answer) * self.factor(layer + 1);
                let spread = self.spread(layer, means[layer].clone());
                sum = sum + (answer.clone().square() * spread).sum_dim(1) - own;
                answer = answer * response(layer, means[layer].clone());
            }
            sum
        };
        let (noise, gains): (Vec<_>, Vec<_>) = (0..classes)
            .map(|class| {
                let of = class * replicas..(class + 1) * replicas;
                let [slope, weight] = [&slope, &weight].map(|x| x.clone().slice_dim(1, of.clone()));
                let w = slope.clone().matmul(weight.clone().transpose()) / replicas as f64;
                let own = slope.square().matmul(weight.square().transpose()) / (replicas * replicas) as f64;
                let all = (w.clone().square() * spread.clone()).sum_dim(1);
                let pairs = all.clone() - (own * spread.clone()).sum_dim(1);
                // Of what comes from below, as much is between two of them.
                let noise = pairs.clone() + from_below(w.clone()) * pairs / all.clamp_min(1e-30);
                let gain = (w * back.clone()).matmul(towards.clone()).square();
                (noise, gain.reshape([images, 1, classes]))
            })
            .unzip();
        let alone = m.clone().square() * -1.0 + 1.0;
        let fresh = self.class_means(alone) / replicas as f64 + Tensor::cat(noise, 1);
        let gains = Tensor::cat(gains, 1);
        let mut v = fresh.clone();
        for _ in 0..PASSES_OF_NOISE {
            let back = (gains.clone() * v.reshape([images, 1, classes])).sum_dim(2);
            v = fresh.clone() + back.reshape([images, classes]);
        }
        (self.class_means(m), v)
    }
}

/// Spins of a class in all sweeps up to which their number is counted.
const FEW: usize = 32;

impl Expected {
    /// v_c, `[image, class]`.
    pub fn variances(&self) -> &[f64] {
        &self.variances
    }

    /// The accuracy that the average of `sweeps` sweeps is expected to have at an autocorrelation time τ.
    pub fn accuracy(&self, sweeps: usize, tau: f64) -> f64 {
        let (left, few) = (variance_left(sweeps, tau), self.replicas * sweeps <= FEW);
        let right = self.shards.map(self.labels.len(), |range| {
            let images = self.images().zip(self.spins.chunks(self.classes * self.replicas));
            let images = images.skip(range.start).take(range.len());
            let right = images.map(|((label, m, v), spins)| {
                if !few {
                    return chance(label, m, v, left);
                }
                let of = |(m, v): (&[f64], &f64)| counts(sweeps, m, v * left);
                let all: Vec<Vec<f64>> = spins.chunks(self.replicas).zip(v).map(of).collect();
                chance_of_few(label, &all)
            });
            right.sum::<f64>()
        });
        right.into_iter().sum::<f64>() / self.labels.len() as f64
    }

    /// The accuracy of an average that lasts for ever.
    pub fn limit(&self) -> f64 {
        self.images().map(|(label, m, _)| shares(m)[label]).sum::<f64>() / self.labels.len() as f64
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

    fn images(&self) -> impl Iterator<Item = (usize, &[f64], &[f64])> {
        let rows = self.means.chunks(self.classes).zip(self.variances.chunks(self.classes));
        self.labels.iter().zip(rows).map(|(&label, (m, v))| (label, m, v))
    }
}

/// f(G) of (28).
fn variance_left(sweeps: usize, tau: f64) -> f64 {
    let (g, a) = (sweeps as f64, (2.0 * tau - 1.0) / (2.0 * tau + 1.0));
    ((1.0 + a) / (1.0 - a) - 2.0 * a * (1.0 - a.powf(g)) / (g * (1.0 - a).powi(2))) / g
}

/// The chance that of independent normals of means m and variances v·`scale`, that of `label` is the largest.
fn chance(label: usize, m: &[f64], v: &[f64], scale: f64) -> f64 {
    let sd = |class: usize| (v[class] * scale).sqrt().max(1e-9);
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

    /// The probabilities that 0 to all of the spins are up, each read so many times.
    fn counts(&self, times: usize) -> Vec<f64> {
        let mut all = vec![0.0; self.fields.len() * times + 1];
        for (z, weight) in nodes() {
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
            all.iter_mut().zip(sum).for_each(|(all, p)| *all += weight * p);
        }
        all
    }
}

/// The probabilities that 0 to R·G spins are up: those of means `m`, read G times in a common field of which their mean has the
/// variance `v`, or what independent spins have if that is more.
fn counts(times: usize, m: &[f64], v: f64) -> Vec<f64> {
    let mean = m.iter().sum::<f64>() / m.len() as f64;
    let matched = |sd: f64| {
        let mut common = Common::new(m, sd);
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
    if Common::new(m, 0.0).moments(times).1 < v {
        for _ in 0..10 {
            let middle = 0.5 * (low + high);
            if matched(middle).moments(times).1 < v { low = middle } else { high = middle }
        }
    }
    matched(low).counts(times)
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
        assert!((many - chance(0, &m, &v, 0.1)).abs() < 0.01, "{many}");
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
            let found = chance(0, &[gap, 0.0], &v, 1.0);
            assert!((found - exact).abs() < 2e-3, "{found} instead of {exact}");
        }
        assert!((chance(3, &[0.0; 10], &[1.0; 10], 0.1) - 0.1).abs() < 1e-4);
    }
}
