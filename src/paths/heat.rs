//! Heat, entropy production and their statistics.
//!
//! Along a trajectory at constant couplings no work is done, so the heat given to the bath is the energy lost,
//!
//! ```text
//! Q = V(x_0) − V(x_T) = −Σ_t ∫ ∇V · dx    (Stratonovich)      (9)
//! ```
//!
//! (K. Sekimoto, Prog. Theor. Phys. Suppl. 130, 17 (1998)). A [protocol](crate::network::protocol) changes V between
//! the steps and so does work: the step x → x′ is made under V(·, t), and then the control parameters change,
//!
//! ```text
//! Q = Σ_t q_t = Σ_t V(x, t) − V(x′, t),      W = Σ_t V(x′, t + Δt) − V(x′, t),      ΔV = W − Q.      (12)
//! ```
//!
//! A bath at kT(t) that receives q_t gains the entropy S = Σ_t q_t/kT(t) in units of Boltzmann's constant. At
//! constant temperature this is Q/kT; in an annealing run it replaces Q/kT. The [`Ledger`] adds up heat, work and
//! entropy while a trajectory runs. The sum of (9) over steps uses Simpson's rule on the straight line between two
//! states, (∇V(x) + 4∇V(½(x + x′)) + ∇V(x′))/6 · Δx. The gradient is a cubic along that line, so the rule is exact
//! and the first law ΔV = −Q holds up to rounding, although the sum is computed from forces. The entropy produced is
//! the difference between reversed and forward [action](crate::paths::action); it equals Q/kT in the limit of small
//! steps.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::dynamics::run::{Step, Trajectory};
use crate::error::Result;
use crate::network::potential::Potential;
use crate::network::protocol::Protocol;
use crate::network::substrate::Substrate;
use crate::paths::action::Direction;

/// Mean, standard deviation and standard error of independent values.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// The standard deviation of one value.
    pub sd: f64,
    /// The number of values.
    pub count: usize,
}

impl Estimate {
    /// The statistics of `values`; NaN if there are too few of them.
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
    /// states `[time, batch, unit]`, fields as in [`heat`](Self::heat) → `[batch]`.
    pub fn path_heat(&self, trajectory: &Trajectory, protocol: impl Into<Protocol>) -> Tensor<1> {
        let [times, batch, _] = trajectory.states.dims();
        let (start, end) = trajectory.steps();
        let control = protocol.into().rows(batch, times - 1, trajectory.interval);
        let potential = self.potential();
        let gradient = |x: Tensor<2>| potential.gradient(x, control.clone());
        let middle = (start.clone() + end.clone()) * 0.5;
        let mean = (gradient(start.clone()) + gradient(middle) * 4.0 + gradient(end.clone())) / 6.0;
        let heat: Tensor<1> = -(mean * (end - start)).sum_dim(1).squeeze_dim(1);
        heat.reshape([times - 1, batch]).sum_dim(0).squeeze_dim(0)
    }

    /// The entropy each trajectory produces in the bath, ln P/P̃ of the path and its reversal, in units of
    /// Boltzmann's constant.
    ///
    /// # Shapes
    /// states `[time, batch, unit]`, fields as in [`heat`](Self::heat) → `[batch]`.
    ///
    /// # Errors
    /// As [`action`](Self::action).
    pub fn entropy_production(
        &self,
        trajectory: &Trajectory,
        protocol: impl Into<Protocol>,
    ) -> Result<Tensor<1>> {
        let protocol = protocol.into();
        let reverse = self.action(trajectory, protocol.clone(), Direction::Reverse)?;
        Ok(reverse - self.action(trajectory, protocol, Direction::Forward)?)
    }
}

/// Heat and work of a batch, added up during a run as an observer of [`Substrate::simulate`].
#[derive(Clone, Debug)]
pub struct Ledger {
    potential: Potential,
    protocol: Protocol,
    /// Whether field, gains or wells change.
    moves: bool,
    kt: f64,
    dt: f64,
    start: Option<Tensor<1>>,
    /// The latest state and the number of steps so far.
    latest: Option<(usize, Tensor<2>)>,
    work: Option<Tensor<1>>,
    /// Of a bath whose temperature is a control parameter.
    entropy: Option<Tensor<1>>,
}

impl Ledger {
    /// The empty ledger of a run of `substrate` under `protocol` in steps of `dt`.
    pub fn new(substrate: &Substrate, protocol: impl Into<Protocol>, dt: f64) -> Self {
        let (potential, protocol, kt) = (substrate.potential(), protocol.into(), substrate.kt());
        let moves = !protocol.keeps_energy();
        Self { potential, protocol, moves, kt, dt, start: None, latest: None, work: None, entropy: None }
    }

    /// V of a state after `steps` steps.
    fn energy(&self, x: &Tensor<2>, steps: usize) -> Tensor<1> {
        self.potential.energy(x.clone(), self.protocol.at(steps as f64 * self.dt))
    }

    /// Records one step. Steps must come in order, from the first.
    pub fn observe(&mut self, step: &Step) {
        if self.start.is_none() {
            self.start = Some(self.energy(&step.before, step.index));
        }
        if let Some(kt) = self.protocol.at(step.index as f64 * self.dt).kt {
            let heat = self.energy(&step.before, step.index) - self.energy(&step.after, step.index);
            let entropy = (heat.unsqueeze_dim::<2>(1) / kt).squeeze_dim(1);
            self.entropy = Some(self.entropy.take().map_or(entropy.clone(), |sum| sum + entropy));
        }
        if self.moves {
            let work = self.energy(&step.after, step.index + 1) - self.energy(&step.after, step.index);
            self.work = Some(self.work.take().map_or(work.clone(), |sum| sum + work));
        }
        self.latest = Some((step.index + 1, step.after.clone()));
    }

    /// V after the last step minus V before the first, `[batch]`; none before the first step.
    pub fn energy_change(&self) -> Option<Tensor<1>> {
        let (steps, x) = self.latest.as_ref()?;
        Some(self.energy(x, *steps) - self.start.clone()?)
    }

    /// The work done on each trajectory so far, `[batch]`; none before the first step.
    pub fn work(&self) -> Option<Tensor<1>> {
        self.work.clone().or_else(|| self.start.as_ref().map(Tensor::zeros_like))
    }

    /// The heat that each trajectory has given to the bath so far, Q = W − ΔV, `[batch]`; none before the first step.
    pub fn heat(&self) -> Option<Tensor<1>> {
        Some(self.work()? - self.energy_change()?)
    }

    /// The entropy that each trajectory has given to the bath so far, in units of Boltzmann's constant, `[batch]`;
    /// none before the first step, infinite at kT = 0.
    pub fn entropy(&self) -> Option<Tensor<1>> {
        self.entropy.clone().or_else(|| Some(self.heat()? / self.kt))
    }
}
