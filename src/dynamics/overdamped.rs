//! Overdamped Langevin dynamics of the free units, in two schemes.
//!
//! ```text
//! dx_i = −μ_i ∂_iV(x) dt + √(2 μ_i kT) dW_i
//!
//! x_i ← x_i − μ_i ∂_iV(x) Δt + √(2 μ_i kT Δt) η_i,                  η_i ~ N(0, 1)      (3)
//! x_i ← x_i − μ_i ∂_iV(x) Δt + ½(√(2 μ_i kT Δt) η_i + √(2 μ_i kT′ Δt) η_i′)            (21)
//! ```
//!
//! Equation (3) is the Euler–Maruyama scheme (S. Whitelam, PNAS 123, e2528413123 (2026)). Equation (21) is the scheme
//! of B. Leimkuhler and C. Matthews (Appl. Math. Res. eXpress 2013, 34), where η′ is the normal of the next step and
//! kT′ its temperature. Apart from the extra normals the two cost the same.
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
//! where the bracket is constant during a run, and so is the last term unless a [protocol](crate::network::protocol)
//! changes it. Step n uses the control parameters at t = nΔt. On the processor's own cores a step is one pass over the
//! batch (`fused`).

#[cfg(feature = "cube")]
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use burn::tensor::{Tensor, TensorData};

#[cfg(feature = "cube")]
use crate::cube;
use crate::dynamics::fused::{Fused, host};
use crate::dynamics::run::{Dynamics, Place};
use crate::dynamics::stability::check_under;
use crate::error::{Error, Result};
use crate::network::control::Control;
use crate::network::potential::{Coupling, Potential};
use crate::network::protocol::Protocol;
use crate::network::substrate::Substrate;
use crate::network::topology::Group;
use crate::noise::Key;
use crate::tensors::{check_shape, first_not_finite, to_f64};

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
/// [`Substrate::simulate`] and its [siblings](crate::dynamics::simulate) are more convenient; use this type to choose
/// the [`Integrator`].
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
    pub(crate) integrator: Integrator,
    potential: Potential,
    protocol: Protocol,
    /// −μΔtJ.
    pub(crate) propagator: Coupling,
    /// 1 − 2μΔtJ₂, `[1, unit]`.
    pub(crate) diagonal: Tensor<2>,
    /// −4μΔtJ₄, `[1, unit]`.
    pub(crate) quartic: Tensor<2>,
    /// The protocol with −μΔt h in the place of h and −2μΔt d in the place of d.
    pub(crate) drift: Protocol,
    /// μΔt, `[1, unit]`.
    mobility: Tensor<2>,
    /// √(2μkTΔt) of each unit, at the temperature of the substrate.
    pub(crate) sigma: Vec<f32>,
    /// √(2μΔt), `[1, unit]`, for a temperature that is a control parameter.
    pub(crate) spread: Tensor<2>,
    /// Names and sizes of the free groups.
    groups: Vec<(String, usize)>,
    dt: f64,
    pub(crate) key: Key,
    /// The same for the processor's own cores, made when it is first needed; none where tensors must do.
    fused: OnceLock<Option<Arc<Fused>>>,
    /// P as one matrix and √(2μkTΔt) as a row, for launches on a GPU, made when they are first needed.
    #[cfg(feature = "cube")]
    pub(crate) dense: OnceLock<Tensor<2>>,
    #[cfg(feature = "cube")]
    pub(crate) sigma_row: OnceLock<Tensor<2>>,
}

impl Overdamped {
    /// Euler–Maruyama steps of length `dt`, with the noise of `key`.
    ///
    /// # Errors
    /// [`Error::Shape`] when control parameters do not fit, [`Error::Constant`] for a kT that is negative or not
    /// finite, [`Error::StepTooLarge`] when `dt` is beyond [`step_limit`](Substrate::step_limit), and
    /// [`Error::NotJointlyConfining`] when units without a quartic well are not confined with the softest wells and
    /// the largest gains between two knots.
    pub fn new(substrate: &Substrate, protocol: impl Into<Protocol>, dt: f64, key: Key) -> Result<Self> {
        let (protocol, units) = (protocol.into(), substrate.free_units());
        protocol.check_units(units)?;
        for kt in protocol.controls().iter().filter_map(|control| control.kt.clone()) {
            let odd = to_f64(kt).into_iter().find(|kt| !(*kt >= 0.0 && kt.is_finite()));
            if let Some(value) = odd {
                let expected = "must be finite and not negative";
                return Err(Error::Constant { name: "kT of a protocol".into(), value, expected });
            }
        }
        check_under(substrate, dt, &protocol)?;
        Ok(Self::unchecked(substrate, protocol, dt, key))
    }

