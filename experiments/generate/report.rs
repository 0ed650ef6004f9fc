//! report.html of a generator, and its pictures.

use anyhow::Result;
use burn::tensor::Tensor;
use maud::{Markup, html};
use thermograd::{Estimate, Ledger, Step, SubstrateConfig, Topology, to_f64};
use thermograd_experiments::report::{
    COLOURS, Chart, Line, animation, document, facts, fields, figure, image, learning, pushes, row, settings,
    tiles,
};
use thermograd_experiments::workbench::{Metric, name};
use thermograd_models::generator::adiabatic::ADIABATIC_STEP;
use thermograd_models::generator::noising::level;
use thermograd_models::{Denoised, Generator, HiddenUnits, Scores};

use crate::judgement::{AtStrength, Evaluation};
use crate::settings::{Mode, Settings};
use crate::summary::{Summary, kt};
use crate::{CLASSES, Drawn, Gallery, Model, Setup};

/// The page, and pictures as separate files.
pub struct Page {
    /// report.html.
    pub html: String,
    /// Files by name.
    pub pictures: Vec<(&'static str, Vec<u8>)>,
}

/// The number of images of the animation.
const FILMED: usize = 30;

/// The number of frames of the animation.
const FRAMES: usize = 36;

/// The whole page.
pub fn page(
    setup: &Setup,
    model: &Model,
    gallery: &Gallery,
    evaluation: &Evaluation,
    summary: &Summary,
    metrics: &[Metric],
) -> Result<Page> {
    let width = setup.bench.data.train.width();
    let (title, computer) = match model {
        Model::Computer(generator) => ("A thermodynamic computer makes images from noise", Some(generator)),
        Model::Network(_) => ("A conventional network makes images from noise", None),
    };
    let film = computer.map(|generator| Film::shoot(setup, generator)).transpose()?;
    let digits = film.as_ref().map(|film| film.condensing(width)).transpose()?;
    let body = html! {
        (facts(&numbers(&setup.settings, evaluation, summary)))
        (scores(evaluation))
        @if !evaluation.strengths.is_empty() { (by_heat(&evaluation.strengths)?) }
        (grid(gallery, width, summary)?)
        (failures(gallery, evaluation, width, summary)?)
        (neighbours(setup, gallery, width)?)
        @if let (Some(generator), Some(film), Some((condensing, _))) = (computer, &film, &digits) {
            (condensing)
            (film.strip(width)?)
            (noising(setup, generator, width)?)
            (film.energy()?)
            @if let Some(denoising) = &evaluation.denoising { (left_to_know(denoising)?) }
            (coupling_fields(generator, width)?)
        }
        (learning(metrics, "one trajectory")?)
        (settings(&setup.settings)?)
    };
    let pictures = digits.into_iter().map(|(_, bytes)| ("digits.png", bytes)).collect();
    Ok(Page { html: document(title, &body), pictures })
}

fn numbers(settings: &Settings, evaluation: &Evaluation, summary: &Summary) -> Vec<(&'static str, String)> {
    let told = |estimate: Option<Estimate>| match estimate {
        Some(estimate) => kt(estimate),
        None => "unknown, because hidden units are not simulated".into(),
    };
    let mut rows = vec![
        ("data", format!("{}, seed {}, against {}", summary.dataset, summary.seed, evaluation.reference)),
        (
            "judge",
            format!("reads {:.2} % of the held-out images correctly", 100.0 * evaluation.judge_accuracy),
        ),
        (
            "training",
            match &settings.eval {
                Some(file) => format!("none here: couplings of {}", file.display()),
                None => format!("{:.1} s", summary.train_seconds),
            },
        ),
    ];
    if settings.mode == Mode::Diffusion {
        let macs = evaluation.digital_macs.unwrap_or(f64::NAN);
        let guided = format!("guidance {}, {} steps", settings.guidance, settings.diffusion.steps);
        rows.push(("digital cost per image", format!("{macs:.2e} multiply–accumulates ({guided})")));
        return rows;
    }
    if let Some(gain) = summary.gain {
        rows.push((
            "gain",
            format!("{gain} on couplings and biases after training; 1 is the optimum of training"),
        ));
    }
    rows.push(("heat of an image", told(evaluation.heat_kt)));
    if settings.mode == Mode::Classes {
        rows.push(("work of the protocol", told(evaluation.work_kt)));
    }
    rows.push((
        "not counted",
        "setting the start, holding labels, moving biases and wells, reading out: the heat is that of the \
         trajectories alone"
            .into(),
    ));
    rows
}

fn scores(evaluation: &Evaluation) -> Markup {
    let generated = evaluation.generated.iter();
    let generated = generated.map(|(name, scores)| (format!("generated, {name} read-out"), scores));
    let calibration = evaluation.calibration.iter().map(|(name, scores)| (name.clone(), scores));
    let row = |(name, s): (String, &Scores)| {
        let percent = |fraction: f64| format!("{:.1} %", 100.0 * fraction);
        let cells = [
            s.n.to_string(),
            s.recognised.map_or("–".into(), percent),
            percent(s.accuracy),
            format!("{:.1}", s.frechet),
            format!("{:.2}", s.precision),
            format!("{:.2}", s.recall),
            format!("{:.2}", s.class_entropy),
        ];
        html! { tr { th { (name) } @for cell in cells { td { (cell) } } } }
    };
    html! {
        h2 { "Scores" }
        p {
            "Recognised, if images are stored: correlates with one of them by more than 0.7, and more than with the \
             mean of any two. Accuracy: the judge reads the requested class or, if images are stored, the class of the \
             most similar one. Fréchet distance, precision and recall use the features of the \
             judge, so they cannot be compared with published numbers; compare with the rows below instead. Small n \
             biases the distance upwards."
        }
        table class="facts" {
            tr {
                th {}
                @for name in ["n", "recognised", "accuracy", "Fréchet distance", "precision", "recall", "class entropy"] {
                    th { (name) }
                }
            }
            @for scores in generated.chain(calibration) { (row(scores)) }
        }
    }
}

/// A hundred images, ten of each class if classes can be requested.
fn grid(gallery: &Gallery, width: usize, summary: &Summary) -> Result<Markup> {
    let readout = name(&summary.readout);
    let images = &gallery.drawn[&readout[..]].images;
    let picture = tiles(images.chunks(images.len() / summary.scores.n).take(100), width, 10);
    let shown = summary.scores.n.min(100);
    let caption = format!("The first {shown} images, {readout} read-out, none left out.");
    Ok(html! { h2 { "Samples" } (figure(&picture, 2, &caption)?) })
}

/// Images that the judge reads as another class.
fn failures(gallery: &Gallery, evaluation: &Evaluation, width: usize, summary: &Summary) -> Result<Markup> {
    let readout = name(&summary.readout);
    let misread = &evaluation.misread[&readout];
    if misread.is_empty() {
        return Ok(html! { h2 { "Failures" } p { "The judge reads no image as another class." } });
    }
    let images = &gallery.drawn[&readout[..]].images;
    let each = images.len() / summary.scores.n;
    let shown = &misread[..misread.len().min(20)];
    let picture =
        tiles(shown.iter().map(|one| &images[one.image * each..][..each]), width, shown.len().min(10));
    let read: Vec<String> = shown.iter().map(|one| format!("{} as {}", one.asked, one.read)).collect();
    let caption = format!(
        "The first {} of {} images ({readout} read-out) that the judge reads as another class: {}.",
        shown.len(),
        misread.len(),
        read.join(", ")
    );
    Ok(html! { h2 { "Failures" } (figure(&picture, 2, &caption)?) })
}

/// Images, and below each the real image most similar to it.
fn neighbours(setup: &Setup, gallery: &Gallery, width: usize) -> Result<Markup> {
    let candidates = setup.candidates()?;
    let name = if gallery.drawn.contains_key("force") { "force" } else { "raw" };
    let Drawn { images, nearest, .. } = &gallery.drawn[name];
    let nearest: Vec<_> = nearest.iter().take(20).collect();
    let pixels = |index: usize| candidates.pixels(index).iter().map(|&p| level(p) as f32).collect();
    let real: Vec<Vec<f32>> = nearest.iter().map(|nearest| pixels(nearest.index)).collect();
    let images = images.chunks(candidates.pixels_each()).take(nearest.len());
    let picture = tiles(images.chain(real.iter().map(Vec::as_slice)), width, nearest.len());
    let correlations: Vec<String> =
        nearest.iter().map(|nearest| format!("{:.2}", nearest.correlation)).collect();
    let what = if setup.settings.mode == Mode::Stored { "stored" } else { "training" };
    let caption = format!(
        "Above: images, {name} read-out. Below: the {what} image that each correlates with most. Correlations: {}.",
        correlations.join(", ")
    );
    Ok(html! { h2 { "Nearest images" } (figure(&picture, 2, &caption)?) })
}

/// Some images while they form from noise.
struct Film {
    times: Vec<f64>,
    /// `[frame]`, visible units as pixels, row-major `[image, pixel]`.
    frames: Vec<Vec<f32>>,
    /// Energy change, heat and work until each frame, in units of kT; empty if hidden units are not simulated.
    account: Vec<[Vec<f64>; 3]>,
    pixels: usize,
}

impl Film {
    fn shoot(setup: &Setup, generator: &Generator) -> Result<Self> {
        let s = &setup.settings;
        let labels: Vec<usize> = (0..FILMED).map(|k| s.class.unwrap_or(k % CLASSES)).collect();
        let request = setup.request(generator, labels, s.label_strength);
        let (white, kt, pixels) = (generator.white()?, generator.substrate.kt(), generator.pixels());
        let mut film = Self { times: Vec::new(), frames: Vec::new(), account: Vec::new(), pixels };
        let seen = |x: &Tensor<2>| -> Vec<f32> {
            let visible = to_f64(x.clone().slice_dim(1, 0..pixels));
            visible.into_iter().map(|value| (value / white) as f32).collect()
        };
        let duration = generator.schedule.duration();
        let mut due = 0;
        let observe = |step: &Step, ledger: Option<&Ledger>| {
            let dt = match s.hidden_units {
                HiddenUnits::Langevin => generator.schedule.dt,
                HiddenUnits::Adiabatic => ADIABATIC_STEP,
            };
            let time = (step.index + 1) as f64 * dt;
            if step.index == 0 {
                film.times.push(0.0);
                film.frames.push(seen(&step.before));
                if ledger.is_some() {
                    film.account.push([(); 3].map(|()| vec![0.0; FILMED]));
                }
            }
            // Details form late, so frames get closer towards the end.
            if time + 1e-9 >= duration * ((due + 1) as f64 / (FRAMES - 1) as f64).powf(0.7) {
                due += 1;
                film.times.push(time);
                film.frames.push(seen(&step.after));
                let values = |sum: Option<Tensor<1>>| -> Vec<f64> {
                    to_f64(sum.expect("a step")).into_iter().map(|value| value / kt).collect()
                };
                if let Some(ledger) = ledger {
                    film.account.push([ledger.energy_change(), ledger.heat(), ledger.work()].map(values));
                }
            }
        };
        generator.draw(&request, 0..FILMED, setup.bench.key.fork("film"), observe)?;
        Ok(film)
    }

