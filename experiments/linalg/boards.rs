//! A board that was built beside its theory and its simulation.

use anyhow::{Result, ensure};
use maud::{Markup, html};
use serde::Serialize;
use thermograd_experiments::report::{COLOURS, Chart, Line, document, row};
use thermograd_experiments::say;
use thermograd_experiments::workbench::run;
use thermograd_models::linear::board::{Board, Quantity};
use thermograd_models::linear::netlist::{self, Transient};

use crate::arguments::{Common, npy};
use crate::folder;

/// Samples of a stretch, and how many stretches.
const LENGTH: usize = 1 << 15;
const STRETCHES: usize = 1024;

/// Samples in the shortest time constant.
const FINE: f64 = 40.0;

/// A line of the table.
#[derive(Serialize)]
struct Row {
    quantity: Quantity,
    band: Option<[f64; 2]>,
    board: Option<f64>,
    board_error: Option<f64>,
    their_model: Option<f64>,
    theory: f64,
    theory_of_all_frequencies: f64,
    simulated: Option<f64>,
    simulated_error: Option<f64>,
}

/// summary.json of a board.
#[derive(Serialize)]
struct Summary<'a> {
    task: &'static str,
    device: &'a str,
    seed: u64,
    dimension: usize,
    condition: f64,
    time_constants: f64,
    seconds_device: f64,
    rows: &'a [Row],
    /// The power of the error of the correlation in time, and its standard error.
    slope: (f64, f64),
}

/// `linalg inverse --device rc-board`.
pub fn compare(common: &Common, board: &Board) -> Result<()> {
    let system = board.system()?;
    let (slowest, fastest) = (1.0 / system.rates()[0], 1.0 / system.fastest());
    let dt = fastest / FINE;
    ensure!(
        LENGTH as f64 * dt > 20.0 * slowest,
        "time constants from {fastest:.3e} to {slowest:.3e} s: a simulation that resolves the fastest is too short for the slowest"
    );
    let asked: Vec<(Quantity, Option<[f64; 2]>)> =
        board.measured.iter().map(|measured| (measured.quantity, measured.band.or(board.band))).collect();
    let mut bands: Vec<Option<[f64; 2]>> = vec![board.band];
    bands.extend(asked.iter().map(|(_, band)| *band));
    if let Some(file) = &common.netlist {
        let transient = Transient { dt, end: 4000.0 * slowest };
        run::write(file, netlist::board(board, 1e-9, transient, &run::table_of(file)?)?.as_bytes())?;
        say!("netlist: {}", file.display());
    }
    let run = folder(common, "board", STRETCHES)?;
    say!("{}: time constants {:.4e} to {:.4e} s", board.name, slowest, fastest);
    let key = common.key().fork("board");
    let found = board.simulate(&bands, (STRETCHES, LENGTH, dt), common.shards(), key)?;
    let line = |index: usize| -> Result<Row> {
        let (measured, (quantity, band)) = (&board.measured[index], asked[index]);
        let values: Vec<f64> = found[index + 1].iter().map(|sigma| quantity.of(sigma)).collect();
        // Of all stretches together; their spread is its error.
        let all = found[index + 1]
            .iter()
            .fold(faer::Mat::zeros(board.nodes(), board.nodes()), |sum, sigma| sum + sigma);
        let (mean, error) = (quantity.of(&all), mean(&values).1);
        Ok(Row {
            quantity,
            band,
            board: measured.board,
            board_error: measured.error,
            their_model: measured.model,
            theory: board.theory(quantity, band)?,
            theory_of_all_frequencies: board.theory(quantity, None)?,
            simulated: mean.is_finite().then_some(mean),
            simulated_error: mean.is_finite().then_some(error),
        })
    };
    let rows = (0..board.measured.len()).map(line).collect::<Result<Vec<_>>>()?;
    print(&rows);
    let Falling { times, errors, slope } = falling(board, dt, &found[0], board.band)?;
    say!(
        "  statistical error of the correlation falls as T^({:.3} ± {:.3}); sqrt(2 tau/T) is -0.5",
        slope.0,
        slope.1
    );
    let sum = found[0].iter().fold(faer::Mat::zeros(board.nodes(), board.nodes()), |sum, sigma| sum + sigma);
    run::write(&run.path("inverse.npy"), &npy(&(sum * faer::Scale(1.0 / STRETCHES as f64))))?;
    let time = (STRETCHES * LENGTH) as f64 * dt;
    let summary = Summary {
        task: "inverse",
        device: &common.device,
        seed: common.seed,
        dimension: board.nodes(),
        condition: slowest / fastest,
        time_constants: time / slowest,
        seconds_device: time,
        rows: &rows,
        slope,
    };
    run.write_json("summary.json", &summary)?;
    let page = page(board, &rows, &times, &errors, slope)?;
    run.write("report.html", page.as_bytes())?;
    say!("report: {}", run.path("report.html").display());
    Ok(())
}

/// How the statistical error falls.
struct Falling {
    /// s.
    times: Vec<f64>,
    errors: Vec<f64>,
    /// Of their logarithms, with its standard error.
    slope: (f64, f64),
}

/// The mean and its standard error.
fn mean(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    (mean, (squares / (n * (n - 1.0))).sqrt())
}

