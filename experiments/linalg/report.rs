//! report.html of an answer.

use anyhow::Result;
use faer::{Mat, Side};
use maud::{Markup, html};
use thermograd::Key;
use thermograd_experiments::report::{COLOURS, Chart, Line, document, facts, figure, mosaic, row};
use thermograd_models::linear::answer::{Outcome, Search};
use thermograd_models::linear::machine::{Device, Precision};
use thermograd_models::linear::plan::Until;
use thermograd_models::linear::problem::{Problem, Program};

use crate::arguments::{Common, digital};
use crate::summary::{Sampled, Summary};

/// What a page shows beside the answer.
pub enum Extra {
    None,
    /// Points, and the grid of the answer.
    Band {
        x: Vec<f64>,
        y: Vec<f64>,
        places: Vec<f64>,
    },
}

/// Unknowns up to which pictures of matrices are drawn, and bits are tried.
const PICTURED: usize = 256;

/// The whole page.
#[expect(clippy::too_many_arguments, reason = "it shows all of them")]
pub fn page(
    common: &Common,
    device: Device,
    problem: &Problem,
    program: &Program,
    outcome: &Outcome,
    truth: Option<&Mat<f64>>,
    summary: &Summary,
    extra: &Extra,
    search: &Search,
) -> Result<String> {
    let title = match (extra, problem) {
        (Extra::Band { .. }, _) => "A Gaussian process by thermal noise",
        (_, Problem::Solve { .. }) => "A system of equations solved by thermal noise",
        (_, Problem::Inverse { .. }) => "An inverse by thermal noise",
        (_, Problem::LogDeterminant { .. }) => "A determinant by thermal noise",
        (_, Problem::Exponential { .. }) => "A matrix exponential by thermal noise",
        (_, Problem::Lyapunov { .. }) => "A Lyapunov equation solved by thermal noise",
    };
    let body = html! {
        (facts(&numbers(summary, search)))
        @if let Extra::Band { x, y, places } = extra { (band(x, y, places, outcome)?) }
        (errors(program, outcome, truth, summary)?)
        (path(program, outcome)?)
        (spectrum(program)?)
        (pictures(problem, outcome, truth)?)
        @if device == Device::Rc && problem.matrix().nrows() <= PICTURED && !common.blind { (bits(problem, common.key())?) }
    };
    Ok(document(title, &body))
}

fn numbers(s: &Summary, search: &Search) -> Vec<(&'static str, String)> {
    let kind = s.kind();
    let rule = match search.until {
        Until::Error(error) => format!(
            "when the standard error, widened for few chains, was at most {error} at a look at or after the time that theory says is \
             needed; at two looks in a row where theory does not tell"
        ),
        Until::Time(time) => format!("after {time} slowest time constants"),
    };
    vec![
        ("machine", format!("{}, {} unknowns, seed {}", s.device, s.dimension, s.seed)),
        ("fastest rate over slowest", format!("{:.4}", s.condition)),
        (
            "error",
            format!(
                "{:.4} {kind} standard error{}; {}",
                s.error_estimated,
                s.error_promised.map_or(String::new(), |error| format!(", {error} asked for")),
                s.error.map_or("no digital answer to compare with".into(), |error| format!(
                    "{error:.4} away from the digital answer"
                ))
            ),
        ),
        ("ended", if s.finished { rule } else { "by hand".into() }),
        (
            "time",
            format!(
                "{:.4e} slowest time constants on one device, of which {:.4e} were averaged: {:.3e} s at the R and C of the \
                 settings",
                s.time_constants, s.time_constants_averaged, s.seconds_device
            ),
        ),
        (
            "independent readings",
            format!("{:.4e}, autocorrelation time {:.3} slowest time constants", s.effective, s.tau_int),
        ),
        (
            "heat",
            format!(
                "{} to program {} chains; {:.4e} kT over the whole time if amplifiers make the noise",
                s.heat(),
                s.chains,
                s.heat_driven_kt
            ),
        ),
        (
            "digital counterpart",
            format!(
                "{:.4e} multiply–accumulates of a Cholesky solution, {:.2e} J at the price of an operation",
                s.macs_digital, s.joules_digital
            ),
        ),
        (
            "not counted",
            "setting couplings, reading voltages, amplifiers, and everything a simulation cannot show".into(),
        ),
    ]
}

