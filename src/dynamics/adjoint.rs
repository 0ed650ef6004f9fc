//! Gradients through the unrolled stochastic steps, by the adjoint of the step.
//!
//! With the noise of a [`Key`] fixed, a run is a differentiable function of the parameters. One step is
//!
//! ```text
//! x_{t+1} = s∘(s∘x_t)P + (D + w + q∘x_t²)∘x_t + d + √kT ν_t,      P = −μΔtJ,  D = 1 − 2μΔtJ₂,  q = −4μΔtJ₄
//! ```
//!
//! with the [control parameters](crate::network::control) of its time: d = −μΔt h of the field, gains s, w = −2μΔt times the shift of the
//! wells, and kT, with ν = √(2μΔt) η. The gradients g_t = ∂L/∂x_t of a loss L(x_T) obey the backward recursion
//!
//! ```text
//! g_t = s∘(s∘g)Pᵀ + (D + w + 3q∘x_t²)∘g,      g = g_{t+1}      (8)
//! ∂L/∂P = Σ_t (s∘x_t)ᵀ(s∘g),      ∂L/∂d = Σ_t g,      ∂L/∂w = Σ_t x_t∘g,
//! ∂L/∂s = Σ_t [g∘(s∘x_t)P + x_t∘(s∘g)Pᵀ],      ∂L/∂kT = Σ_t g·ν_t/(2√kT)
//! ```
//!
//! where what belongs to a time between two knots of a protocol is divided between them as it is interpolated. Autodiff then carries the
//! gradients from these to couplings, biases and whatever else the machine was built of, once per run instead of once per step. The
//! result equals autodiff through the steps and takes about half the time.
//!
//! The states x_t are needed in reverse. Where all of them would take more memory than they may, every √T-th is kept, and those in
//! between are computed again when their turn comes: a step is a function of its number and state alone, noise included, so they are the
//! same to the last bit, and so are the gradients (A. Griewank, Optim. Methods Softw. 1, 35, 1992, with one level of checkpoints).

#[cfg(feature = "cube")]
use std::ops::Range;

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::Tensor;
#[cfg(feature = "cube")]
use burn::tensor::TensorData;

use crate::dynamics::fused::{Fused, Gradients};
use crate::dynamics::overdamped::{Integrator, Overdamped};
use crate::dynamics::run::{Dynamics, advance};
use crate::error::Result;
use crate::network::control::Control;
use crate::network::substrate::Substrate;
use crate::noise::Key;
use crate::schedule::Schedule;

impl Substrate {
    /// The value and the gradient of a loss of the final state, along one noise path per trajectory.
    ///
    /// `loss` is given a substrate that tracks gradients, for terms that depend on the couplings directly (heat), and
    /// the final state; it returns one number. Steps are not checked: if the result is not finite,
    /// [`simulate`](Self::simulate) finds out where. [`Unrolled`] does the same of runs with protocols, and of other modules.
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
        let machine = |model: &Self| {
            let field = model.field(clamped)?;
            Ok((Overdamped::unchecked(model, field.into(), schedule.dt, key), x0.clone()))
        };
        Unrolled::new(schedule.steps).gradient(self, machine, loss)
    }
}

/// A run that is gone back through.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use thermograd::{Control, Group, Key, Overdamped, Protocol, Substrate, SubstrateConfig, Topology, Unrolled};
/// let computer = SubstrateConfig::new(Topology::all_to_all([Group::free("unit", 3)])).init(&Device::flex())?;
/// // Cooled from kT = 1 to 0.1 in a hundred steps.
/// let machine = |model: &Substrate| {
///     let knot = |kt: f64| Ok::<_, thermograd::Error>(Control::from(model.field(&[])?).with_kt(kt));
///     let protocol = Protocol::new(vec![0.0, 1.0], vec![knot(1.0)?, knot(0.1)?])?;
///     Ok((Overdamped::new(model, protocol, 1e-2, Key::new(1))?, Tensor::zeros([8, 3], &Device::flex())))
/// };
/// let (loss, gradients) = Unrolled::new(100).gradient(&computer, machine, |_, x| Ok((x.clone() * x).mean()))?;
/// assert!(loss > 0.0 && gradients.len() > 0);
/// # Ok::<(), thermograd::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unrolled {
    steps: usize,
    memory: usize,
}

impl Unrolled {
    /// So many steps, whose states may take 256 MiB before they are computed twice.
    pub fn new(steps: usize) -> Self {
        Self { steps, memory: 1 << 28 }
    }

