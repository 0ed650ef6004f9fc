//! Small helpers on Burn tensors.

use burn::module::Param;
use burn::tensor::{Device, IndexingUpdateOp, Int, Tensor, TensorCreationOptions, TensorData};

#[cfg(feature = "cube")]
use crate::cube;
use crate::error::{Error, Result};
use crate::noise::Key;

/// The values of a tensor on the host, in f64.
pub fn to_f64<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().convert::<f64>().try_into_vec::<f64>().expect("converted to f64")
}

impl Key {
    /// The normals of a step as a tensor, drawn where `beside` is: on a GPU nothing crosses the bus.
    ///
    /// On a GPU they are within two units in the last place of [`normals`](Self::normals), elsewhere equal.
    ///
    /// # Shapes
    /// `[trajectory, unit]`, whatever the shape of `beside`.
    pub fn normals_beside(self, step: usize, shape: [usize; 2], beside: &Tensor<2>) -> Tensor<2> {
        self.drawn_beside(step, shape, beside, false)
    }

    /// The uniform numbers of a step as a tensor, drawn where `beside` is, with the same bits everywhere.
    ///
    /// # Shapes
    /// As [`normals_beside`](Self::normals_beside).
    pub fn uniforms_beside(self, step: usize, shape: [usize; 2], beside: &Tensor<2>) -> Tensor<2> {
        self.drawn_beside(step, shape, beside, true)
    }

    fn drawn_beside(self, step: usize, shape: [usize; 2], beside: &Tensor<2>, uniform: bool) -> Tensor<2> {
        #[cfg(feature = "cube")]
        if let Some(drawn) = cube::draw(self, step, &beside.clone().inner(), shape, uniform) {
            return drawn;
        }
        let [rows, columns] = shape;
        let values = match uniform {
            true => self.uniforms(step as u32, rows, columns),
            false => self.normals(step as u32, rows, columns),
        };
        Tensor::from_data(TensorData::new(values, shape), (&beside.device().inner(), beside.dtype()))
    }
}

/// One row of values, `[1, values]`.
pub(crate) fn row(values: Vec<f64>, options: TensorCreationOptions) -> Tensor<2> {
    let shape = [1, values.len()];
    Tensor::from_data(TensorData::new(values, shape), options)
}

/// The identity matrix in a given data type.
pub(crate) fn identity(size: usize, options: impl Into<TensorCreationOptions>) -> Tensor<2> {
    let options = options.into();
    let eye = Tensor::<2>::eye(size, &options.device);
    match options.dtype {
        Some(dtype) => eye.cast(dtype),
        None => eye,
    }
}

/// Refuses a tensor of the wrong shape.
pub(crate) fn check_shape(what: &str, found: [usize; 2], expected: [usize; 2]) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(Error::Shape { what: what.into(), found: found.into(), expected: expected.into() })
}

/// The row-major index of the first value that is not finite.
pub(crate) fn first_not_finite<const D: usize>(x: &Tensor<D>) -> Option<usize> {
    // An infinity or NaN makes the sum infinite or NaN. A sum of large finite numbers may overflow too, so the values
    // decide.
    let sum = x.clone().inner().abs().sum().into_scalar::<f64>();
    if sum.is_finite() {
        return None;
    }
    to_f64(x.clone().inner()).iter().position(|value| !value.is_finite())
}

/// A parameter with new values and the identity, device and gradient setting of the old one.
pub(crate) fn replace(parameter: &Param<Tensor<2>>, values: Tensor<2>) -> Param<Tensor<2>> {
    let fresh = values.detach();
    parameter.clone().map(|old| fresh.set_require_grad(old.is_require_grad()))
}

/// A matrix of zeros, except for the listed pairs `[1, pair]`.
pub(crate) fn scatter(values: Tensor<2>, pairs: &[[usize; 2]], shape: [usize; 2]) -> Tensor<2> {
    let indices = flat_indices(pairs, shape[1], &values.device());
    let zeros = Tensor::zeros([1, shape[0] * shape[1]], (&values.device(), values.dtype()));
    zeros.select_assign(1, indices, values, IndexingUpdateOp::Add).reshape(shape)
}

/// The listed pairs `[1, pair]` of a matrix.
pub fn gather(dense: Tensor<2>, pairs: &[[usize; 2]]) -> Tensor<2> {
    let ([rows, columns], device) = (dense.dims(), dense.device());
    dense.reshape([1, rows * columns]).select(1, flat_indices(pairs, columns, &device))
}

fn flat_indices(pairs: &[[usize; 2]], columns: usize, device: &Device) -> Tensor<1, Int> {
    indices(pairs.iter().map(|[i, j]| i * columns + j), device)
}

/// A tensor of indices.
pub(crate) fn indices(places: impl Iterator<Item = usize>, device: &Device) -> Tensor<1, Int> {
    let indices: Vec<i32> = places.map(|place| place as i32).collect();
    let count = indices.len();
    Tensor::from_data(TensorData::new(indices, [count]), &device.clone().inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_finite_numbers_are_finite_and_the_first_other_is_found() {
        let tensor = |values: [f32; 4]| Tensor::<1>::from_data(values, &Device::flex());
        assert_eq!(first_not_finite(&tensor([f32::MAX; 4])), None);
        assert_eq!(first_not_finite(&tensor([1.0, f32::MAX, f32::NAN, f32::INFINITY])), Some(2));
    }
}
