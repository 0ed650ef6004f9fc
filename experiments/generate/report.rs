//! report.html of a generator, and its pictures.

use anyhow::Result;
use burn::tensor::Tensor;
use thermograd::{Estimate, Ledger, Step, SubstrateConfig, Topology, to_f64};
use thermograd_experiments::figures::{COLOURS, Chart, Line, animation, mosaic, png_uri, tiles, uri};
use thermograd_experiments::report::{Report, escape};
use thermograd_experiments::training::Metric;
use thermograd_models::{Generator, HiddenUnits, Noising, Scores};

use crate::settings::{Mode, Settings};
use crate::{CLASSES, Drawn, Evaluation, Model, Setup, Summary};

/// The page, and pictures that stand on their own.
pub struct Page {
    /// report.html.
    pub html: String,
    /// Files by name.
    pub pictures: Vec<(&'static str, Vec<u8>)>,
}

/// Images of the animation, and how many stand in a row.
const CONDENSING: (usize, usize) = (30, 6);

/// Frames of the animation.
const FRAMES: usize = 36;

/// The whole page.
pub fn page(
    setup: &Setup,
    model: &Model,
    drawn: &Drawn,
    evaluation: &Evaluation,
    summary: &Summary,
    metrics: &[Metric],
) -> Result<Page> {
    let settings = &setup.settings;
    let width = setup.data.train.width();
    let mut page = Report::new(match model {
        Model::Computer(_) => "A thermodynamic computer makes digits from noise",
        Model::Network(_) => "A conventional network makes digits from noise",
    });
    let mut pictures = Vec::new();
    facts(&mut page, settings, evaluation, summary);
    scores(&mut page, evaluation);
    grid(&mut page, drawn, width, summary)?;
    neighbours(&mut page, setup, drawn, width)?;
    if let Model::Computer(generator) = model {
        let film = Film::shoot(setup, generator)?;
        let bytes = film.condensing(&mut page, width)?;
        pictures.push(("digits.png", bytes));
        film.strip(&mut page, width)?;
        noising(&mut page, setup, generator, width)?;
        film.energy(&mut page)?;
        fields(&mut page, generator, width)?;
    }
    learning(&mut page, metrics)?;
    page.section("Settings").markup(&format!("<pre>{}</pre>", escape(&toml::to_string(settings)?)));
    Ok(Page { html: page.html(), pictures })
}

fn facts(page: &mut Report, settings: &Settings, evaluation: &Evaluation, summary: &Summary) {
    let kt = |estimate: Option<Estimate>, none: &str| match estimate {
        Some(e) => format!("{:.0} kT (s.d. {:.0}, {} images)", e.mean, e.sd, e.count),
        None => none.into(),
    };
    let mut rows = vec![
        ("data", format!("{}, seed {}, against {}", summary.dataset, summary.seed, evaluation.reference)),
        ("judge", format!("reads {:.2} % of the held-out images rightly", 100.0 * evaluation.judge_accuracy)),
        ("training", format!("{:.1} s", summary.train_seconds)),
    ];
    if settings.mode == Mode::Diffusion {
        let macs = evaluation.digital_macs.unwrap_or(f64::NAN);
        let guided = format!("guidance {}, {} steps", settings.guidance, settings.diffusion.steps);
        rows.push(("price of an image", format!("{macs:.2e} multiply–accumulates ({guided})")));
    } else {
        rows.push(("heat of an image", kt(evaluation.heat_kt, "not known for units that are not run")));
        if settings.mode == Mode::Classes {
            rows.push((
                "work of the protocol",
                kt(evaluation.work_kt, "not known for units that are not run"),
            ));
        }
        rows.push((
            "not counted",
            "setting the start, holding labels, moving biases and wells, reading out: the heat is that of the \
             trajectories alone"
                .into(),
        ));
    }
    page.facts(&rows);
}

fn scores(page: &mut Report, evaluation: &Evaluation) {
    let mut table = String::from(
        "<table class=\"facts\"><tr><th></th><th>n</th><th>recognised</th><th>accuracy</th><th>Fréchet distance</th>\
         <th>recall</th><th>class entropy</th></tr>",
    );
    let rows =
        evaluation.generated.iter().map(|(name, scores)| (format!("generated, {name} read-out"), scores));
    let calibration = evaluation.calibration.iter().map(|(name, scores)| (name.clone(), scores));
    for (name, Scores { n, recognised, accuracy, frechet, recall, class_entropy }) in rows.chain(calibration)
    {
        table += &format!(
            "<tr><th>{name}</th><td>{n}</td><td>{:.1} %</td><td>{:.1} %</td><td>{frechet:.1}</td><td>{recall:.2}</td>\
             <td>{class_entropy:.2}</td></tr>",
            100.0 * recognised,
            100.0 * accuracy
        );
    }
    page.section("Scores")
        .text(
            "Recognised: correlates by more than 0.7 with a stored image, or with its nearest training image. Accuracy: \
             read by the judge as what was asked (stored images: as the one it is most like). Fréchet distance and \
             recall are on the judge's features and compare with nobody else's numbers; the rows below say between \
             what they lie. Small n biases the distance upwards.",
        )
        .markup(&(table + "</table>"));
}

/// A hundred images, ten of each class where classes can be asked for.
fn grid(page: &mut Report, drawn: &Drawn, width: usize, summary: &Summary) -> Result<()> {
    let images = &drawn.images[summary.readout.name()];
    let pixels = images.len() / summary.n;
    let (total, picture) = tiles(images.chunks(pixels).take(100), width, 10);
    let caption = format!("The first hundred images, {} read-out, none left out.", summary.readout.name());
    page.section("Samples").picture(&png_uri(total, &picture)?, total, 2, &caption);
    Ok(())
}

/// Images over the real images most like them.
fn neighbours(page: &mut Report, setup: &Setup, drawn: &Drawn, width: usize) -> Result<()> {
    let candidates = setup.candidates()?;
    let name = if drawn.images.contains_key("force") { "force" } else { "raw" };
    let pixels = candidates.pixels_each();
    let count = drawn.nearest[name].len().min(20);
    let real: Vec<Vec<f32>> = drawn.nearest[name][..count]
        .iter()
        .map(|nearest| {
            let pixels = candidates.pixels(nearest.index);
            pixels.iter().map(|&p| thermograd_models::generator::noising::level(p) as f32).collect()
        })
        .collect();
    let images = drawn.images[name].chunks(pixels).take(count).chain(real.iter().map(Vec::as_slice));
    let (total, picture) = tiles(images, width, count);
    let correlations: Vec<String> =
        drawn.nearest[name][..count].iter().map(|nearest| format!("{:.2}", nearest.correlation)).collect();
    let what = if setup.settings.mode == Mode::Stored { "stored" } else { "training" };
    let caption = format!(
        "Above: images, {name} read-out. Below: the {what} image that each correlates with most. Correlations: {}.",
        correlations.join(", ")
    );
    page.section("Nearest images").picture(&png_uri(total, &picture)?, total, 2, &caption);
    Ok(())
}

/// Some images on their way from noise.
struct Film {
    times: Vec<f64>,
    /// `[frame]`, visible units as pixels, row-major `[image, pixel]`.
    frames: Vec<Vec<f32>>,
    /// Energy change, heat and work until each frame, in units of kT; empty for units that are not run.
    account: Vec<[Vec<f64>; 3]>,
    pixels: usize,
}

impl Film {
    fn shoot(setup: &Setup, generator: &Generator) -> Result<Self> {
        let s = &setup.settings;
        let labels: Vec<usize> = (0..CONDENSING.0).map(|k| s.class.unwrap_or(k % CLASSES)).collect();
        let request = setup.request(generator, labels);
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
                HiddenUnits::Adiabatic => thermograd_models::generator::adiabatic::ADIABATIC_STEP,
            };
            let time = (step.index + 1) as f64 * dt;
            if step.index == 0 {
                film.times.push(0.0);
                film.frames.push(seen(&step.before));
                if ledger.is_some() {
                    film.account.push([(); 3].map(|()| vec![0.0; CONDENSING.0]));
                }
            }
            // The last digit is written late: frames get closer as the image forms.
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
        generator.draw(&request, 0..CONDENSING.0, setup.key.fork("film"), observe)?;
        Ok(film)
    }