    /// With so many bytes for the states of all steps; where they do not fit, about 2√T of T states are kept.
    #[must_use]
    pub fn with_memory(self, memory: usize) -> Self {
        Self { memory, ..self }
    }

    /// The value and the gradient of a loss of the final state, along one noise path per trajectory.
    ///
    /// `machine` makes the dynamics and the start `[batch, unit]` of a model, and is called twice: with a model that does not track
    /// gradients, and with one that does. `loss` is given a model that tracks gradients and the final state; it returns one number.
    /// Steps are not checked: if the result is not finite, [`run`](crate::run) finds out where.
    ///
    /// # Errors
    /// Whatever `machine` and `loss` return.
    pub fn gradient<M: Module>(
        self,
        model: &M,
        machine: impl Fn(&M) -> Result<(Overdamped, Tensor<2>)>,
        loss: impl FnOnce(&M, Tensor<2>) -> Result<Tensor<1>>,
    ) -> Result<(f64, GradientsParams)> {
        let inner = model.valid();
        let (dynamics, start) = machine(&inner)?;
        let every = self.every(&start, dynamics.leaps(&start));
        let mut tape = Tape { every, states: Vec::new() };
        let mut last = start;
        for first in (0..self.steps).step_by(every) {
            tape.states.push(last.clone());
            last = dynamics.leap(first..self.steps.min(first + every), last);
        }

        // ∂L/∂x_T, and the gradients of the parameters on which L depends directly.
        let head = inner.clone().train();
        let last = last.autodiff().require_grad();
        let value = loss(&head, last.clone())?;
        let mut gradients = value.backward();
        let end = last.grad_remove(&mut gradients).unwrap_or_else(|| last.inner().zeros_like());
        let mut total = GradientsAccumulator::new();
        total.accumulate(&head, GradientsParams::from_module(&mut gradients, &head));

        // A function whose gradient is that of L with respect to what the run was made of.
        let body = inner.train();
        let (tracked, start) = machine(&body)?;
        let through_steps = dynamics.pull_back(tape, self.steps, end).pair(&tracked, start);
        total.accumulate(&body, GradientsParams::from_grads(through_steps.backward(), &body));
        Ok((value.into_scalar::<f64>(), total.grads()))
    }

    /// Every how many steps a state is kept: where a device makes many steps at once, before every such leap.
    fn every(self, state: &Tensor<2>, leaps: bool) -> usize {
        let state = state.shape().num_elements() * state.dtype().size();
        match self.steps.saturating_mul(state) <= self.memory {
            true if !leaps => 1,
            true => LEAP,
            false => self.steps.isqrt().max(1),
        }
    }
}

/// States before every n-th step.
struct Tape {
    every: usize,
    states: Vec<Tensor<2>>,
}

/// Steps between two states that are kept where a device makes many at once.
const LEAP: usize = 50;

/// The gradients of a loss with respect to what a run was made of.
struct Cotangent {
    /// ∂L/∂P, one for each of the values of the propagator.
    propagator: Vec<Tensor<2>>,
    /// ∂L/∂d, ∂L/∂s, ∂L/∂w and ∂L/∂kT of every knot.
    knots: Vec<Control>,
    /// ∂L/∂x_0.
    start: Tensor<2>,
}

/// The sum of rows, if there is to be one.
fn rows(x: Tensor<2>, rows: usize) -> Tensor<2> {
    if rows == x.dims()[0] { x } else { x.sum_dim(0) }
}

/// Adds a part of what belongs to a time to the sum of a knot.
fn add(sum: Option<&mut Tensor<2>>, weight: f64, part: Option<&Tensor<2>>) {
    if let (Some(sum), Some(part)) = (sum, part) {
        let part = if weight == 1.0 { part.clone() } else { part.clone() * weight };
        sum.inplace(|sum| sum + part);
    }
}

impl Cotangent {
    /// The sum of all products of a gradient with what it is the gradient of.
    fn pair(self, dynamics: &Overdamped, start: Tensor<2>) -> Tensor<1> {
        let product = |value: &Tensor<2>, gradient: Tensor<2>| (value.clone() * gradient).sum();
        let mut sum = product(&start, self.start);
        for (knot, gradient) in dynamics.drift.controls().iter().zip(self.knots) {
            sum = sum + product(&knot.field, gradient.field);
            let others = [(&knot.gain, gradient.gain), (&knot.well, gradient.well), (&knot.kt, gradient.kt)];
            for (value, gradient) in others {
                if let (Some(value), Some(gradient)) = (value, gradient) {
                    sum = sum + product(value, gradient);
                }
            }
        }
        for (value, gradient) in dynamics.propagator.values().zip(self.propagator) {
            sum = sum + product(value, gradient);
        }
        sum
    }
}

