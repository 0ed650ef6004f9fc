//! Gradients as data, which processes send each other.

use std::hash::{DefaultHasher, Hasher};

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData};

/// The gradient of every parameter in the order of the module, where there is one.
pub(crate) type Parts = Vec<Option<TensorData>>;

/// Takes gradients apart.
pub(crate) fn pack<M: Module>(model: &M, gradients: &GradientsParams) -> Parts {
    struct Packing<'a>(&'a GradientsParams, Parts);
    impl ModuleVisitor for Packing<'_> {
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            self.1.push(self.0.get::<D>(parameter.id).map(Tensor::into_data));
        }
    }
    let mut packing = Packing(gradients, Vec::new());
    model.visit(&mut packing);
    packing.1
}

/// Puts them together again, on the devices of the parameters.
pub(crate) fn unpack<M: Module>(model: &M, parts: Parts) -> GradientsParams {
    struct Unpacking(GradientsParams, std::vec::IntoIter<Option<TensorData>>);
    impl ModuleVisitor for Unpacking {
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            let Some(part) = self.1.next().flatten() else { return };
            let (device, dtype) = (parameter.val().device().inner(), part.dtype());
            self.0.register(parameter.id, Tensor::<D>::from_data(part, (&device, dtype)));
        }
    }
    let mut unpacking = Unpacking(GradientsParams::new(), parts.into_iter());
    model.visit(&mut unpacking);
    unpacking.0
}

/// A hash of the bits of all parameters.
pub(crate) fn fingerprint<M: Module>(model: &M) -> u64 {
    struct Reading(DefaultHasher);
    impl ModuleVisitor for Reading {
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            let values = parameter.val().into_data();
            values.iter::<f64>().for_each(|value| self.0.write_u64(value.to_bits()));
        }
    }
    let mut reading = Reading(DefaultHasher::new());
    model.visit(&mut reading);
    reading.0.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    /// Gradients keep all their bits, and parameters without one stay without.
    #[test]
    fn gradients_travel() {
        let part = |values: Vec<f32>| {
            Param::from_tensor(Tensor::<2>::from_data(
                TensorData::new(values, [1, 2]),
                &Device::flex().autodiff(),
            ))
        };
        let model = vec![part(vec![0.1, 3e-39]), part(vec![1.0, 2.0]), part(vec![-0.0, 7.0])];
        let loss = (model[0].val().powi_scalar(3) + model[2].val().exp()).sum();
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        let parts = pack(&model, &gradients);
        let again = pack(&model, &unpack(&model, parts.clone()));
        assert!(parts[1].is_none() && parts[0].is_some() && parts.len() == 3);
        let mut other = model.clone();
        other[1] = part(vec![1.0, f32::from_bits(2.0_f32.to_bits() + 1)]);
        let again_made: Vec<_> = model.iter().map(|one| Param::from_tensor(one.val().inner())).collect();
        assert_eq!(fingerprint(&model), fingerprint(&again_made));
        assert_ne!(fingerprint(&model), fingerprint(&other));
        assert_eq!(parts, again);
    }
}