    /// Noise condensing into digits, moving.
    fn condensing(&self, page: &mut Report, width: usize) -> Result<Vec<u8>> {
        let frames: Vec<_> =
            self.frames.iter().map(|frame| tiles(frame.chunks(self.pixels), width, CONDENSING.1)).collect();
        let total = frames[0].0;
        let pictures: Vec<_> = frames.into_iter().map(|(_, picture)| picture).collect();
        let bytes = animation(total, &pictures, 80)?;
        let caption = "The visible units of thirty trajectories from thermal noise to the read-out.";
        page.section("Condensing").picture(&uri(&bytes), total, 2, caption);
        Ok(bytes)
    }

    /// Ten moments of ten images.
    fn strip(&self, page: &mut Report, width: usize) -> Result<()> {
        let moments: Vec<usize> = (0..10).map(|k| k * (self.frames.len() - 1) / 9).collect();
        let image =
            |row: usize, frame: usize| &self.frames[frame][row * self.pixels..(row + 1) * self.pixels];
        let images = (0..10).flat_map(|row| moments.iter().map(move |&frame| image(row, frame)));
        let (total, picture) = tiles(images, width, moments.len());
        let times: Vec<String> = moments.iter().map(|&frame| format!("{:.2}", self.times[frame])).collect();
        let caption = format!("Denoising: one trajectory a row, at t = {}.", times.join(", "));
        page.section("Filmstrips").picture(&png_uri(total, &picture)?, total, 2, &caption);
        Ok(())
    }