/// The error of the correlation of averages of several stretches, against their time.
fn falling(board: &Board, dt: f64, stretches: &[faer::Mat<f64>], band: Option<[f64; 2]>) -> Result<Falling> {
    if board.nodes() < 2 {
        return Ok(Falling { times: Vec::new(), errors: Vec::new(), slope: (f64::NAN, f64::NAN) });
    }
    let truth = board.theory(Quantity::Correlation, band)?;
    let (mut times, mut errors, mut weights) = (Vec::new(), Vec::new(), Vec::new());
    // Of other stretches each, so that they are independent.
    let mut rest = stretches;
    for joined in [1, 2, 4, 8, 16] {
        let (own, others) = rest.split_at((joined * stretches.len() / 31).min(rest.len()));
        rest = others;
        let squares: Vec<f64> = own
            .chunks_exact(joined)
            .map(|part| {
                let sum = part
                    .iter()
                    .fold(faer::Mat::zeros(board.nodes(), board.nodes()), |sum, sigma| sum + sigma);
                (Quantity::Correlation.of(&sum) - truth).powi(2)
            })
            .collect();
        times.push((joined * LENGTH) as f64 * dt);
        errors.push((squares.iter().sum::<f64>() / squares.len() as f64).sqrt());
        // The relative variance of a root mean square of k normal variables is 1/2k.
        weights.push(2.0 * squares.len() as f64);
    }
    let total: f64 = weights.iter().sum();
    let weighted =
        |of: &dyn Fn(usize) -> f64| (0..times.len()).map(|k| weights[k] * of(k)).sum::<f64>() / total;
    let (x, y) = (weighted(&|k| times[k].ln()), weighted(&|k| errors[k].ln()));
    let spread = weighted(&|k| (times[k].ln() - x).powi(2));
    let slope = weighted(&|k| (times[k].ln() - x) * (errors[k].ln() - y)) / spread;
    let error = 1.0 / (total * spread).sqrt();
    Ok(Falling { times, errors, slope: (slope, error) })
}

fn named(quantity: Quantity) -> &'static str {
    match quantity {
        Quantity::Correlation => "correlation",
        Quantity::AmplitudeRatio => "amplitude ratio",
        Quantity::SlowestSeconds => "slowest time constant, s",
        Quantity::FastestSeconds => "fastest time constant, s",
    }
}

/// A number of the table.
fn shown(value: Option<f64>) -> String {
    match value {
        None => "–".into(),
        Some(value) if value.abs() < 1e-2 => format!("{value:.3e}"),
        Some(value) => format!("{value:.4}"),
    }
}

fn with_error(value: Option<f64>, error: Option<f64>) -> String {
    match error {
        Some(error) => format!("{} ± {error:.4}", shown(value)),
        None => shown(value),
    }
}

fn banded(row: &Row) -> String {
    let times = matches!(row.quantity, Quantity::SlowestSeconds | Quantity::FastestSeconds);
    match row.band {
        Some([low, high]) if !times => format!("{low}–{high} Hz"),
        _ => "all".into(),
    }
}

const HEADS: [&str; 6] = ["", "band", "board", "their model", "theory", "simulated"];

fn cells(row: &Row) -> [String; 6] {
    [
        named(row.quantity).into(),
        banded(row),
        with_error(row.board, row.board_error),
        shown(row.their_model),
        shown(Some(row.theory)),
        with_error(row.simulated, row.simulated_error),
    ]
}

fn print(rows: &[Row]) {
    let tell = |cells: [String; 6]| {
        let [quantity, band, board, model, theory, simulated] = cells;
        say!("  {quantity:<26} {band:<14} {board:<17} {model:<12} {theory:<10} {simulated}");
    };
    tell(HEADS.map(String::from));
    rows.iter().for_each(|row| tell(cells(row)));
}

fn page(board: &Board, rows: &[Row], times: &[f64], errors: &[f64], slope: (f64, f64)) -> Result<String> {
    let log = |values: &[f64]| -> Vec<(f64, f64)> {
        times.iter().zip(values).map(|(time, error)| (time.log10(), error.log10())).collect()
    };
    let first = errors.first().copied().unwrap_or(1.0);
    let ideal: Vec<f64> = times.iter().map(|time| first * (times[0] / time).sqrt()).collect();
    let measured = log(errors);
    let lines = [
        Line { name: "1/√T", colour: COLOURS[7], width: 1, points: log(&ideal) },
        Line { name: "error of the correlation", colour: COLOURS[0], width: 2, points: measured.clone() },
    ];
    let chart = Chart {
        title: "",
        x: "log10 of the time averaged, s",
        y: "log10 of the error",
        size: (560, 320),
        y_range: None,
    };
    let body: Markup = html! {
        h2 { "Board, models and simulation" }
        table {
            tr { @for head in HEADS { th style="text-align:left" { (head) } } }
            @for row in rows { tr { @for cell in cells(row) { td style="padding-right:1.2em" { (cell) } } } }
        }
        p {
            "Theory is the integral of the cross spectrum over the band; the simulation makes exact steps, and takes its \
             spectrum over the same band (" (STRETCHES) " stretches, with standard errors). What a band leaves out is the \
             difference between the first row and all frequencies"
            @if let Some(row) = rows.first() { ", " (shown(Some(row.theory_of_all_frequencies))) }
            ". What is left between the board and theory is not statistics: the frequency response of the instrument, \
             tolerances of the drives, and drift do not average out."
        }
        h2 { "Statistical error" }
        p { "The slope is " (format!("{:.3} ± {:.3}", slope.0, slope.1)) "." }
        (row("row", &[chart.svg(&lines)?]))
    };
    Ok(document(&board.name, &body))
}