/// Error against time, on logarithmic axes.
fn errors(program: &Program, outcome: &Outcome, truth: Option<&Mat<f64>>, s: &Summary) -> Result<Markup> {
    let slowest = program.slowest();
    let log = |points: Vec<(f64, f64)>| -> Vec<(f64, f64)> {
        let positive = points.into_iter().filter(|point| point.1 > 0.0);
        positive.map(|(time, error)| ((time / slowest).log10(), error.log10())).collect()
    };
    let told = log(outcome.looks.iter().map(|look| (look.time, look.error)).collect());
    let mut lines =
        vec![Line { name: "standard error of the chains", colour: COLOURS[0], width: 2, points: told }];
    let mut dots = Vec::new();
    if let Some(truth) = truth {
        let norm = if program.relative { truth.norm_l2() } else { 1.0 };
        let off = |mean: &Mat<f64>| (mean - truth).norm_l2() / norm;
        let away = outcome.looks.iter().filter_map(|look| Some((look.time, off(look.mean.as_ref()?))));
        dots = log(away.collect());
        if let Some(rate) = program.rate {
            let theory = outcome.looks.iter().map(|look| (look.time, (rate / look.time).sqrt() / norm));
            lines.push(Line { name: "theory", colour: COLOURS[7], width: 1, points: log(theory.collect()) });
        }
    }
    let chart = Chart {
        title: "",
        x: "log10 of the time averaged, slowest time constants",
        y: if s.error_is_relative { "log10 of the relative error" } else { "log10 of the error" },
        size: (640, 340),
        y_range: None,
    };
    Ok(html! {
        h2 { "Error against time" }
        p {
            "The line is what the chains tell of themselves"
            @if !dots.is_empty() { ", the dots are the distance from the digital answer, which the machine does not see" }
            @if program.rate.is_some() { ", and theory is the spectrum's" }
            "."
        }
        (row("row", &[chart.svg_with(&lines, &dots, &[])?]))
    })
}

/// The beginning of a path.
fn path(program: &Program, outcome: &Outcome) -> Result<Markup> {
    let path = outcome.runs[0].path();
    let count = path.first().map_or(0, |(_, x)| x.len());
    let line = |index: usize| Line {
        name: ["voltage 1", "voltage 2", "voltage 3"][index],
        colour: COLOURS[index],
        width: 1,
        points: path.iter().map(|(time, x)| (time / program.slowest(), x[index])).collect(),
    };
    let lines: Vec<Line> = (0..count).map(line).collect();
    let (x, y) = ("time, slowest time constants", "voltage");
    let chart = Chart { title: "", x, y, size: (640, 320), y_range: None };
    Ok(html! {
        h2 { "Voltages" }
        p { "The first three voltages of the first chain, from rest; the first few time constants are left out of averages." }
        (row("row", &[chart.svg(&lines)?]))
    })
}

/// The rates of the first machine.
fn spectrum(program: &Program) -> Result<Markup> {
    let rates = program.parts[0].machine.system.rates();
    let points: Vec<(f64, f64)> =
        rates.iter().enumerate().map(|(k, rate)| ((k + 1) as f64, rate.log10())).collect();
    let dots = if points.len() <= 300 { points.clone() } else { Vec::new() };
    let lines = [Line { name: "", colour: COLOURS[0], width: 1, points }];
    let (x, y) = ("number", "log10 of the rate");
    let chart = Chart { title: "", x, y, size: (560, 300), y_range: None };
    Ok(html! {
        h2 { "Spectrum" }
        p { "The rates at which voltages relax: real parts of the eigenvalues of the drift." }
        (row("row", &[chart.svg_with(&lines, &dots, &[])?]))
    })
}

