//! Quality of generated images: several metrics, because each can be fooled in a different way.
//!
//! | number | what | what fools it |
//! |---|---|---|
//! | accuracy | fraction that the judge reads as the requested class | the mean image of each class |
//! | class entropy | of the classes read, in nats | anything that is spread evenly over the classes |
//! | Fréchet distance | ‖m₁ − m₂‖² + tr(C₁ + C₂ − 2(C₁C₂)^½) of the classifier's features (M. Heusel et al., NeurIPS 2017) | small samples: biased upwards |
//! | precision | fraction of generated images within reach of real ones, k = 5 (T. Kynkäänniemi et al., NeurIPS 2019) | a few realistic images, repeated |
//! | recall | fraction of real images within reach of generated ones, likewise | wide noise |
//! | recognised | for a computer that stores images: fraction that is one of them, see [`recognised`] | nothing but the stored images |
//!
//! Reports state the number of images, and the same metrics for real images, class means and noise. The distances
//! depend on the judge of this crate, so they cannot be compared with those of other work.

use burn::tensor::{Device, Tensor};
use faer::{Mat, Side};
use serde::{Deserialize, Serialize};
use thermograd::{Shards, to_f64};

use crate::error::{Error, Result};
use crate::generator::judge::{FEATURES, Judge, Opinion};
use crate::training::examples::Examples;
use crate::training::network::rows;

/// The correlation above which an image may count as recognised.
pub const RECOGNISED: f64 = 0.7;

/// The number of neighbours k for precision and recall.
const NEIGHBOURS: usize = 5;

/// The metrics of one set of images.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Scores {
    /// The number of images.
    pub n: usize,
    /// Fraction that is one of the stored images, if there are any.
    pub recognised: Option<f64>,
    /// Fraction that the judge reads as the requested class.
    pub accuracy: f64,
    /// Fréchet distance to the real images.
    pub frechet: f64,
    /// Precision: the fraction within reach of an equal number of real images.
    pub precision: f64,
    /// Recall: the fraction of an equal number of real images within reach of generated ones.
    pub recall: f64,
    /// Entropy of the classes read, in nats.
    pub class_entropy: f64,
}

/// The real image most similar to a generated one.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Nearest {
    /// The index of the example.
    pub index: usize,
    /// The correlation of the two.
    pub correlation: f64,
}

/// Real images, and the judge that compares generated images with them.
pub struct Reference {
    judge: Judge,
    opinion: Opinion,
    shards: Shards,
}

impl Reference {
    /// The features of all `examples`.
    pub fn new(judge: Judge, examples: &Examples, shards: Shards) -> Self {
        let indices: Vec<usize> = (0..examples.len()).collect();
        let opinion = judge.opinion_of(examples, &indices, shards);
        Self { judge, opinion, shards }
    }

    /// The judge.
    pub fn judge(&self) -> &Judge {
        &self.judge
    }

    /// The metrics of images with pixels in −1 … 1. `labels` are the requested classes, and `kept` the images that
    /// the computer stores, if it does.
    ///
    /// # Errors
    /// [`Error::Examples`] when there are too few images.
    pub fn scores(&self, images: &[f32], labels: &[usize], kept: Option<&Examples>) -> Result<Scores> {
        let n = labels.len();
        if n <= NEIGHBOURS {
            return Err(Error::Examples(format!(
                "{n} images are too few to judge: more than {NEIGHBOURS} are needed"
            )));
        }
        let opinion = self.judge.opinion(images, images.len() / n, self.shards);
        let right = opinion.classes.iter().zip(labels).filter(|(read, asked)| read == asked).count();
        let real = &self.opinion.features[..self.opinion.features.len().min(n * FEATURES)];
        Ok(Scores {
            n,
            recognised: kept.map(|kept| recognised(images, kept)),
            accuracy: right as f64 / n as f64,
            frechet: frechet(&opinion.features, &self.opinion.features)?,
            precision: within_reach(&opinion.features, real),
            recall: within_reach(real, &opinion.features),
            class_entropy: entropy(&opinion.classes),
        })
    }
}

/// The entropy of the frequencies of some values, in nats.
fn entropy(classes: &[usize]) -> f64 {
    let mut counts = std::collections::BTreeMap::new();
    classes.iter().for_each(|class| *counts.entry(class).or_insert(0.0) += 1.0);
    let parts = counts.values().map(|count| count / classes.len() as f64);
    parts.map(|part: f64| part * (1.0 / part).ln()).sum()
}

