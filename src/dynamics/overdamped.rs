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
//! changes it. Step n uses the control parameters at t = nΔt.

use burn::tensor::{Tensor, TensorData};

use crate::dynamics::run::{Dynamics, Place};
use crate::dynamics::stability::check_under;
use crate::error::{Error, Result};
use crate::network::control::Control;
use crate::network::potential::{Coupling, Potential, Product, is_large, scaled};
use crate::network::protocol::Protocol;
use crate::network::substrate::Substrate;
use crate::network::topology::Group;
use crate::noise::Key;
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
    /// √(2μkTΔt) of each unit, at the temperature of the substrate.
    sigma: Vec<f32>,
    /// √(2μΔt), `[1, unit]`, for a temperature that is a control parameter.
    spread: Tensor<2>,
    /// Names and sizes of the free groups.
    groups: Vec<(String, usize)>,
    dt: f64,
    key: Key,
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
        // Gains act on couplings only and shifts on the diagonal only, so either requires the two to be kept apart.
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
    pub(crate) fn advance(&self, index: usize, x: Tensor<2>, control: Control) -> Tensor<2> {
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
    pub(crate) fn kick(&self, index: usize, x: &Tensor<2>, kt: Option<Tensor<2>>) -> Tensor<2> {
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
        self.protocol.check(units, batch)
    }

    fn time(&self, steps: usize) -> f64 {
        steps as f64 * self.dt
    }

    fn energy(&self, steps: usize, x: &Tensor<2>, trajectory: usize) -> Option<f64> {
        self.energy_in(x, self.protocol.at(self.time(steps)), trajectory)
    }
}

/// −μΔtJ, with 1 − 2μΔtJ₂ on its diagonal if `fold` is set and the product is small and has a diagonal; otherwise 1 −
/// 2μΔtJ₂ is returned as a row.
fn propagator(
    coupling: Coupling,
    mobility: &Tensor<2>,
    j2: Tensor<2>,
    fold: bool,
) -> (Coupling, Option<Tensor<2>>) {
    let units = coupling.units;
    let keep: Tensor<2> = 1.0 - mobility.clone() * j2 * 2.0;
    let mut folded = Vec::new();
    let product = |product: Product| {
        let targets = product.targets.clone();
        let rate = mobility.clone().slice_dim(1, targets.clone());
        let scaled = product.terms.into_iter().map(|(sources, matrix)| {
            let mut matrix = scaled(matrix, rate.clone());
            if fold && !is_large(&matrix) && sources.start <= targets.start && targets.end <= sources.end {
                let eye = identity(targets.len(), (&keep.device(), keep.dtype()));
                let zeros = |rows| Tensor::zeros([rows, targets.len()], (&keep.device(), keep.dtype()));
                let (above, below) = (targets.start - sources.start, sources.end - targets.end);
                let diagonal = eye * keep.clone().slice_dim(1, targets.clone());
                matrix = matrix + Tensor::cat(vec![zeros(above), diagonal, zeros(below)], 0);
                folded.extend(targets.clone());
            }
            (sources, matrix)
        });
        let terms = scaled.collect();
        Product { targets, terms }
    };
    let products = coupling.products.into_iter().map(product).collect();
    let listed = coupling.listed.into_iter().map(|listed| listed.scaled(mobility.clone())).collect();
    let coupling = Coupling { units, products, listed };
    if folded.len() == units {
        return (coupling, None);
    }
    let apart: Vec<f64> = (0..units).map(|unit| if folded.contains(&unit) { 0.0 } else { 1.0 }).collect();
    let apart = Tensor::<2>::from_data(TensorData::new(apart, [1, units]), (&keep.device(), keep.dtype()));
    (coupling, Some(keep * apart))
}
