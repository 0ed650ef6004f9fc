//! The one loop over steps: [`run`] steps and observes every machine of this crate, or one of your own, and checks it
//! for divergence.
//!
//! A machine says how it [steps](Dynamics::step) from one state to the next. All its memory is in the state, and its
//! noise is a function of the step number. Any stretch of a run can therefore be repeated with the same result, which
//! is how the first diverged step is found.

use std::ops::Range;

use burn::tensor::Tensor;

use crate::error::{Divergence, Result};

/// How a machine moves.
///
/// ```
/// use thermograd::{Dynamics, Place, run};
///
/// /// dx/dt = −x, one number, by Euler's steps of 0.1.
/// struct Decay;
///
/// impl Dynamics for Decay {
///     type State = f64;
///     fn step(&self, _index: usize, x: f64) -> f64 {
///         x - 0.1 * x
///     }
///     fn diverged(&self, x: &f64) -> Option<Place> {
///         (!x.is_finite()).then(|| Place { trajectory: 0, group: "decay".into(), unit: 0 })
///     }
/// }
///
/// let mut seen = vec![1.0];
/// let end = run(&Decay, 1.0, 3, |step| seen.push(step.after))?;
/// assert_eq!((seen.len(), end), (4, seen[3]));
/// # Ok::<(), thermograd::Error>(())
/// ```
pub trait Dynamics {
    /// Everything that changes: displacements; displacements and velocities; spins; the memory of a filter.
    type State: Clone;

    /// The state after step `index`, a function of its arguments alone.
    fn step(&self, index: usize, state: Self::State) -> Self::State;

    /// The state after several steps that nobody looks at; by default one after the other.
    fn leap(&self, steps: Range<usize>, state: Self::State) -> Self::State {
        steps.fold(state, |state, index| self.step(index, state))
    }

    /// The first value that is not finite, if any.
    fn diverged(&self, state: &Self::State) -> Option<Place>;

    /// Refuses a state that does not fit the machine; called before the first step.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape), typically.
    fn fits(&self, _start: &Self::State) -> Result<()> {
        Ok(())
    }

    /// The time after `steps` steps; by default the number of steps.
    fn time(&self, steps: usize) -> f64 {
        steps as f64
    }

    /// The energy of one trajectory after `steps` steps, for the report of a divergence.
    fn energy(&self, _steps: usize, _state: &Self::State, _trajectory: usize) -> Option<f64> {
        None
    }
}

/// The position of one number in a state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The trajectory within the batch.
    pub trajectory: usize,
    /// The group of the unit.
    pub group: String,
    /// The unit within its group.
    pub unit: usize,
}

/// One step as an observer sees it. The state of the [substrate](crate::Substrate) is `[batch, unit]`.
#[derive(Clone, Debug)]
pub struct Step<S = Tensor<2>> {
    /// Its number, from 0.
    pub index: usize,
    /// The state before.
    pub before: S,
    /// The state after.
    pub after: S,
}

/// Steps between two checks that the numbers are still finite.
const LOOK: usize = 32;

/// Makes `steps` steps from `start`, hands each of them to `observe` and returns the final state. Recording, streamed
/// action, heat and statistics are observers.
///
/// # Errors
/// Those of [`Dynamics::fits`], and [`Error::Diverged`](crate::Error::Diverged), which names the first step whose
/// result is not finite and the value. The observer may by then have seen up to 32 later steps.
pub fn run<D: Dynamics>(
    dynamics: &D,
    start: D::State,
    steps: usize,
    mut observe: impl FnMut(&Step<D::State>),
) -> Result<D::State> {
    dynamics.fits(&start)?;
    let mut state = start;
    for first in (0..steps).step_by(LOOK) {
        let (stretch, finite) = (first..steps.min(first + LOOK), state.clone());
        state = advance(dynamics, state, stretch.clone(), &mut observe);
        if let Some(place) = dynamics.diverged(&state) {
            return Err(divergence(dynamics, finite, stretch, place).into());
        }
    }
    Ok(state)
}

/// The same as [`run`] for runs that nobody looks at before their end, which a GPU may then make without a word to the
/// host. Numbers are checked once, at the end.
///
/// # Errors
/// Those of [`run`].
pub fn carry<D: Dynamics>(dynamics: &D, start: D::State, steps: usize) -> Result<D::State> {
    dynamics.fits(&start)?;
    let end = dynamics.leap(0..steps, start.clone());
    match dynamics.diverged(&end) {
        Some(place) => Err(divergence(dynamics, start, 0..steps, place).into()),
        None => Ok(end),
    }
}

