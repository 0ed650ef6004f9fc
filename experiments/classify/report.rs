//! report.html of a classifier.

use anyhow::Result;
use burn::tensor::Tensor;
use maud::{Markup, PreEscaped, html};
use thermograd::{Key, to_f64};
use thermograd_experiments::report::{
    COLOURS, Chart, Line, confusion, counted, document, facts, fields, grey, learning, percent, pushes, row,
    settings, spread, uri,
};
use thermograd_experiments::workbench::{Bench, Dataset, Metric};
use thermograd_models::{Classifier, Evaluation, Examples, ranking};

use crate::settings::Settings;
use crate::summary::Summary;

/// The whole page.
pub fn page(
    s: &Settings,
    bench: &Bench,
    classifier: &Classifier,
    evaluation: &Evaluation,
    summary: &Summary,
    metrics: &[Metric],
) -> Result<String> {
    let test = bench.data.reported(s.against_held_out);
    let body = html! {
        (facts(&numbers(s, classifier, evaluation, summary)))
        (learning(metrics, "one trajectory")?)
        h2 { "Confusion" }
        p { "Rows: the true class; columns: the class that was read; counts over images and trajectories." }
        (confusion(&evaluation.confusion))
        (gallery(classifier, test, s.source.dataset, bench.key.fork("gallery"))?)
        (read_out(evaluation)?)
        (coupling_fields(classifier, test.width())?)
        (settings(s)?)
    };
    Ok(document(&format!("A thermodynamic computer reads {}", s.source.dataset.shows()), &body))
}

fn numbers(
    settings: &Settings,
    classifier: &Classifier,
    evaluation: &Evaluation,
    summary: &Summary,
) -> Vec<(&'static str, String)> {
    let Summary { dataset, trainer, seed, backend, trajectories, advantage, .. } = summary;
    let spread = spread(summary.top1_single_sd);
    let [top1, top2] = [summary.top1_avg, summary.top2_avg].map(percent);
    let (macs, price) = (classifier.digital_macs(), settings.mac_picojoule);
    vec![
        ("data", format!("{dataset}, {} {} images", evaluation.images, summary.images)),
        ("trainer", format!("{trainer}, seed {seed}, backend {backend}")),
        ("one trajectory", percent(summary.top1_single) + &spread),
        (
            "average of trajectories",
            format!(
                "{top1} over {}, at {:.3e} kT; two guesses {top2}",
                counted(*trajectories, "trajectory"),
                summary.heat_kt_avg
            ),
        ),
        ("without noise", percent(evaluation.top1_noiseless)),
        ("heat of one trajectory", format!("{:.3e} kT (s.d. {:.1e})", summary.heat_kt, summary.heat_kt_sd)),
        (
            "digital counterpart",
            format!(
                "{macs} multiply–accumulates at {price} pJ: {advantage:.1e} times the heat. The heat is that of the \
                 trajectory only; it does not include clamping, read-out and reset."
            ),
        ),
        ("training", format!("{:.1} s", summary.train_seconds)),
    ]
}

/// Eight images, four read correctly and four incorrectly, with their output trajectories.
fn gallery(classifier: &Classifier, test: &Examples, dataset: Dataset, key: Key) -> Result<Markup> {
    let (mut right, mut wrong) = (Vec::new(), Vec::new());
    for index in 0..test.len() {
        let label = test.label(index);
        let wanted = |side: &[Shown]| {
            side.len() < 4 && side.iter().all(|other: &Shown| test.label(other.index) != label)
        };
        if !wanted(&right) && !wanted(&wrong) {
            continue;
        }
        let shown = Shown::run(classifier, test, index, key)?;
        let side = if shown.answer == label { &mut right } else { &mut wrong };
        if wanted(side) {
            side.push(shown);
        }
    }
    let cards =
        |side: &[Shown]| side.iter().map(|shown| shown.card(test, dataset)).collect::<Result<Vec<_>>>();
    Ok(html! {
        h2 { "Output trajectories" }
        p {
            "One trajectory for each of eight images: the ten outputs under thermal noise, from rest to the read-out. \
             The largest output at the end is the answer."
        }
        @for (class, side) in [("row right", &right), ("row wrong", &wrong)] {
            div class=(class) { @for card in cards(side)? { (card) } }
        }
    })
}

struct Shown {
    index: usize,
    answer: usize,
    /// One per class.
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

    fn card(&self, test: &Examples, dataset: Dataset) -> Result<Markup> {
        let names: Vec<String> = (0..self.lines.len()).map(|class| dataset.class(class)).collect();
        let (label, answer) = (test.label(self.index), self.answer);
        let line = |(class, points): (usize, &Vec<(f64, f64)>)| {
            let (name, width) =
                if class == label || class == answer { (&names[class][..], 2) } else { ("", 1) };
            Line { name, colour: COLOURS[class % COLOURS.len()], width, points: points.clone() }
        };
        let lines: Vec<Line> = self.lines.iter().enumerate().map(line).collect();
        let chart = Chart { title: "", x: "time, 1/μ", y: "output", size: (276, 210), y_range: None };
        let image = uri(&grey(test.pixels(self.index), test.width()).png()?);
        Ok(html! {
            div class="card" {
                img src=(image) width="56" alt=(names[label]);
                " " b { (names[label]) ", read as " (names[answer]) } br;
                (PreEscaped(chart.svg(&lines)?))
            }
        })
    }
}

fn read_out(evaluation: &Evaluation) -> Result<Markup> {
    let chart = |x: &str, points: Vec<(f64, f64)>| {
        let y_range = Some((0.0, 100.0));
        Chart { title: "", x, y: "accuracy, %", size: (560, 300), y_range }.line(points)
    };
    let reads = || evaluation.read_outs.iter().map(|read| (read, 100.0 * read.accuracy));
    let charts = [
        chart("time, 1/μ", reads().map(|(read, percent)| (read.time, percent)).collect())?,
        chart("mean heat, 1000 kT", reads().map(|(read, percent)| (1e-3 * read.heat, percent)).collect())?,
    ];
    Ok(html! {
        h2 { "Read-out time" }
        p {
            "Accuracy of one trajectory if the outputs are read earlier, against time and against the mean heat given \
             off by then."
        }
        (row("row", &charts))
    })
}

/// The couplings of each free unit to the image.
fn coupling_fields(classifier: &Classifier, width: usize) -> Result<Markup> {
    let topology = classifier.substrate.topology();
    let section = |(index, block): (usize, &thermograd::Block)| -> Option<Result<Markup>> {
        topology.clamped().find(|group| group.name == block.from)?;
        let pushes = pushes(classifier.substrate.coupling(index).transpose(), usize::MAX);
        let caption = format!(
            "−J from the image to each {} unit: a bright pixel pushes the unit up where it is red and down where it is \
             blue; every field on its own scale.",
            block.to
        );
        let heading = format!("Coupling fields: {}", block.to);
        Some(fields(&heading, &pushes, width, 16.min(pushes.len()), &caption))
    };
    let sections = topology.blocks.iter().enumerate().filter_map(section).collect::<Result<Vec<_>>>()?;
    Ok(html! { @for section in sections { (section) } })
}
