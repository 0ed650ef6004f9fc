//! What imperfect hardware makes of a network: accuracies on held-out images.

use anyhow::Result;
use maud::{Markup, html};
use thermograd::{Hardware, Scale};
use thermograd_experiments::report::{COLOURS, Chart, Line, row};
use thermograd_experiments::workbench::{Knob, Session};
use thermograd_models::{IsingNet, SpinReader, Sweeps};

use crate::Setup;

/// Images that are read for every point.
const IMAGES: usize = 500;

/// More couplings than this would take minutes, spin by spin.
const MOST: usize = 100_000;

/// The longest average that is read for a point.
const SWEEPS: usize = 100;

/// Those that spins have.
const KNOBS: [Knob; 4] = [Knob::Bits, Knob::Mismatch, Knob::FanIn, Knob::Temperature];

/// A chart for every imperfection, of a network of few couplings, or why there is none.
pub fn sweep(setup: &Setup, session: &Session, network: &IsingNet, sweeps: Sweeps) -> Result<Markup> {
    const TITLE: &str = "What hardware makes of it";
    if !network.exports() {
        return Ok(
            html! { h2 { (TITLE) } p { "There are no symmetric couplings at this δ, and no device to perturb." } },
        );
    }
    if network.couplings() > MOST {
        return Ok(html! {
            h2 { (TITLE) }
            p {
                "Not measured here: " (network.couplings()) " couplings take minutes a device, spin by spin. "
                code { "couplings perturb couplings.safetensors --by bits --values 2,4,8" } " does it."
            }
        });
    }
    let sweeps = Sweeps { read: sweeps.read.min(SWEEPS), ..sweeps };
    let bench = &setup.bench;
    let reader = SpinReader::from_couplings(&network.couplings_of(sweeps)?, &bench.device)?;
    let (some, key) = (bench.data.held_out.first(IMAGES), bench.key.fork("hardware"));
    let read = |device: &Hardware, key| -> Result<f64> {
        Ok(100.0 * reader.accuracy_on(device, &some, bench.shards, key)?)
    };
    let ideal = read(&Hardware::ideal(reader.substrate.clone()), key.fork("ideal"))?;
    let points = KNOBS.iter().map(|knob| knob.values().len()).sum::<usize>() as f64;
    let charts = session.shown("hardware", |progress| {
        let mut done = 0.0;
        let chart = |(index, knob): (usize, &Knob)| -> Result<String> {
            let (values, mut measured) = (knob.values(), Vec::new());
            for (place, &value) in values.iter().enumerate() {
                let key = key.at(index as u64).fork("device").at(place as u64);
                let device = knob.device(&reader.substrate, value, Scale::default(), key)?;
                measured.push((place as f64, read(&device, key)?));
                done += 1.0;
                progress(done / points);
            }
            let names: Vec<String> = values.iter().map(f64::to_string).collect();
            let last = (names.len() - 1) as f64;
            let lines = [
                Line { name: "", colour: COLOURS[7], width: 1, points: vec![(0.0, ideal), (last, ideal)] },
                Line { name: "", colour: COLOURS[0], width: 2, points: measured.clone() },
            ];
            let y_range = Some((0.0, 100.0));
            let chart = Chart { title: "", x: knob.title(), y: "accuracy, %", size: (400, 260), y_range };
            chart.svg_with(&lines, &measured, &names)
        };
        KNOBS.iter().enumerate().map(chart).collect::<Result<Vec<_>>>()
    })?;
    let error = 100.0 * (0.25 / some.len() as f64).sqrt();
    Ok(html! {
        h2 { (TITLE) }
        p {
            "Accuracy on " (some.len()) " held-out images by " (sweeps.read) " sweeps, one device a point, sampled spin by \
             spin; the grey line is the network as trained. The images are few: the standard error is up to "
            (format!("{error:.1}")) " points. " code { "couplings perturb" } " measures more devices and images."
        }
        (row("row", &charts))
    })
}
