//! Exclusive or by every kind of network.

use anyhow::{Result, ensure};
use burn::module::Module;
use burn::tensor::Device;
use maud::html;
use serde::Serialize;
use thermograd::{Key, Shards};
use thermograd_experiments::report::{document, percent};
use thermograd_experiments::say;
use thermograd_experiments::workbench::run::Identity;
use thermograd_experiments::workbench::{Interrupted, Run, shown};
use thermograd_models::thermal::network::{Inputs, Nonlinearity, ThermalConfig};
use thermograd_models::thermal::training::ThermalTrainer;
use thermograd_models::thermal::xor::points;
use thermograd_models::{Augment, Fit, Recipe};

use crate::arguments::XorFlags;

/// One kind of network.
#[derive(Serialize)]
struct Row {
    nonlinearity: &'static str,
    inputs: &'static str,
    /// Of every seed, on points that it was not trained on.
    accuracy: Vec<f64>,
    mean: f64,
}

const KINDS: [(&str, Nonlinearity); 4] = [
    ("none", Nonlinearity::None),
    ("melting", Nonlinearity::Melting),
    ("switching", Nonlinearity::Switching),
    ("both", Nonlinearity::Both),
];

/// Trains all kinds and tells their accuracies.
pub fn train(flags: &XorFlags) -> Result<()> {
    ensure!((1..=100).contains(&flags.seeds), "--seeds {}: 1 to 100 are possible", flags.seeds);
    if let Some(out) = &flags.out {
        Run::check_free(out)?;
    }
    let config = |nonlinearity, inputs| ThermalConfig {
        hidden: flags.hidden,
        nonlinearity,
        inputs,
        pool: 1,
        ..ThermalConfig::default()
    };
    config(Nonlinearity::None, Inputs::Pulsed).check()?;
    thermograd_experiments::workbench::progress::catch_interrupts()?;
    let identity = Identity { command: "thermal-xor".into(), continues: false };
    let recipe = Recipe { epochs: 40, batch: 100, learning_rate: 0.05, warm_up: 20, ..Recipe::default() };
    let text = format!("hidden = {}\nseeds = {}\nepochs = {}\n", flags.hidden, flags.seeds, recipe.epochs);
    let folder = Run::begin(identity, flags.out.as_deref(), &text)?;
    let shards = Shards::new(50);
    let ways = [("clamped", Inputs::Clamped), ("pulsed", Inputs::Pulsed)];
    let rows = shown("xor", Interrupted::stopped(), |progress| -> Result<Vec<Row>> {
        let (mut rows, count) = (Vec::new(), (KINDS.len() * ways.len()) as f64 * flags.seeds as f64);
        let mut done = 0.0;
        for ((name, kind), (way, inputs)) in KINDS.into_iter().flat_map(|kind| ways.map(|way| (kind, way))) {
            let mut accuracy = Vec::new();
            for seed in 0..flags.seeds {
                let key = Key::new(seed);
                let (seen, new) = (points(2000, key.fork("train"))?, points(2000, key.fork("test"))?);
                let network = config(kind, inputs).init([1, 1, 2], 2, key, &Device::flex())?;
                let trainer = ThermalTrainer { recipe, sigma: 0.0, augment: Augment::default() };
                let mut fit = Fit::new(trainer.training(&seen), network, shards, key);
                let each = (recipe.epochs * 20) as f64;
                let _ = fit.run(|_, told| -> Result<_> {
                    progress((done + told.step as f64 / each) / count);
                    Ok(std::ops::ControlFlow::Continue(()))
                })?;
                accuracy.push(fit.finish().valid().read(&new, 0.0, shards, key, |_| {})?.accuracy);
                done += 1.0;
            }
            let mean = accuracy.iter().sum::<f64>() / accuracy.len() as f64;
            rows.push(Row { nonlinearity: name, inputs: way, accuracy, mean });
        }
        Ok(rows)
    })?;
    say!("exclusive or of 2000 new points, {} hidden nodes, {} seeds", flags.hidden, flags.seeds);
    say!("  nonlinearity   inputs     accuracy   of every seed");
    for row in &rows {
        let all: Vec<String> = row.accuracy.iter().map(|accuracy| percent(*accuracy)).collect();
        say!("  {:<12}   {:<7}   {:>9}   {}", row.nonlinearity, row.inputs, percent(row.mean), all.join(" "));
    }
    folder.write_json("summary.json", &rows)?;
    let body = html! {
        p {
            "Points of a square, of which those with exactly one coordinate above a half are of class 1. Every network has x and 1 − x of both \
             coordinates as inputs. One whose capacities and conductances do not depend on temperature is linear, and a line does not divide \
             these classes."
        }
        table {
            tr { th { "nonlinearity" } th { "inputs" } th { "accuracy on new points" } th { "of every seed" } }
            @for row in &rows {
                tr {
                    td { (row.nonlinearity) } td { (row.inputs) } td { (percent(row.mean)) }
                    td { @for accuracy in &row.accuracy { (percent(*accuracy)) " " } }
                }
            }
        }
    };
    folder.write("report.html", document("Exclusive or by heat", &body).as_bytes())?;
    say!("report: {}", folder.path("report.html").display());
    Ok(())
}
