//! Overdamped Langevin dynamics of the free units: the one step loop through which everything is trained and run.
//!
//! ```text
//! x_i ← x_i − μ_i ∂_iV(x) Δt + √(2 μ_i kT Δt) η_i,      η_i ~ N(0, 1)      (3)
//! ```
//!
//! (S. Whitelam, PNAS 123, e2528413123 (2026)): the Euler–Maruyama scheme, of strong order 1 here because
//! the noise is additive, of weak order 1, and stable only below Δt = 2/λ for the stiffest relaxation rate λ. The
//! drift is evaluated as
//!
//! ```text
//! x − μΔt ∇V = x [1 − μΔt (2J₂ + J)] − 4μΔt J₄ x³ − μΔt h,
//! ```
//!
//! whose bracket is a constant of the run, and so is the last term unless a [protocol](crate::protocol) moves it.
//! Step n is made with the control parameters at t = nΔt.

use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::noise::Key;
use crate::potential::{Coupling, Product, is_large, scaled};
use crate::protocol::{Control, Protocol};
use crate::substrate::{Substrate, check_shape, identity};

/// Time step and number of steps.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Δt, in units of 1/μ.
    pub dt: f64,
    /// How many steps.
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
                expected: "must be between 1 and 4e9",
            });
        }
        Ok(Self { dt, steps: steps as usize })
    }

    /// t_f.
    pub fn duration(&self) -> f64 {
        self.dt * self.steps as f64
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
    /// The state at the end, `[batch, unit]`.
    pub fn last(&self) -> Tensor<2> {
        let [times, batch, units] = self.states.dims();
        self.states.clone().slice_dim(0, times - 1..times).reshape([batch, units])
    }

    /// Each pair of neighbouring states as rows: (x, x′), both `[(times − 1) · batch, unit]`, time-major.
    pub fn steps(&self) -> (Tensor<2>, Tensor<2>) {
        let [times, batch, units] = self.states.dims();
        let rows = |from: usize| {
            let part = self.states.clone().slice_dim(0, from..from + times - 1);
            part.reshape([(times - 1) * batch, units])
        };
        (rows(0), rows(1))
    }
}

/// One step as an observer sees it.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its number, from 0.
    pub index: usize,
    /// The state before, `[batch, unit]`.
    pub before: Tensor<2>,
    /// The state after, `[batch, unit]`.
    pub after: Tensor<2>,
}

/// Where and how a trajectory left the finite numbers.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[error(
    "diverged at step {step} (t = {time:.4}): unit {unit} of group `{group}` in trajectory {trajectory} left the \
     finite numbers; the energy one step before was {energy:.4e}. A smaller time step or weaker couplings are needed"
)]
pub struct Divergence {
    /// The step whose result is not finite, from 0.
    pub step: usize,
    /// The time after it.
    pub time: f64,
    /// The trajectory within the batch.
    pub trajectory: usize,
    /// The group of the unit.
    pub group: String,
    /// The unit within its group.
    pub unit: usize,
    /// The energy of that trajectory before the step.
    pub energy: f64,
}

/// The constants of one run, assembled once: the equation of the module's head as tensors.
pub(crate) struct Dynamics {
    /// −μΔtJ, and 1 − 2μΔtJ₂ on the diagonal of small groups that couple within themselves.
    pub(crate) propagator: Coupling,
    /// 1 − 2μΔtJ₂ of all other units, `[1, unit]`; none if there are none.
    pub(crate) diagonal: Option<Tensor<2>>,
    /// −4μΔtJ₄, `[1, unit]`.
    pub(crate) quartic: Tensor<2>,
    /// The protocol with −μΔt h in the place of h and −2μΔt d in the place of d.
    pub(crate) drift: Protocol,
    /// μΔt, `[1, unit]`.
    mobility: Tensor<2>,
    /// √(2μkTΔt) per unit.
    noise: Vec<f32>,
    dt: f64,
    key: Key,
}

