//! How the time to an error grows with the number of unknowns and with the condition number.

use std::ops::ControlFlow;
use std::sync::Arc;

use anyhow::Result;
use maud::html;
use serde::Serialize;
use thermograd_experiments::report::{COLOURS, Chart, Line, document, facts, row};
use thermograd_experiments::say;
use thermograd_experiments::workbench::{Interrupted, shown};
use thermograd_models::linear::answer::{Search, answer};
use thermograd_models::linear::cost::cholesky_macs;
use thermograd_models::linear::machine::Device;
use thermograd_models::linear::matrices::conditioned;
use thermograd_models::linear::plan::Until;
use thermograd_models::linear::problem::Problem;

use crate::arguments::{Common, digital};
use crate::folder;

/// Unknowns at condition number 10, and condition numbers of 16 unknowns.
const UNKNOWNS: [usize; 5] = [4, 8, 16, 32, 64];
const CONDITIONS: [f64; 4] = [3.0, 10.0, 30.0, 100.0];

/// Chains of every machine.
const CHAINS: usize = 64;

/// Slowest time constants that every machine is averaged, over all its chains.
const TIME: f64 = 2000.0;

/// One machine.
#[derive(Serialize)]
struct Point {
    task: &'static str,
    unknowns: usize,
    condition: f64,
    /// T·error², relative, in slowest time constants: the time to an error of one.
    measured: f64,
    theory: f64,
    /// The distance from the digital answer in standard errors, as a root mean square.
    away: f64,
    macs_digital: f64,
}

/// `linalg scaling`.
pub fn measure(common: &Common) -> Result<()> {
    let run = folder(common, "scaling", CHAINS)?;
    let cases: Vec<(usize, f64)> =
        UNKNOWNS.iter().map(|&n| (n, 10.0)).chain(CONDITIONS.iter().map(|&k| (16, k))).collect();
    let points = shown("scaling", Interrupted::stopped(), |progress| -> Result<Vec<Point>> {
        let mut points = Vec::new();
        for (index, &(n, condition)) in cases.iter().enumerate() {
            let key = common.key().at(index as u64);
            let a = Arc::new(conditioned(n, condition, key.fork("matrix"))?);
            let b = (0..n).map(|i| (0..n).map(|j| a[(i, j)]).sum()).collect();
            for problem in [Problem::Solve { a: a.clone(), b }, Problem::Inverse { a }] {
                let program = problem.program(Device::Rc, 1.0, &common.precision(), key)?;
                let search = Search { until: Until::Time(TIME), chains: CHAINS, single: common.single };
                let outcome = answer(&program, search, common.shards(), key.fork("run"), |_, _| {
                    ControlFlow::Continue(())
                })?;
                let truth = problem.digital(&digital())?;
                let (answer, norm) = (&outcome.answer, truth.norm_l2());
                let squared = answer.error.squared_norm_l2() / (norm * norm);
                points.push(Point {
                    task: problem.name(),
                    unknowns: n,
                    condition,
                    measured: squared * answer.time / program.slowest(),
                    theory: program.rate.unwrap_or(f64::NAN) / (norm * norm * program.slowest()),
                    away: (&answer.mean - &truth).norm_l2() / answer.error.norm_l2(),
                    macs_digital: cholesky_macs(n),
                });
            }
            progress((index + 1) as f64 / cases.len() as f64);
        }
        Ok(points)
    })?;
    say!(
        "the time to a relative error of one, in slowest time constants; that to an error e is 1/e² times as long"
    );
    say!(
        "  {:<8} {:>8} {:>9} {:>11} {:>11} {:>7} {:>12}",
        "",
        "unknowns",
        "condition",
        "measured",
        "theory",
        "ratio",
        "digital MACs"
    );
    for point in &points {
        let Point { task, unknowns, condition, measured, theory, macs_digital, .. } = point;
        say!(
            "  {task:<8} {unknowns:>8} {condition:>9} {measured:>11.4} {theory:>11.4} {:>7.3} {macs_digital:>12.3e}",
            measured / theory
        );
    }
    run.write_json("summary.json", &points)?;
    let chart = |task: &'static str, by: &dyn Fn(&Point) -> Option<f64>, x: &'static str| -> Result<String> {
        let of = |value: &dyn Fn(&Point) -> f64| -> Vec<(f64, f64)> {
            let own = points.iter().filter(|point| point.task == task);
            own.filter_map(|point| Some((by(point)?.log10(), value(point).log10()))).collect()
        };
        let (theory, measured) = (of(&|point| point.theory), of(&|point| point.measured));
        let lines = [Line { name: "theory", colour: COLOURS[7], width: 1, points: theory }];
        let y = "log10 of the time constants";
        Chart { title: task, x, y, size: (400, 300), y_range: None }.svg_with(&lines, &measured, &[])
    };
    let unknowns = |point: &Point| (point.condition == 10.0).then_some(point.unknowns as f64);
    let conditions = |point: &Point| (point.unknowns == 16).then_some(point.condition);
    let charts = [
        chart("solve", &unknowns, "log10 of the unknowns")?,
        chart("solve", &conditions, "log10 of the condition number")?,
        chart("inverse", &unknowns, "log10 of the unknowns")?,
        chart("inverse", &conditions, "log10 of the condition number")?,
    ];
    let body = html! {
        (facts(&[
            ("machines", format!("overdamped, spectra from 1/κ to 1, kT = 1, {CHAINS} chains, {TIME} time constants each, seed {}", common.seed)),
            ("right-hand sides", "A times a vector of ones".into()),
        ]))
        h2 { "Time to a relative error of one, in slowest time constants" }
        p {
            "Dots: from the spread of {CHAINS} chains; lines: theory. An error e takes 1/e² times as long. A slowest time constant is itself \
             longer by the condition number where the fastest rate is given. A digital solver does n³/6 + n² multiply–accumulates for \
             an answer to sixteen digits; nothing here is faster than that."
        }
        (row("row", &charts[..2]))
        (row("row", &charts[2..]))
    };
    run.write("report.html", document("The time that thermal linear algebra takes", &body).as_bytes())?;
    say!("report: {}", run.path("report.html").display());
    Ok(())
}
