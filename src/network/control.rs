//! The control parameters at one moment: everything by which a computer is controlled from outside.
//!
//! ```text
//! V(x, t) = Σ_i ((J₂ + d_i(t)) x_i² + J₄ x_i⁴) + Σ_i h_i(t) x_i + Σ_(ij) s_i(t) J_ij s_j(t) x_i x_j      (11)
//! ```
//!
//! with the field h (biases and couplings to clamped units), the gains s of the units and a shift d of their wells.
//! The temperature kT(t) of the bath is a control parameter too; V does not depend on it, so changing it does no
//! work.

use burn::tensor::{Tensor, TensorData};

/// The control parameters at one moment.
#[derive(Clone, Debug)]
pub struct Control {
    /// h, `[batch, unit]` or `[1, unit]`.
    pub field: Tensor<2>,
    /// s, `[1, unit]`; one for every unit if none.
    pub gain: Option<Tensor<2>>,
    /// d, `[1, unit]`; zero if none.
    pub well: Option<Tensor<2>>,
    /// kT, `[1, 1]`, or `[batch, 1]` if each trajectory has its own bath; that of the substrate if none.
    pub kt: Option<Tensor<2>>,
}

impl From<Tensor<2>> for Control {
    fn from(field: Tensor<2>) -> Self {
        Self { field, gain: None, well: None, kt: None }
    }
}

impl Control {
    /// With a bath at `kt`.
    pub fn with_kt(self, kt: f64) -> Self {
        let options = (&self.field.device().inner(), self.field.dtype());
        let kt = Tensor::from_data(TensorData::new(vec![kt], [1, 1]), options);
        Self { kt: Some(kt), ..self }
    }

    /// Linear interpolation: the control parameters a fraction `fraction` of the way to `other`.
    pub(crate) fn towards(&self, other: &Self, fraction: f64) -> Self {
        let mix = |a: &Tensor<2>, b: &Tensor<2>| a.clone() * (1.0 - fraction) + b.clone() * fraction;
        let both =
            |a: &Option<Tensor<2>>, b: &Option<Tensor<2>>| a.as_ref().zip(b.as_ref()).map(|(a, b)| mix(a, b));
        Self {
            field: mix(&self.field, &other.field),
            gain: both(&self.gain, &other.gain),
            well: both(&self.well, &other.well),
            kt: both(&self.kt, &other.kt),
        }
    }
}
