//! Gradients through the unrolled stochastic steps, by the adjoint of the step.
//!
//! With the noise of a [`Key`] fixed, a run is a differentiable function of the parameters. One step is
//!
//! ```text
//! x_{t+1} = x_t A + q∘x_t³ + d + noise,      A = 1 − μΔt(2J₂ + J),  q = −4μΔtJ₄,  d = −μΔt h,
//! ```
//!
//! and the gradients g_t = ∂L/∂x_t of a loss L(x_T) obey the backward recursion
//!
//! ```text
//! g_t = g_{t+1} Aᵀ + 3q∘x_t²∘g_{t+1},      ∂L/∂A = Σ_t x_tᵀ g_{t+1},      ∂L/∂d = Σ_t g_{t+1}.      (8)
//! ```
//!
//! Autodiff then carries the gradients from A and d to couplings and biases, once per run instead of once per step.
//! The result equals autodiff through [`Substrate::forward`] and takes about half the time.

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::Tensor;

use crate::dynamics::overdamped::Overdamped;
use crate::dynamics::run::advance;
use crate::error::Result;
use crate::network::substrate::Substrate;
use crate::noise::Key;
use crate::schedule::Schedule;

impl Substrate {
    /// The value and the gradient of a loss of the final state, along one noise path per trajectory.
    ///
    /// `loss` is given a substrate that tracks gradients, for terms that depend on the couplings directly (heat), and
    /// the final state; it returns one number. Steps are not checked: if the result is not finite,
    /// [`simulate`](Self::simulate) finds out where.
    ///
    /// # Shapes
    /// `x0` `[batch, unit]`; `clamped`: one `[batch, units]` per clamped group; the final state is `[batch, unit]`.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when the clamped values do not fit, and whatever `loss` returns.
    pub fn pathwise(
        &self,
        x0: Tensor<2>,
        clamped: &[Tensor<2>],
        schedule: Schedule,
        key: Key,
        loss: impl FnOnce(&Self, Tensor<2>) -> Result<Tensor<1>>,
    ) -> Result<(f64, GradientsParams)> {
        let inner = self.valid();
        let dynamics = Overdamped::unchecked(&inner, inner.field(clamped)?.into(), schedule.dt, key);
        let mut states = Vec::with_capacity(schedule.steps);
        let last = advance(&dynamics, x0, 0..schedule.steps, |step| states.push(step.before.clone()));

        // ∂L/∂x_T, and the gradients of the parameters on which L depends directly.
        let head = inner.clone().train();
        let last = last.autodiff().require_grad();
        let value = loss(&head, last.clone())?;
        let mut gradients = value.backward();
        let end = last.grad_remove(&mut gradients).unwrap_or_else(|| last.inner().zeros_like());
        let mut total = GradientsAccumulator::new();
        total.accumulate(&head, GradientsParams::from_module(&mut gradients, &head));

        // A function whose gradient is ∂L/∂A · A + ∂L/∂d · d.
        let body = inner.train();
        let tracked = Overdamped::unchecked(&body, body.field(clamped)?.into(), schedule.dt, key);
        let through_steps = dynamics.pull_back(states, end).pair(&tracked);
        total.accumulate(&body, GradientsParams::from_grads(through_steps.backward(), &body));
        Ok((value.into_scalar::<f64>(), total.grads()))
    }
}

/// The gradients of a loss with respect to the constants of a run.
struct Cotangent {
    /// ∂L/∂A, one for each of the values of the propagator.
    propagator: Vec<Tensor<2>>,
    /// ∂L/∂d, `[batch, unit]`.
    drift: Tensor<2>,
}

impl Cotangent {
    /// ⟨∂L/∂A, A⟩ + ⟨∂L/∂d, d⟩.
    fn pair(self, dynamics: &Overdamped) -> Tensor<1> {
        let drift = dynamics.drift.at(0.0).field;
        let mut sum = match drift.dims()[0] == self.drift.dims()[0] {
            true => (drift * self.drift).sum(),
            false => (drift * self.drift.sum_dim(0)).sum(),
        };
        for (values, gradient) in dynamics.propagator.values().zip(self.propagator) {
            sum = sum + (values.clone() * gradient).sum();
        }
        sum
    }
}

impl Overdamped {
    /// Equation (8), from ∂L/∂x_T back through the states x_{T−1} … x_0.
    fn pull_back(&self, mut states: Vec<Tensor<2>>, end: Tensor<2>) -> Cotangent {
        let slope = self.quartic.clone() * 3.0;
        let mut g = end;
        let mut propagator: Vec<Tensor<2>> = self.propagator.values().map(Tensor::zeros_like).collect();
        let mut drift = g.zeros_like();
        while let Some(x) = states.pop() {
            drift = drift + g.clone();
            self.propagator.add_outer(&mut propagator, &x, &g);
            let well = match &self.diagonal {
                None => x.clone() * x * slope.clone() * g.clone(),
                Some(diagonal) => (x.clone() * x * slope.clone() + diagonal.clone()) * g.clone(),
            };
            g = self.propagator.apply_transposed(g) + well;
        }
        Cotangent { propagator, drift }
    }
}
