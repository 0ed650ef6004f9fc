//! Runs, observes and records a [`Substrate`] in one call.

use burn::tensor::Tensor;

use crate::dynamics::overdamped::Overdamped;
use crate::dynamics::run::{Dynamics, Place, Recorder, Step, Trajectory, carry, run};
use crate::error::{Error, Result};
use crate::network::protocol::Protocol;
use crate::network::substrate::Substrate;
use crate::noise::Key;
use crate::schedule::Schedule;

impl Substrate {
    /// The state after the run, differentiable for training.
    ///
    /// `protocol` is a field, or the course of one. Nothing is recorded or checked during the run;
    /// [`simulate`](Self::simulate) does both.
    ///
    /// # Shapes
    /// `x0` `[batch, unit]`, fields `[batch, unit]` or `[1, unit]` → `[batch, unit]`.
    pub fn forward(
        &self,
        x0: Tensor<2>,
        protocol: impl Into<Protocol>,
        schedule: Schedule,
        key: Key,
    ) -> Tensor<2> {
        let dynamics = Overdamped::unchecked(self, protocol.into(), schedule.dt, key);
        dynamics.leap(0..schedule.steps, x0)
    }

    /// Runs, and looks at nothing before the end, which lets a GPU run without a word to the host.
    ///
    /// # Shapes
    /// As [`forward`](Self::forward).
    ///
    /// # Errors
    /// As [`simulate`](Self::simulate).
    pub fn carry(
        &self,
        x0: Tensor<2>,
        protocol: impl Into<Protocol>,
        schedule: Schedule,
        key: Key,
    ) -> Result<Tensor<2>> {
        carry(&Overdamped::new(self, protocol, schedule.dt, key)?, x0, schedule.steps)
    }

    /// Runs, and hands every step to `observe`.
    ///
    /// # Shapes
    /// As [`forward`](Self::forward).
    ///
    /// # Errors
    /// Those of [`Overdamped::new`] and of [`run`]: a state of the wrong shape, or a value that is not finite.
    pub fn simulate(
        &self,
        x0: Tensor<2>,
        protocol: impl Into<Protocol>,
        schedule: Schedule,
        key: Key,
        observe: impl FnMut(&Step),
    ) -> Result<Tensor<2>> {
        run(&Overdamped::new(self, protocol, schedule.dt, key)?, x0, schedule.steps, observe)
    }

    /// Runs under a field that depends on the state: `field(t, x)` is called before every step.
    ///
    /// # Shapes
    /// As [`forward`](Self::forward); `field` gives `[batch, unit]` or `[1, unit]`.
    ///
    /// # Errors
    /// As [`simulate`](Self::simulate).
    pub fn simulate_with_feedback(
        &self,
        x0: Tensor<2>,
        field: impl Fn(f64, &Tensor<2>) -> Tensor<2>,
        schedule: Schedule,
        key: Key,
        observe: impl FnMut(&Step),
    ) -> Result<Tensor<2>> {
        let dynamics = Overdamped::new(self, field(0.0, &x0), schedule.dt, key)?;
        run(&Answered { dynamics, field }, x0, schedule.steps, observe)
    }

    /// Runs and records the initial state and every `every`-th after it.
    ///
    /// # Shapes
    /// As [`forward`](Self::forward) → `[1 + steps/every, batch, unit]`.
    ///
    /// # Errors
    /// As [`simulate`](Self::simulate), and [`Error::Constant`] when `every` is zero.
    pub fn trajectory(
        &self,
        x0: Tensor<2>,
        protocol: impl Into<Protocol>,
        schedule: Schedule,
        every: usize,
        key: Key,
    ) -> Result<Trajectory> {
        if every == 0 {
            return Err(Error::Constant {
                name: "recording interval".into(),
                value: 0.0,
                expected: "must be at least one step",
            });
        }
        let mut recorder = Recorder::new(x0.clone(), every);
        self.simulate(x0, protocol, schedule, key, |step| recorder.observe(step))?;
        Ok(recorder.trajectory(schedule.dt))
    }
}

/// The same under a field that depends on the state: `field(t, x)` is called before every step.
///
/// The field can represent units that are not simulated, for example units so fast that only their mean acts on the
/// others.
struct Answered<F> {
    dynamics: Overdamped,
    field: F,
}

impl<F: Fn(f64, &Tensor<2>) -> Tensor<2>> Dynamics for Answered<F> {
    type State = Tensor<2>;

    fn step(&self, index: usize, x: Tensor<2>) -> Tensor<2> {
        let field = (self.field)(self.time(index), &x);
        self.dynamics.step_in_field(index, x, field)
    }

    fn diverged(&self, x: &Tensor<2>) -> Option<Place> {
        self.dynamics.diverged(x)
    }

    fn fits(&self, start: &Tensor<2>) -> Result<()> {
        self.dynamics.fits(start)
    }

    fn time(&self, steps: usize) -> f64 {
        self.dynamics.time(steps)
    }

    fn energy(&self, steps: usize, x: &Tensor<2>, trajectory: usize) -> Option<f64> {
        let field = (self.field)(self.time(steps), x);
        self.dynamics.energy_in(x, field, trajectory)
    }
}
