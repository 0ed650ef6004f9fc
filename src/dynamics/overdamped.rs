//! Overdamped Langevin dynamics of the free units, in two schemes.
//!
//! ```text
//! dx_i = −μ_i ∂_iV(x) dt + √(2 μ_i kT) dW_i
//!
//! x_i ← x_i − μ_i ∂_iV(x) Δt + √(2 μ_i kT Δt) η_i,                  η_i ~ N(0, 1)      (3)
//! x_i ← x_i − μ_i ∂_iV(x) Δt + √(2 μ_i kT Δt) ½(η_i + η_i′)                            (21)
//! ```
//!
//! Equation (3) is the scheme of Euler and Maruyama (S. Whitelam, PNAS 123, e2528413123 (2026)); (21), in which η′ is
//! the normal of the next step, that of B. Leimkuhler and C. Matthews (Appl. Math. Res. eXpress 2013, 34), with the
//! same cost but for the noise.
//!
//! | | Euler–Maruyama | Leimkuhler–Matthews |
//! |---|---|---|
//! | strong order (distance to the path of the same noise) | 1: the noise is additive | ½: it runs half a step of noise ahead |
//! | weak order at a fixed time | 1 | 1 |
//! | weak order of averages at equilibrium | 1 | 2 |
//! | probability of a step | Gaussian: has an [action](crate::paths::action) | none in closed form |
//!
//! Both are stable only below Δt = 2/λ for the stiffest relaxation rate λ ([`stability`](crate::dynamics::stability)).
//! The drift is evaluated as
//!
//! ```text
//! x − μΔt ∇V = x [1 − μΔt (2J₂ + J)] − 4μΔt J₄ x³ − μΔt h,
//! ```
//!
//! whose bracket is a constant of the run, and so is the last term unless a [protocol](crate::network::protocol) moves
//! it. Step n is made with the control parameters at t = nΔt.

use burn::tensor::{Tensor, TensorData};

use crate::dynamics::run::{Dynamics, Place, Recorder, Step, Trajectory, advance, run};
use crate::dynamics::stability::check_step_under;
use crate::error::{Error, Result};
use crate::network::control::Control;
use crate::network::potential::{Coupling, Potential, Product, is_large, scaled};
use crate::network::protocol::Protocol;
use crate::network::substrate::Substrate;
use crate::network::topology::Group;
use crate::noise::Key;
use crate::schedule::Schedule;
use crate::tensors::{check_shape, first_not_finite, identity, to_f64};

/// How a step is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Integrator {
    /// Equation (3).
    #[default]
    EulerMaruyama,
    /// Equation (21).
    LeimkuhlerMatthews,
}

/// The dynamics of a substrate under a protocol: the constants of one run, assembled once.
///
/// [`Substrate::simulate`] and its kin are the convenient front; with this type a run chooses its [`Integrator`].
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use thermograd::{Group, Integrator, Key, Overdamped, SubstrateConfig, Topology, run};
/// let computer = SubstrateConfig::new(Topology::all_to_all([Group::free("unit", 3)])).init(&Device::flex())?;
/// let dynamics = Overdamped::new(&computer, computer.field(&[])?, 1e-2, Key::new(1))?
///     .with_integrator(Integrator::LeimkuhlerMatthews);
/// let x = run(&dynamics, Tensor::zeros([8, 3], &Device::flex()), 100, |_| {})?;
/// assert_eq!(x.dims(), [8, 3]);
/// # Ok::<(), thermograd::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Overdamped {
    integrator: Integrator,
    potential: Potential,
    protocol: Protocol,
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
    /// √(2μkTΔt) of each unit at the temperature of the substrate.
    sigma: Vec<f32>,
    /// √(2μΔt), `[1, unit]`, for a temperature that is a control parameter.
    spread: Tensor<2>,
    /// Names and sizes of the free groups.
    groups: Vec<(String, usize)>,
    dt: f64,
    key: Key,
}

