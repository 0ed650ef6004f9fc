//! report.html of a classifier.

use anyhow::Result;
use burn::tensor::Tensor;
use thermograd::{Key, to_f64};
use thermograd_experiments::figures::{COLOURS, Chart, Line, grey, mosaic, png_uri};
use thermograd_experiments::report::Report;
use thermograd_experiments::training::Metric;
use thermograd_models::{Classifier, Evaluation, Examples, ranking};

use crate::Summary;
use crate::settings::Settings;

/// The whole page.
pub fn page(
    settings: &Settings,
    classifier: &Classifier,
    test: &Examples,
    evaluation: &Evaluation,
    summary: &Summary,
    metrics: &[Metric],
    key: Key,
) -> Result<String> {
    let mut page = Report::new("A thermodynamic computer reads digits");
    facts(&mut page, settings, classifier, evaluation, summary);
    if !metrics.is_empty() {
        learning(&mut page, metrics)?;
    }
    page.section("Confusion")
        .text("Rows: the digit; columns: what it was read as; counts over images and trajectories.")
        .confusion(&evaluation.confusion);
    gallery(&mut page, classifier, test, key)?;
    read_out(&mut page, evaluation)?;
    fields(&mut page, classifier, test.width())?;
    page.section("Settings").markup(&format!(
        "<pre>{}</pre>",
        thermograd_experiments::report::escape(&toml::to_string(settings)?)
    ));
    Ok(page.html())
}

fn facts(
    page: &mut Report,
    settings: &Settings,
    classifier: &Classifier,
    evaluation: &Evaluation,
    summary: &Summary,
) {
    let percent = |part: f64| format!("{:.2} %", 100.0 * part);
    let macs = classifier.digital_macs();
    page.facts(&[
        ("data", format!("{}, {} test images", summary.dataset, evaluation.images)),
        ("trainer", format!("{}, seed {}, backend {}", summary.trainer, summary.seed, summary.backend)),
        (
            "one trajectory",
            percent(summary.top1_single) + &crate::spread(summary.top1_single_sd),
        ),
        (
            "average of trajectories",
            format!("{} over {}; two guesses {}", percent(summary.top1_avg), summary.trajectories, percent(summary.top2_avg)),
        ),
        ("without noise", percent(evaluation.top1_noiseless)),
        ("heat of one inference", format!("{:.3e} kT (s.d. {:.1e})", summary.heat_kt, summary.heat_kt_sd)),
        (
            "digital counterpart",
            format!(
                "{macs} multiply–accumulates at {} pJ: {:.1e} times the heat. The heat is that of the trajectory alone: \
                 clamping, read-out and reset are not in it.",
                settings.mac_picojoule, summary.advantage
            ),
        ),
        ("training", format!("{:.1} s", summary.train_seconds)),
    ]);
}

fn learning(page: &mut Report, metrics: &[Metric]) -> Result<()> {
    page.section("Learning");
    let mut stages: Vec<&str> = metrics.iter().map(|metric| metric.stage.as_str()).collect();
    stages.dedup();
    let mut row = String::from("<div class=\"row\">");
    for stage in stages.into_iter().filter(|stage| *stage != "exact") {
        let of_stage = || metrics.iter().filter(move |metric| metric.stage == stage);
        let chart = |title: &str, y: &str, points: Vec<(f64, f64)>| {
            let chart = Chart { title, x: "epoch", y, size: (560, 280), y_range: None };
            chart.svg(&[Line { name: "", colour: COLOURS[0], width: 2, points }])
        };
        let losses = of_stage().filter_map(|metric| Some((metric.epoch as f64, metric.loss?))).collect();
        row += &chart(&format!("{stage}: mean loss of an epoch"), "loss", losses)?;
        let accuracies =
            of_stage().filter_map(|metric| Some((metric.epoch as f64, 100.0 * metric.held_out_accuracy?)));
        row += &chart(
            &format!("{stage}: held-out images, one trajectory"),
            "accuracy, %",
            accuracies.collect(),
        )?;
    }
    page.markup(&(row + "</div>"));
    Ok(())
}

/// Eight digits, four read rightly and four wrongly, with their output trajectories.
fn gallery(page: &mut Report, classifier: &Classifier, test: &Examples, key: Key) -> Result<()> {
    page.section("Output trajectories").text(
        "One trajectory each of eight digits: the ten outputs, shaken by thermal noise, from rest to the read-out. The \
         largest at the end is the answer.",
    );
    let (mut right, mut wrong) = (Vec::new(), Vec::new());
    let key = key.fork("gallery");
    for index in 0..test.len() {
        if right.len() >= 4 && wrong.len() >= 4 {
            break;
        }
        let label = test.label(index);
        let side =
            |side: &[Shown]| side.len() < 4 && side.iter().all(|other| test.label(other.index) != label);
        if !side(&right) && !side(&wrong) {
            continue;
        }
        let shown = Shown::run(classifier, test, index, key)?;
        let list = if shown.answer == label { &mut right } else { &mut wrong };
        if list.len() < 4 && list.iter().all(|other: &Shown| test.label(other.index) != label) {
            list.push(shown);
        }
    }
    for (class, list) in [("right", right), ("wrong", wrong)] {
        let mut row = format!("<div class=\"row {class}\">");
        for shown in list {
            row += &shown.card(test)?;
        }
        page.markup(&(row + "</div>"));
    }
    Ok(())
}

