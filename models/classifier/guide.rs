//! The trajectories to learn: each unit is driven separately to its activation in the teacher.
//!
//! A second teacher, without couplings, follows the guide bias βA from rest (S. Whitelam, PNAS 123, e2528413123
//! (2026)),
//!
//! ```text
//! dx⁰/dt = μ (βA − 2J₂x⁰ − 4J₄(x⁰)³)   [+ √(2μkT) ξ  for a stochastic guide],      (10)
//! ```
//!
//! which is the dynamics of the substrate with all couplings zero and the field h = −βA. The signal βA must be
//! stronger than the noise: β ≥ 50 at kT = 1, although β ≈ 8 would already bring x⁰(t_f) to A. Noise in the guide
//! acts like ridge regularisation.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use thermograd::{Group, Key, Result, Schedule, Substrate, SubstrateConfig, Topology};

/// How units are driven.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guide {
    /// β, the strength of the guide bias.
    pub beta: f64,
    /// The temperature of the guide: 0 for the deterministic one.
    pub kt: f64,
    /// Only one step in `every` enters the action.
    pub every: usize,
}

impl Default for Guide {
    fn default() -> Self {
        Self { beta: 50.0, kt: 0.0, every: 10 }
    }
}

impl Guide {
    /// The same substrate without couplings, at the temperature of the guide.
    ///
    /// # Errors
    /// Those of [`SubstrateConfig::init`].
    pub fn twin(&self, substrate: &Substrate) -> Result<Substrate> {
        let groups = substrate.topology().free().map(|group| Group { bias: true, ..group.clone() }).collect();
        SubstrateConfig::new(Topology { groups, blocks: Vec::new() })
            .with_kt(self.kt)
            .init(substrate.options())
    }

    /// Steps (x, x′) of guided trajectories from rest towards the activations A.
    ///
    /// # Shapes
    /// `activations` `[batch, unit]` → two of `[time · batch, unit]`, time-major.
    ///
    /// # Errors
    /// Those of [`Substrate::simulate`]: the guide is refused when Δt is too large for its β.
    pub fn steps(
        &self,
        twin: &Substrate,
        activations: Tensor<2>,
        schedule: Schedule,
        key: Key,
    ) -> Result<(Tensor<2>, Tensor<2>)> {
        let x0 = activations.zeros_like();
        let mut pairs = (Vec::new(), Vec::new());
        twin.simulate(x0, activations * -self.beta, schedule, key, |step| {
            if step.index % self.every.max(1) == 0 {
                pairs.0.push(step.before.clone());
                pairs.1.push(step.after.clone());
            }
        })?;
        Ok((Tensor::cat(pairs.0, 0), Tensor::cat(pairs.1, 0)))
    }
}
