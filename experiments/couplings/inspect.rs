//! Shows what a file of couplings holds.

use std::path::Path;

use anyhow::Result;
use burn::tensor::Device;
use maud::{Markup, html};
use thermograd::export::schema::VERSION;
use thermograd::{Couplings, Sampling, Start};
use thermograd_experiments::report::{COLOURS, Chart, Line, counted, document, facts as table, fields, row};
use thermograd_experiments::say;
use thermograd_experiments::workbench::run::load;
use thermograd_experiments::workbench::{output, run};

use crate::arguments::Inspect;

/// `couplings inspect`.
pub fn inspect(task: &Inspect) -> Result<()> {
    run::keep_apart([&task.file], &task.report)?;
    let couplings = load(&task.file)?;
    if task.json {
        say!("{}", couplings.describe());
    } else {
        for (name, value) in facts(&task.file, &couplings)? {
            say!("{name:<22}{value}");
        }
        say!("{:<22}{:>9} {:>8} {:>10} {:>10} {:>10}", "", "number", "zero", "mean", "s.d.", "largest");
        for (name, values) in &values(&couplings) {
            say!("  {name:<20}{}", Strength::of(values).row());
        }
    }
    if let Some(file) = &task.report {
        run::write(file, page(&task.file, &couplings)?.as_bytes())?;
        // Nothing else is printed next to JSON.
        let text = format!("report: {}", file.display());
        if task.json { output::aside(format_args!("{text}")) } else { say!("{text}") }
    }
    Ok(())
}

fn facts(file: &Path, couplings: &Couplings) -> Result<Vec<(String, String)>> {
    let description = &couplings.description;
    let mut facts: Vec<(String, String)> = Vec::new();
    let mut say = |name: &str, value: String| facts.push((name.into(), value));
    say("file", format!("{}, description version {}", file.display(), VERSION));
    for group in &description.substrate.topology.groups {
        let units = counted(group.units, "unit");
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
    if let Some(sampling @ Sampling { betas, burn_in, sweeps, .. }) = &description.sampling {
        let betas =
            betas.iter().map(|(group, beta)| format!("{group} {beta}")).collect::<Vec<_>>().join(", ");
        say("spins", format!("{burn_in} sweeps of burn-in, {sweeps} averaged"));
        say("temperatures", format!("{}; beta: {betas}", sampling.realisation()));
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
        if let Some(kt) = &course.kt {
            let knots: Vec<String> = kt.iter().map(f64::to_string).collect();
            say("kT at the knots", knots.join(", "));
        }
    }
    if description.offset != 0.0 {
        say("offset", description.offset.to_string());
    }
    // Spins have no time step. The limit needs the largest eigenvalue over all free units, which takes minutes beyond some thousands.
    if description.sampling.is_none() && description.substrate.topology.free_units() <= 2000 {
        let limit = couplings.substrate(&Device::flex())?.step_limit();
        let without = if description.course.is_some() { ", without the course" } else { "" };
        say("largest stable step", format!("{limit:.3e}{without}"));
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
        let values = couplings.pairs(block).map(|(_, coupling)| coupling).collect();
        all.push((format!("J {}", block.name()), values));
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
    let axis = format!("energy, at kT = {}", couplings.description.substrate.kt);
    let values = values(couplings);
    let drawn = values.iter().enumerate().filter(|(_, (_, values))| values.len() >= 2);
    let charts = drawn.map(|(index, (name, values))| histogram(name, values, &axis, index));
    let body = html! {
        (table(&facts(file, couplings)?))
        h2 { "Strengths" }
        p { "Each pair once; the number of couplings (or biases) of a block by their value." }
        (row("row", &charts.collect::<Result<Vec<_>>>()?))
        (pictures(couplings)?)
        h2 { "Description" }
        pre { (couplings.describe()) }
    };
    Ok(document(&format!("Couplings: {name}"), &body))
}

/// The number of values per bin.
fn histogram(name: &str, values: &[f32], axis: &str, colour: usize) -> Result<String> {
    let strength = Strength::of(values);
    let edge = strength.largest.max(1e-12);
    let mut bins = vec![0.0; BINS];
    for value in values {
        let fraction = (f64::from(*value) / edge + 1.0) / 2.0;
        bins[((fraction * BINS as f64) as usize).min(BINS - 1)] += 1.0;
    }
    let width = 2.0 * edge / BINS as f64;
    let step = |(bin, count): (usize, &f64)| {
        let left = -edge + bin as f64 * width;
        [(left, *count), (left + width, *count)]
    };
    let points = bins.iter().enumerate().flat_map(step).collect();
    let title = format!("{name}: {} values, {} zero, s.d. {:.3}", values.len(), strength.zero, strength.sd);
    let chart = Chart { title: &title, x: axis, y: "number", size: (560, 240), y_range: None };
    chart.svg(&[Line { name: "", colour: COLOURS[colour % COLOURS.len()], width: 2, points }])
}

/// Pictures of the couplings of square groups.
fn pictures(couplings: &Couplings) -> Result<Markup> {
    const MOST: usize = 64;
    const LARGEST: usize = 256;
    let topology = &couplings.description.substrate.topology;
    let mut sections = Vec::new();
    for block in &topology.blocks {
        let [from, to] = [&block.from, &block.to];
        let units = |name: &str| topology.group(name).map(|index| topology.groups[index].units);
        let (rows, columns) = (units(from)?, units(to)?);
        let side = rows.isqrt();
        if !(4..=LARGEST).contains(&side) || side * side != rows || from == to {
            continue;
        }
        let shown = columns.min(MOST);
        let mut pictures = vec![vec![0.0; rows]; shown];
        for ([i, j], coupling) in couplings.pairs(block).filter(|([_, j], _)| *j < shown) {
            pictures[j][i] = -coupling;
        }
        let caption = format!(
            "−J from {from} to the first {shown} units of {to}: a unit of {from} above zero pushes one of {to} up where \
             it is red and down where it is blue; each \
             picture has its own scale."
        );
        sections.push(fields(&format!("From {from} to {to}"), &pictures, side, 16.min(shown), &caption)?);
    }
    Ok(html! { @for section in sections { (section) } })
}