    /// With another integration scheme.
    pub fn with_integrator(self, integrator: Integrator) -> Self {
        Self { integrator, ..self }
    }

    /// The same without checks of shapes and stability, for training, which calls it many times a second.
    pub(crate) fn unchecked(substrate: &Substrate, protocol: Protocol, dt: f64, key: Key) -> Self {
        let potential = substrate.potential();
        let mobility = substrate.unit_row(|group, unit| group.mobility.at(unit) * dt);
        let diffusion = |group: &Group, unit| 2.0 * group.mobility.at(unit) * dt;
        let sigma = substrate.unit_values(|group, unit| (diffusion(group, unit) * substrate.kt()).sqrt());
        Self {
            integrator: Integrator::default(),
            propagator: potential.coupling.clone().scaled(&mobility),
            diagonal: 1.0 - mobility.clone() * potential.j2.clone() * 2.0,
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
            fused: OnceLock::new(),
            #[cfg(feature = "cube")]
            dense: OnceLock::new(),
            #[cfg(feature = "cube")]
            sigma_row: OnceLock::new(),
        }
    }

    /// The form of these dynamics for the processor's own cores, if they are there, in single precision and not tracked.
    pub(crate) fn fused(&self) -> Option<&Fused> {
        let make = || Fused::new(&self.propagator, &self.diagonal, &self.quartic).map(Arc::new);
        self.fused.get_or_init(make).as_deref()
    }

    /// One step under control parameters in the form of `drift`.
    pub(crate) fn advance(&self, index: usize, x: Tensor<2>, control: Control) -> Tensor<2> {
        let fused = self.fused().and_then(|fused| {
            let kick = self.host_noise(index, &x, control.kt.as_ref())?;
            fused.step(&x, &control, kick)
        });
        if let Some(after) = fused {
            return after;
        }
        #[cfg(feature = "cube")]
        if let Some(after) = self.step_on_device(index, &x, &control) {
            return after;
        }
        let noise = self.noise(index, &x, control.kt);
        let Control { field: drift, gain, well, .. } = control;
        let kick = noise.map_or_else(|| drift.clone(), |noise| noise + drift.clone());
        let diagonal = well.map_or_else(|| self.diagonal.clone(), |well| well + self.diagonal.clone());
        let own = (x.clone() * x.clone() * self.quartic.clone() + diagonal) * x.clone();
        self.propagator.apply_with(x, gain) + own + kick
    }

    /// One step in a given field, whatever the protocol says.
    pub(crate) fn step_in_field(&self, index: usize, x: Tensor<2>, field: Tensor<2>) -> Tensor<2> {
        self.advance(index, x, drift(field.into(), &self.mobility))
    }

    /// The energy of one trajectory.
    pub(crate) fn energy_in(
        &self,
        x: &Tensor<2>,
        control: impl Into<Control>,
        trajectory: usize,
    ) -> Option<f64> {
        to_f64(self.potential.energy(x.clone(), control)).get(trajectory).copied()
    }

    /// The noise of a step; none at kT = 0.
    fn noise(&self, index: usize, x: &Tensor<2>, kt: Option<Tensor<2>>) -> Option<Tensor<2>> {
        if self.is_silent(kt.as_ref()) {
            return None;
        }
        Some(match self.integrator {
            Integrator::EulerMaruyama => self.kick(index, x, kt),
            Integrator::LeimkuhlerMatthews => {
                let next = self.next_kt(index, kt.as_ref());
                (self.kick(index, x, kt) + self.kick(index + 1, x, next)) * 0.5
            }
        })
    }

