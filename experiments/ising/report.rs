//! report.html of an Ising network.

use anyhow::Result;
use maud::{Markup, html};
use thermograd::{run, to_f64};
use thermograd_experiments::report::{
    COLOURS, Chart, Line, animation, confusion, document, facts, fields, image, learning, percent, row,
    settings, tiles,
};
use thermograd_experiments::workbench::Session;
use thermograd_models::ising::layer::Geometry;
use thermograd_models::ising::sampling::LayeredGibbs;
use thermograd_models::{IsingNet, Reading, Realisation, Sweeps};

use crate::summary::Summary;
use crate::{Forecast, Setup, hardware};

/// The whole page.
pub fn page(
    setup: &Setup,
    session: &Session,
    network: &IsingNet,
    reading: &Reading,
    forecast: &Forecast,
    summary: &Summary,
) -> Result<String> {
    let s = &setup.settings;
    let sweeps = Sweeps { burn_in: summary.burn_in, read: summary.sweeps };
    let counts = |row: &Vec<f64>| row.iter().map(|count| count.round() as usize).collect();
    let body = html! {
        (facts(&numbers(reading, summary)))
        (curve(reading, forecast)?)
        @if network.realisation() == Realisation::Equilibrium && network.layers.len() == 2 { (collapse(setup, network)?) }
        (movie(setup, network)?)
        h2 { "Confusion" }
        p { "Rows: the class; columns: the answer; counts over images, ties shared and rounded." }
        (confusion(&reading.confusion.iter().map(counts).collect::<Vec<_>>()))
        (hardware::sweep(setup, session, network, sweeps)?)
        (filters(network, setup.images().shape())?)
        (learning(&session.metrics(), "an average that never ends")?)
        (settings(s)?)
    };
    Ok(document(&format!("An Ising network reads {}", s.source.dataset.shows()), &body))
}

fn numbers(reading: &Reading, s: &Summary) -> Vec<(&'static str, String)> {
    let machine = match s.realisation.as_str() {
        "E" => "one temperature, in equilibrium (E)",
        _ => "a temperature for each layer, a steady state (T)",
    };
    vec![
        ("data", format!("{}, {} {} images", s.dataset, reading.images, s.images)),
        ("network", format!("{}, seed {}, {} spins, {} couplings", s.network, s.seed, s.spins, s.couplings)),
        ("machine", format!("{machine}, δ = {}", s.delta)),
        (
            "accuracy",
            format!("{} from {} sweeps, after {} of burn-in", percent(s.accuracy), s.sweeps, s.burn_in),
        ),
        (
            "expected",
            format!(
                "{}; {} of an average that never ends",
                percent(s.accuracy_predicted),
                percent(s.accuracy_mean_field)
            ),
        ),
        ("autocorrelation", format!("{:.2} ± {:.2} sweeps", s.tau_sweeps, s.tau_sweeps_error)),
        (
            "flips",
            format!(
                "{:.3e} an image: {:.2e} J at the price of a flip in the settings",
                s.flips_per_image, s.joules_per_image
            ),
        ),
        ("digital counterpart", format!("{:.3e} multiply–accumulates an image", s.macs_digital as f64)),
        ("training", format!("{:.1} s", s.train_seconds)),
    ]
}

/// Accuracy against sweeps, on a logarithmic axis.
fn curve(reading: &Reading, forecast: &Forecast) -> Result<Markup> {
    let most = reading.accuracy.last().map_or(1, |&(sweeps, _)| sweeps);
    let measured: Vec<(f64, f64)> =
        reading.accuracy.iter().map(|&(sweeps, part)| ((sweeps as f64).log10(), 100.0 * part)).collect();
    let mut expected: Vec<usize> =
        (0..=40).map(|k| (most as f64).powf(f64::from(k) / 40.0).round() as usize).collect();
    expected.dedup();
    let expected = expected
        .into_iter()
        .map(|sweeps| ((sweeps as f64).log10(), 100.0 * forecast.expected.accuracy(sweeps, forecast.tau)));
    let lines = [
        Line { name: "expected", colour: COLOURS[7], width: 1, points: expected.collect() },
        Line { name: "measured", colour: COLOURS[0], width: 2, points: measured.clone() },
    ];
    let (x, y) = ("log10 of the number of sweeps averaged", "accuracy, %");
    let least = lines.iter().flat_map(|line| &line.points).map(|point| point.1).fold(100.0, f64::min);
    let chart = Chart { title: "", x, y, size: (640, 320), y_range: Some((least - 2.0, 100.0)) };
    Ok(html! {
        h2 { "How many sweeps" }
        p {
            "The accuracy of the average of the outputs over so many sweeps (the mean over all such averages that fit one after \
             the other), and what is expected from mean fields and the noise of the outputs."
        }
        (row("row", &[chart.svg_with(&lines, &measured, &[])?]))
    })
}