impl Dynamics {
    pub(crate) fn new(substrate: &Substrate, protocol: Protocol, dt: f64, key: Key) -> Self {
        let potential = substrate.potential();
        let mobility = substrate.unit_constants(|group| group.mobility * dt);
        let sigma = substrate.unit_values(|group| (2.0 * group.mobility * substrate.kt() * dt).sqrt());
        // Gains act on couplings alone and shifts on the diagonal alone: either keeps the two apart.
        let Control { gain, well, .. } = &protocol.controls()[0];
        let fold = gain.is_none() && well.is_none();
        let (propagator, diagonal) = propagator(potential.coupling, &mobility, potential.j2, fold);
        let drift = |control: Control| Control {
            field: -(control.field * mobility.clone()),
            well: control.well.map(|well| -(well * mobility.clone() * 2.0)),
            ..control
        };
        Self {
            propagator,
            diagonal,
            quartic: potential.j4 * mobility.clone() * -4.0,
            drift: protocol.map(drift),
            mobility,
            noise: sigma.into_iter().map(|sigma| sigma as f32).collect(),
            dt,
            key,
        }
    }

    /// One Euler–Maruyama step, `[batch, unit]` → `[batch, unit]`.
    pub(crate) fn step(&self, index: usize, x: Tensor<2>) -> Tensor<2> {
        self.advance(index, x, self.drift.at(index as f64 * self.dt))
    }

    /// The same with the control parameters given, in the form of `drift`.
    fn advance(&self, index: usize, x: Tensor<2>, control: Control) -> Tensor<2> {
        let Control { field: drift, gain, well } = control;
        let kick = match self.noise.iter().all(|&sigma| sigma == 0.0) {
            true => drift,
            false => self.kick(index, &x) + drift,
        };
        let own = match &self.diagonal {
            None => x.clone() * x.clone() * x.clone() * self.quartic.clone(),
            Some(diagonal) => {
                let diagonal = well.map_or_else(|| diagonal.clone(), |well| well + diagonal.clone());
                (x.clone() * x.clone() * self.quartic.clone() + diagonal) * x.clone()
            }
        };
        self.propagator.apply_with(x, gain) + own + kick
    }

    /// √(2μkTΔt) η.
    fn kick(&self, index: usize, x: &Tensor<2>) -> Tensor<2> {
        let [batch, units] = x.dims();
        let mut kick = self.key.normals(index as u32, batch, units);
        for row in kick.chunks_exact_mut(units) {
            for (value, sigma) in row.iter_mut().zip(&self.noise) {
                *value *= sigma;
            }
        }
        Tensor::from_data(TensorData::new(kick, [batch, units]), (&x.device().inner(), x.dtype()))
    }
}

/// −μΔtJ with 1 − 2μΔtJ₂ on its diagonal where a small product has one (and `fold` says so), and as a row where not.
fn propagator(
    coupling: Coupling,
    mobility: &Tensor<2>,
    j2: Tensor<2>,
    fold: bool,
) -> (Coupling, Option<Tensor<2>>) {
    let units = coupling.units;
    let keep: Tensor<2> = 1.0 - mobility.clone() * j2 * 2.0;
    let eye = identity(units, (&keep.device(), keep.dtype())) * keep.clone();
    let mut folded = Vec::new();
    let product = |product: Product| {
        let targets = product.targets.clone();
        let rate = mobility.clone().slice_dim(1, targets.clone());
        let scaled = product.terms.into_iter().map(|(sources, matrix)| {
            let mut matrix = scaled(matrix, rate.clone());
            if fold && !is_large(&matrix) && sources.start <= targets.start && targets.end <= sources.end {
                let diagonal = eye.clone().slice_dim(1, targets.clone()).slice_dim(0, sources.clone());
                matrix = matrix + diagonal;
                folded.extend(targets.clone());
            }
            (sources, matrix)
        });
        let terms = scaled.collect();
        Product { targets, terms }
    };
    let coupling = Coupling { units, products: coupling.products.into_iter().map(product).collect() };
    if folded.len() == units {
        return (coupling, None);
    }
    let apart: Vec<f64> = (0..units).map(|unit| if folded.contains(&unit) { 0.0 } else { 1.0 }).collect();
    let apart = Tensor::<2>::from_data(TensorData::new(apart, [1, units]), (&keep.device(), keep.dtype()));
    (coupling, Some(keep * apart))
}

