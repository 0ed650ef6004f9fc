//! The Onsager–Machlup action: −ln of the probability of a trajectory.
//!
//! ```text
//! −ln P(x → x + Δx)       = Σ_i (Δx_i + μ_i ∂_iV(x) Δt)² / (4 μ_i kT Δt)   + const      (4)
//! −ln P̃(x + Δx → x)       = Σ_i (−Δx_i + μ_i ∂_iV(x′) Δt)² / (4 μ_i kT Δt) + const      (5)
//! x′ = x + Δx
//! ```
//!
//! Minimising (4) trains a computer to generate a trajectory (S. Whitelam, PNAS 123, e2528413123 (2026)). Minimising
//! (5), the action of the same step reversed, trains it to generate the reversed trajectory (S. Whitelam, PRL 136,
//! 037101 (2026)). The constant ½ Σ_i ln(4πμ_i kTΔt) is the same in both and is left out, so the difference of the
//! two is the logarithm of Crooks' ratio: the entropy that the step produces in the bath (G. E. Crooks, Phys. Rev. E
//! 60, 2721 (1999)), up to the error of the scheme. If kT is a control parameter, each step uses the kT of its time,
//! and the constant depends only on the protocol. All of this applies to Euler–Maruyama steps. Its gradient is a
//! local rule: with r_i = (Δx_i + μ_i∂_iV Δt)/2kT,
//!
//! ```text
//! ∂/∂J_ij = r_i x_j + r_j x_i,      ∂/∂b_i = r_i.      (6)
//! ```

use burn::tensor::Tensor;

use crate::dynamics::run::{Step, Trajectory};
use crate::error::{Error, Result};
use crate::network::control::Control;
use crate::network::potential::Potential;
use crate::network::protocol::Protocol;
use crate::network::substrate::Substrate;
use crate::network::topology::Block;
use crate::tensors::{check_shape, to_f64};

/// The direction of time in which a trajectory is evaluated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// As it happened.
    Forward,
    /// Every step reversed, from its end to its start.
    Reverse,
}

/// The action of single steps under one substrate, with constants assembled once, differentiable in the parameters.
#[derive(Clone, Debug)]
pub struct StepAction {
    potential: Potential,
    /// μΔt, `[1, unit]`.
    mobility_dt: Tensor<2>,
    /// 1/(4μkTΔt) at the temperature of the substrate, `[1, unit]`.
    weight: Tensor<2>,
    /// 1/(4μΔt), `[1, unit]`, for a temperature that is a control parameter.
    rate: Tensor<2>,
    direction: Direction,
}

impl StepAction {
    /// The action of the steps x → x′, one per row.
    ///
    /// # Shapes
    /// `before`, `after` `[row, unit]`, the field `[row, unit]` or `[1, unit]` → `[row]`.
    pub fn of(&self, before: Tensor<2>, after: Tensor<2>, control: impl Into<Control>) -> Tensor<1> {
        let control = control.into();
        let weight = match &control.kt {
            None => self.weight.clone(),
            Some(kt) => self.rate.clone() / kt.clone(),
        };
        let (_, residual) = self.residual(before, after, control);
        (residual.clone() * residual * weight).sum_dim(1).squeeze_dim(1)
    }

    /// The action of an observed [`Step`], for use as an observer of [`Substrate::simulate`].
    pub fn of_step(&self, step: &Step, control: impl Into<Control>) -> Tensor<1> {
        self.of(step.before.clone(), step.after.clone(), control)
    }

    /// The state from which each step starts in this direction, and Δx + μ∇VΔt there.
    fn residual(&self, before: Tensor<2>, after: Tensor<2>, control: Control) -> (Tensor<2>, Tensor<2>) {
        let (start, end) = match self.direction {
            Direction::Forward => (before, after),
            Direction::Reverse => (after, before),
        };
        let gradient = self.potential.gradient(start.clone(), control);
        (start.clone(), end - start + gradient * self.mobility_dt.clone())
    }
}

impl Substrate {
    /// The action of single steps of length `dt`.
    ///
    /// # Errors
    /// [`Error::Constant`] at kT = 0, where every trajectory but one has probability zero.
    pub fn step_action(&self, dt: f64, direction: Direction) -> Result<StepAction> {
        check_temperature(self.kt())?;
        Ok(self.step_action_at_any(dt, direction))
    }

    /// The same for steps whose temperatures are known to be positive.
    fn step_action_at_any(&self, dt: f64, direction: Direction) -> StepAction {
        let weight = |mobility: f64, kt: f64| 1.0 / (4.0 * mobility * kt * dt);
        StepAction {
            potential: self.potential(),
            mobility_dt: self.unit_row(|group, unit| group.mobility.at(unit) * dt),
            weight: self.unit_row(|group, unit| weight(group.mobility.at(unit), self.kt())),
            rate: self.unit_row(|group, unit| weight(group.mobility.at(unit), 1.0)),
            direction,
        }
    }

