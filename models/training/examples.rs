//! Labelled images, and their conversion to values of clamped units.

use burn::tensor::{Tensor, TensorCreationOptions, TensorData};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use thermograd::{Key, Normalisation};

use crate::error::{Error, Result};

/// The normalisation that maps pixels to −1 … 1.
pub const PIXELS: Normalisation = Normalisation { offset: 0.5, scale: 0.5, norm: None };

/// How training images are varied.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Augment {
    /// Shift by up to so many pixels in a random direction.
    pub shift: usize,
    /// Exchange left and right in every other image, at random.
    pub flip: bool,
}

impl Augment {
    /// A shift of up to one pixel.
    pub const PIXEL: Self = Self { shift: 1, flip: false };
}

/// Labelled images of one size, grey or in colours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Examples {
    width: usize,
    channels: usize,
    pixels_each: usize,
    pixels: Vec<u8>,
    labels: Vec<u8>,
}

impl Examples {
    /// Row-major grey images of `width` × `height` pixels, one after the other, with their classes.
    ///
    /// # Errors
    /// [`Error::Examples`] when pixels and labels do not match in number, or there are no images.
    pub fn new(width: usize, height: usize, pixels: Vec<u8>, labels: Vec<u8>) -> Result<Self> {
        Self::coloured(1, width, height, pixels, labels)
    }

    /// The same of so many colours: all rows of the first, then of the second, and so on.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn coloured(
        channels: usize,
        width: usize,
        height: usize,
        pixels: Vec<u8>,
        labels: Vec<u8>,
    ) -> Result<Self> {
        let pixels_each = channels * width * height;
        if labels.is_empty() || pixels_each * labels.len() != pixels.len() {
            return Err(Error::Examples(format!(
                "{} pixels do not make {} images of {width} × {height}{}",
                pixels.len(),
                labels.len(),
                if channels == 1 { String::new() } else { format!(" in {channels} colours") }
            )));
        }
        Ok(Self { width, channels, pixels_each, pixels, labels })
    }

    /// The number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Always false: there is at least one image.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Pixels of one image.
    pub fn pixels_each(&self) -> usize {
        self.pixels_each
    }

    /// Pixels in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Channels, rows and columns of an image.
    pub fn shape(&self) -> [usize; 3] {
        [self.channels, self.pixels_each / (self.channels * self.width), self.width]
    }

    /// The first `count` images, or all.
    pub fn first(&self, count: usize) -> Self {
        let count = count.min(self.len());
        Self {
            pixels: self.pixels[..count * self.pixels_each].to_vec(),
            labels: self.labels[..count].to_vec(),
            ..*self
        }
    }

    /// One image, repeated `count` times.
    pub fn repeated(&self, index: usize, count: usize) -> Self {
        let (pixels, labels) = (self.pixels(index).repeat(count), vec![self.labels[index]; count]);
        Self { pixels, labels, ..*self }
    }

    /// One more than the largest class.
    pub fn classes(&self) -> usize {
        self.labels.iter().max().map_or(0, |&most| usize::from(most) + 1)
    }

    /// The class of one image.
    pub fn label(&self, index: usize) -> usize {
        usize::from(self.labels[index])
    }

    /// The pixels of one image.
    pub fn pixels(&self, index: usize) -> &[u8] {
        &self.pixels[index * self.pixels_each..][..self.pixels_each]
    }

    /// The constants with which images are prepared: mean and standard deviation of all pixels, and the largest norm
    /// of an image normalised with these.
    pub fn normalisation(&self) -> Normalisation {
        let count = self.pixels.len() as f64;
        let value = |p: &u8| f64::from(*p) / 255.0;
        let offset = self.pixels.iter().map(value).sum::<f64>() / count;
        let variance = self.pixels.iter().map(|p| (value(p) - offset).powi(2)).sum::<f64>() / count;
        let scale = variance.sqrt().max(1e-6);
        let norm =
            |image: &[u8]| image.iter().map(|p| ((value(p) - offset) / scale).powi(2)).sum::<f64>().sqrt();
        let largest = self.pixels.chunks(self.pixels_each).map(norm).fold(0.0, f64::max);
        Normalisation { offset, scale, norm: Some(largest) }
    }

    /// The chosen images as clamped values; with a key, each shifted by up to one pixel in a random direction.
    ///
    /// # Shapes
    /// `[indices, pixels]`.
    pub fn clamped(
        &self,
        indices: &[usize],
        normalisation: &Normalisation,
        shift: Option<Key>,
        options: impl Into<TensorCreationOptions>,
    ) -> Tensor<2> {
        self.varied(indices, normalisation, shift.map(|key| (Augment::PIXEL, key)), options)
    }

    /// The same, varied in other ways.
    ///
    /// # Shapes
    /// `[indices, pixels]`.
    pub fn varied(
        &self,
        indices: &[usize],
        normalisation: &Normalisation,
        augment: Option<(Augment, Key)>,
        options: impl Into<TensorCreationOptions>,
    ) -> Tensor<2> {
        let mut values = Vec::with_capacity(indices.len() * self.pixels_each);
        for (row, &index) in indices.iter().enumerate() {
            let image = self.pixels(index);
            match augment {
                None => prepare(image, normalisation, &mut values),
                Some((Augment { shift, flip }, key)) => {
                    let mut rng = key.row(row as u64).rng();
                    let most = shift as i32;
                    let [dx, dy] = [0, 1].map(|_| rng.random_range(-most..=most) as isize);
                    let flip = flip && rng.random_bool(0.5);
                    let plane = self.pixels_each / self.channels;
                    let moved =
                        image.chunks(plane).flat_map(|plane| shifted(plane, self.width, dx, dy, flip));
                    prepare(&moved.collect::<Vec<_>>(), normalisation, &mut values);
                }
            }
        }
        Tensor::from_data(TensorData::new(values, [indices.len(), self.pixels_each]), options)
    }

    /// The classes of the chosen images, one-hot.
    ///
    /// # Shapes
    /// `[indices, classes]`.
    pub fn one_hot(
        &self,
        indices: &[usize],
        classes: usize,
        options: impl Into<TensorCreationOptions>,
    ) -> Tensor<2> {
        let mut values = vec![0.0_f32; indices.len() * classes];
        for (row, &index) in indices.iter().enumerate() {
            values[row * classes + self.label(index)] = 1.0;
        }
        Tensor::from_data(TensorData::new(values, [indices.len(), classes]), options)
    }
}