impl Overdamped {
    /// Equation (8), from ∂L/∂x_T back through the states x_{T−1} … x_0.
    fn pull_back(&self, mut tape: Tape, steps: usize, end: Tensor<2>) -> Cotangent {
        let mut on_host = self.fused().map(|fused| (fused, fused.gradients(self.drift.controls())));
        let zeros = |knot: &Control| Control {
            field: knot.field.zeros_like(),
            gain: knot.gain.as_ref().map(Tensor::zeros_like),
            well: knot.well.as_ref().map(Tensor::zeros_like),
            kt: knot.kt.as_ref().map(Tensor::zeros_like),
        };
        let mut sums = Cotangent {
            propagator: self.propagator.values().map(Tensor::zeros_like).collect(),
            knots: self.drift.controls().iter().map(zeros).collect(),
            start: end,
        };
        let mut next = steps;
        while let Some(state) = tape.states.pop() {
            let first = tape.states.len() * tape.every;
            #[cfg(feature = "cube")]
            if self.stretch_back(&mut sums, first..next, &state).is_some() {
                next = first;
                continue;
            }
            let mut states = vec![state.clone()];
            advance(self, state, first..next - 1, |step| states.push(step.after.clone()));
            for index in (first..next).rev() {
                let state = states.pop().expect("a state before every step");
                self.step_back(&mut sums, on_host.as_mut(), index, state);
            }
            next = first;
        }
        if let Some((_, gradients)) = on_host {
            gradients.add_to(&mut sums.propagator, &mut sums.knots);
        }
        sums
    }

    /// One step of (8), which changes ∂L/∂x_{t+1} to ∂L/∂x_t and adds to the other sums; those of the couplings on the
    /// host, where the step is made there.
    fn step_back(
        &self,
        sums: &mut Cotangent,
        on_host: Option<&mut (&Fused, Gradients)>,
        index: usize,
        x: Tensor<2>,
    ) {
        let g = sums.start.clone();
        let control = self.drift.at(self.time(index));
        let weights = self.drift.weights(self.time(index));
        let fused = on_host
            .and_then(|(fused, gradients)| fused.step_back(&x, &g, &control, weights.clone(), gradients));
        match fused {
            Some(start) => sums.start = start,
            None => self.step_back_by_tensors(sums, weights, x, &control),
        }
        self.kt_back(sums, index, &g);
    }

    /// Adds what a step does to ∂L/∂kT, with g = ∂L/∂x_{t+1}.
    fn kt_back(&self, sums: &mut Cotangent, index: usize, g: &Tensor<2>) {
        if self.drift.controls()[0].kt.is_none() {
            return;
        }
        // Of the normals of this step and, by (21), of the next.
        let kicks: &[(usize, f64)] = match self.integrator {
            Integrator::EulerMaruyama => &[(index, 1.0)],
            Integrator::LeimkuhlerMatthews => &[(index, 0.5), (index + 1, 0.5)],
        };
        for &(index, share) in kicks {
            let Some(kt) = self.drift.at(self.time(index)).kt else { continue };
            let kick = self.kick(index, g, Some(kt.clone()));
            let baths = kt.dims()[0];
            let slope = rows((kick * g.clone()).sum_dim(1) / (kt * 2.0), baths);
            for (knot, weight) in self.drift.weights(self.time(index)) {
                add(sums.knots[knot].kt.as_mut(), share * weight, Some(&slope));
            }
        }
    }

    /// The same without ∂L/∂kT, in the tensor form.
    fn step_back_by_tensors(
        &self,
        sums: &mut Cotangent,
        weights: impl Iterator<Item = (usize, f64)>,
        x: Tensor<2>,
        control: &Control,
    ) {
        let scaled = |x: &Tensor<2>| match &control.gain {
            Some(gain) => x.clone() * gain.clone(),
            None => x.clone(),
        };
        let g = sums.start.clone();
        let (sx, sg) = (scaled(&x), scaled(&g));
        self.propagator.add_outer(&mut sums.propagator, &sx, &sg);
        let back = self.propagator.apply_transposed(sg);
        let gain = control
            .gain
            .as_ref()
            .map(|_| (self.propagator.apply(sx) * g.clone() + back.clone() * x.clone()).sum_dim(0));
        let own = x.clone() * x.clone() * (self.quartic.clone() * 3.0);
        let diagonal = match &control.well {
            Some(well) => self.diagonal.clone() + well.clone(),
            None => self.diagonal.clone(),
        };
        sums.start = scaled(&back) + (own + diagonal) * g.clone();
        let well = control.well.as_ref().map(|_| (x * g.clone()).sum_dim(0));
        let field = rows(g, control.field.dims()[0]);
        for (knot, weight) in weights {
            let knot = &mut sums.knots[knot];
            add(Some(&mut knot.field), weight, Some(&field));
            add(knot.gain.as_mut(), weight, gain.as_ref());
            add(knot.well.as_mut(), weight, well.as_ref());
        }
    }