    /// The same on the host, row-major `[batch, unit]`; none if a temperature is not there.
    #[allow(clippy::option_option)]
    fn host_noise(&self, index: usize, x: &Tensor<2>, kt: Option<&Tensor<2>>) -> Option<Option<Vec<f32>>> {
        if self.is_silent(kt) {
            return Some(None);
        }
        let mut kick = self.host_kick(index, x, kt)?;
        if self.integrator == Integrator::LeimkuhlerMatthews {
            let next = self.host_kick(index + 1, x, self.next_kt(index, kt).as_ref())?;
            kick.iter_mut().zip(next).for_each(|(kick, next)| *kick = (*kick + next) * 0.5);
        }
        Some(Some(kick))
    }

    fn is_silent(&self, kt: Option<&Tensor<2>>) -> bool {
        kt.is_none() && self.sigma.iter().all(|&sigma| sigma == 0.0)
    }

    /// kT′ of (21).
    pub(crate) fn next_kt(&self, index: usize, kt: Option<&Tensor<2>>) -> Option<Tensor<2>> {
        kt.and_then(|_| self.protocol.at(self.time(index + 1)).kt)
    }

    /// √(2μkTΔt) η with the normals of step `index`.
    pub(crate) fn kick(&self, index: usize, x: &Tensor<2>, kt: Option<Tensor<2>>) -> Tensor<2> {
        let [batch, units] = x.dims();
        let normals = || self.key.normals_beside(index, [batch, units], x);
        match kt {
            #[cfg(feature = "cube")]
            None if cube::device(&x.clone().inner()).is_some() => normals() * self.sigma_row(),
            None => {
                let kick = TensorData::new(self.normals(index, x, &self.sigma), [batch, units]);
                Tensor::from_data(kick, (&x.device().inner(), x.dtype()))
            }
            Some(kt) => normals() * self.spread.clone() * kt.sqrt(),
        }
    }

    /// The same on the host; none if a temperature is not there.
    fn host_kick(&self, index: usize, x: &Tensor<2>, kt: Option<&Tensor<2>>) -> Option<Vec<f32>> {
        let Some(kt) = kt else { return Some(self.normals(index, x, &self.sigma)) };
        let (kt, spread) = (host(kt)?, host(&self.spread)?);
        let mut kick = self.normals(index, x, spread.as_slice()?);
        let rows = kick.chunks_exact_mut(x.dims()[1].max(1));
        for (row, kt) in rows.zip(kt.as_slice::<f32>()?.iter().cycle()) {
            row.iter_mut().for_each(|kick| *kick *= kt.sqrt());
        }
        Some(kick)
    }