/// Appends (p/255 − offset)/scale, scaled to the norm.
fn prepare(image: &[u8], normalisation: &Normalisation, out: &mut Vec<f32>) {
    let Normalisation { offset, scale, norm } = *normalisation;
    let start = out.len();
    let (a, b) = ((1.0 / (255.0 * scale)) as f32, (offset / scale) as f32);
    out.extend(image.iter().map(|&pixel| a * f32::from(pixel) - b));
    if let Some(norm) = norm {
        let unscaled = out[start..].iter().map(|v| v * v).sum::<f32>().sqrt();
        let factor = norm as f32 / unscaled.max(f32::MIN_POSITIVE);
        out[start..].iter_mut().for_each(|value| *value *= factor);
    }
}

/// The image shifted by (dx, dy) pixels, padded with its darkest grey, and then mirrored if `flip`.
fn shifted(image: &[u8], width: usize, dx: isize, dy: isize, flip: bool) -> Vec<u8> {
    let height = image.len() / width;
    let fill = image.iter().copied().min().unwrap_or(0);
    let at = |row: usize, column: usize| {
        let column = if flip { width - 1 - column } else { column };
        let (row, column) = (row as isize - dy, column as isize - dx);
        let inside = (0..height as isize).contains(&row) && (0..width as isize).contains(&column);
        if inside { image[row as usize * width + column as usize] } else { fill }
    };
    (0..height).flat_map(|row| (0..width).map(move |column| at(row, column))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_scaled_to_one_norm() {
        let pixels = (0..200).map(|k| (k * 37 % 256) as u8).collect();
        let examples = Examples::new(5, 4, pixels, vec![0; 10]).unwrap();
        let normalisation = examples.normalisation();
        let values =
            examples.clamped(&[0, 3, 9], &normalisation, Some(Key::new(1)), &burn::tensor::Device::flex());
        for row in values.into_data().try_into_vec::<f32>().unwrap().chunks(20) {
            let norm = row.iter().map(|v| v * v).sum::<f32>().sqrt();
            assert!((f64::from(norm) - normalisation.norm.unwrap()).abs() < 1e-4);
        }
    }

    #[test]
    fn shifts_move_pixels_and_fill_with_the_minimum() {
        let image = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        assert_eq!(shifted(&image, 3, 1, 0, false), [1, 1, 2, 1, 4, 5, 1, 7, 8]);
        assert_eq!(shifted(&image, 3, 0, -1, false), [4, 5, 6, 7, 8, 9, 1, 1, 1]);
        assert_eq!(shifted(&image, 3, 1, 0, true), [2, 1, 1, 5, 4, 1, 8, 7, 1]);
    }
}
