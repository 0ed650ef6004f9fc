//! Training of a network of heat through its unrolled steps.
//!
//! The loss is the cross-entropy of β θ over the outputs at the end, β trained along. Noise, if there is any, is drawn anew in every
//! step, and gradients pass through temperatures, not through the size of the noise.

use serde::{Deserialize, Serialize};
use thermograd::advance;

use crate::thermal::network::{Fluctuations, PIXELS, ThermalNet, Warmth};
use crate::training::examples::{Augment, Examples};
use crate::training::fit::{Part, Recipe, Training, backward};
use crate::training::network::cross_entropy;

/// How a network of heat is trained.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThermalTrainer {
    /// Its training.
    pub recipe: Recipe,
    /// σ, the fluctuations of a node in units of ΔT while it is trained.
    pub sigma: f64,
    /// How images are varied.
    pub augment: Augment,
}

impl ThermalTrainer {
    /// The training on some examples.
    pub fn training<'a>(&'a self, examples: &'a Examples) -> Training<'a, ThermalNet> {
        let gradient = move |model: &ThermalNet, Part { indices, batch, key, .. }: Part| {
            let device = model.device();
            let varied = (self.augment != Augment::default()).then(|| (self.augment, key.fork("shift")));
            let inputs = model.inputs(examples.varied(indices, &PIXELS, varied, &device));
            let [_, _, classes] = model.sizes();
            let one_hot = examples.one_hot(indices, classes, &device);
            let flow = model.flow(inputs, Some((self.sigma, Fluctuations::Nodes, key.fork("noise"))));
            let Warmth { output, .. } = advance(&flow, flow.start(), 0..flow.steps(), |_| {});
            Ok(backward(cross_entropy(model.logits(output), one_hot) / batch as f64, model))
        };
        Training::new("thermal", self.recipe, examples.len(), gradient)
    }
}