impl Overdamped {
    /// Steps of `dt` by Euler and Maruyama's scheme, with the noise of `key`.
    ///
    /// # Errors
    /// [`Error::Shape`] when control parameters do not fit, [`Error::Constant`] for a kT that is negative or not finite,
    /// [`Error::StepTooLarge`] when `dt` is beyond [`step_limit`](Substrate::step_limit).
    pub fn new(substrate: &Substrate, protocol: impl Into<Protocol>, dt: f64, key: Key) -> Result<Self> {
        let (protocol, units) = (protocol.into(), substrate.free_units());
        for Control { field, gain, well, kt } in protocol.controls() {
            check_shape("field", field.dims(), [field.dims()[0], units])?;
            for row in [gain, well].into_iter().flatten() {
                check_shape("gain or well", row.dims(), [1, units])?;
            }
            if let Some(kt) = kt {
                check_shape("kT", kt.dims(), [kt.dims()[0], 1])?;
                let cold = to_f64(kt.clone()).into_iter().find(|kt| !(*kt >= 0.0 && kt.is_finite()));
                if let Some(value) = cold {
                    let expected = "must be finite and not negative";
                    return Err(Error::Constant { name: "kT of a protocol".into(), value, expected });
                }
            }
        }
        check_step_under(substrate, dt, &protocol)?;
        Ok(Self::unchecked(substrate, protocol, dt, key))
    }

    /// With steps made by another scheme.
    pub fn with_integrator(self, integrator: Integrator) -> Self {
        Self { integrator, ..self }
    }

    /// The same without a look at shapes and stability: for what is trained, many times a second.
    pub(crate) fn unchecked(substrate: &Substrate, protocol: Protocol, dt: f64, key: Key) -> Self {
        let potential = substrate.potential();
        let mobility = substrate.unit_row(|group, unit| group.mobility.at(unit) * dt);
        let diffusion = |group: &Group, unit| 2.0 * group.mobility.at(unit) * dt;
        let sigma = substrate.unit_values(|group, unit| (diffusion(group, unit) * substrate.kt()).sqrt());
        // Gains act on couplings alone and shifts on the diagonal alone: either keeps the two apart.
        let Control { gain, well, .. } = &protocol.controls()[0];
        let fold = gain.is_none() && well.is_none();
        let (propagator, diagonal) =
            propagator(potential.coupling.clone(), &mobility, potential.j2.clone(), fold);
        Self {
            integrator: Integrator::default(),
            propagator,
            diagonal,
            quartic: potential.j4.clone() * mobility.clone() * -4.0,
            drift: protocol.clone().map(|control| drift(control, &mobility)),
            sigma: sigma.into_iter().map(|sigma| sigma as f32).collect(),
            spread: substrate.unit_row(|group, unit| diffusion(group, unit).sqrt()),
            groups: substrate.topology().free().map(|group| (group.name.clone(), group.units)).collect(),
            potential,
            protocol,
            mobility,
            dt,
            key,
        }
    }

    /// One step under control parameters in the form of `drift`.
    fn advance(&self, index: usize, x: Tensor<2>, control: Control) -> Tensor<2> {
        let noise = self.noise(index, &x, control.kt);
        let Control { field: drift, gain, well, .. } = control;
        let kick = noise.map_or_else(|| drift.clone(), |noise| noise + drift.clone());
        let own = match &self.diagonal {
            None => x.clone() * x.clone() * x.clone() * self.quartic.clone(),
            Some(diagonal) => {
                let diagonal = well.map_or_else(|| diagonal.clone(), |well| well + diagonal.clone());
                (x.clone() * x.clone() * self.quartic.clone() + diagonal) * x.clone()
            }
        };
        self.propagator.apply_with(x, gain) + own + kick
    }

    /// One step in a given field, whatever the protocol says.
    pub(crate) fn step_in_field(&self, index: usize, x: Tensor<2>, field: Tensor<2>) -> Tensor<2> {
        self.advance(index, x, drift(field.into(), &self.mobility))
    }

    /// The noise of a step; none at kT = 0.
    fn noise(&self, index: usize, x: &Tensor<2>, kt: Option<Tensor<2>>) -> Option<Tensor<2>> {
        if kt.is_none() && self.sigma.iter().all(|&sigma| sigma == 0.0) {
            return None;
        }
        Some(match self.integrator {
            Integrator::EulerMaruyama => self.kick(index, x, kt),
            Integrator::LeimkuhlerMatthews => {
                let next = kt.is_some().then(|| self.protocol.at(self.time(index + 1)).kt).flatten();
                (self.kick(index, x, kt) + self.kick(index + 1, x, next)) * 0.5
            }
        })
    }