/// The loop of [`run`] without its checks, for runs that are differentiated or checked by other means.
pub fn advance<D: Dynamics>(
    dynamics: &D,
    start: D::State,
    steps: Range<usize>,
    mut observe: impl FnMut(&Step<D::State>),
) -> D::State {
    steps.fold(start, |before, index| {
        let after = dynamics.step(index, before.clone());
        let step = Step { index, before, after };
        observe(&step);
        step.after
    })
}

/// Repeats a stretch that ends at `last` and finds its first step whose result is not finite.
fn divergence<D: Dynamics>(
    dynamics: &D,
    start: D::State,
    stretch: Range<usize>,
    last: Place,
) -> Box<Divergence> {
    let mut found = None;
    let end = stretch.end;
    advance(dynamics, start, stretch, |step| {
        if found.is_none() {
            found = dynamics.diverged(&step.after).map(|place| {
                let energy = dynamics.energy(step.index, &step.before, place.trajectory);
                (step.index, place, energy)
            });
        }
    });
    let (step, Place { trajectory, group, unit }, energy) = found.unwrap_or((end - 1, last, None));
    Box::new(Divergence { step, time: dynamics.time(step + 1), trajectory, group, unit, energy })
}

/// An observer that records states at equal intervals, for any machine whose state is one tensor.
#[derive(Clone, Debug)]
pub struct Recorder {
    states: Vec<Tensor<2>>,
    every: usize,
}

impl Recorder {
    /// Keeps the initial state and every `every`-th after it (every state if zero).
    pub fn new(start: Tensor<2>, every: usize) -> Self {
        Self { states: vec![start], every: every.max(1) }
    }

    /// Records one step.
    pub fn observe(&mut self, step: &Step) {
        if (step.index + 1).is_multiple_of(self.every) {
            self.states.push(step.after.clone());
        }
    }

    /// The recorded trajectory of a run with steps of length `dt`.
    pub fn trajectory(self, dt: f64) -> Trajectory {
        Trajectory { states: Tensor::stack(self.states, 0), interval: dt * self.every as f64 }
    }
}

/// States of the free units at equal intervals.
#[derive(Clone, Debug)]
pub struct Trajectory {
    /// `[time, batch, unit]`, the initial state first.
    pub states: Tensor<3>,
    /// The time between two recorded states.
    pub interval: f64,
}

impl Trajectory {
    /// The final state, `[batch, unit]`.
    pub fn last(&self) -> Tensor<2> {
        let [times, batch, units] = self.states.dims();
        self.states.clone().slice_dim(0, times - 1..times).reshape([batch, units])
    }

    /// Each pair of neighbouring states as rows: (x, x′), both `[(times − 1) · batch, unit]`, time-major.
    pub fn steps(&self) -> (Tensor<2>, Tensor<2>) {
        let [times, batch, units] = self.states.dims();
        let rows = |from: usize| {
            let states = self.states.clone().slice_dim(0, from..from + times - 1);
            states.reshape([(times - 1) * batch, units])
        };
        (rows(0), rows(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    /// Two numbers, x ← x + y and y ← 2y: the second is the memory, and the first overflows.
    struct Runaway;

    impl Dynamics for Runaway {
        type State = (f32, f32);

        fn step(&self, _index: usize, (x, y): Self::State) -> Self::State {
            (x + y, 2.0 * y)
        }

        fn diverged(&self, &(x, _): &Self::State) -> Option<Place> {
            (!x.is_finite()).then(|| Place { trajectory: 0, group: "sum".into(), unit: 0 })
        }

        fn energy(&self, steps: usize, &(x, _): &Self::State, _: usize) -> Option<f64> {
            Some(f64::from(x) + steps as f64)
        }
    }

    /// After n steps x = 2ⁿ − 1, which overflows single precision at n = 128.
    #[test]
    fn a_divergence_is_found_at_its_step_whatever_memory_a_machine_has() {
        for steps in [128, 129, 150, 400] {
            let error = run(&Runaway, (0.0, 1.0), steps, |_| {}).unwrap_err();
            let Error::Diverged(found) = error else { panic!("{error}") };
            assert_eq!((found.step, found.time), (127, 128.0));
            assert!(found.energy.unwrap() > 1e38, "{found}");
            assert!(
                matches!(carry(&Runaway, (0.0, 1.0), steps), Err(Error::Diverged(same)) if same == found)
            );
        }
        assert_eq!(run(&Runaway, (0.0, 1.0), 127, |_| {}).unwrap().0, 2.0_f32.powi(127));
    }
}
