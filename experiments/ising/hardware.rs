//! What imperfect hardware makes of a network: accuracies on held-out images.

use anyhow::Result;
use maud::{Markup, html};
use thermograd::{Hardware, Imperfection, Scale};
use thermograd_experiments::report::{COLOURS, Chart, Line, row};
use thermograd_experiments::workbench::Session;
use thermograd_models::{IsingNet, SpinReader, Sweeps};

use crate::Setup;

/// Images that are read for every point.
const IMAGES: usize = 500;

/// More couplings than this would take minutes, spin by spin.
const MOST: usize = 100_000;

/// A way in which devices differ from the network.
struct Knob {
    title: &'static str,
    values: &'static [f64],
    at: fn(f64) -> Imperfection,
}

const KNOBS: [Knob; 4] = [
    Knob {
        title: "bits per coupling",
        values: &[8.0, 6.0, 5.0, 4.0, 3.0, 2.0],
        at: |bits| Imperfection::Quantised { bits: bits as u32, scale: Scale::Unit },
    },
    Knob {
        title: "relative mismatch of couplings",
        values: &[0.02, 0.05, 0.1, 0.2, 0.3],
        at: |sd| Imperfection::Mismatch { sd },
    },
    Knob {
        title: "couplings per spin",
        values: &[600.0, 400.0, 200.0, 100.0, 50.0],
        at: |limit| Imperfection::FanIn { limit: limit as usize },
    },
    Knob {
        title: "temperature, of the nominal one",
        values: &[0.0, 0.5, 0.8, 1.2, 2.0, 4.0],
        at: |factor| Imperfection::Temperature { factor },
    },
];

/// A chart for every imperfection, of a network of few couplings.
pub fn sweep(setup: &Setup, session: &Session, network: &IsingNet, sweeps: Sweeps) -> Result<Option<Markup>> {
    if !network.exports() || network.couplings() > MOST {
        return Ok(None);
    }
    let bench = &setup.bench;
    let reader = SpinReader::from_couplings(&network.couplings_of(sweeps)?, &bench.device)?;
    let (some, key) = (bench.data.held_out.first(IMAGES), bench.key.fork("hardware"));
    let read = |device: Hardware, key| -> Result<f64> {
        let reading =
            reader.with_substrate(device.substrate).read(&some, sweeps, &[], bench.shards, key, |_| {})?;
        Ok(100.0 * reading.accuracy.last().map_or(0.0, |&(_, accuracy)| accuracy))
    };
    let ideal = read(Hardware::ideal(reader.substrate.clone()), key.fork("ideal"))?;
    let points = KNOBS.iter().map(|knob| knob.values.len()).sum::<usize>() as f64;
    let charts = session.shown("hardware", |progress| {
        let mut done = 0.0;
        let chart = |(index, knob): (usize, &Knob)| -> Result<String> {
            let mut measured = Vec::new();
            for (place, &value) in knob.values.iter().enumerate() {
                let key = key.at(index as u64).fork("device").at(place as u64);
                let device = Hardware::ideal(reader.substrate.clone()).with((knob.at)(value), key)?;
                measured.push((place as f64, read(device, key)?));
                done += 1.0;
                progress(done / points);
            }
            let names: Vec<String> = knob.values.iter().map(f64::to_string).collect();
            let last = (names.len() - 1) as f64;
            let lines = [
                Line { name: "", colour: COLOURS[7], width: 1, points: vec![(0.0, ideal), (last, ideal)] },
                Line { name: "", colour: COLOURS[0], width: 2, points: measured.clone() },
            ];
            let y_range = Some((0.0, 100.0));
            let chart = Chart { title: "", x: knob.title, y: "accuracy, %", size: (400, 260), y_range };
            chart.svg_with(&lines, &measured, &names)
        };
        KNOBS.iter().enumerate().map(chart).collect::<Result<Vec<_>>>()
    })?;
    Ok(Some(html! {
        h2 { "What hardware makes of it" }
        p {
            "Accuracy on " (some.len()) " held-out images, one device a point, sampled spin by spin; the grey line is the \
             network as trained. " code { "couplings perturb" } " measures more devices and images."
        }
        (row("row", &charts))
    }))
}
