//! Bistable units of the substrate that are cooled through their bifurcation.
//!
//! ```text
//! V(x, t) = Σ_i (J₂(t) x_i² + J₄_i x_i⁴) + c Σ_i h_i x_i + c Σ_(ij) J_ij x_i x_j,      c = 1.2/λ      (45)
//! J₂: 0.25 → −0.20,      kT: 0.30 → 0.02,      J₄_i = ½ max(1, F_i/F̄),      F_i = c (|h_i| + Σ_j |J_ij|)
//! ```
//!
//! λ is the root mean square field ([`scale`]). While J₂ is positive a unit has one minimum; when it falls below what the couplings give, units
//! choose sides, and their signs are the spins. Units that are pulled at by more than the mean force F̄ get stiffer wells: if all had the
//! same, hubs would come to larger x than others and outvote them, which no spin does (T. Leleu et al., Phys. Rev. Lett. 122, 040607,
//! 2019, correct such amplitudes by feedback; here wells do not change with the state). It is what such a device would do, and not the best solver: tempering and annealing of
//! spins find lower states in less computing. Courses in which J₂ and kT fall together did better on the G-set than those in which one of
//! them falls, or the couplings rise.

use std::ops::ControlFlow;

use burn::tensor::{Device, Tensor, TensorData};
use thermograd::{
    Block, Control, Couplings, Description, Dynamics, Group, Ising, Key, Overdamped, Pattern, Place,
    Protocol, Schedule, SubstrateConfig, Topology, run, to_f64,
};

use crate::error::{Error, Result};
use crate::optimize::spins::{coupled, descend, scale};

/// J₄ of units that are not pulled at by more than others.
const QUARTIC: f64 = 0.5;

/// J₂ at the beginning and at the end.
const WELL: [f64; 2] = [0.25, -0.20];

/// kT at the beginning and at the end.
const HEAT: [f64; 2] = [0.30, 0.02];

/// Δt.
const STEP: f64 = 0.1;

/// c λ.
const STRENGTH: f64 = 1.2;

/// A cooled machine.
pub struct Cooled {
    dynamics: Overdamped,
    steps: usize,
    units: usize,
    device: Device,
}

/// What cooling gave.
pub struct Course {
    /// The signs of every replica.
    pub spins: Vec<Vec<i8>>,
    /// Times, and displacements of the first units of the first replica.
    pub path: Vec<(f64, Vec<f64>)>,
    /// Steps that were made: fewer than all if it was stopped.
    pub steps: usize,
}

/// Units of the path that is shown, and its points.
const SHOWN: usize = 40;
const POINTS: usize = 200;