    /// An animation of noise condensing into digits: a section, and the bytes of the picture.
    fn condensing(&self, width: usize) -> Result<(Markup, Vec<u8>)> {
        let frames = self.frames.iter().map(|frame| tiles(frame.chunks(self.pixels), width, 6));
        let frames: Vec<_> = frames.collect();
        let bytes = animation(&frames, 80)?;
        let caption = "The visible units of thirty trajectories from thermal noise to the read-out.";
        let picture = image(&bytes, 2 * frames[0].width, caption);
        Ok((html! { h2 { "Condensing" } (picture) }, bytes))
    }

    /// Ten images at ten times.
    fn strip(&self, width: usize) -> Result<Markup> {
        let moments: Vec<usize> = (0..10).map(|k| k * (self.frames.len() - 1) / 9).collect();
        let image =
            |row: usize, frame: usize| &self.frames[frame][row * self.pixels..(row + 1) * self.pixels];
        let images = (0..10).flat_map(|row| moments.iter().map(move |&frame| image(row, frame)));
        let picture = tiles(images, width, moments.len());
        let times: Vec<String> = moments.iter().map(|&frame| format!("{:.2}", self.times[frame])).collect();
        let caption = format!("Denoising: one trajectory per row, at t = {}.", times.join(", "));
        Ok(html! { h2 { "Filmstrips" } (figure(&picture, 2, &caption)?) })
    }