    fn energy(&self, page: &mut Report) -> Result<()> {
        if self.account.is_empty() {
            return Ok(());
        }
        page.section("Energy").text(
            "Of trajectories while images form: the energy of the units falls, what it loses and what the protocol does \
             as work goes to the bath as heat. Thin: ten trajectories; thick: the mean of thirty.",
        );
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
        let mut row = format!(
            "<div class=\"row three\">{}{}",
            chart("energy since the start", 0)?,
            chart("heat given to the bath", 1)?
        );
        let works = self.account.iter().any(|[.., work]| work.iter().any(|&work| work != 0.0));
        if works {
            row += &chart("work of the protocol", 2)?;
        }
        page.markup(&(row + "</div>"));
        Ok(())
    }
}

/// Real images falling into noise: what the computer was taught to reverse.
fn noising(page: &mut Report, setup: &Setup, generator: &Generator, width: usize) -> Result<()> {
    const MOMENTS: usize = 10;
    let visible = generator.substrate.topology().free().next().expect("a visible group").clone();
    let alone = Topology { groups: vec![visible], blocks: vec![] };
    let untrained = SubstrateConfig::new(alone).with_kt(generator.substrate.kt()).init(&setup.device)?;
    let noising: Noising = generator.noising;
    let examples = setup.candidates()?.first(10);
    let rows = examples.len();
    let pixels: Vec<u8> = (0..rows).flat_map(|row| examples.pixels(row).to_vec()).collect();
    let (white, each) = (generator.white()?, examples.pixels_each());
    let mut frames: Vec<Vec<f32>> = Vec::new();
    let seen = |x: &Tensor<2>| -> Vec<f32> {
        to_f64(x.clone()).into_iter().map(|value| (value / white) as f32).collect()
    };
    noising.fall(&untrained, &pixels, setup.key.fork("noising"), |step| {
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
    let (total, picture) = tiles(images, width, frames.len());
    let caption = format!(
        "Noising: images falling into noise in the uncoupled computer, at {} equal times from 0 to {:.2}. What is \
         learnt is the way back.",
        frames.len(),
        noising.schedule.duration()
    );
    page.picture(&png_uri(total, &picture)?, total, 2, &caption);
    Ok(())
}

/// The couplings of hidden units, and the fields of the classes, as images.
fn fields(page: &mut Report, generator: &Generator, width: usize) -> Result<()> {
    let topology = generator.substrate.topology();
    for (index, block) in topology.blocks.iter().enumerate() {
        let coupling = match (block.from.as_str(), block.to.as_str()) {
            ("visible", "hidden") => generator.substrate.coupling(index).transpose(),
            ("label" | "clock", "visible") => generator.substrate.coupling(index),
            _ => continue,
        };
        let [rows, pixels] = coupling.dims();
        let shown = rows.min(128);
        let values = to_f64(coupling.inner().slice_dim(0, 0..shown));
        let fields: Vec<Vec<f32>> =
            values.chunks(pixels).map(|row| row.iter().map(|value| -value as f32).collect()).collect();
        let columns = if block.from == "label" { CLASSES } else { 16.min(shown) };
        let (total, picture) = mosaic(&fields, width, columns);
        let caption = match block.from.as_str() {
            "visible" => format!(
                "−J between the visible units and {shown} of {rows} hidden ones: a hidden unit above zero pushes pixels \
                 up where it is red and down where it is blue. Every field on its own scale."
            ),
            "label" => "−J from the label units to the visible ones: a row a knot of the protocol, from the start to the \
                        read-out, a column a class."
                .into(),
            _ => "−J from the clock units to the visible ones: the field that all classes share, knot by knot.".into(),
        };
        page.section(&format!("Coupling fields: {}", block.name())).picture(
            &png_uri(total, &picture)?,
            total,
            2,
            &caption,
        );
    }
    Ok(())
}

fn learning(page: &mut Report, metrics: &[Metric]) -> Result<()> {
    let mut stages: Vec<&str> = metrics.iter().map(|metric| metric.stage.as_str()).collect();
    stages.dedup();
    if stages.is_empty() {
        return Ok(());
    }
    page.section("Learning");
    let mut row = String::from("<div class=\"row\">");
    for stage in stages {
        let of_stage = metrics.iter().filter(|metric| metric.stage == stage);
        let points = of_stage.filter_map(|metric| Some((metric.epoch as f64, metric.loss?))).collect();
        let (title, x) = match stage {
            "descent" => ("descent: reversed action of a step and unit".to_string(), "cycle"),
            _ => (format!("{stage}: mean loss of an epoch"), "epoch"),
        };
        let chart = Chart { title: &title, x, y: "loss", size: (560, 280), y_range: None };
        row += &chart.svg(&[Line { name: "", colour: COLOURS[0], width: 2, points }])?;
    }
    page.markup(&(row + "</div>"));
    Ok(())
}