/// Mean and covariance of rows of features.
fn gaussian(features: &[f64]) -> (Mat<f64>, Mat<f64>) {
    let rows = features.len() / FEATURES;
    let x = Mat::from_fn(rows, FEATURES, |i, j| features[i * FEATURES + j]);
    let mean = Mat::from_fn(1, FEATURES, |_, j| x.col(j).iter().sum::<f64>() / rows as f64);
    let centred = Mat::from_fn(rows, FEATURES, |i, j| x[(i, j)] - mean[(0, j)]);
    let covariance = faer::Scale(1.0 / (rows as f64 - 1.0)) * (centred.transpose() * &centred);
    (mean, covariance)
}

/// The Fréchet distance between Gaussians fitted to two sets of features.
///
/// # Errors
/// [`Error::Examples`] when an eigendecomposition fails, as with features that are not finite.
fn frechet(a: &[f64], b: &[f64]) -> Result<f64> {
    let ((ma, ca), (mb, cb)) = (gaussian(a), gaussian(b));
    let failed = |_| Error::Examples("the covariance of the features has no eigenvalues".into());
    // tr (C₁C₂)^½ = tr (C₁^½ C₂ C₁^½)^½, which is symmetric.
    let eigen = ca.self_adjoint_eigen(Side::Lower).map_err(failed)?;
    let (u, values) = (eigen.U(), eigen.S().column_vector());
    let scaled = Mat::from_fn(FEATURES, FEATURES, |i, j| u[(i, j)] * values[j].max(0.0).sqrt());
    let root = &scaled * u.transpose();
    let product = &root * &cb * &root;
    let symmetric = Mat::from_fn(FEATURES, FEATURES, |i, j| 0.5 * (product[(i, j)] + product[(j, i)]));
    let eigenvalues = symmetric.self_adjoint_eigenvalues(Side::Lower).map_err(failed)?;
    let cross: f64 = eigenvalues.iter().map(|value| value.max(0.0).sqrt()).sum();
    let trace = |c: &Mat<f64>| (0..FEATURES).map(|i| c[(i, i)]).sum::<f64>();
    let shift: f64 = (0..FEATURES).map(|j| (ma[(0, j)] - mb[(0, j)]).powi(2)).sum();
    Ok(shift + trace(&ca) + trace(&cb) - 2.0 * cross)
}

/// The fraction of `points` that are within reach of `others`: closer to one of them than its own fifth nearest
/// neighbour among them.
fn within_reach(points: &[f64], others: &[f64]) -> f64 {
    let distance = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
    let images = || others.chunks(FEATURES);
    let reach: Vec<f64> = images()
        .map(|image| {
            let mut distances: Vec<f64> = images().map(|other| distance(image, other)).collect();
            // The smallest is the image itself.
            *distances.select_nth_unstable_by(NEIGHBOURS, f64::total_cmp).1
        })
        .collect();
    let within = |image: &&[f64]| images().zip(&reach).any(|(other, reach)| distance(image, other) <= *reach);
    points.chunks(FEATURES).filter(within).count() as f64 / (points.len() / FEATURES) as f64
}

/// For every image, the example with which it correlates most.
pub fn nearest(images: &[f32], examples: &Examples, shards: Shards) -> Vec<Nearest> {
    /// Examples compared at once.
    const CHUNK: usize = 4096;
    let pixels = examples.pixels_each();
    let shards = Shards { size: 250, ..shards };
    let found = shards.map(images.len() / pixels, |range| {
        let images = standardised(images[range.start * pixels..range.end * pixels].iter().copied(), pixels);
        let mut best = vec![Nearest { index: 0, correlation: f64::NEG_INFINITY }; range.len()];
        for start in (0..examples.len()).step_by(CHUNK) {
            let indices = start..examples.len().min(start + CHUNK);
            let values = indices.clone().flat_map(|index| examples.pixels(index)).map(|&p| f32::from(p));
            let correlations = images.clone().matmul(standardised(values, pixels).transpose());
            for (best, row) in best.iter_mut().zip(to_f64(correlations).chunks(indices.len())) {
                for (index, &correlation) in row.iter().enumerate() {
                    if correlation > best.correlation {
                        *best = Nearest { index: start + index, correlation };
                    }
                }
            }
        }
        best
    });
    found.concat()
}