struct Shown {
    index: usize,
    answer: usize,
    /// One a class.
    lines: Vec<Vec<(f64, f64)>>,
}

impl Shown {
    fn run(classifier: &Classifier, test: &Examples, index: usize, key: Key) -> Result<Self> {
        let (field, x0) = classifier.prepare(test, &[index])?;
        let key = key.skip(index as u64);
        let trajectory = classifier.substrate.trajectory(x0, field, classifier.schedule, 1, key)?;
        let outputs = classifier.outputs();
        let answer = ranking(&classifier.read(&trajectory.last()))[0];
        let [times, _, _] = trajectory.states.dims();
        let states: Tensor<2> = trajectory.states.squeeze_dim(1);
        let values = to_f64(states.slice_dim(1, outputs.clone()));
        let line = |class: usize| {
            (0..times).map(|t| (t as f64 * trajectory.interval, values[t * outputs.len() + class])).collect()
        };
        Ok(Self { index, answer, lines: (0..outputs.len()).map(line).collect() })
    }

    fn card(&self, test: &Examples) -> Result<String> {
        let names: Vec<String> = (0..self.lines.len()).map(|class| class.to_string()).collect();
        let label = test.label(self.index);
        let line = |(class, points): (usize, &Vec<(f64, f64)>)| Line {
            name: if class == label || class == self.answer { &names[class] } else { "" },
            colour: COLOURS[class % COLOURS.len()],
            width: if class == label || class == self.answer { 2 } else { 1 },
            points: points.clone(),
        };
        let lines: Vec<Line> = self.lines.iter().enumerate().map(line).collect();
        let title = "";
        let chart = Chart { title, x: "time, 1/μ", y: "output", size: (276, 210), y_range: None };
        let image = png_uri(test.width(), &grey(test.pixels(self.index)))?;
        Ok(format!(
            "<div class=\"card\"><img src=\"{image}\" width=\"56\" alt=\"a {label}\"> <b>a {label}, read as {}</b><br>{}</div>",
            self.answer,
            chart.svg(&lines)?
        ))
    }
}

fn read_out(page: &mut Report, evaluation: &Evaluation) -> Result<()> {
    page.section("When to read").text(
        "Accuracy of one trajectory if the outputs were read earlier, against time and against the mean heat given off \
         until then.",
    );
    let chart = |x: &str, points: Vec<(f64, f64)>| {
        let chart = Chart { title: "", x, y: "accuracy, %", size: (560, 300), y_range: Some((0.0, 100.0)) };
        chart.svg(&[Line { name: "", colour: COLOURS[0], width: 2, points }])
    };
    let reads = || evaluation.read_outs.iter().map(|read| (read, 100.0 * read.accuracy));
    let row = format!(
        "<div class=\"row\">{}{}</div>",
        chart("time, 1/μ", reads().map(|(read, percent)| (read.time, percent)).collect())?,
        chart("mean heat, 1000 kT", reads().map(|(read, percent)| (1e-3 * read.heat, percent)).collect())?
    );
    page.markup(&row);
    Ok(())
}

/// The couplings of each free unit to the image.
fn fields(page: &mut Report, classifier: &Classifier, width: usize) -> Result<()> {
    let topology = classifier.substrate.topology();
    for (index, block) in topology.blocks.iter().enumerate() {
        let from = topology.group(&block.from)?;
        if !topology.groups[from].clamped {
            continue;
        }
        let coupling = classifier.substrate.coupling(index).transpose();
        let [units, pixels] = coupling.dims();
        let values: Vec<f32> = to_f64(coupling.inner()).into_iter().map(|value| -value as f32).collect();
        let fields: Vec<Vec<f32>> = values.chunks(pixels).map(<[f32]>::to_vec).collect();
        let (total, picture) = mosaic(&fields, width, 16.min(units));
        let caption = format!(
            "−J from the image to each {} unit: a bright pixel pushes the unit up where it is red and down where it is \
             blue; every field on its own scale.",
            block.to
        );
        page.section(&format!("Coupling fields: {}", block.to)).picture(
            &png_uri(total, &picture)?,
            total,
            2,
            &caption,
        );
    }
    Ok(())
}