/// Steps between two looks at whether the numbers are still finite.
const LOOK: usize = 32;

impl Substrate {
    /// The state after the run: what training differentiates through.
    ///
    /// `protocol` is a field, or the course of one. Nothing is recorded or checked on the way;
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
        let dynamics = Dynamics::new(self, protocol.into(), schedule.dt, key);
        (0..schedule.steps).fold(x0, |x, index| dynamics.step(index, x))
    }

    /// Runs and hands every step to `observe`: recording, streamed action, heat and statistics are observers.
    ///
    /// # Shapes
    /// As [`forward`](Self::forward).
    ///
    /// # Errors
    /// [`Error::Shape`] when state or fields do not fit, [`Error::StepTooLarge`] when Δt is beyond
    /// [`step_limit`](Self::step_limit), [`Error::Diverged`] when a number is no longer finite.
    pub fn simulate(
        &self,
        x0: Tensor<2>,
        protocol: impl Into<Protocol>,
        schedule: Schedule,
        key: Key,
        observe: impl FnMut(&Step),
    ) -> Result<Tensor<2>> {
        let protocol = protocol.into();
        self.check_run(&x0, &protocol, schedule.dt)?;
        let dynamics = Dynamics::new(self, protocol, schedule.dt, key);
        self.run(&dynamics, x0, schedule, |index, x| dynamics.step(index, x), observe)
    }

    /// Runs under a field that answers to the state: `feedback(t, x)` gives it before every step.
    ///
    /// For what is not simulated but acts on the units, such as units so fast that only their mean is felt.
    ///
    /// # Shapes
    /// As [`forward`](Self::forward); `feedback` gives `[batch, unit]` or `[1, unit]`.
    ///
    /// # Errors
    /// As [`simulate`](Self::simulate).
    pub fn simulate_with_feedback(
        &self,
        x0: Tensor<2>,
        mut feedback: impl FnMut(f64, &Tensor<2>) -> Tensor<2>,
        schedule: Schedule,
        key: Key,
        observe: impl FnMut(&Step),
    ) -> Result<Tensor<2>> {
        let start = Protocol::from(feedback(0.0, &x0));
        self.check_run(&x0, &start, schedule.dt)?;
        let dynamics = Dynamics::new(self, start, schedule.dt, key);
        let step = |index: usize, x: Tensor<2>| {
            let field = feedback(index as f64 * schedule.dt, &x);
            dynamics.advance(index, x, Control::from(-(field * dynamics.mobility.clone())))
        };
        self.run(&dynamics, x0, schedule, step, observe)
    }

    fn check_run(&self, x0: &Tensor<2>, protocol: &Protocol, dt: f64) -> Result<()> {
        let [batch, units] = x0.dims();
        check_shape("state", [batch, units], [batch, self.free_units()])?;
        for Control { field, gain, well } in protocol.controls() {
            let rows = if field.dims()[0] == 1 { 1 } else { batch };
            check_shape("field", field.dims(), [rows, units])?;
            for row in [gain, well].into_iter().flatten() {
                check_shape("gain or well", row.dims(), [1, units])?;
            }
        }
        self.check_step_at(dt, protocol)
    }

    /// The loop: steps, an observer, and a look now and then at whether the numbers are finite.
    fn run(
        &self,
        dynamics: &Dynamics,
        x0: Tensor<2>,
        schedule: Schedule,
        mut step: impl FnMut(usize, Tensor<2>) -> Tensor<2>,
        mut observe: impl FnMut(&Step),
    ) -> Result<Tensor<2>> {
        let mut x = x0;
        let mut checked = (0, x.clone());
        for index in 0..schedule.steps {
            let before = x;
            x = step(index, before.clone());
            observe(&Step { index, before, after: x.clone() });
            if (index + 1) % LOOK == 0 || index + 1 == schedule.steps {
                if !is_finite(&x) {
                    return Err(self.divergence(dynamics, checked, step).into());
                }
                checked = (index + 1, x.clone());
            }
        }
        Ok(x)
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
        let mut states = vec![x0.clone()];
        self.simulate(x0, protocol, schedule, key, |step| {
            if (step.index + 1) % every == 0 {
                states.push(step.after.clone());
            }
        })?;
        Ok(Trajectory { states: Tensor::stack(states, 0), interval: schedule.dt * every as f64 })
    }

    /// Refuses a time step beyond [`step_limit`](Self::step_limit).
    ///
    /// # Errors
    /// [`Error::StepTooLarge`] with the limit.
    pub fn check_step(&self, dt: f64) -> Result<()> {
        self.check_rates(dt, self.relaxation_rates(None, None))
    }

    /// The same at the largest gains and the stiffest wells of a protocol.
    fn check_step_at(&self, dt: f64, protocol: &Protocol) -> Result<()> {
        let largest = |row: &dyn Fn(&Control) -> Option<Tensor<2>>| {
            protocol.controls().iter().filter_map(row).reduce(Tensor::max_pair)
        };
        let gain = largest(&|control| control.gain.clone().map(Tensor::abs));
        let well = largest(&|control| control.well.clone());
        self.check_rates(dt, self.relaxation_rates(gain, well))
    }

    fn check_rates(&self, dt: f64, rates: Vec<f64>) -> Result<()> {
        let units = self.free_units();
        // No eigenvalue is above the largest row sum (Gershgorin): most steps need no closer look.
        if dt < 2.0 / largest_row_sum(&rates, units) {
            return Ok(());
        }
        let rate = largest_eigenvalue(&rates, units);
        let limit = 2.0 / rate;
        match dt < limit {
            true => Ok(()),
            false => Err(Error::StepTooLarge { dt, limit, rate }),
        }
    }

    /// The largest stable Euler–Maruyama step, 2/λ_max.
    ///
    /// λ_max is the largest eigenvalue of √μ(C + J)√μ, where C is the curvature of each uncoupled well on the
    /// thermal scale: 2J₂ + 12J₄⟨x²⟩ with ⟨x²⟩ ≤ min(kT/2J₂, √(kT/4J₄)), or −4J₂ at the bottom of a double well.
    /// Strong fields drive units further out, where the quartic wells are stiffer still: a step below the limit
    /// can diverge, a step above it does.
    pub fn step_limit(&self) -> f64 {
        2.0 / largest_eigenvalue(&self.relaxation_rates(None, None), self.free_units())
    }

    /// √μ(C + sJs)√μ of [`step_limit`](Self::step_limit), row-major.
    fn relaxation_rates(&self, gain: Option<Tensor<2>>, well: Option<Tensor<2>>) -> Vec<f64> {
        let mut curvature = self.unit_values(|group| well_curvature(group.j2, group.j4, self.kt()));
        for (curvature, shift) in curvature.iter_mut().zip(well.into_iter().flat_map(to_f64)) {
            *curvature += 2.0 * shift.max(0.0);
        }
        let mobility = self.unit_values(|group| group.mobility);
        let units = curvature.len();
        let mut rates = self.free_coupling(gain);
        for (k, rate) in rates.iter_mut().enumerate() {
            let (i, j) = (k / units, k % units);
            let diagonal = if i == j { curvature[i] } else { 0.0 };
            *rate = (mobility[i] * mobility[j]).sqrt() * (diagonal + *rate);
        }
        rates
    }

    /// J among the free units, or sJs, on the host, row-major.
    fn free_coupling(&self, gain: Option<Tensor<2>>) -> Vec<f64> {
        let eye = identity(self.free_units(), self.options());
        to_f64(self.potential().coupling.apply_with(eye, gain))
    }

    /// Finds the first step after a finite state whose result is not finite.
    fn divergence(
        &self,
        dynamics: &Dynamics,
        (start, state): (usize, Tensor<2>),
        mut advance: impl FnMut(usize, Tensor<2>) -> Tensor<2>,
    ) -> Box<Divergence> {
        let mut x = state;
        let mut step = start;
        let after = loop {
            let after = advance(step, x.clone());
            if !is_finite(&after) {
                break after;
            }
            (x, step) = (after, step + 1);
        };
        let units = self.free_units();
        let place = to_f64(after).iter().position(|value| !value.is_finite());
        let place = place.expect("a number that is not finite");
        let drift = dynamics.drift.at(step as f64 * dynamics.dt);
        let control = Control {
            field: -(drift.field / dynamics.mobility.clone()),
            well: drift.well.map(|well| -(well / dynamics.mobility.clone() * 0.5)),
            ..drift
        };
        let energy = to_f64(self.potential().energy(x, control))[place / units];
        let (group, unit) = self.unit_name(place % units);
        Box::new(Divergence {
            step,
            time: (step + 1) as f64 * dynamics.dt,
            trajectory: place / units,
            group,
            unit,
            energy,
        })
    }
}