/// At one temperature margins go with δ: accuracies against Gδ² lie on one curve.
fn collapse(setup: &Setup, network: &IsingNet) -> Result<Markup> {
    let some = setup.images().first(500);
    let mut lines = Vec::new();
    for (index, (delta, name)) in
        [(1.0, "δ = 1"), (0.5, "δ = 0.5"), (0.25, "δ = 0.25")].into_iter().enumerate()
    {
        let network = network.clone().realised(Realisation::Equilibrium, delta)?;
        let sweeps = Sweeps { burn_in: 10, read: 128 };
        let key = setup.bench.key.fork("collapse").at(index as u64);
        let reading =
            network.read(&some, sweeps, &[1, 2, 4, 8, 16, 32, 64], setup.bench.shards, key, |_| {})?;
        let place = |sweeps: usize| (sweeps as f64 * delta * delta).log10();
        let points = reading.accuracy.iter().map(|&(sweeps, part)| (place(sweeps), 100.0 * part)).collect();
        lines.push(Line { name, colour: COLOURS[index], width: 2, points });
    }
    let chart = Chart {
        title: "",
        x: "log10 of Gδ²",
        y: "accuracy, %",
        size: (640, 320),
        y_range: Some((0.0, 100.0)),
    };
    Ok(html! {
        h2 { "Weaker couplings, more sweeps" }
        p {
            "The same network with output couplings weaker by δ needs more sweeps G by δ⁻². Accuracies on 500 images against \
             Gδ² lie on one curve where couplings are weak."
        }
        (row("row", &[chart.svg(&lines)?]))
    })
}

/// The spins of one image, sweep by sweep.
fn movie(setup: &Setup, network: &IsingNet) -> Result<Markup> {
    const FRAMES: usize = 40;
    const WIDTH: usize = 32;
    let examples = setup.images();
    let inputs = examples.clamped(&[0], network.normalisation(), None, &setup.bench.device);
    let gibbs = LayeredGibbs::new(network, inputs, setup.bench.key.fork("movie"));
    let [colours, rows, columns] = examples.shape();
    // The image in grey, hidden spins and output spins, each in a square of its own.
    let picture: Vec<f32> = (0..WIDTH * WIDTH)
        .map(|k| {
            let (row, column) = (k / WIDTH, k % WIDTH);
            if row >= rows || column >= columns {
                return -1.0;
            }
            let pixel = |colour| f32::from(examples.pixels(0)[(colour * rows + row) * columns + column]);
            (0..colours).map(pixel).sum::<f32>() / (127.5 * colours as f32) - 1.0
        })
        .collect();
    let mut frames = Vec::new();
    let classes = network.classes();
    let mut sums = vec![0.0; classes];
    run(&gibbs, gibbs.start(setup.bench.key.fork("movie")), FRAMES, |step| {
        let hidden = to_f64(step.after.0[0].clone());
        let outputs = to_f64(step.after.0.last().expect("a layer").clone());
        let each = outputs.len() / classes;
        outputs
            .chunks(each)
            .zip(&mut sums)
            .for_each(|(spins, sum)| *sum += spins.iter().sum::<f64>() / each as f64);
        let at = |k: usize| hidden.get(k).map_or(0.0, |&s| s as f32);
        let hidden: Vec<f32> = (0..WIDTH * WIDTH).map(at).collect();
        // A row of three pixels a class: its spins, then a bar of the average so far.
        let read = (0..WIDTH * WIDTH).map(|k| {
            let (class, column) = (k / WIDTH / 3, k % WIDTH);
            match (class < classes && k / WIDTH % 3 < 2, column) {
                (true, 0..10) => outputs.get(class * each + column % each).map_or(0.0, |&s| s as f32),
                (true, 12..) => {
                    let length = 10.0 * (1.0 + sums[class] / (step.index + 1) as f64);
                    if (column - 12) as f64 <= length { 1.0 } else { -1.0 }
                }
                _ => 0.0,
            }
        });
        let read: Vec<f32> = read.collect();
        frames.push(tiles([&picture[..], &hidden, &read], WIDTH, 3));
    })?;
    let caption = format!(
        "The first image ({}), the first 1024 hidden spins and the output spins over {FRAMES} sweeps, from fair coins. A row of \
         outputs is a class, 0 at the top: its spins at the left, and at the right their average so far; the longest bar is \
         the answer.",
        setup.settings.source.dataset.class(examples.label(0))
    );
    let width = frames[0].width * 5;
    Ok(html! { h2 { "Spins" } (image(&animation(&frames, 150)?, width, &caption)) })
}

/// Couplings of the first hidden spins to the image.
fn filters(network: &IsingNet, [colours, _, columns]: [usize; 3]) -> Result<Markup> {
    const MOST: usize = 64;
    let layer = &network.layers[0];
    let [fan_in, channels] = layer.weight().dims();
    let (weights, each) = (to_f64(layer.weight()), fan_in / colours);
    let width = match layer.geometry() {
        Geometry::Conv { kernel, .. } => kernel,
        Geometry::Dense { .. } => columns,
    };
    let field = |channel: usize| -> Vec<f32> {
        let of = |k: usize| {
            (0..colours).map(|colour| weights[(colour * each + k) * channels + channel]).sum::<f64>()
        };
        (0..each).map(|k| of(k) as f32).collect()
    };
    let pictures: Vec<Vec<f32>> = (0..channels.min(MOST)).map(field).collect();
    let caption = "What the image does to hidden spins: a bright pixel pushes the spin up where it is red and down where it is \
                   blue; every field on its own scale, colours of an image added.";
    fields("Couplings to the image", &pictures, width, 16.min(pictures.len()), caption)
}
