//! Code that conventional networks share: initial weights, loss, read-out, and parameters as bytes.

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::store::{ModuleRecord, RecordError};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Bytes, Device, Tensor, TensorData};
use rand::RngExt;
use thermograd::Key;

use crate::error::{Error, Result};

/// Encodes the parameters of a model as bytes and decodes them.
pub trait Parameters: Module {
    /// The parameters as the bytes of a burnpack file.
    ///
    /// # Errors
    /// [`Error::Checkpoint`].
    fn encode(&self) -> Result<Vec<u8>> {
        let bytes = self.valid().into_record().into_bytes().map_err(unusable)?;
        Ok(bytes.to_vec())
    }

    /// This model with the parameters of [`encode`](Self::encode)d bytes.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] when the bytes are damaged or of another shape.
    fn decode(self, bytes: &[u8]) -> Result<Self> {
        let record = ModuleRecord::from_bytes(Bytes::from_bytes_vec(bytes.to_vec())).map_err(unusable)?;
        self.try_load_record(record).map_err(unusable)
    }
}

impl<M: Module> Parameters for M {}

pub(crate) fn unusable(error: RecordError) -> Error {
    Error::Checkpoint(error.to_string())
}

/// A layer with uniform weights of ±1/√inputs and no biases.
pub(crate) fn linear(inputs: usize, outputs: usize, key: Key, device: &Device) -> Linear {
    let bound = 1.0 / (inputs as f32).sqrt();
    let mut rng = key.rng();
    let weight = (0..inputs * outputs).map(|_| rng.random_range(-bound..bound)).collect();
    Linear {
        weight: Param::from_tensor(rows(weight, inputs, device)),
        bias: Some(Param::from_tensor(Tensor::zeros([outputs], device))),
    }
}

/// A tensor with `count` rows.
pub(crate) fn rows(values: Vec<f32>, count: usize, device: &Device) -> Tensor<2> {
    let columns = values.len() / count;
    Tensor::from_data(TensorData::new(values, [count, columns]), device)
}

/// Cross-entropy of logits, summed over the batch.
pub fn cross_entropy(logits: Tensor<2>, one_hot: Tensor<2>) -> Tensor<1> {
    -(log_softmax(logits, 1) * one_hot).sum()
}

/// Classes from the largest output to the smallest; equal outputs keep their order.
pub fn ranking(outputs: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..outputs.len()).collect();
    order.sort_by(|&a, &b| outputs[b].total_cmp(&outputs[a]));
    order
}
