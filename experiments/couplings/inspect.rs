//! What a file of couplings holds, and in what two of them differ.

use std::path::Path;

use anyhow::Result;
use burn::tensor::Device;
use thermograd::export::schema::VERSION;
use thermograd::{Couplings, Start};
use thermograd_experiments::figures::{COLOURS, Chart, Line, mosaic, png_uri};
use thermograd_experiments::report::{Report, escape};
use thermograd_experiments::run;

use crate::arguments::{Diff, Inspect, load};

/// `couplings inspect`.
pub fn inspect(task: &Inspect) -> Result<()> {
    let couplings = load(&task.file)?;
    if task.json {
        println!("{}", couplings.describe());
    } else {
        for (name, value) in facts(&task.file, &couplings)? {
            println!("{name:<22}{value}");
        }
        println!("{:<22}{:>9} {:>8} {:>10} {:>10} {:>10}", "", "number", "zero", "mean", "s.d.", "largest");
        for (name, values) in &values(&couplings) {
            println!("  {name:<20}{}", Strength::of(values).row());
        }
    }
    if let Some(file) = &task.report {
        run::write(file, page(&task.file, &couplings)?.as_bytes())?;
        println!("report: {}", file.display());
    }
    Ok(())
}

fn facts(file: &Path, couplings: &Couplings) -> Result<Vec<(String, String)>> {
    let description = &couplings.description;
    let mut facts: Vec<(String, String)> = Vec::new();
    let mut say = |name: &str, value: String| facts.push((name.into(), value));
    say("file", format!("{}, description version {}", file.display(), VERSION));
    for group in &description.substrate.topology.groups {
        let units = format!("{} units", group.units);
        let kind = match group.clamped {
            true => "clamped".into(),
            false => format!(
                "J2 = {}, J4 = {}, mu = {}{}",
                group.j2,
                group.j4,
                group.mobility,
                if group.bias { "" } else { ", no bias" }
            ),
        };
        say(&format!("group {}", group.name), format!("{units}, {kind}"));
    }
    let schedule = description.schedule;
    say("kT", description.substrate.kt.to_string());
    say(
        "schedule",
        format!("{} steps of {} to t_f = {:.4}", schedule.steps, schedule.dt, schedule.duration()),
    );
    say("start", if description.start == Start::Noise { "thermal noise".into() } else { "rest".into() });
    if let Some(n) = description.normalisation {
        let norm = n.norm.map_or(String::new(), |norm| format!(", then to norm {norm:.4}"));
        say("images", format!("(p/255 - {:.6})/{:.6}{norm}", n.offset, n.scale));
    }
    if let Some(course) = &description.course {
        say("course", format!("{} knots to t = {}", course.times.len(), course.times.last().unwrap_or(&0.0)));
    }
    if description.offset != 0.0 {
        say("offset", description.offset.to_string());
    }
    // The limit takes the eigenvalues of all free units: minutes beyond some thousands.
    if description.substrate.topology.free_units() <= 2000 {
        let limit = couplings.substrate(&Device::flex())?.step_limit();
        say("largest stable step", format!("{limit:.3e}"));
    }
    let zero = |(name, values): &(String, Vec<f32>)| {
        if name.starts_with('J') { Strength::of(values).zero } else { 0 }
    };
    let zeros: usize = values(couplings).iter().map(zero).sum();
    say("couplings", format!("{}, of which {zeros} are zero", couplings.count()));
    Ok(facts)
}

/// Values of every block, each pair once, and of every other tensor.
fn values(couplings: &Couplings) -> Vec<(String, Vec<f32>)> {
    let topology = &couplings.description.substrate.topology;
    let mut all: Vec<(String, Vec<f32>)> = Vec::new();
    for block in &topology.blocks {
        let own = couplings.pairs(block).map(|(_, coupling)| coupling).collect();
        all.push((format!("J {}", block.name()), own));
    }
    let others = couplings.tensors.iter().filter(|(name, _)| !name.starts_with("J."));
    all.extend(others.map(|(name, (_, values))| (name.replacen('.', " ", 1), values.clone())));
    all
}

/// Statistics of some values.
struct Strength {
    count: usize,
    zero: usize,
    mean: f64,
    sd: f64,
    largest: f64,
}

impl Strength {
    fn of(values: &[f32]) -> Self {
        let count = values.len();
        let n = count.max(1) as f64;
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
        let square = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>();
        let largest = values.iter().fold(0.0, |largest: f64, &v| largest.max(f64::from(v).abs()));
        Self {
            count,
            zero: values.iter().filter(|&&v| v == 0.0).count(),
            mean,
            sd: (square / n).sqrt(),
            largest,
        }
    }

    fn row(&self) -> String {
        format!(
            "{:>9} {:>8} {:>+10.4} {:>10.4} {:>10.4}",
            self.count, self.zero, self.mean, self.sd, self.largest
        )
    }
}

/// Bins of a histogram.
const BINS: usize = 60;