    /// The action of each trajectory, with the recorded intervals as its steps.
    ///
    /// # Shapes
    /// states `[time, batch, unit]`, fields `[batch, unit]` or `[1, unit]` → `[batch]`.
    ///
    /// # Errors
    /// [`Error::Shape`] when the trajectory does not fit, [`Error::Constant`] where kT = 0.
    pub fn action(
        &self,
        trajectory: &Trajectory,
        protocol: impl Into<Protocol>,
        direction: Direction,
    ) -> Result<Tensor<1>> {
        let [times, batch, units] = trajectory.states.dims();
        check_shape("trajectory", [batch, units], [batch, self.free_units()])?;
        let (before, after) = trajectory.steps();
        let protocol = protocol.into();
        protocol.check(self.free_units(), batch)?;
        let control = protocol.rows(batch, times - 1, trajectory.interval);
        let temperatures = control.kt.clone().map_or_else(|| vec![self.kt()], to_f64);
        temperatures.into_iter().try_for_each(check_temperature)?;
        let action = self.step_action_at_any(trajectory.interval, direction).of(before, after, control);
        Ok(action.reshape([times - 1, batch]).sum_dim(0).squeeze_dim(0))
    }
}

fn check_temperature(kt: f64) -> Result<()> {
    match kt > 0.0 && kt.is_finite() {
        true => Ok(()),
        false => Err(Error::Constant {
            name: "kT".into(),
            value: kt,
            expected: "must be positive for a trajectory to have a probability",
        }),
    }
}

/// The gradient of an action in closed form, equation (6), which a device can compute locally.
#[derive(Clone, Debug)]
pub struct LocalRule {
    /// Σ r_i x_j + r_j x_i, one `[units of from, units of to]` per block; derivatives per pair, also within a group.
    pub couplings: Vec<Tensor<2>>,
    /// Σ r_i, `[1, unit]`.
    pub bias: Tensor<2>,
}

impl LocalRule {
    /// The sum of two gradients.
    pub fn plus(&self, other: &Self) -> Self {
        let add = |(a, b): (&Tensor<2>, &Tensor<2>)| a.clone() + b.clone();
        Self {
            couplings: self.couplings.iter().zip(&other.couplings).map(add).collect(),
            bias: self.bias.clone() + other.bias.clone(),
        }
    }
}

impl Substrate {
    /// The gradient of the action of steps x → x′ of length `dt`, summed over the rows. For couplings to clamped
    /// units x_j is the clamped value, and there is no second term.
    ///
    /// # Shapes
    /// `clamped`: one `[row, units]` per clamped group; `before`, `after` `[row, unit]`.
    ///
    /// # Errors
    /// [`Error::Shape`] when the clamped values do not fit, [`Error::Constant`] at kT = 0.
    pub fn local_rule(
        &self,
        clamped: &[Tensor<2>],
        before: Tensor<2>,
        after: Tensor<2>,
        dt: f64,
        direction: Direction,
    ) -> Result<LocalRule> {
        let topology = self.topology();
        let control = self.field(clamped)?.into();
        let (x, residual) = self.step_action(dt, direction)?.residual(before, after, control);
        let r = residual / (2.0 * self.kt());
        let names = topology.clamped().map(|group| group.name.as_str());
        let values: Vec<_> = names.zip(clamped).collect();
        // The values of a group's units, and their r if they are free.
        let of = |name: &str| match values.iter().find(|(clamped, _)| *clamped == name) {
            Some((_, values)) => (Tensor::clone(values), None),
            None => {
                let columns = topology.columns(name).expect("a group of the topology");
                (x.clone().slice_dim(1, columns.clone()), Some(r.clone().slice_dim(1, columns)))
            }
        };
        let outer = |a: Tensor<2>, b: Option<Tensor<2>>| b.map(|b| a.transpose().matmul(b));
        let coupling = |block: &Block| {
            let ((from, pull_from), (to, pull_to)) = (of(&block.from), of(&block.to));
            let back = outer(to, pull_from).map(Tensor::transpose);
            outer(from, pull_to).into_iter().chain(back).reduce(|a, b| a + b).expect("a free group")
        };
        Ok(LocalRule { couplings: topology.blocks.iter().map(coupling).collect(), bias: r.sum_dim(0) })
    }

    /// One step of gradient descent with a local rule: J ← J − rate ∂/∂J, b ← b − rate ∂/∂b.
    ///
    /// # Errors
    /// [`Error::Shape`] when the rule belongs to another network.
    pub fn descend(mut self, rule: &LocalRule, rate: f64) -> Result<Self> {
        for (index, gradient) in rule.couplings.iter().enumerate() {
            let coupling = self.coupling(index) - gradient.clone() * rate;
            self = self.with_coupling(index, coupling)?;
        }
        let bias = self.bias() - rule.bias.clone() * rate;
        self.with_bias(bias)
    }
}
