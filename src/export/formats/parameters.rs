//! The parameter file of the published classifier: one number per parameter, separated by white space, and nothing
//! else.
//!
//! Bonds come first: input–input, each of the 784 inputs with two neighbours on the 28 × 28 lattice (left and down,
//! periodic), which have no effect because inputs are clamped, and are written as 0; input–hidden, input by input;
//! hidden–hidden, i > j; hidden–output, hidden unit by hidden unit; output–output, i > j; input–output, input by
//! input. Then one bias per unit: inputs (ignored, 0), hidden, output. V = Σ (J₂x² + J₄x⁴) + Σ b x + Σ_(ij) J x x as
//! in (1) (S. Whitelam, PNAS 123, e2528413123 (2026)).
//!
//! [`published`] supplies everything that the file does not say. The number of hidden units (64 in the publication)
//! follows from the count of numbers.

use std::fmt::Write;

use crate::error::{Problem, Result};
use crate::export::couplings::Couplings;
use crate::export::description::{Description, Normalisation};
use crate::export::text::{number, text};
use crate::network::substrate::SubstrateConfig;
use crate::network::topology::{Group, Topology};
use crate::schedule::Schedule;

const INPUTS: usize = 784;
const OUTPUTS: usize = 10;

/// Everything about the published classifier except its couplings, with `hidden` hidden units: μ = kT = J₂ = J₄ = 1,
/// Δt = 1e-3, t_f = 0.2, and MNIST images scaled to mean 0, standard deviation 1 and the largest norm of the training
/// set.
pub fn published(hidden: usize) -> Description {
    let groups =
        [Group::clamped("input", INPUTS), Group::free("hidden", hidden), Group::free("output", OUTPUTS)];
    let normalisation = Normalisation { offset: 0.13066, scale: 0.30814, norm: Some(48.90) };
    let config = SubstrateConfig::new(Topology::all_to_all(groups));
    Description::of(config, Schedule { dt: 1e-3, steps: 200 }, Some(normalisation))
}

/// How many numbers a file with `hidden` hidden units has.
fn count(hidden: usize) -> usize {
    let bonds = 2 * INPUTS + INPUTS * hidden + hidden * (hidden - 1) / 2 + hidden * OUTPUTS;
    bonds + OUTPUTS * (OUTPUTS - 1) / 2 + INPUTS * OUTPUTS + INPUTS + hidden + OUTPUTS
}

pub(super) fn encode(couplings: &Couplings) -> Result<Vec<u8>> {
    let topology = &couplings.description.substrate.topology;
    let refuse = |reason: String| {
        Problem::Unsupported(format!("not a parameter file of the published classifier: {reason}"))
    };
    let groups: Vec<(&str, bool)> = topology.groups.iter().map(|g| (g.name.as_str(), g.clamped)).collect();
    let sizes: Vec<usize> = topology.groups.iter().map(|group| group.units).collect();
    let expected = [("input", true), ("hidden", false), ("output", false)];
    if groups != expected || sizes[0] != INPUTS || sizes[2] != OUTPUTS {
        return Err(refuse(format!(
            "it has the groups input, hidden and output of {INPUTS}, any and {OUTPUTS} units, \
                                   not {groups:?} of {sizes:?}"
        ))
        .into());
    }
    if couplings.description.course.is_some() {
        return Err(refuse("control parameters move in time".into()).into());
    }
    let hidden = sizes[1];
    // The file cannot store these; how images are prepared is left to the reader of the file.
    let (own, taken) = (&couplings.description, published(hidden));
    let constants = |description: &Description| {
        let groups = description.substrate.topology.groups.iter().filter(|group| !group.clamped);
        groups.map(|group| [&group.j2, &group.j4, &group.mobility].map(|c| c.shared())).collect::<Vec<_>>()
    };
    if constants(own) != constants(&taken)
        || own.substrate.kt != taken.substrate.kt
        || own.schedule != taken.schedule
    {
        return Err(refuse(
            "its J2, J4, mu and kT are not 1, or its schedule is not 200 steps of 0.001".into(),
        )
        .into());
    }
    let mut out = "0\n".repeat(2 * INPUTS);
    for (from, to) in [
        ("input", "hidden"),
        ("hidden", "hidden"),
        ("hidden", "output"),
        ("output", "output"),
        ("input", "output"),
    ] {
        let rows = sizes[groups.iter().position(|group| group.0 == from).expect("a group")];
        let columns = sizes[groups.iter().position(|group| group.0 == to).expect("a group")];
        let block = couplings.dense(from, to);
        for i in 0..rows {
            let row = if from == to { 0..i } else { 0..columns };
            for j in row {
                let _ = writeln!(out, "{}", block.as_ref().map_or(0.0, |block| block[i * columns + j]));
            }
        }
    }
    out.push_str(&"0\n".repeat(INPUTS));
    for (group, units) in [("hidden", hidden), ("output", OUTPUTS)] {
        let bias = couplings.tensors.get(&format!("b.{group}"));
        for i in 0..units {
            let _ = writeln!(out, "{}", bias.map_or(0.0, |(_, bias)| bias[i]));
        }
    }
    Ok(out.into_bytes())
}

pub(super) fn decode(bytes: &[u8]) -> Result<Couplings> {
    let text = text(bytes, "a parameter file")?;
    let mut values = Vec::new();
    for (line, row) in text.lines().enumerate() {
        for word in row.split_whitespace() {
            values.push(number::<f32>(word, line + 1)?);
        }
    }
    let hidden = (1..=values.len() / INPUTS).find(|&hidden| count(hidden) == values.len());
    let hidden = hidden.ok_or_else(|| Problem::Container {
        format: "a parameter file",
        reason: format!("{} numbers; with 64 hidden units there are {}", values.len(), count(64)),
    })?;
    let mut rest = values.into_iter();
    let mut take = |count: usize| -> Vec<f32> { rest.by_ref().take(count).collect() };
    take(2 * INPUTS);
    let input_hidden = take(INPUTS * hidden);
    let hidden_hidden = symmetric(&take(hidden * (hidden - 1) / 2), hidden);
    let hidden_output = take(hidden * OUTPUTS);
    let output_output = symmetric(&take(OUTPUTS * (OUTPUTS - 1) / 2), OUTPUTS);
    let input_output = take(INPUTS * OUTPUTS);
    take(INPUTS);
    let mut tensors = vec![
        ("J.input-hidden", input_hidden),
        ("J.hidden-output", hidden_output),
        ("J.output-output", output_output),
        ("J.input-output", input_output),
        ("b.hidden", take(hidden)),
        ("b.output", take(OUTPUTS)),
    ];
    // A single unit has no other unit in its group to couple to.
    if hidden > 1 {
        tensors.push(("J.hidden-hidden", hidden_hidden));
    }
    Couplings::new(published(hidden), tensors)
}

/// The symmetric matrix with this lower triangle.
fn symmetric(triangle: &[f32], n: usize) -> Vec<f32> {
    let at = |i: usize, j: usize| match i.cmp(&j) {
        std::cmp::Ordering::Equal => 0.0,
        std::cmp::Ordering::Greater => triangle[i * (i - 1) / 2 + j],
        std::cmp::Ordering::Less => triangle[j * (j - 1) / 2 + i],
    };
    (0..n * n).map(|k| at(k / n, k % n)).collect()
}