    /// √(2μkTΔt) η with the normals of step `index`.
    fn kick(&self, index: usize, x: &Tensor<2>, kt: Option<Tensor<2>>) -> Tensor<2> {
        let [batch, units] = x.dims();
        let mut kick = self.key.normals(index as u32, batch, units);
        if kt.is_none() {
            for row in kick.chunks_exact_mut(units) {
                for (value, sigma) in row.iter_mut().zip(&self.sigma) {
                    *value *= sigma;
                }
            }
        }
        let kick = TensorData::new(kick, [batch, units]);
        let kick = Tensor::from_data(kick, (&x.device().inner(), x.dtype()));
        match kt {
            None => kick,
            Some(kt) => kick * self.spread.clone() * kt.sqrt(),
        }
    }

    /// The group of a column of the state, and the unit within it.
    fn unit(&self, mut column: usize) -> (String, usize) {
        for (group, units) in &self.groups {
            if column < *units {
                return (group.clone(), column);
            }
            column -= units;
        }
        unreachable!("a column of the state")
    }
}

/// −μΔt h in the place of h and −2μΔt d in the place of d.
fn drift(control: Control, mobility: &Tensor<2>) -> Control {
    Control {
        field: -(control.field * mobility.clone()),
        well: control.well.map(|well| -(well * mobility.clone() * 2.0)),
        ..control
    }
}

impl Dynamics for Overdamped {
    type State = Tensor<2>;

    fn step(&self, index: usize, x: Tensor<2>) -> Tensor<2> {
        self.advance(index, x, self.drift.at(self.time(index)))
    }

    fn diverged(&self, x: &Tensor<2>) -> Option<Place> {
        let units = x.dims()[1];
        first_not_finite(x).map(|index| {
            let (group, unit) = self.unit(index % units);
            Place { trajectory: index / units, group, unit }
        })
    }

    fn fits(&self, start: &Tensor<2>) -> Result<()> {
        let [batch, units] = start.dims();
        check_shape("state", [batch, units], [batch, self.sigma.len()])?;
        for Control { field, kt, .. } in self.protocol.controls() {
            for (what, row) in [("field", Some(field)), ("kT", kt.as_ref())] {
                let Some([rows, columns]) = row.map(Tensor::dims) else { continue };
                check_shape(what, [rows, columns], [if rows == 1 { 1 } else { batch }, columns])?;
            }
        }
        Ok(())
    }

    fn time(&self, steps: usize) -> f64 {
        steps as f64 * self.dt
    }

    fn energy(&self, steps: usize, x: &Tensor<2>, trajectory: usize) -> Option<f64> {
        let energies = self.potential.energy(x.clone(), self.protocol.at(self.time(steps)));
        to_f64(energies).get(trajectory).copied()
    }
}