/// The answer and the truth side by side.
fn pictures(problem: &Problem, outcome: &Outcome, truth: Option<&Mat<f64>>) -> Result<Markup> {
    let (rows, columns) = (outcome.answer.mean.nrows(), outcome.answer.mean.ncols());
    if !(2..=PICTURED).contains(&rows) {
        return Ok(html! {});
    }
    if columns == 1 {
        let values =
            |matrix: &Mat<f64>| (0..rows).map(|i| ((i + 1) as f64, matrix[(i, 0)])).collect::<Vec<_>>();
        let mut lines = Vec::new();
        if let Some(truth) = truth {
            lines.push(Line { name: "digital", colour: COLOURS[7], width: 2, points: values(truth) });
        }
        let (x, y) = ("component", "value");
        let chart = Chart { title: "", x, y, size: (640, 300), y_range: None };
        return Ok(html! {
            h2 { "Answer" }
            p { "Dots: the machine's, component by component." }
            (row("row", &[chart.svg_with(&lines, &values(&outcome.answer.mean), &[])?]))
            (covariance(problem)?)
        });
    }
    let field = |matrix: &Mat<f64>| -> Vec<f32> {
        (0..rows * columns).map(|k| matrix[(k / columns, k % columns)] as f32).collect()
    };
    let mut fields = vec![field(&outcome.answer.mean)];
    if let Some(truth) = truth {
        fields.extend([field(truth), field(&(&outcome.answer.mean - truth))]);
    }
    let caption = "The machine's answer, the digital one and their difference: red is positive, blue negative, every picture on its \
                   own scale.";
    let zoom = (200 / columns).clamp(1, 24);
    Ok(html! { h2 { "Answer" } (figure(&mosaic(&fields, columns, fields.len()), zoom, caption)?) })
}

/// A, as a picture.
fn covariance(problem: &Problem) -> Result<Markup> {
    let a = problem.matrix();
    let n = a.nrows();
    let field = (0..n * n).map(|k| a[(k / n, k % n)] as f32).collect();
    let caption = "A: red is positive, blue negative.";
    Ok(html! { (figure(&mosaic(&[field], n, 1), (200 / n).clamp(1, 24), caption)?) })
}

/// What few bits make of the answer, without noise.
fn bits(problem: &Problem, key: Key) -> Result<Markup> {
    const MACHINES: usize = 16;
    let (Problem::Solve { .. } | Problem::Inverse { .. }) = problem else { return Ok(html! {}) };
    let Ok(truth) = problem.digital(&digital()) else { return Ok(html! {}) };
    let answer = |bits: u32, dithers: usize, machine: usize| -> Option<Mat<f64>> {
        let precision = Precision { bits, dithers, ..Precision::default() };
        let a = precision.held(problem.shared(), machine, key.fork("A"));
        let least = a.self_adjoint_eigenvalues(Side::Lower).ok()?[0];
        let held = match problem {
            Problem::Solve { b, .. } => {
                let force = Mat::from_fn(b.len(), 1, |i, _| b[i]).into();
                let b = precision.held(&force, machine, key.fork("b")).col_as_slice(0).to_vec();
                Problem::Solve { a, b }
            }
            _ => Problem::Inverse { a },
        };
        // Others run away.
        if least > 0.0 { held.digital(&digital()).ok() } else { None }
    };
    let off = |answer: &Mat<f64>| ((answer - &truth).norm_l2() / truth.norm_l2()).log10();
    let (mut nearest, mut dithered) = (Vec::new(), Vec::new());
    for bits in 3..=14 {
        if let Some(answer) = answer(bits, 0, 0) {
            nearest.push((f64::from(bits), off(&answer)));
        }
        let all: Option<Vec<_>> = (0..MACHINES).map(|machine| answer(bits, MACHINES, machine)).collect();
        if let Some(all) = all {
            let zero = Mat::zeros(truth.nrows(), truth.ncols());
            let sum =
                all.into_iter().fold(zero, |sum, answer| sum + answer * faer::Scale(1.0 / MACHINES as f64));
            dithered.push((f64::from(bits), off(&sum)));
        }
    }
    let dots: Vec<(f64, f64)> = nearest.iter().chain(&dithered).copied().collect();
    let lines = [
        Line { name: "rounded to the nearest", colour: COLOURS[0], width: 2, points: nearest },
        Line { name: "16 machines, rounded at random", colour: COLOURS[2], width: 2, points: dithered },
    ];
    let (x, y) = ("bits of an entry", "log10 of the relative error");
    let chart = Chart { title: "", x, y, size: (640, 320), y_range: None };
    Ok(html! {
        h2 { "Few bits" }
        p {
            "What is left of the error after an average that never ends, if entries of A and b have few bits. Fewer than the first \
             dot make a matrix that is not positive definite."
        }
        (row("row", &[chart.svg_with(&lines, &dots, &[])?]))
    })
}

