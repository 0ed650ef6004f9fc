//! Circuits and report of a network of heat that reads images.

use std::path::Path;

use anyhow::{Result, bail};
use maud::{Markup, html};
use thermograd::{HeatCircuit, run, to_f64};
use thermograd_experiments::report::{
    COLOURS, Chart, Line, confusion, document, facts, figure, learning, mosaic, percent, row, settings,
};
use thermograd_experiments::say;
use thermograd_experiments::workbench::Session;
use thermograd_experiments::workbench::run::{try_place, write};
use thermograd_models::thermal::hardware::Flaw;
use thermograd_models::thermal::network::{Inputs, PIXELS, ThermalNet};
use thermograd_models::thermal::reading::ThermalReading;

use crate::read::{FLAWS, Setup, Summary};

/// Refuses a file that a circuit cannot be written to.
pub fn check_export(file: &Path) -> Result<()> {
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("safetensors" | "cir") => try_place(file),
        _ => bail!("{}: a circuit of heat is written as .safetensors or, for SPICE, as .cir", file.display()),
    }
}

/// Writes the circuit into the run folder, and where it was asked for.
pub fn export(
    session: &Session,
    also: Option<&Path>,
    setup: &Setup,
    network: &ThermalNet,
    circuit: &HeatCircuit,
) -> Result<()> {
    let bytes = circuit.encode()?;
    let text = netlist(setup, network, circuit)?;
    session.run.write("circuit.safetensors", &bytes)?;
    session.run.write("circuit.cir", text.as_bytes())?;
    if let Some(file) = also {
        let spice = file.extension().is_some_and(|extension| extension == "cir");
        write(file, if spice { text.as_bytes() } else { &bytes })?;
        say!("circuit: {}", file.display());
    }
    Ok(())
}

/// The circuit as it reads the first image.
fn netlist(setup: &Setup, network: &ThermalNet, circuit: &HeatCircuit) -> Result<String> {
    let inputs = network.inputs(setup.images().clamped(&[0], &PIXELS, None, &setup.bench.device));
    let count = circuit.nodes().len();
    let mut theta = to_f64(inputs);
    theta.resize(count, 0.0);
    let config = network.config();
    let time = config.steps as f64 * config.step;
    Ok(circuit.netlist(&theta, &vec![0.0; count], time, "circuit.data")?)
}

/// The whole page.
pub fn page(
    setup: &Setup,
    session: &Session,
    network: &ThermalNet,
    quiet: &ThermalReading,
    summary: &Summary,
    flaws: (f64, &[f64]),
) -> Result<String> {
    let body = html! {
        (facts(&numbers(quiet, summary)))
        (noise(summary)?)
        (courses(setup, network)?)
        h2 { "Confusion" }
        p { "Rows: the class; columns: the answer; counts over images, without noise." }
        (confusion(&quiet.confusion))
        (hardware(flaws)?)
        (maps(network)?)
        (learning(&session.metrics(), "the network, with the noise it is trained for")?)
        (settings(&setup.settings)?)
    };
    Ok(document(&format!("A network of heat reads {}", setup.settings.source.dataset.shows()), &body))
}

fn numbers(quiet: &ThermalReading, s: &Summary) -> Vec<(&'static str, String)> {
    let a = &s.account;
    vec![
        ("data", format!("{}, {} {} images", s.dataset, quiet.images, s.images)),
        (
            "network",
            format!(
                "{} hidden nodes, {} conductances, nonlinearity: {}, inputs {}, seed {}",
                s.hidden, s.conductances, s.nonlinearity, s.inputs, s.seed
            ),
        ),
        (
            "accuracy",
            format!(
                "{} without noise, {} in steps an eighth as long; trained for fluctuations of {}",
                percent(s.accuracy),
                percent(s.accuracy_fine),
                s.sigma
            ),
        ),
        (
            "heat of the first image",
            format!(
                "{:.1} C₀ΔT from warm inputs: {:.1} to cold ones, {:.1} in nodes, {:.2} leaked; entropy {:.2} C₀",
                s.ledger.given, s.ledger.taken, s.ledger.held, s.ledger.leaked, s.ledger.entropy
            ),
        ),
        (
            "heat drawn",
            format!("{:.1} ± {:.1} C₀ΔT an inference (s.d. over images)", s.energy[0], s.energy[1]),
        ),
        (
            "at the assumed sizes",
            format!(
                "{:.1e} J = {:.1e} kT in {:.1e} s; ΔT = {:.0} K, fluctuations {:.1e} of it",
                a.drawn_joules, a.drawn_kt, a.seconds, a.delta_kelvin, a.sigma
            ),
        ),
        (
            "converters",
            format!("{:.1e} J an inference at the price of a conversion step", a.conversion_joules),
        ),
        (
            "programming",
            format!(
                "{} writes: {:.1e} s and {:.1e} J by phase change, {:.1e} s and {:.1e} J by moving fluids",
                a.writes,
                a.phase_change.seconds,
                a.phase_change.joules,
                a.microfluidic.seconds,
                a.microfluidic.joules
            ),
        ),
        ("training", format!("{:.1} s", s.train_seconds)),
    ]
}

