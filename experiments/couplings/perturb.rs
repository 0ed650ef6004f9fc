//! Sweeps one imperfection over several devices.

use anyhow::{Context, Result, ensure};
use maud::{PreEscaped, html};
use serde::Serialize;
use thermograd::{Estimate, Hardware, Key, Scale};
use thermograd_experiments::report::{COLOURS, Chart, Line, counted, document, facts, percent, spread};
use thermograd_experiments::say;
use thermograd_experiments::workbench::{
    Bar, Bench, Knob, SHARD, Session, Source, afford, bar, interrupted, name, refuse_useless, run, version,
};

use crate::arguments::Perturb;
use crate::reader::Reader;

/// One point of the sweep.
#[derive(Clone, PartialEq, Debug, Serialize)]
struct Point {
    value: f64,
    /// The accuracy of each device.
    accuracies: Vec<f64>,
}

/// The settings that determine the results.
#[derive(Serialize)]
struct Settings {
    version: String,
    file: String,
    by: String,
    values: Vec<f64>,
    devices: usize,
    scale: Scale,
    #[serde(flatten)]
    source: Source,
}

/// `couplings perturb`.
pub fn perturb(task: &Perturb) -> Result<()> {
    ensure!(task.devices > 0, "devices: at least one is needed");
    refuse_useless([("--scale", task.scale.is_some(), task.by == Knob::Bits, "only with --by bits")])?;
    task.data.check_flags()?;
    let devices = counted(task.devices, "device");
    afford(&devices, task.devices as u128 * 1024)?;
    let reader = Reader::load(&task.file, &task.data.source()?.device()?)?;
    let values = if task.values.is_empty() { task.by.values() } else { task.values.clone() };
    // Refuse impossible values before an hour of work, and devices for which the time step is too large.
    let key = task.data.source()?.key().fork("perturb");
    for &value in &values {
        for device in 0..task.devices as u64 {
            let made = task.by.device(reader.substrate(), value, task.scale(), device_key(key, device))?;
            reader.check(&made).with_context(|| format!("at {} {value}", name(&task.by)))?;
        }
    }
    let kept = task.out.iter().flat_map(|out| ["sweep.json", "sweep.csv"].map(|name| out.join(name)));
    run::keep_apart([&task.file], &kept.collect::<Vec<_>>())?;
    let source = task.data.named_source()?;
    let bench = source.open(SHARD, task.data.threads)?;
    let settings = Settings {
        version: version(),
        file: std::path::absolute(&task.file)?.display().to_string(),
        by: name(&task.by),
        values: values.clone(),
        devices: task.devices,
        scale: task.scale(),
        source,
    };
    let session = Session::evaluation("perturb", task.out.as_deref(), &settings)?;
    let (by, images, effort) = (name(&task.by), bench.data.test.len(), reader.effort());
    say!("{by:>14}  accuracy of {effort}, {images} test images, {devices}");

    let bar = bar("devices", ((values.len() + 1) * task.devices) as u64);
    let Some(ideal) = measure(&reader, task, None, &bench, &bar)? else {
        return session.go_on();
    };
    tell(&bar, "none", &ideal);
    let mut points = Vec::new();
    for value in values {
        let Some(accuracies) = measure(&reader, task, Some(value), &bench, &bar)? else {
            break;
        };
        tell(&bar, &value.to_string(), &accuracies);
        points.push(Point { value, accuracies });
        session.run.write_json("sweep.json", &points)?;
    }
    bar.end();
    session.run.write("sweep.csv", table(&points).as_bytes())?;
    session.run.write("report.html", page(task, images, &effort, &ideal, &points)?.as_bytes())?;
    say!("report: {}", session.run.path("report.html").display());
    session.go_on()
}

/// The key of one device.
fn device_key(key: Key, device: u64) -> Key {
    key.fork("device").at(device)
}

/// The accuracy of each device; none after Ctrl-C.
fn measure(
    reader: &Reader,
    task: &Perturb,
    value: Option<f64>,
    bench: &Bench,
    bar: &Bar,
) -> Result<Option<Vec<f64>>> {
    let key = bench.key.fork("perturb");
    let mut accuracies = Vec::new();
    for device in 0..task.devices as u64 {
        if interrupted() {
            return Ok(None);
        }
        let hardware = match value {
            Some(value) => {
                task.by.device(reader.substrate(), value, task.scale(), device_key(key, device))?
            }
            None => Hardware::ideal(reader.substrate().clone()),
        };
        let key = key.fork("noise").at(device);
        accuracies.push(reader.accuracy_on(&hardware, &bench.data.test, bench.shards, key)?);
        bar.step();
    }
    Ok(Some(accuracies))
}

fn tell(bar: &Bar, value: &str, accuracies: &[f64]) {
    let Estimate { mean, sd, .. } = Estimate::of(accuracies);
    bar.above(|| say!("{value:>14}  {}{}", percent(mean), spread(sd)));
}

fn table(points: &[Point]) -> String {
    let rows = points.iter().flat_map(|point| {
        let row = |(device, accuracy): (usize, &f64)| format!("{},{device},{accuracy}\n", point.value);
        point.accuracies.iter().enumerate().map(row).collect::<Vec<_>>()
    });
    std::iter::once("value,device,accuracy\n".to_owned()).chain(rows).collect()
}

fn page(task: &Perturb, images: usize, effort: &str, ideal: &[f64], points: &[Point]) -> Result<String> {
    // Evenly spaced positions rather than a scale, because values are often spread over decades.
    let statistics: Vec<Estimate> = points.iter().map(|point| Estimate::of(&point.accuracies)).collect();
    let along = |value: &dyn Fn(&Estimate) -> f64| -> Vec<(f64, f64)> {
        statistics.iter().enumerate().map(|(index, e)| (index as f64, 100.0 * value(e))).collect()
    };
    let sd = |e: &Estimate| if e.sd.is_finite() { e.sd } else { 0.0 };
    let line = |colour: usize, width, points| Line { name: "", colour: COLOURS[colour], width, points };
    let (ideal, last) = (Estimate::of(ideal), points.len().saturating_sub(1) as f64);
    let lines = [
        line(7, 1, vec![(0.0, 100.0 * ideal.mean), (last, 100.0 * ideal.mean)]),
        line(0, 3, along(&|e| e.mean)),
        line(5, 1, along(&|e| e.mean - sd(e))),
        line(5, 1, along(&|e| e.mean + sd(e))),
    ];
    let dots = points.iter().enumerate();
    let dots: Vec<(f64, f64)> = dots
        .flat_map(|(index, point)| point.accuracies.iter().map(move |a| (index as f64, 100.0 * a)))
        .collect();
    let names: Vec<String> = points.iter().map(|point| point.value.to_string()).collect();
    let chart = Chart { title: "", x: task.by.title(), y: "accuracy, %", size: (900, 420), y_range: None };
    let rows = [("none", ideal)].into_iter().chain(names.iter().map(String::as_str).zip(statistics));
    let rows: Vec<_> = rows.map(|(name, e)| (name, percent(e.mean) + &spread(e.sd))).collect();
    let body = html! {
        p {
            "Accuracy of " (effort) " on " (images) " test images. Each dot is a device; the thick line joins their \
             means, the thin blue lines are one standard deviation of devices away, and the grey line is the computer as \
             designed. " (task.by.explanation())
        }
        (PreEscaped(chart.svg_with(&lines, &dots, &names)?))
        h2 { "Numbers" }
        (facts(&rows))
    };
    Ok(document(&format!("{}: {}", task.by.title(), task.file.display()), &body))
}
