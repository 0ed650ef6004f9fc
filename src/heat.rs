//! Heat, entropy production and their statistics.
//!
//! Along a trajectory at constant couplings no work is done, so the heat given to the bath is the energy lost,
//!
//! ```text
//! Q = V(x_0) − V(x_T) = −Σ_t ∫ ∇V · dx    (Stratonovich)      (9)
//! ```
//!
//! (K. Sekimoto, Prog. Theor. Phys. Suppl. 130, 17 (1998)). The sum over steps is taken with Simpson's rule on the
//! straight line between two states, (∇V(x) + 4∇V(½(x + x′)) + ∇V(x′))/6 · Δx: the gradient is a cubic along it, so
//! the rule is exact and the first law ΔV = −Q holds to rounding, while the sum sees every force on the way. The
//! entropy produced is the difference of reversed and forward [action](crate::action); it equals Q/kT in the limit
//! of small steps.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::action::{Direction, field_rows};
use crate::error::Result;
use crate::langevin::Trajectory;
use crate::substrate::Substrate;

/// Mean, spread and standard error of independent values.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// The standard deviation of one value.
    pub sd: f64,
    /// How many values.
    pub count: usize,
}

impl Estimate {
    /// The statistics of `values`; NaN where there are too few of them.
    pub fn of(values: &[f64]) -> Self {
        let count = values.len();
        let mean = values.iter().sum::<f64>() / count as f64;
        let square = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
        let sd = match count {
            0 | 1 => f64::NAN,
            _ => (square / (count - 1) as f64).sqrt(),
        };
        Self { mean, sd, count }
    }

    /// The standard error of the mean.
    pub fn standard_error(&self) -> f64 {
        self.sd / (self.count as f64).sqrt()
    }
}

impl Substrate {
    /// The heat given to the bath between two states at constant couplings and clamped values: V(x₀) − V(x).
    ///
    /// # Shapes
    /// `x0`, `x` `[batch, unit]`, `field` `[batch, unit]` or `[1, unit]` → `[batch]`, in the units of kT.
    pub fn heat(&self, x0: Tensor<2>, x: Tensor<2>, field: Tensor<2>) -> Tensor<1> {
        let potential = self.potential();
        potential.energy(x0, field.clone()) - potential.energy(x, field)
    }

    /// The heat given to the bath along the recorded path: −∫∇V · dx by Simpson's rule on each step.
    ///
    /// # Shapes
    /// states `[time, batch, unit]`, `field` as in [`heat`](Self::heat) → `[batch]`.
    pub fn path_heat(&self, trajectory: &Trajectory, field: Tensor<2>) -> Tensor<1> {
        let [times, batch, _] = trajectory.states.dims();
        let (start, end) = trajectory.steps();
        let field = field_rows(field, batch, times - 1);
        let potential = self.potential();
        let gradient = |x: Tensor<2>| potential.gradient(x, field.clone());
        let middle = (start.clone() + end.clone()) * 0.5;
        let mean = (gradient(start.clone()) + gradient(middle) * 4.0 + gradient(end.clone())) / 6.0;
        let heat: Tensor<1> = -(mean * (end - start)).sum_dim(1).squeeze_dim(1);
        heat.reshape([times - 1, batch]).sum_dim(0).squeeze_dim(0)
    }

    /// The entropy each trajectory produces in the bath, ln P/P̃ of the path and its reversal, in units of Boltzmann's constant.
    ///
    /// # Shapes
    /// states `[time, batch, unit]`, `field` as in [`heat`](Self::heat) → `[batch]`.
    ///
    /// # Errors
    /// As [`action`](Self::action).
    pub fn entropy_production(&self, trajectory: &Trajectory, field: Tensor<2>) -> Result<Tensor<1>> {
        let reverse = self.action(trajectory, field.clone(), Direction::Reverse)?;
        Ok(reverse - self.action(trajectory, field, Direction::Forward)?)
    }
}