/// Accuracy against fluctuations.
fn noise(s: &Summary) -> Result<Markup> {
    let points: Vec<(f64, f64)> =
        s.accuracy_noise.iter().enumerate().map(|(k, noisy)| (k as f64, 100.0 * noisy.accuracy)).collect();
    let names: Vec<String> = s.accuracy_noise.iter().map(|noisy| noisy.sigma.to_string()).collect();
    let chart = Chart {
        title: "",
        x: "fluctuations of a node, in units of ΔT",
        y: "accuracy, %",
        size: (640, 300),
        y_range: Some((0.0, 100.0)),
    };
    let lines = [Line { name: "", colour: COLOURS[0], width: 2, points: points.clone() }];
    Ok(html! {
        h2 { "Noise" }
        p {
            "Thermal fluctuations σ = δT/ΔT = √(k_B/C₀) T/ΔT are set by the heat capacity of a node. An inference draws "
            (format!("{:.1}", s.energy[0])) " C₀ΔT of heat, which is the more in units of kT the smaller the fluctuations:"
        }
        table {
            tr { th { "σ" } th { "accuracy" } th { "heat drawn, kT" } }
            @for noisy in &s.accuracy_noise {
                tr {
                    td { (noisy.sigma) } td { (percent(noisy.accuracy)) }
                    td { (noisy.energy_kt.map_or("–".into(), |kt| format!("{kt:.1e}"))) }
                }
            }
        }
        (row("row", &[chart.svg_with(&lines, &points, &names)?]))
    })
}

/// Temperatures of the outputs over time, of eight images.
fn courses(setup: &Setup, network: &ThermalNet) -> Result<Markup> {
    let images = setup.images();
    let count = images.len().min(8);
    let indices: Vec<usize> = (0..count).collect();
    let inputs = network.inputs(images.clamped(&indices, &PIXELS, None, &setup.bench.device));
    let flow = network.flow(inputs, None);
    let [_, _, outputs] = network.sizes();
    let mut paths = vec![vec![vec![(0.0, 0.0)]; outputs]; count];
    let step = network.config().step;
    run(&flow, flow.start(), flow.steps(), |seen| {
        let theta = to_f64(seen.after.output.clone());
        for (image, row) in theta.chunks(outputs).enumerate() {
            let time = step * (seen.index + 1) as f64;
            row.iter().enumerate().for_each(|(class, theta)| paths[image][class].push((time, *theta)));
        }
    })?;
    let chart = |(image, paths): (usize, Vec<Vec<(f64, f64)>>)| -> Result<String> {
        let class = images.label(image);
        let title = format!("an image of {}", setup.settings.source.dataset.class(class));
        let lines: Vec<Line> = paths
            .into_iter()
            .enumerate()
            .map(|(k, points)| Line {
                name: "",
                colour: if k == class { COLOURS[1] } else { COLOURS[7] },
                width: if k == class { 2 } else { 1 },
                points,
            })
            .collect();
        let chart =
            Chart { title: &title, x: "time, C₀/K₀", y: "θ, ΔT", size: (300, 210), y_range: None };
        chart.svg(&lines)
    };
    let charts = paths.into_iter().enumerate().map(chart).collect::<Result<Vec<_>>>()?;
    Ok(html! {
        h2 { "Eight images" }
        p { "Temperatures of the outputs above the surroundings; that of the right class is orange. The hottest at the end is the answer." }
        (row("row three", &charts))
    })
}

/// What few levels and mismatch cost.
fn hardware((ideal, accuracies): (f64, &[f64])) -> Result<Markup> {
    let named = |flaw: &Flaw| match flaw {
        Flaw::Levels(levels) => format!("{levels} levels"),
        Flaw::Mismatch(sd) => format!("mismatch {sd}"),
    };
    Ok(html! {
        h2 { "What hardware makes of it" }
        p {
            "Accuracy on held-out images without noise; " (percent(ideal)) " as trained. Levels are evenly spaced in the logarithm between the \
             smallest and the largest conductance; mismatch multiplies each by e to a normal number of that standard deviation, one circuit a row."
        }
        table {
            tr { th { "conductances" } th { "accuracy" } }
            @for (flaw, accuracy) in FLAWS.iter().zip(accuracies) {
                tr { td { (named(flaw)) } td { (percent(*accuracy)) } }
            }
        }
    })
}

/// Conductances between pixels and hidden nodes.
fn maps(network: &ThermalNet) -> Result<Markup> {
    let [inputs, hidden, _] = network.sizes();
    let (values, pixels) = (to_f64(network.conductances().input_hidden), inputs / 2);
    let width = pixels.isqrt();
    if width * width != pixels {
        return Ok(html! {});
    }
    let map = |node: usize| -> Vec<f32> {
        (0..pixels)
            .map(|pixel| (values[pixel * hidden + node] - values[(pixels + pixel) * hidden + node]) as f32)
            .collect()
    };
    let maps: Vec<Vec<f32>> = (0..hidden.min(64)).map(map).collect();
    let what = match network.config().inputs {
        Inputs::Clamped => "reservoirs",
        Inputs::Pulsed => "heated nodes",
    };
    let caption = format!(
        "Conductances from the {what} of bright pixels less those of dark ones, of the first hidden nodes: red where light warms the node, \
         blue where darkness does; each on its own scale."
    );
    Ok(html! { h2 { "Conductances" } (figure(&mosaic(&maps, width, 16.min(maps.len())), 3, &caption)?) })
}