    /// The normals of step `index`, each times the factor of its unit.
    fn normals(&self, index: usize, x: &Tensor<2>, factors: &[f32]) -> Vec<f32> {
        let [batch, units] = x.dims();
        let mut normals = self.key.normals(index as u32, batch, units);
        for row in normals.chunks_exact_mut(units.max(1)) {
            row.iter_mut().zip(factors).for_each(|(value, factor)| *value *= factor);
        }
        normals
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

/// Steps of one launch on a GPU.
#[cfg(feature = "cube")]
const LAUNCH: usize = 512;

impl Dynamics for Overdamped {
    type State = Tensor<2>;

    fn step(&self, index: usize, x: Tensor<2>) -> Tensor<2> {
        self.advance(index, x, self.drift.at(self.time(index)))
    }

    #[cfg(feature = "cube")]
    fn leap(&self, steps: Range<usize>, mut x: Tensor<2>) -> Tensor<2> {
        // Launches of a length that no driver takes for a hang.
        for first in steps.clone().step_by(LAUNCH) {
            let launch = first..steps.end.min(first + LAUNCH);
            x = self
                .leap_on_device(launch.clone(), &x, false)
                .unwrap_or_else(|| launch.fold(x, |x, index| self.step(index, x)));
        }
        x
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
        self.protocol.check(units, batch)
    }

    fn time(&self, steps: usize) -> f64 {
        steps as f64 * self.dt
    }

    fn energy(&self, steps: usize, x: &Tensor<2>, trajectory: usize) -> Option<f64> {
        self.energy_in(x, self.protocol.at(self.time(steps)), trajectory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::substrate::SubstrateConfig;
    use crate::network::topology::Topology;
    use burn::module::Module;
    use burn::tensor::{DType, Device};

    /// Steps are made in one pass where they can be, with every kind of control parameter; and nowhere else.
    #[test]
    fn steps_are_fused_on_the_processor_alone() {
        let config = SubstrateConfig::new(Topology::all_to_all([Group::free("unit", 3)]));
        let step = |substrate: &Substrate, dtype: DType| {
            let row = |columns| Tensor::<2>::ones([1, columns], (&Device::flex(), dtype));
            let control = Control { field: row(3), gain: Some(row(3)), well: Some(row(3)), kt: Some(row(1)) };
            let dynamics = Overdamped::unchecked(substrate, control.clone().into(), 1e-2, Key::new(1));
            let x = row(3).repeat_dim(0, 2);
            let kick = dynamics.host_noise(0, &x, control.kt.as_ref()).flatten();
            let fused = dynamics.fused().and_then(|fused| fused.step(&x, &control, kick));
            fused.map(|after| to_f64(after).len())
        };
        let single = config.init(&Device::flex()).unwrap().valid();
        assert_eq!(step(&single, DType::F32), Some(6));
        assert_eq!(step(&single.train(), DType::F32), None);
        let double = config.init((&Device::flex(), DType::F64)).unwrap().valid();
        assert_eq!(step(&double, DType::F64), None);
    }

    /// Every GPU backend of this build that has a device.
    #[cfg(feature = "cube")]
    fn gpus() -> Vec<Device> {
        use crate::device::Backend;
        let required = std::env::var("THERMOGRAD_REQUIRE_BACKENDS").unwrap_or_default();
        let gpu = |backend: Backend| match backend.device() {
            Ok(device) => Some(device),
            Err(error) => {
                assert!(!required.split(',').any(|name| name == backend.name()), "{error}");
                None
            }
        };
        Backend::ALL.into_iter().filter(|backend| !backend.is_cpu()).filter_map(gpu).collect()
    }

    /// Distance in units in the last place.
    #[cfg(feature = "cube")]
    fn ulps(a: f32, b: f32) -> u32 {
        let order = |x: f32| if x < 0.0 { -((x.to_bits() & 0x7FFF_FFFF) as i64) } else { x.to_bits() as i64 };
        order(a).abs_diff(order(b)) as u32
    }

    /// Normals drawn on a GPU are those of the host, of rows at the end of the 32-bit range too.
    #[cfg(feature = "cube")]
    #[test]
    fn normals_of_a_gpu_are_those_of_the_host() {
        for device in gpus() {
            for (rows, units) in [(1, 1), (3, 4), (300, 74), (7, 1030)] {
                for key in [Key::new(5), Key::new(6).skip((1 << 32) - 2), Key::new(7).skip(5 << 40)] {
                    let beside = Tensor::<2>::zeros([rows, units], &device);
                    let drawn = key
                        .normals_beside(9, [rows, units], &beside)
                        .into_data()
                        .try_into_vec::<f32>()
                        .unwrap();
                    let expected = key.normals(9, rows, units);
                    let worst = drawn.iter().zip(&expected).map(|(a, b)| ulps(*a, *b)).max().unwrap();
                    assert!(worst <= 2, "{device:?}: {worst} ulp");
                    let drawn = key.uniforms_beside(9, [rows, units], &beside).into_data();
                    let drawn = drawn.try_into_vec::<f32>().unwrap();
                    assert!(drawn == key.uniforms(9, rows, units), "{device:?}: other words");
                }
            }
        }
    }

    /// One step after its products, with one row of everything or one a trajectory, is that of the host.
    #[cfg(feature = "cube")]
    #[test]
    fn a_step_on_a_gpu_is_the_equation() {
        let (batch, units, key) = (5, 30, Key::new(8).skip(7));
        let drawn = |name: &str, rows: usize| key.fork(name).batch().normals(0, rows, units);
        for device in gpus() {
            for (rows, both) in [(1, false), (batch, true)] {
                let tensor = |values: &Vec<f32>| {
                    let shape = [values.len() / units, units];
                    Tensor::<2>::from_data(TensorData::new(values.clone(), shape), &device)
                };
                let (x, product) = (drawn("x", batch), drawn("product", batch));
                let (diagonal, quartic, drift) = (drawn("D", 1), drawn("q", 1), drawn("d", rows));
                let (now, next) = (drawn("now", rows), drawn("next", rows));
                let (d, q, f, n, m) =
                    (tensor(&diagonal), tensor(&quartic), tensor(&drift), tensor(&now), tensor(&next));
                let row = cube::Row { diagonal: &d, quartic: &q, drift: &f, factors: [&n, &m], both };
                let found = cube::step(key, 11, &tensor(&x), &tensor(&product), &row).unwrap();
                let (eta, eta_next) = (key.normals(11, batch, units), key.normals(12, batch, units));
                for (place, found) in to_f64(found).into_iter().enumerate() {
                    let (unit, own) = (place % units, if rows == 1 { place % units } else { place });
                    let kick = match both {
                        false => now[own] * eta[place],
                        true => 0.5 * (now[own] * eta[place] + next[own] * eta_next[place]),
                    };
                    let well = (quartic[unit] * x[place] * x[place] + diagonal[unit]) * x[place];
                    let expected = f64::from(product[place] + well + drift[own] + kick);
                    assert!((found - expected).abs() < 1e-5, "{device:?}: {found} {expected}");
                }
            }
        }
    }

    /// 200 steps in one launch, and one launch each, end within 1e-5 of the host's, with every kind of control
    /// parameter and both integrators.
    #[cfg(feature = "cube")]
    #[test]
    fn runs_on_a_gpu_end_where_those_of_the_host_do() {
        use crate::network::protocol::Protocol;
        let groups = [Group::free("hidden", 19).wells(0.5, 0.3), Group::free("output", 10).mobility(1.5)];
        let topology = Topology::all_to_all(groups);
        let run = |device: &Device, kinds: [bool; 3], integrator, leaps: bool| {
            let config = SubstrateConfig::new(topology.clone()).with_kt(0.7);
            let substrate = config.init(device).unwrap().randomised(2.0, Key::new(1)).valid();
            let values = |key: Key, rows: usize, columns: usize, scale: f32, middle: f32| {
                let values = key.normals(0, rows, columns).into_iter().map(|v| middle + scale * v).collect();
                Tensor::<2>::from_data(TensorData::new::<f32, _>(values, [rows, columns]), device)
            };
            let knot = |k: u64| Control {
                field: values(Key::new(2).at(k), 13, 29, 0.5, 0.0),
                gain: kinds[0].then(|| values(Key::new(3).at(k), 1, 29, 0.2, 1.0)),
                well: kinds[1].then(|| values(Key::new(4).at(k), 1, 29, 0.1, 0.2)),
                kt: kinds[2].then(|| values(Key::new(5).at(k), 13, 1, 0.05, 0.5)),
            };
            let protocol = Protocol::new(vec![0.0, 0.05, 0.17], (0..3).map(knot).collect()).unwrap();
            let key = Key::new(6).skip(3);
            let dynamics =
                Overdamped::new(&substrate, protocol, 1e-3, key).unwrap().with_integrator(integrator);
            let x0 = values(Key::new(7), 13, 29, 0.3, 0.0);
            let x = match leaps {
                true => crate::dynamics::run::carry(&dynamics, x0.clone(), 200).unwrap(),
                false => crate::dynamics::run::run(&dynamics, x0.clone(), 200, |_| {}).unwrap(),
            };
            if leaps && device != &Device::flex() {
                assert!(dynamics.leap_on_device(0..200, &x0, false).is_some());
            }
            if device != &Device::flex() {
                let before = crate::noise::DRAWN.get();
                let _ = crate::dynamics::run::advance(&dynamics, x0.clone(), 0..3, |_| {});
                let _ = dynamics.kick(0, &x0.autodiff(), None);
                assert_eq!(crate::noise::DRAWN.get(), before, "noise was drawn on the host");
            }
            to_f64(x)
        };
        for device in gpus() {
            for kinds in
                [[false; 3], [true, false, false], [false, true, false], [false, false, true], [true; 3]]
            {
                for integrator in [Integrator::EulerMaruyama, Integrator::LeimkuhlerMatthews] {
                    let expected = run(&Device::flex(), kinds, integrator, false);
                    for leaps in [false, true] {
                        let found = run(&device, kinds, integrator, leaps);
                        let worst =
                            found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                        println!("{device:?} {kinds:?} {integrator:?} leaps {leaps}: {worst:.1e}");
                        assert!(worst < 1e-5, "{device:?} {kinds:?} {integrator:?}: {worst:e}");
                    }
                }
            }
        }
    }
}
