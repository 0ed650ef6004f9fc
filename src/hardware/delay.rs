//! Couplings that respond to their units with a delay, as lines of finite bandwidth do.
//!
//! ```text
//! force_i = −2J₂x_i − 4J₄x_i³ − h_i − Σ_j J_ij y_j,      dy_j/dt = ω (x_j − y_j),      y(0) = x(0)      (19)
//! ```
//!
//! with bandwidth ω. Such a network has no energy function: the forces between two units are not reciprocal.

use burn::tensor::Tensor;

use crate::dynamics::overdamped::Overdamped;
use crate::dynamics::run::{Dynamics, Place, Step};
use crate::error::Result;
use crate::network::potential::Coupling;
use crate::network::substrate::Substrate;
use crate::network::topology::Topology;
use crate::noise::Key;

/// The dynamics (19) of a substrate in a constant field.
pub(crate) struct Delayed {
    /// The dynamics of the units without couplings to each other.
    uncoupled: Overdamped,
    coupling: Coupling,
    field: Tensor<2>,
    /// e^(−ωΔt).
    keep: f64,
}

/// Displacements x, and the delayed displacements y that the couplings respond to, both `[batch, unit]`.
#[derive(Clone, Debug)]
pub(crate) struct Filtered {
    pub(crate) x: Tensor<2>,
    y: Tensor<2>,
}

impl Delayed {
    pub(crate) fn new(substrate: &Substrate, field: Tensor<2>, rate: f64, dt: f64, key: Key) -> Result<Self> {
        substrate.check_confinement()?;
        let topology = substrate.topology();
        let among_free = |index: &usize| couples_free_groups(topology, *index);
        let uncoupled = (0..topology.blocks.len()).filter(among_free).try_fold(
            substrate.clone(),
            |substrate, index| {
                let zeros = vec![0.0; topology.pair_count(&topology.blocks[index])];
                substrate.with_pair_couplings(index, &zeros)
            },
        )?;
        Ok(Self {
            uncoupled: Overdamped::new(&uncoupled, field.clone(), dt, key)?,
            coupling: substrate.potential().coupling,
            field,
            keep: (-rate * dt).exp(),
        })
    }

    /// The state without delay: y = x.
    pub(crate) fn at_rest(&self, x0: Tensor<2>) -> Filtered {
        Filtered { y: x0.clone(), x: x0 }
    }

    /// The same step with displacements only, for an observer of displacements.
    pub(crate) fn displacements(&self, step: &Step<Filtered>) -> Step {
        Step { index: step.index, before: step.before.x.clone(), after: step.after.x.clone() }
    }
}

fn couples_free_groups(topology: &Topology, block: usize) -> bool {
    let block = &topology.blocks[block];
    topology.columns(&block.from).is_ok() && topology.columns(&block.to).is_ok()
}

impl Dynamics for Delayed {
    type State = Filtered;

    fn step(&self, index: usize, Filtered { x, y }: Filtered) -> Filtered {
        let y = y * self.keep + x.clone() * (1.0 - self.keep);
        let field = self.coupling.apply(y.clone()) + self.field.clone();
        Filtered { x: self.uncoupled.step_in_field(index, x, field), y }
    }

    fn diverged(&self, state: &Filtered) -> Option<Place> {
        self.uncoupled.diverged(&state.x)
    }

    fn fits(&self, start: &Filtered) -> Result<()> {
        self.uncoupled.fits(&start.x)
    }

    fn time(&self, steps: usize) -> f64 {
        self.uncoupled.time(steps)
    }
}
