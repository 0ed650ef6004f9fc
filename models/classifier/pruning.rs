//! Removes the least important couplings and keeps their mean effect in the biases.
//!
//! A coupling J_ij exerts the force −J_ij x_i on unit j. A bias can replace its mean but not its fluctuations, of
//! standard deviation |J_ij| σ_i, or, between two free units, √(σ_i² + σ_j²)|J_ij| over both ends. The couplings with the smallest
//! fluctuations are removed, and J_ij⟨x_i⟩ is added to b_j (and J_ij⟨x_j⟩ to b_i, if i is free). The magnitude of a
//! coupling alone is a poor measure, because many pixels of an image hardly ever change.

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use thermograd::{Key, Pattern, Shards, Substrate, to_f64};

use crate::classifier::model::Classifier;
use crate::error::{Error, Result};
use crate::training::examples::Examples;

/// The number of examples on which the variance of units is measured.
const SAMPLE: usize = 2000;

/// Mean and variance of a unit.
type Moment = (f64, f64);

/// Keeps the fraction `keep` of the couplings, those whose force varies most over the examples. All blocks become
/// lists of pairs.
///
/// # Errors
/// [`Error::Request`] unless `keep` is above 0 and at most 1, and those of [`Classifier::prepare`] and
/// [`Substrate::simulate`].
pub fn prune(
    classifier: &Classifier,
    examples: &Examples,
    keep: f64,
    shards: Shards,
    key: Key,
) -> Result<Classifier> {
    if !(keep > 0.0 && keep <= 1.0) {
        return Err(Error::Request(format!(
            "the fraction of the couplings to keep is {keep}, but must be above 0 and at most 1"
        )));
    }
    let substrate = classifier.substrate.valid();
    let topology = substrate.topology();
    let input = topology.clamped().next().expect("a classifier's input").name.clone();
    let (inputs, free) = moments(classifier, &substrate, examples, shards, key.fork("pruning"))?;
    let moment = |group: &str, unit: usize| match group == input {
        true => inputs[unit],
        false => free[topology.columns(group).expect("a free group").start + unit],
    };

    // (score, block, pair, coupling), the largest scores first.
    let mut scored = Vec::new();
    for (index, block) in topology.blocks.iter().enumerate() {
        for ([i, j], coupling) in topology.pairs(block).zip(substrate.pair_couplings(index)) {
            let variance = |group: &str, unit: usize, other: &str| match other == input {
                true => 0.0, // no force acts on a clamped unit
                false => moment(group, unit).1,
            };
            let varies = variance(&block.from, i, &block.to) + variance(&block.to, j, &block.from);
            scored.push((coupling.abs() * varies.sqrt(), index, [i, j], coupling));
        }
    }
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    let gone = scored.split_off((keep * scored.len() as f64).ceil() as usize);
    scored.sort_by_key(|&(_, block, pair, _)| (block, pair));

    let mut config = substrate.config().clone();
    let mut kept = vec![Vec::new(); config.topology.blocks.len()];
    for block in &mut config.topology.blocks {
        block.pattern = Pattern::Pairs(Vec::new());
    }
    for (_, index, pair, coupling) in scored {
        if let Pattern::Pairs(pairs) = &mut config.topology.blocks[index].pattern {
            pairs.push(pair);
        }
        kept[index].push(coupling);
    }
    let mut bias = to_f64(substrate.bias());
    for (_, index, [i, j], coupling) in gone {
        let block = &topology.blocks[index];
        for (group, unit, from, of) in [(&block.to, j, &block.from, i), (&block.from, i, &block.to, j)] {
            if let Ok(columns) = topology.columns(group) {
                bias[columns.start + unit] += coupling * moment(from, of).0;
            }
        }
    }
    let mut pruned = config.init(substrate.options())?;
    for (index, couplings) in kept.iter().enumerate() {
        pruned = pruned.with_pair_couplings(index, couplings)?;
    }
    let shape = [1, bias.len()];
    let pruned = pruned.with_bias(Tensor::from_data(TensorData::new(bias, shape), substrate.options()))?;
    Ok(classifier.with_substrate(pruned))
}

/// Mean and variance of every input over the examples, and of every free unit over examples and times.
fn moments(
    classifier: &Classifier,
    substrate: &Substrate,
    examples: &Examples,
    shards: Shards,
    key: Key,
) -> Result<(Vec<Moment>, Vec<Moment>)> {
    let normalisation = &classifier.normalisation;
    let count = examples.len();
    let inputs = shards.map(count, |range| {
        let indices: Vec<usize> = range.collect();
        sums(&examples.clamped(&indices, normalisation, None, substrate.options()))
    });
    let sample = count.min(SAMPLE);
    let every = classifier.schedule.steps.div_ceil(20);
    let free = shards.map(sample, |range| -> Result<_> {
        let indices: Vec<usize> = range.collect();
        let (field, x0) = classifier.prepare(examples, &indices)?;
        let mut seen = Vec::new();
        let key = key.skip(indices[0] as u64);
        substrate.simulate(x0, field, classifier.schedule, key, |step| {
            if (step.index + 1) % every == 0 {
                seen.push(sums(&step.after));
            }
        })?;
        Ok((seen.len(), add(seen)))
    });
    let free = free.into_iter().collect::<Result<Vec<_>>>()?;
    let times = free.first().map_or(1, |(times, _)| *times);
    let free = free.into_iter().map(|(_, sums)| sums).collect();
    Ok((mean_and_variance(add(inputs), count), mean_and_variance(add(free), sample * times)))
}

/// Σx and Σx² over the rows.
fn sums(x: &Tensor<2>) -> Vec<Moment> {
    let sum = |x: Tensor<2>| to_f64(x.sum_dim(0));
    sum(x.clone()).into_iter().zip(sum(x.clone().square())).collect()
}

fn add(shards: Vec<Vec<Moment>>) -> Vec<Moment> {
    let add = |a: Vec<Moment>, b: Vec<Moment>| a.iter().zip(b).map(|(a, b)| (a.0 + b.0, a.1 + b.1)).collect();
    shards.into_iter().reduce(add).unwrap_or_default()
}

fn mean_and_variance(sums: Vec<Moment>, count: usize) -> Vec<Moment> {
    let count = count as f64;
    let of = |(sum, square): Moment| (sum / count, (square / count - (sum / count).powi(2)).max(0.0));
    sums.into_iter().map(of).collect()
}