impl Cooled {
    /// A machine for a model that is cooled in so many steps.
    ///
    /// # Errors
    /// [`Error::Request`] for no units or no steps, and those of [`Overdamped::new`].
    pub fn new(model: &Ising, steps: usize, key: Key, device: &Device) -> Result<Self> {
        let units = model.fields.len();
        if units == 0 || steps == 0 {
            return Err(Error::Request(format!(
                "{units} units and {steps} steps: at least one of each is needed"
            )));
        }
        let c = STRENGTH / Some(scale(model)).filter(|scale| *scale > 0.0).unwrap_or(1.0);
        let mut force: Vec<f64> = model.fields.iter().map(|h| c * h.abs()).collect();
        for &([i, j], value) in &model.couplings {
            force[i] += c * value.abs();
            force[j] += c * value.abs();
        }
        let mean = force.iter().sum::<f64>() / units as f64;
        let quartic: Vec<f64> = force.iter().map(|force| QUARTIC * (force / mean).max(1.0)).collect();
        // Where half of the forces cancel and neighbours are near 1, a unit is at 4J₄x³ = F/2, with 12J₄x² = k. Where none do, x² grows until
        // 12J₄x² = 3F, and the couplings add F. What part does not cancel is seen where single flips no longer lower the energy.
        // Stiff units get less mobility, as a larger capacitance has less, which changes how fast they move and not where they rest.
        let mut signs = vec![1; units];
        descend(model, &mut signs);
        let whole: f64 =
            model.fields.iter().chain(model.couplings.iter().map(|(_, j)| j)).map(|j| j.abs()).sum();
        let part = (1.5 * (model.offset - model.energy(&signs)) / whole).clamp(0.0, 1.0);
        let rate = |force: f64, j4: f64| {
            let k = 12.0 * j4 * (force / (8.0 * j4)).cbrt().powi(2);
            2.0 * WELL[0] + k.max(force).max(4.0 * part * force)
        };
        let mobility =
            force.iter().zip(&quartic).map(|(&force, &j4)| (1.2 / (STEP * rate(force, j4))).min(1.0));
        let mobility: Vec<f64> = mobility.collect();
        let group = Group::free("spin", units).wells(WELL[0], quartic).mobility(mobility);
        let coupled = coupled(model);
        let pairs = coupled.iter().map(|(pair, _)| *pair).collect();
        let block = Block { from: "spin".into(), to: "spin".into(), pattern: Pattern::Pairs(pairs) };
        let topology = Topology { groups: vec![group], blocks: vec![block] };
        let schedule = Schedule { dt: STEP, steps };
        let description = Description::of(SubstrateConfig::new(topology), schedule, None);
        let fields = model.fields.iter().map(|h| (c * h) as f32).collect();
        let strengths = coupled.iter().map(|(_, j)| (c * j) as f32).collect();
        let couplings = Couplings::new(description, [("b.spin", fields), ("J.spin-spin", strengths)])?;
        let substrate = couplings.substrate(device)?;
        let field = substrate.field(&[])?;
        let shift =
            |d: f64| Tensor::<2>::from_data(TensorData::new(vec![d as f32; units], [1, units]), device);
        let knot = |end: usize| {
            let well = Some(shift(WELL[end] - WELL[0]));
            Control { field: field.clone(), gain: None, well, kt: None }.with_kt(HEAT[end])
        };
        let protocol = Protocol::new(vec![0.0, schedule.duration()], vec![knot(0), knot(1)])?;
        let dynamics = Overdamped::new(&substrate, protocol, STEP, key)?;
        Ok(Self { dynamics, steps, units, device: device.clone() })
    }

    /// Cools so many replicas once; `progress` is told the part that is done and can end it, and what there is then is the answer.
    ///
    /// # Errors
    /// Those of [`run`].
    pub fn cool(&self, replicas: usize, mut progress: impl FnMut(f64) -> ControlFlow<()>) -> Result<Course> {
        let every = self.steps.div_ceil(POINTS).max(1);
        let (mut path, mut steps) = (Vec::new(), 0);
        let mut x = Tensor::<2>::zeros([replicas, self.units], &self.device);
        let shown = self.units.min(SHOWN);
        while steps < self.steps {
            let count = every.min(self.steps - steps);
            x = run(&Later { dynamics: &self.dynamics, first: steps }, x, count, |_| {})?;
            steps += count;
            path.push((steps as f64 * STEP, to_f64(x.clone().slice([0..1, 0..shown]))));
            if progress(steps as f64 / self.steps as f64).is_break() {
                break;
            }
        }
        let sign = |x: &f64| if *x < 0.0 { -1 } else { 1 };
        let spins = to_f64(x).chunks(self.units).map(|row| row.iter().map(sign).collect()).collect();
        Ok(Course { spins, path, steps })
    }
}

/// The same machine whose first step has this number: noise and controls are functions of it.
struct Later<'a> {
    dynamics: &'a Overdamped,
    first: usize,
}

impl Dynamics for Later<'_> {
    type State = Tensor<2>;

    fn step(&self, index: usize, x: Tensor<2>) -> Tensor<2> {
        self.dynamics.step(self.first + index, x)
    }

    fn diverged(&self, x: &Tensor<2>) -> Option<Place> {
        self.dynamics.diverged(x)
    }

    fn fits(&self, start: &Tensor<2>) -> thermograd::Result<()> {
        self.dynamics.fits(start)
    }

    fn time(&self, steps: usize) -> f64 {
        self.dynamics.time(self.first + steps)
    }
}