fn page(file: &Path, couplings: &Couplings) -> Result<String> {
    let name = file.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let mut page = Report::new(&format!("Couplings: {name}"));
    let facts = facts(file, couplings)?;
    let rows: Vec<(&str, String)> =
        facts.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    page.facts(&rows);
    page.section("Strengths")
        .text("Each pair once; the number of couplings (or biases) of a block by their value.");
    let axis = format!("energy, at kT = {}", couplings.description.substrate.kt);
    let mut charts = String::from("<div class=\"row\">");
    for (place, (name, values)) in values(couplings).iter().enumerate() {
        if values.len() < 2 {
            continue;
        }
        let strength = Strength::of(values);
        let edge = f64::from(strength.largest as f32).max(1e-12);
        let mut bins = vec![0.0; BINS];
        for value in values {
            let part = (f64::from(*value) / edge + 1.0) / 2.0;
            bins[((part * BINS as f64) as usize).min(BINS - 1)] += 1.0;
        }
        let width = 2.0 * edge / BINS as f64;
        let step = |(bin, count): (usize, &f64)| {
            let left = -edge + bin as f64 * width;
            [(left, *count), (left + width, *count)]
        };
        let points = bins.iter().enumerate().flat_map(step).collect();
        let colour = COLOURS[place % COLOURS.len()];
        let title =
            format!("{name}: {} values, {} zero, s.d. {:.3}", values.len(), strength.zero, strength.sd);
        let chart = Chart { title: &title, x: &axis, y: "number", size: (560, 240), y_range: None };
        charts.push_str(&chart.svg(&[Line { name: "", colour, width: 2, points }])?);
    }
    page.markup(&(charts + "</div>"));
    fields(&mut page, couplings)?;
    page.section("Description").markup(&format!("<pre>{}</pre>", escape(&couplings.describe())));
    Ok(page.html())
}

/// Couplings of square groups as pictures.
fn fields(page: &mut Report, couplings: &Couplings) -> Result<()> {
    const MOST: usize = 64;
    let topology = &couplings.description.substrate.topology;
    for block in &topology.blocks {
        let ends =
            [&block.from, &block.to].map(|name| topology.groups.iter().find(|group| group.name == *name));
        let (Some(from), Some(to)) = (ends[0], ends[1]) else {
            continue;
        };
        let side = from.units.isqrt();
        if side < 4 || side * side != from.units || from.name == to.name {
            continue;
        }
        let Some(dense) = couplings.dense(&from.name, &to.name) else {
            continue;
        };
        let field = |unit: usize| (0..from.units).map(|i| dense[i * to.units + unit]).collect::<Vec<f32>>();
        let fields: Vec<Vec<f32>> = (0..to.units.min(MOST)).map(field).collect();
        let (width, pixels) = mosaic(&fields, side, 16.min(fields.len()));
        let caption = format!(
            "Couplings from {} to the first {} units of {}: blue favours equal signs, red opposite ones; each picture has its own scale.",
            from.name,
            fields.len(),
            to.name
        );
        page.section(&format!("From {} to {}", from.name, to.name)).picture(
            &png_uri(width, &pixels)?,
            width,
            2,
            &caption,
        );
    }
    Ok(())
}

/// `couplings diff`: whether they are the same.
pub fn diff(task: &Diff) -> Result<bool> {
    let (one, other) = (load(&task.one)?, load(&task.other)?);
    let mut same = true;
    let mut tell = |text: String| {
        println!("{text}");
        same = false;
    };
    let (a, b) = (
        serde_json::from_str(&one.description.to_json())?,
        serde_json::from_str(&other.description.to_json())?,
    );
    describe_differences("", &a, &b, &mut tell);
    let names: std::collections::BTreeSet<&String> = one.tensors.keys().chain(other.tensors.keys()).collect();
    for name in names {
        match (one.tensors.get(name), other.tensors.get(name)) {
            (Some((a, left)), Some((b, right))) if a == b => {
                let difference = |(a, b): (&f32, &f32)| f64::from(*a) - f64::from(*b);
                let all: Vec<f64> = left.iter().zip(right).map(difference).collect();
                let differ = all.iter().filter(|d| d.abs() > task.tolerance).count();
                let largest = all.iter().fold(0.0_f64, |largest, d| largest.max(d.abs()));
                let square = all.iter().map(|d| d * d).sum::<f64>() / all.len().max(1) as f64;
                if differ > 0 {
                    let rms = square.sqrt();
                    tell(format!(
                        "{name}: {differ} of {} values differ, by {rms:.3e} (rms), {largest:.3e} at most",
                        all.len()
                    ));
                }
            }
            (Some((a, _)), Some((b, _))) => tell(format!("{name}: shape {a:?} and {b:?}")),
            (Some(_), None) => tell(format!("{name}: only in {}", task.one.display())),
            _ => tell(format!("{name}: only in {}", task.other.display())),
        }
    }
    if same {
        println!("the same: {} couplings", one.count());
    }
    Ok(same)
}

/// Tells the places in which two descriptions differ.
fn describe_differences(
    at: &str,
    a: &serde_json::Value,
    b: &serde_json::Value,
    tell: &mut impl FnMut(String),
) {
    use serde_json::Value::{Array, Object};
    match (a, b) {
        (Object(left), Object(right)) => {
            let names: std::collections::BTreeSet<&String> = left.keys().chain(right.keys()).collect();
            for name in names {
                let none = serde_json::Value::Null;
                let (a, b) = (left.get(name).unwrap_or(&none), right.get(name).unwrap_or(&none));
                describe_differences(&format!("{at}.{name}"), a, b, tell);
            }
        }
        (Array(left), Array(right)) if left.len() == right.len() && left.len() < 100 => {
            for (place, (a, b)) in left.iter().zip(right).enumerate() {
                describe_differences(&format!("{at}[{place}]"), a, b, tell);
            }
        }
        _ if a != b => {
            let short = |value: &serde_json::Value| value.to_string().chars().take(60).collect::<String>();
            tell(format!("description{at}: {} and {}", short(a), short(b)));
        }
        _ => {}
    }
}