    /// Whether this device makes many steps in one launch.
    fn leaps(&self, start: &Tensor<2>) -> bool {
        #[cfg(feature = "cube")]
        return crate::cube::fits(start);
        #[cfg(not(feature = "cube"))]
        {
            let _ = start;
            false
        }
    }

    /// A stretch of (8) from the state before it, in launches on a GPU; none if that is not possible here.
    #[cfg(feature = "cube")]
    fn stretch_back(&self, sums: &mut Cotangent, steps: Range<usize>, state: &Tensor<2>) -> Option<()> {
        let ([batch, units], count, controls) = (state.dims(), steps.len(), self.drift.controls());
        let mut states = vec![state.clone()];
        if count > 1 {
            states.push(self.leap_on_device(steps.start..steps.end - 1, state, true)?);
        }
        let x = Tensor::cat(states, 0);
        let end = sums.start.clone();
        let before = self.pull_on_device(steps.clone(), &x, &end)?;
        // ∂L/∂x_{t+1} beside x_t.
        let g = Tensor::cat(vec![before.clone().slice_dim(0, batch..count * batch), end], 0);

        // The weight of every knot at every step, and sums with them: [step, column] → [knot, column].
        let mut weights = vec![0.0_f32; count * controls.len()];
        for (row, index) in steps.clone().enumerate() {
            for (knot, weight) in self.drift.weights(self.time(index)) {
                weights[row * controls.len() + knot] = weight as f32;
            }
        }
        let weights = TensorData::new(weights, [count, controls.len()]);
        let weights = Tensor::<2>::from_data(weights, &state.device());
        let of_knots = |rows: Tensor<2>| weights.clone().transpose().matmul(rows);
        let of_steps =
            |rows: Tensor<2>| rows.reshape([count, batch, units]).sum_dim(1).reshape([count, units]);
        let row = |rows: &Tensor<2>, knot: usize| rows.clone().slice_dim(0, knot..knot + 1);

        let gains: Option<Vec<_>> = controls.iter().map(|control| control.gain.clone()).collect();
        let gains = gains.map(|gains| {
            let rows = weights.clone().matmul(Tensor::cat(gains, 0));
            rows.reshape([count, 1, units]).expand([count, batch, units]).reshape([count * batch, units])
        });
        let scaled =
            |x: &Tensor<2>| gains.as_ref().map_or_else(|| x.clone(), |gains| x.clone() * gains.clone());
        let (sx, sg) = (scaled(&x), scaled(&g));
        self.propagator.add_outer(&mut sums.propagator, &sx, &sg);
        let slopes = gains.as_ref().map(|_| {
            let slope =
                self.propagator.apply(sx) * g.clone() + self.propagator.apply_transposed(sg) * x.clone();
            of_knots(of_steps(slope))
        });
        let wells = controls[0].well.as_ref().map(|_| of_knots(of_steps(x.clone() * g.clone())));
        let shared = controls[0].field.dims()[0] != batch;
        let fields = match shared {
            true => of_knots(of_steps(g.clone())),
            false => of_knots(g.clone().reshape([count, batch * units])),
        };
        for (index, knot) in sums.knots.iter_mut().enumerate() {
            let field = row(&fields, index).reshape(knot.field.dims());
            add(Some(&mut knot.field), 1.0, Some(&field));
            add(knot.gain.as_mut(), 1.0, slopes.as_ref().map(|rows| row(rows, index)).as_ref());
            add(knot.well.as_mut(), 1.0, wells.as_ref().map(|rows| row(rows, index)).as_ref());
        }
        for (place, index) in steps.enumerate() {
            self.kt_back(sums, index, &g.clone().slice_dim(0, place * batch..(place + 1) * batch));
        }
        sums.start = before.slice_dim(0, 0..batch);
        Some(())
    }
}