/// The same under a field that answers to the state: `field(t, x)` gives it before every step.
///
/// For what is not simulated but acts on the units, such as units so fast that only their mean is felt.
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
        to_f64(self.dynamics.potential.energy(x.clone(), field)).get(trajectory).copied()
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
        let dynamics = Overdamped::unchecked(self, protocol.into(), schedule.dt, key);
        advance(&dynamics, x0, 0..schedule.steps, |_| {})
    }

    /// Runs and hands every step to `observe`.
    ///
    /// # Shapes
    /// As [`forward`](Self::forward).
    ///
    /// # Errors
    /// Those of [`Overdamped::new`], and of [`run`]: a state that does not fit, or a number that is no longer finite.
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

    /// Runs under a field that answers to the state: `field(t, x)` gives it before every step.
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

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Device};

    use super::*;
    use crate::network::substrate::SubstrateConfig;
    use crate::network::topology::Topology;

    /// The steps of `fine` put together in groups of `factor`: the same scheme with a longer step, along the same
    /// path of the noise. A normal of a long step is the sum of its short ones over √factor.
    struct Coarse {
        fine: Overdamped,
        coarse: Overdamped,
        factor: usize,
    }

    impl Coarse {
        fn increment(&self, index: usize, x: &Tensor<2>) -> Tensor<2> {
            let steps = index * self.factor..(index + 1) * self.factor;
            steps.map(|step| self.fine.kick(step, x, None)).reduce(|a, b| a + b).expect("a step")
        }
    }

    impl Dynamics for Coarse {
        type State = Tensor<2>;

        fn step(&self, index: usize, x: Tensor<2>) -> Tensor<2> {
            let noise = match self.coarse.integrator {
                Integrator::EulerMaruyama => self.increment(index, &x),
                Integrator::LeimkuhlerMatthews => {
                    (self.increment(index, &x) + self.increment(index + 1, &x)) * 0.5
                }
            };
            self.coarse.advance(index, x.clone(), self.coarse.drift.at(0.0)) + noise
        }

        fn diverged(&self, x: &Tensor<2>) -> Option<Place> {
            self.coarse.diverged(x)
        }
    }

    /// The slope of ln(error) over ln(Δt) for steps that double.
    fn orders(errors: &[f64]) -> Vec<f64> {
        errors.windows(2).map(|pair| (pair[1] / pair[0]).log2()).collect()
    }

    /// Strong order: the root mean square distance, at t = 1, to the path of the same noise with steps so fine that
    /// their own error is a few percent of the smallest one measured.
    #[test]
    fn strong_orders_are_one_and_a_half() {
        let groups =
            [Group::free("a", 4).wells(0.5, 0.2), Group::free("b", 3).wells(-0.2, 0.3).mobility(1.5)];
        let options = (&Device::flex(), DType::F64);
        let config = SubstrateConfig::new(Topology::all_to_all(groups)).with_kt(0.5);
        let substrate = config.init(options).unwrap().randomised(1.0, Key::new(1));
        let quiet = substrate.clone().with_config(config.clone().with_kt(0.0)).unwrap();
        let (field, x0) = (substrate.field(&[]).unwrap(), Tensor::zeros([400, 7], options));
        let (finest, key) = (4096, Key::new(2));
        let of = |substrate: &Substrate, steps: usize| {
            Overdamped::unchecked(substrate, field.clone().into(), 1.0 / steps as f64, key)
        };
        let truth = run(&of(&substrate, finest), x0.clone(), finest, |_| {}).unwrap();
        for (integrator, order) in [(Integrator::EulerMaruyama, 1.0), (Integrator::LeimkuhlerMatthews, 0.5)] {
            let error = |steps: usize| {
                let fine = of(&substrate, finest);
                let coarse = of(&quiet, steps).with_integrator(integrator);
                let path = Coarse { fine, coarse, factor: finest / steps };
                let x = run(&path, x0.clone(), steps, |_| {}).unwrap();
                let square: f64 = to_f64((x - truth.clone()).square().mean())[0];
                square.sqrt()
            };
            let errors = [256, 128, 64, 32].map(error);
            println!("{integrator:?}: errors {errors:?}, orders {:.3?}", orders(&errors));
            // Mean squares of 400 independent paths: relative standard errors of √(2/400) = 7 % at most, half of it in
            // their roots, and √2/ln 2 of that in an order: 0.072, were neighbouring errors not made by the same noise.
            assert!(
                orders(&errors).iter().all(|found| (found - order).abs() < 4.9 * 0.072),
                "{integrator:?}"
            );
        }
    }

    /// Two machines side by side: with one key and one shape, under the same noise.
    struct Pair([Overdamped; 2]);

    impl Dynamics for Pair {
        type State = [Tensor<2>; 2];

        fn step(&self, index: usize, [x, y]: Self::State) -> Self::State {
            [self.0[0].step(index, x), self.0[1].step(index, y)]
        }

        fn diverged(&self, [x, y]: &Self::State) -> Option<Place> {
            self.0[0].diverged(x).or_else(|| self.0[1].diverged(y))
        }
    }

    /// ⟨x²⟩ at equilibrium in V = J₂x² + J₄x⁴ at kT = 1, by the trapezoidal rule.
    fn exact_square(j2: f64, j4: f64) -> f64 {
        let weight = |x: f64| (-j2 * x * x - j4 * x.powi(4)).exp();
        let grid = || (-800..=800).map(|k| f64::from(k) * 0.01);
        grid().map(|x| x * x * weight(x)).sum::<f64>() / grid().map(weight).sum::<f64>()
    }

    /// Weak order at equilibrium: the bias of ⟨x²⟩ of independent quartic units, with harmonic units under the same
    /// noise as a control variate, for which either scheme's ⟨y²⟩ is known: (kT/2J₂)/(1 − μJ₂Δt), and kT/2J₂.
    #[test]
    fn weak_orders_at_equilibrium_are_one_and_two() {
        let (units, j2, j4) = (256, 0.25, 0.1);
        let exact = exact_square(j2, j4);
        let stiffness = 0.5 / exact;
        let alone = |j2: f64, j4: f64| {
            let groups = vec![Group::free("unit", units).wells(j2, j4)];
            SubstrateConfig::new(Topology { groups, blocks: vec![] }).init(&Device::flex()).unwrap()
        };
        let substrates = [alone(j2, j4), alone(stiffness, 0.0)];
        let zero = || Tensor::<2>::zeros([1, units], &Device::flex());
        let bias = |integrator: Integrator, rows: usize, dt: f64| {
            let known = match integrator {
                Integrator::EulerMaruyama => exact / (1.0 - stiffness * dt),
                Integrator::LeimkuhlerMatthews => exact,
            };
            let own =
                |s| Overdamped::unchecked(s, zero().into(), dt, Key::new(3)).with_integrator(integrator);
            let start = |s: &Substrate| s.uncoupled_equilibrium(0..rows, Key::new(4)).unwrap();
            // The memory of the start, at relaxation rates above one, is below e^(−8) at t = 8.
            let (skip, steps, every) = ((8.0 / dt) as usize, (40.0 / dt) as usize, (0.5 / dt) as usize);
            let mut squares = [vec![0.0; rows], vec![0.0; rows]];
            let mut count = 0.0;
            run(&Pair(substrates.each_ref().map(own)), substrates.each_ref().map(start), steps, |step| {
                if step.index >= skip && (step.index - skip).is_multiple_of(every) {
                    count += 1.0;
                    for (sums, x) in squares.iter_mut().zip(&step.after) {
                        let means = to_f64(x.clone().square().mean_dim(1));
                        sums.iter_mut().zip(means).for_each(|(sum, mean)| *sum += mean);
                    }
                }
            })
            .unwrap();
            // Rows are independent; the coefficient of least variance.
            let [x, y] = squares.map(|sums| sums.into_iter().map(|sum| sum / count).collect::<Vec<f64>>());
            let mean = |values: &[f64]| values.iter().sum::<f64>() / rows as f64;
            let (mx, my) = (mean(&x), mean(&y));
            let product =
                |a: &[f64], ma: f64| a.iter().zip(&y).map(|(a, y)| (a - ma) * (y - my)).sum::<f64>();
            let slope = product(&x, mx) / product(&y, my);
            let rest: Vec<f64> = x.iter().zip(&y).map(|(x, y)| x - slope * (y - known) - exact).collect();
            let bias = mean(&rest);
            let square = rest.iter().map(|value| (value - bias).powi(2)).sum::<f64>();
            (bias, (square / (rows * (rows - 1)) as f64).sqrt())
        };
        for (integrator, rows, steps, order) in [
            (Integrator::EulerMaruyama, 512, [0.05, 0.1], 1.0),
            (Integrator::LeimkuhlerMatthews, 3072, [0.125, 0.25], 2.0),
        ] {
            let [(fine, fine_se), (coarse, coarse_se)] = steps.map(|dt| bias(integrator, rows, dt));
            let found = (coarse / fine).log2();
            let spread = (fine_se / fine).hypot(coarse_se / coarse) / std::f64::consts::LN_2;
            // 4.9 standard errors, and a fifth for the next order in the step.
            let allowed = 4.9 * spread + 0.2;
            println!(
                "{integrator:?}: biases {fine:.2e} ± {fine_se:.0e}, {coarse:.2e} ± {coarse_se:.0e} at Δt = {steps:?}: \
                 order {found:.2}, expected {order} ± {allowed:.2}"
            );
            assert!((found - order).abs() < allowed && allowed < 0.8, "{integrator:?}");
        }
    }
}
