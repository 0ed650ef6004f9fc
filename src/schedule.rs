//! Time step and number of steps of a run.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Time step and number of steps.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Δt, in units of 1/μ.
    pub dt: f64,
    /// The number of steps.
    pub steps: usize,
}

impl Schedule {
    /// Steps of `dt` up to time `t_f` (rounded to whole steps).
    ///
    /// # Errors
    /// [`Error::Constant`] unless `dt` and `t_f` are positive and finite.
    pub fn new(dt: f64, t_f: f64) -> Result<Self> {
        for (name, value) in [("time step", dt), ("final time", t_f)] {
            if !(value > 0.0 && value.is_finite()) {
                return Err(Error::Constant { name: name.into(), value, expected: "must be positive" });
            }
        }
        let steps = (t_f / dt).round();
        if !(1.0..4e9).contains(&steps) {
            return Err(Error::Constant {
                name: "number of steps".into(),
                value: steps,
                expected: "t_f over the time step must be between 1 and 4e9",
            });
        }
        Ok(Self { dt, steps: steps as usize })
    }

    /// t_f.
    pub fn duration(&self) -> f64 {
        self.dt * self.steps as f64
    }
}
