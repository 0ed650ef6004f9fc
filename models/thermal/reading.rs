//! What a network of heat reads, and the heat it takes.

use serde::Serialize;
use thermograd::{Key, Shards, run, to_f64};

use crate::error::Result;
use crate::thermal::network::{Fluctuations, Inputs, PIXELS, ThermalNet};
use crate::training::examples::Examples;
use crate::training::network::ranking;

/// What came of reading some images.
#[derive(Clone, Debug, Serialize)]
pub struct ThermalReading {
    /// How many.
    pub images: usize,
    /// σ, the fluctuations of a node in units of ΔT.
    pub sigma: f64,
    /// The fraction that is read as its class.
    pub accuracy: f64,
    /// `[class][answer]`.
    pub confusion: Vec<Vec<usize>>,
    /// The heat that warm inputs give up in an inference, in units of C₀ΔT: its mean and standard deviation over images.
    pub drawn: [f64; 2],
}

impl ThermalReading {
    /// The heat drawn in units of k_BT_env at this σ: k_B = σ²C₀(ΔT/T_env)².
    pub fn drawn_kt(&self, surroundings: f64) -> Option<f64> {
        (self.sigma > 0.0).then(|| self.drawn[0] * surroundings / self.sigma.powi(2))
    }
}

/// Images between two reports.
const LOOK: usize = 1000;

impl ThermalNet {
    /// Reads images with noise of a size σ, drawn link by link.
    ///
    /// # Errors
    /// [`thermograd::Error::Diverged`].
    pub fn read(
        &self,
        examples: &Examples,
        sigma: f64,
        shards: Shards,
        key: Key,
        mut progress: impl FnMut(f64),
    ) -> Result<ThermalReading> {
        let [_, _, classes] = self.sizes();
        let device = self.device();
        let read = |range: std::ops::Range<usize>| -> Result<_> {
            let key = key.skip(range.start as u64);
            let indices: Vec<usize> = range.collect();
            let inputs = self.inputs(examples.clamped(&indices, &PIXELS, None, &device));
            let flow = self.flow(inputs.clone(), Some((sigma, Fluctuations::Links, key)));
            let start = flow.start();
            let (mut hidden, mut output) = (start.hidden.zeros_like(), start.output.zeros_like());
            let end = run(&flow, start, flow.steps(), |step| {
                hidden = hidden.clone() + self.temperatures(step.before.hidden.clone());
                output = output.clone() + step.before.output.clone();
            })?;
            let given = match self.config().inputs {
                Inputs::Clamped => flow.given(flow.steps(), hidden, output).clamp_min(0.0),
                // A pulse heats its nodes from the temperature of the surroundings.
                Inputs::Pulsed => inputs,
            };
            let drawn = to_f64(given.sum_dim(1));
            let answers = to_f64(end.output).chunks(classes).map(|row| ranking(row)[0]).collect::<Vec<_>>();
            Ok((indices, answers, drawn))
        };
        let mut parts = Vec::new();
        for first in (0..examples.len()).step_by(LOOK) {
            let group = LOOK.min(examples.len() - first);
            parts.extend(shards.map(group, |range| read(first + range.start..first + range.end)));
            progress((first + group) as f64 / examples.len() as f64);
        }
        let mut confusion = vec![vec![0; classes]; classes];
        let (mut sum, mut squares, mut right) = (0.0, 0.0, 0);
        for part in parts {
            let (indices, answers, drawn) = part?;
            for ((index, answer), heat) in indices.into_iter().zip(answers).zip(drawn) {
                let class = examples.label(index);
                confusion[class][answer] += 1;
                right += usize::from(class == answer);
                (sum, squares) = (sum + heat, squares + heat * heat);
            }
        }
        let count = examples.len() as f64;
        let mean = sum / count;
        let sd = (squares / count - mean * mean).max(0.0).sqrt();
        let accuracy = right as f64 / count;
        Ok(ThermalReading { images: examples.len(), sigma, accuracy, confusion, drawn: [mean, sd] })
    }
}