/// The curvature of one well where an uncoupled unit at `kt` spends its time.
fn well_curvature(j2: f64, j4: f64, kt: f64) -> f64 {
    if j2 < 0.0 {
        return -4.0 * j2;
    }
    let quartic = if j4 > 0.0 { (kt / (4.0 * j4)).sqrt() } else { f64::INFINITY };
    let quadratic = if j2 > 0.0 { kt / (2.0 * j2) } else { f64::INFINITY };
    2.0 * j2 + 12.0 * j4 * quadratic.min(quartic)
}

fn largest_row_sum(matrix: &[f64], n: usize) -> f64 {
    let row_sum = |row: &[f64]| row.iter().map(|value| value.abs()).sum::<f64>();
    matrix.chunks(n).map(row_sum).fold(0.0, f64::max)
}

/// The largest eigenvalue of a symmetric matrix, by power iteration on a shift that makes it dominant.
fn largest_eigenvalue(matrix: &[f64], n: usize) -> f64 {
    let shift = largest_row_sum(matrix, n);
    let mut vector: Vec<f64> = (0..n).map(|i| 1.0 + (i as f64 * 0.7).sin()).collect();
    let mut value = 0.0;
    for _ in 0..1000 {
        let norm = vector.iter().map(|v| v * v).sum::<f64>().sqrt();
        vector.iter_mut().for_each(|v| *v /= norm);
        let image: Vec<f64> = matrix
            .chunks(n)
            .zip(&vector)
            .map(|(row, own)| shift * own + row.iter().zip(&vector).map(|(a, b)| a * b).sum::<f64>())
            .collect();
        let next = image.iter().zip(&vector).map(|(a, b)| a * b).sum::<f64>();
        vector = image;
        if (next - value).abs() < 1e-9 * next.abs() {
            value = next;
            break;
        }
        value = next;
    }
    value - shift
}

pub(crate) fn is_finite<const D: usize>(x: &Tensor<D>) -> bool {
    // A sum over finite numbers this size stays finite; one infinity or NaN does not.
    x.clone().inner().abs().sum().into_scalar::<f64>().is_finite()
}

/// The values of a tensor on the host, in f64.
pub fn to_f64<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().convert::<f64>().try_into_vec::<f64>().expect("converted to f64")
}