/// The fraction of images that are recognised as one of the stored images: their correlation with it is above 0.7 and
/// above that with the mean of any two stored images (such a mean correlates with both).
pub fn recognised(images: &[f32], kept: &Examples) -> f64 {
    let pixels = kept.pixels_each();
    let each = |index: usize| kept.pixels(index).iter().map(|&p| f32::from(p));
    let values = (0..kept.len()).flat_map(each);
    let units = standardised(values, pixels);
    // With images as a_k = s_k u_k of lengths s and directions u, the correlation of x with a_i + a_j is
    // (s_i c_i + s_j c_j)/|a_i + a_j|, where c are its correlations with u, and |a_i + a_j|² = s_i² + s_j² + 2 s_i s_j ρ_ij.
    let lengths: Vec<f64> = (0..kept.len()).map(|index| length(&each(index).collect::<Vec<_>>())).collect();
    let between = to_f64(units.clone().matmul(units.clone().transpose()));
    let correlations = to_f64(standardised(images.iter().copied(), pixels).matmul(units.transpose()));
    let count = kept.len();
    let pairs: Vec<_> = (0..count).flat_map(|i| (0..i).map(move |j| (i, j))).collect();
    let is_kept = |c: &&[f64]| {
        let best = c.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mean_of = |&(i, j): &(usize, usize)| {
            let (a, b) = (lengths[i], lengths[j]);
            let square = a * a + b * b + 2.0 * a * b * between[i * count + j];
            (a * c[i] + b * c[j]) / square.sqrt().max(f64::MIN_POSITIVE)
        };
        let same = |&(i, j): &(usize, usize)| between[i * count + j] > 1.0 - 1e-6;
        best > RECOGNISED && pairs.iter().all(|pair| same(pair) || mean_of(pair) < best)
    };
    correlations.chunks(count).filter(is_kept).count() as f64 / (images.len() / pixels) as f64
}

/// The norm of the deviations from the mean.
fn length(values: &[f32]) -> f64 {
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len() as f64;
    values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>().sqrt()
}

/// Rows with mean zero and norm one.
fn standardised(values: impl Iterator<Item = f32>, pixels: usize) -> Tensor<2> {
    let mut values: Vec<f32> = values.collect();
    for row in values.chunks_mut(pixels) {
        let mean = row.iter().sum::<f32>() / pixels as f32;
        row.iter_mut().for_each(|value| *value -= mean);
        let length = row.iter().map(|v| v * v).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
        row.iter_mut().for_each(|value| *value /= length);
    }
    let count = values.len() / pixels;
    rows(values, count, &Device::flex())
}

#[cfg(test)]
mod tests {
    use thermograd::Key;

    use super::*;

    fn normals(rows: usize, shift: f64, scale: f64, key: Key) -> Vec<f64> {
        key.normals(0, rows, FEATURES).into_iter().map(|v| shift + scale * f64::from(v)).collect()
    }

    /// Gaussians N(0, 1) and N(m, s²) in 64 dimensions: 64 (m² + (1 − s)²).
    #[test]
    fn the_frechet_distance_of_gaussians_is_known() {
        let (a, b) = (normals(40_000, 0.0, 1.0, Key::new(1)), normals(40_000, 0.5, 2.0, Key::new(2)));
        let expected = 64.0 * (0.25 + 1.0);
        let found = frechet(&a, &b).unwrap();
        // Relative errors of means and deviations of 40,000 values: 0.5 % each; of the sums over 64 less.
        assert!((found / expected - 1.0).abs() < 0.02, "{found} {expected}");
        assert!(frechet(&a, &a).unwrap().abs() < 1e-6);
    }

    /// In two dimensions, with the other features constant, three hundred points leave few gaps.
    #[test]
    fn recall_sees_what_is_missing() {
        let flat = |shift: f64, key: Key| -> Vec<f64> {
            let values = normals(300, shift, 1.0, key).into_iter().enumerate();
            values.map(|(k, value)| if k % FEATURES < 2 { value } else { 0.0 }).collect()
        };
        let (a, b) = (flat(0.0, Key::new(3)), flat(0.0, Key::new(4)));
        assert_eq!(within_reach(&a, &a), 1.0);
        assert!(within_reach(&a, &b) > 0.9, "{}", within_reach(&a, &b));
        assert_eq!(within_reach(&a, &flat(30.0, Key::new(5))), 0.0);
        // Half of the real points are never generated.
        let both = [a.clone(), flat(30.0, Key::new(6))].concat();
        assert!((within_reach(&both, &b) - 0.5 * within_reach(&a, &b)).abs() < 1e-12);
    }