/// A Gaussian process: points, mean and band.
fn band(x: &[f64], y: &[f64], places: &[f64], outcome: &Outcome) -> Result<Markup> {
    let answer = &outcome.answer;
    let curve = |of: &dyn Fn(f64, f64) -> f64| -> Vec<(f64, f64)> {
        let value = |k: usize| of(answer.mean[(k, 0)], answer.variance[k].max(0.0).sqrt());
        places.iter().enumerate().map(|(k, place)| (*place, value(k))).collect()
    };
    let lines = [
        Line { name: "mean of the voltages", colour: COLOURS[0], width: 2, points: curve(&|mean, _| mean) },
        Line {
            name: "two standard deviations",
            colour: COLOURS[5],
            width: 1,
            points: curve(&|mean, sd| mean + 2.0 * sd),
        },
        Line { name: "", colour: COLOURS[5], width: 1, points: curve(&|mean, sd| mean - 2.0 * sd) },
    ];
    let dots: Vec<(f64, f64)> = x.iter().copied().zip(y.iter().copied()).collect();
    let chart = Chart { title: "", x: "x", y: "y", size: (680, 380), y_range: None };
    Ok(html! {
        h2 { "The process" }
        p {
            "Every voltage is the function at a point of the grid. Its mean over time is the mean of the posterior, and its \
             fluctuation the band."
        }
        (row("row", &[chart.svg_with(&lines, &dots, &[])?]))
    })
}

/// The page of samples.
pub fn sampled(common: &Common, all: &Mat<f64>, summary: &Sampled) -> Result<String> {
    let (count, n) = (all.nrows(), all.ncols());
    let mut numbers = vec![
        ("samples", format!("{count} of {n} numbers, seed {}", common.seed)),
        ("correlation", format!("about {:.2e}, with the sample before in its chain", summary.correlation)),
        (
            "time",
            format!(
                "{:.4e} slowest time constants, {:.3e} s",
                summary.time_constants, summary.seconds_device
            ),
        ),
    ];
    if let (Some(error), Some(expected)) = (summary.covariance_error, summary.covariance_error_expected) {
        numbers.push((
            "covariance",
            format!("{error:.4} away, relative; independent samples would be {expected:.4}"),
        ));
    }
    let dots: Vec<(f64, f64)> =
        (0..count.min(2000)).filter(|_| n > 1).map(|k| (all[(k, 0)], all[(k, 1)])).collect();
    let chart =
        Chart { title: "", x: "first component", y: "second component", size: (460, 440), y_range: None };
    let body = html! {
        (facts(&numbers))
        @if !dots.is_empty() {
            h2 { "The first two components" }
            (row("row", &[chart.svg_with(&[], &dots, &[])?]))
        }
    };
    Ok(document("Samples of a normal distribution by thermal noise", &body))
}