    fn energy(&self) -> Result<Markup> {
        if self.account.is_empty() {
            return Ok(Markup::default());
        }
        let chart = |title: &str, which: usize| {
            let at = |value: &dyn Fn(&[f64]) -> f64| -> Vec<(f64, f64)> {
                let values = self.account.iter().map(|account| value(&account[which]));
                self.times.iter().copied().zip(values).collect()
            };
            let mut lines: Vec<Line> = (0..10)
                .map(|row| Line { name: "", colour: COLOURS[5], width: 1, points: at(&|v: &[f64]| v[row]) })
                .collect();
            let mean = at(&|v: &[f64]| v.iter().sum::<f64>() / v.len() as f64);
            lines.push(Line { name: "", colour: COLOURS[0], width: 3, points: mean });
            Chart { title, x: "time, 1/μ", y: "kT", size: (380, 280), y_range: None }.svg(&lines)
        };
        let mut charts = vec![chart("energy since the start", 0)?, chart("heat given to the bath", 1)?];
        if self.account.iter().any(|[.., work]| work.iter().any(|&work| work != 0.0)) {
            charts.push(chart("work of the protocol", 2)?);
        }
        Ok(html! {
            h2 { "Energy" }
            p {
                "Trajectories while images form: the energy of the units falls, and the energy they lose and the work of \
                 the protocol go to the bath as heat. Thin: ten trajectories; thick: the mean of thirty."
            }
            (row("row three", &charts))
        })
    }
}

/// Quality against heat, or against the strength of labels where heat is unknown.
fn by_heat(strengths: &[AtStrength]) -> Result<Markup> {
    let known = strengths.iter().all(|at| at.heat_kt.is_some());
    let x = if known { "heat of an image, kT" } else { "label strength" };
    let chart = |y: &str, value: fn(&Scores) -> f64| {
        let line = |(colour, name): (usize, &'static str)| {
            let of = |at: &AtStrength| {
                let x = at.heat_kt.filter(|_| known).map_or(at.strength, |heat| heat.mean);
                at.generated.get(name).map(|scores| (x, value(scores)))
            };
            Line {
                name,
                colour: COLOURS[colour],
                width: 3,
                points: strengths.iter().filter_map(of).collect(),
            }
        };
        let lines = [(0, "force"), (1, "raw")].map(line);
        Chart { title: y, x, y, size: (380, 280), y_range: None }.svg(&lines)
    };
    let charts = [
        chart("Fréchet distance", |scores| scores.frechet)?,
        chart("accuracy, %", |scores| 100.0 * scores.accuracy)?,
        chart("recall", |scores| scores.recall)?,
    ];
    let told: Vec<String> = strengths.iter().map(|at| at.strength.to_string()).collect();
    Ok(html! {
        h2 { "Label strengths" }
        p { "As many images at each of the label strengths " (told.join(", ")) ", along the lines in this order." }
        (row("row three", &charts))
    })
}

/// How well the computer denoises along its run.
fn left_to_know(denoising: &[Denoised]) -> Result<Markup> {
    let line = |name, colour, value: fn(&Denoised) -> f64| {
        let points = denoising.iter().map(|denoised| (denoised.time, value(denoised))).collect();
        Line { name, colour: COLOURS[colour], width: 3, points }
    };
    let lines = [line("computer", 0, |d| d.left), line("class alone", 1, |d| d.within_classes)];
    let (title, x, y) = ("what is left to know of an image", "time, 1/μ", "part of its variance");
    let chart = Chart { title, x, y, size: (560, 320), y_range: None }.svg(&lines)?;
    Ok(html! {
        h2 { "Denoising along the run" }
        p {
            "Held-out images that are as noisy as they should be at that time: the mean square of what the force of the computer misses of the \
             force that would reverse their noising, as a part of the variance of that force over images, hidden units at their mean. What guidance adds to that \
             force counts as missed. The second line is that of one who knows the class and nothing else."
        }
        (row("row", &[chart]))
    })
}

/// Noising of real images, which the computer has learnt to reverse.
fn noising(setup: &Setup, generator: &Generator, width: usize) -> Result<Markup> {
    const MOMENTS: usize = 10;
    let alone = Topology { groups: vec![generator.visible().clone()], blocks: vec![] };
    let untrained =
        SubstrateConfig::new(alone).with_kt(generator.substrate.kt()).init(&setup.bench.device)?;
    let noising = generator.noising;
    let examples = setup.candidates()?.first(10);
    let rows = examples.len();
    let pixels: Vec<u8> = (0..rows).flat_map(|row| examples.pixels(row).to_vec()).collect();
    let (white, each) = (generator.white()?, examples.pixels_each());
    let mut frames: Vec<Vec<f32>> = Vec::new();
    let seen = |x: &Tensor<2>| -> Vec<f32> {
        to_f64(x.clone()).into_iter().map(|value| (value / white) as f32).collect()
    };
    noising.fall(&untrained, &pixels, setup.bench.key.fork("noising"), |step| {
        if frames.is_empty() {
            frames.push(seen(&step.before));
        }
        if step.index + 1 == frames.len() * noising.schedule.steps / (MOMENTS - 1) {
            frames.push(seen(&step.after));
        }
    })?;
    let frames = &frames;
    let images =
        (0..rows).flat_map(|row| frames.iter().map(move |frame| &frame[row * each..(row + 1) * each]));
    let picture = tiles(images, width, frames.len());
    let caption = format!(
        "Noising: images turn into noise in the uncoupled computer, at {} equally spaced times from 0 to {:.2}. The \
         computer learns to reverse this.",
        frames.len(),
        noising.schedule.duration()
    );
    figure(&picture, 2, &caption)
}

/// The couplings of hidden units, and the fields of the classes, as images.
fn coupling_fields(generator: &Generator, width: usize) -> Result<Markup> {
    let topology = generator.substrate.topology();
    let mut sections = Vec::new();
    for (index, block) in topology.blocks.iter().enumerate() {
        let coupling = match (block.from.as_str(), block.to.as_str()) {
            ("visible", "hidden") => generator.substrate.coupling(index).transpose(),
            ("visible", "local") => {
                // Of every filter, the unit in the middle.
                let coupling = generator.substrate.coupling(index).transpose();
                let ([units, _], [down, across]) = (coupling.dims(), generator.places(width));
                let middle = (down / 2 * across + across / 2..units).step_by(down * across);
                let rows = middle.map(|unit| coupling.clone().slice_dim(0, unit..unit + 1));
                Tensor::cat(rows.collect(), 0)
            }
            ("label" | "clock", "visible") => generator.substrate.coupling(index),
            _ => continue,
        };
        let [rows, _] = coupling.dims();
        let pushes = pushes(coupling, 128);
        let shown = pushes.len();
        let columns = if block.from == "label" { CLASSES } else { 16.min(shown) };
        let caption = match block.from.as_str() {
            "visible" if block.to == "local" => format!(
                "−J between the visible units and the unit in the middle of each of {shown} filters, whose siblings elsewhere have \
                 the same couplings to what is around them."
            ),
            "visible" => format!(
                "−J between the visible units and {shown} of {rows} hidden ones: a hidden unit above zero pushes pixels \
                 up where it is red and down where it is blue. Every field has its own scale."
            ),
            "label" => "−J from the label units to the visible ones: one row per knot of the protocol, from the start to the \
                        read-out, and one column per class."
                .into(),
            _ => "−J from the clock units to the visible ones: the field that all classes share, knot by knot.".into(),
        };
        let heading = format!("Coupling fields: {}", block.name());
        sections.push(fields(&heading, &pushes, width, columns, &caption)?);
    }
    Ok(html! { @for section in sections { (section) } })
}