    #[test]
    fn entropy_of_even_classes_is_the_logarithm_of_their_number() {
        assert!((entropy(&[0, 1, 2, 3, 0, 1, 2, 3]) - 4.0_f64.ln()).abs() < 1e-12);
        assert_eq!(entropy(&[7, 7]), 0.0);
    }

    /// Three images with different brightness and a common part: with noise, with inverted contrast, and their means.
    #[test]
    fn what_is_kept_is_recognised_and_means_of_it_are_not() {
        let brightness = [255.0, 160.0, 90.0];
        let ink = |image: usize| {
            let own = Key::new(8).at(image as u64).normals(0, 1, 200);
            let shared = Key::new(9).normals(0, 1, 200);
            let on = move |k: usize| if k < 80 { shared[k] > 0.0 } else { own[k] > 0.0 };
            (0..200).map(move |k| if on(k) { brightness[image] as u8 } else { 0 })
        };
        let kept = Examples::new(20, 10, (0..3).flat_map(ink).collect(), vec![0, 1, 2]).unwrap();
        let image = |index: usize| -> Vec<f32> { kept.pixels(index).iter().map(|&p| f32::from(p)).collect() };
        let mean = |of: &[usize]| -> Vec<f32> {
            (0..200).map(|k| of.iter().map(|&index| image(index)[k]).sum::<f32>()).collect()
        };
        let noisy = |index: usize| -> Vec<f32> {
            let (noise, sd) =
                (Key::new(7).at(index as u64).normals(0, 1, 200), 0.25 * brightness[index] as f32);
            image(index).iter().zip(noise).map(|(value, noise)| value + sd * noise).collect()
        };
        for index in 0..3 {
            assert_eq!(recognised(&image(index), &kept), 1.0);
            assert_eq!(recognised(&noisy(index), &kept), 1.0);
            let turned: Vec<f32> = image(index).iter().map(|value| -value).collect();
            assert_eq!(recognised(&turned, &kept), 0.0);
        }
        for of in [&[0, 1][..], &[0, 2], &[1, 2], &[0, 1, 2]] {
            assert_eq!(recognised(&mean(of), &kept), 0.0, "{of:?}");
            // By their correlation alone most of them would pass.
            let best = nearest(&mean(of), &kept, Shards::whole())[0].correlation;
            assert!(best > RECOGNISED, "{of:?}: {best}");
        }
        let half = [image(0), mean(&[0, 1])].concat();
        assert_eq!(recognised(&half, &kept), 0.5);
        // An image that is stored twice is recognised as itself, not as a mean.
        let twice = Examples::new(20, 10, [kept.pixels(0), kept.pixels(0)].concat(), vec![0, 0]).unwrap();
        assert_eq!(recognised(&image(0), &twice), 1.0);
    }

    /// A few real images repeated: each resembles a real one, but most real ones resemble none of them.
    #[test]
    fn precision_and_recall_are_not_mistaken_for_each_other() {
        let pixels: Vec<u8> =
            Key::new(10).normals(0, 100, 64).iter().map(|v| (128.0 + 40.0 * v) as u8).collect();
        let real = Examples::new(8, 8, pixels, (0..100).map(|k| k % 10).collect()).unwrap();
        let judge = Judge::new(8, 8, 10, Key::new(11), &Device::flex());
        let few: Vec<f32> =
            (0..100).flat_map(|k| real.pixels(k % 8)).map(|&p| f32::from(p) / 127.5 - 1.0).collect();
        let labels: Vec<usize> = (0..100).map(|k| k % 8).collect();
        let scores = Reference::new(judge, &real, Shards::whole()).scores(&few, &labels, None).unwrap();
        assert_eq!(scores.precision, 1.0);
        assert!(scores.recall < 0.2, "{}", scores.recall);
    }

    #[test]
    fn every_image_is_nearest_to_itself() {
        let pixels: Vec<u8> = (0..600).map(|k| (k * k * 31 % 251) as u8).collect();
        let examples = Examples::new(6, 5, pixels.clone(), vec![0; 20]).unwrap();
        let images: Vec<f32> = pixels.iter().map(|&p| f32::from(p) * 0.3 - 2.0).collect();
        for (index, nearest) in nearest(&images, &examples, Shards::new(4)).iter().enumerate() {
            assert_eq!(nearest.index, index);
            assert!((nearest.correlation - 1.0).abs() < 1e-5);
        }
    }
}
