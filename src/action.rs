//! The Onsager–Machlup action: −ln of the probability that a computer makes a given trajectory.
//!
//! ```text
//! −ln P(x → x + Δx)       = Σ_i (Δx_i + μ_i ∂_iV(x) Δt)² / (4 μ_i kT Δt)   + const      (4)
//! −ln P̃(x + Δx → x)       = Σ_i (−Δx_i + μ_i ∂_iV(x′) Δt)² / (4 μ_i kT Δt) + const      (5)
//! x′ = x + Δx
//! ```
//!
//! The first line is minimised to teach a trajectory (S. Whitelam, PNAS 123, e2528413123 (2026)); the second,
//! the same step made backwards, to teach its reversal (S. Whitelam, PRL 136, 037101 (2026)). The constant
//! ½ Σ_i ln(4πμ_i kTΔt) is the same in both and left out, so the difference of the two is Crooks' ratio: the entropy
//! that the step produces in the bath (G. E. Crooks, Phys. Rev. E 60, 2721 (1999)), up to the error of the scheme.
//! Its gradient is a local rule: with r_i = (Δx_i + μ_i∂_iV Δt)/2kT,
//!
//! ```text
//! ∂/∂J_ij = r_i x_j + r_j x_i,      ∂/∂b_i = r_i.      (6)
//! ```

use burn::tensor::Tensor;

use crate::error::{Error, Result};
use crate::langevin::{Step, Trajectory};
use crate::potential::Potential;
use crate::substrate::{Substrate, check_shape};

/// In which order of time a trajectory is judged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// As it happened.
    Forward,
    /// Every step made backwards, from its end to its start.
    Reverse,
}

/// The action of single steps under one substrate: constants assembled once, differentiable in the parameters.
#[derive(Clone, Debug)]
pub struct StepAction {
    potential: Potential,
    /// μΔt, `[1, unit]`.
    mobility_dt: Tensor<2>,
    /// 1/(4μkTΔt), `[1, unit]`.
    weight: Tensor<2>,
    direction: Direction,
}

impl StepAction {
    /// The action of the steps x → x′, one a row.
    ///
    /// # Shapes
    /// `before`, `after` `[row, unit]`, `field` `[row, unit]` or `[1, unit]` → `[row]`.
    pub fn of(&self, before: Tensor<2>, after: Tensor<2>, field: Tensor<2>) -> Tensor<1> {
        let (start, end) = match self.direction {
            Direction::Forward => (before, after),
            Direction::Reverse => (after, before),
        };
        let dx = end - start.clone();
        let residual = dx + self.potential.gradient(start, field) * self.mobility_dt.clone();
        (residual.clone() * residual * self.weight.clone()).sum_dim(1).squeeze_dim(1)
    }

    /// The action of an observed [`Step`]: the streamed form, for [`Substrate::simulate`].
    pub fn of_step(&self, step: &Step, field: Tensor<2>) -> Tensor<1> {
        self.of(step.before.clone(), step.after.clone(), field)
    }
}

impl Substrate {
    /// The action of single steps of length `dt`.
    ///
    /// # Errors
    /// [`Error::Constant`] at kT = 0, where every trajectory but one has probability zero.
    pub fn step_action(&self, dt: f64, direction: Direction) -> Result<StepAction> {
        if self.kt() <= 0.0 {
            return Err(Error::Constant {
                name: "kT".into(),
                value: self.kt(),
                expected: "must be positive for a trajectory to have a probability",
            });
        }
        Ok(StepAction {
            potential: self.potential(),
            mobility_dt: self.unit_constants(|group| group.mobility * dt),
            weight: self.unit_constants(|group| 1.0 / (4.0 * group.mobility * self.kt() * dt)),
            direction,
        })
    }

    /// The action of each trajectory, its steps being the recorded intervals.
    ///
    /// # Shapes
    /// states `[time, batch, unit]`, `field` `[batch, unit]` or `[1, unit]` → `[batch]`.
    ///
    /// # Errors
    /// [`Error::Shape`] when the trajectory does not fit, [`Error::Constant`] at kT = 0.
    pub fn action(
        &self,
        trajectory: &Trajectory,
        field: Tensor<2>,
        direction: Direction,
    ) -> Result<Tensor<1>> {
        let [times, batch, units] = trajectory.states.dims();
        check_shape("trajectory", [batch, units], [batch, self.free_units()])?;
        let (before, after) = trajectory.steps();
        let rows = field_rows(field, batch, times - 1);
        let action = self.step_action(trajectory.interval, direction)?.of(before, after, rows);
        Ok(action.reshape([times - 1, batch]).sum_dim(0).squeeze_dim(0))
    }
}

/// A field `[batch, unit]` for rows that list the batch `times` times over.
pub(crate) fn field_rows(field: Tensor<2>, batch: usize, times: usize) -> Tensor<2> {
    match field.dims() {
        [1, _] if batch != 1 => field,
        _ => field.repeat_dim(0, times),
    }
}
