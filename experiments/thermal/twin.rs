//! A twin of a house: table → likelihood → fit → errors and whiteness → forecast → schedule.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use thermograd::Key;
use thermograd_datasets::series::Series;
use thermograd_datasets::text;
use thermograd_experiments::say;
use thermograd_experiments::workbench::progress::catch_interrupts;
use thermograd_experiments::workbench::run::Identity;
use thermograd_experiments::workbench::{Interrupted, Run, bar, interrupted, shown, version};
use thermograd_models::thermal::arx::Arx;
use thermograd_models::thermal::house::{House, Record, START};
use thermograd_models::thermal::kalman::Measured;
use thermograd_models::thermal::made_up::{Heating, made, truth};
use thermograd_models::thermal::schedule::{Demand, Heated, Plan};
use thermograd_models::thermal::twin::{
    Direction, Fitted, Fitting, Forecast, Residuals, fit as fit_house, forecasts, heat_loss,
    likelihood_ratio, rmse,
};

use crate::arguments::TwinFlags;
use crate::twinning;

/// The order of the autoregressive model to compare with.
const ORDER: usize = 3;

/// A plan is as comfortable as another if it misses the band by no more than this beyond that, in K h.
const COMFORT: f64 = 0.2;

/// Lags at which residuals are looked at.
const LAGS: usize = 40;

/// config.toml.
#[derive(Serialize)]
struct Config<'a> {
    version: String,
    data: String,
    fitted_rows: usize,
    horizon: f64,
    flags: &'a TwinFlags,
    houses: BTreeMap<&'a str, &'a House>,
}

/// One house that was fitted.
pub struct Twin {
    /// As it was named.
    pub name: String,
    pub house: House,
    pub measured: Measured,
    pub fitted: Fitted,
    pub seconds: f64,
}

/// Everything that came of it.
pub struct Found {
    /// The house that was asked for, then those that it is compared with.
    pub twins: Vec<Twin>,
    /// Forecasts of the first twin.
    pub forecasts: Vec<Forecast>,
    /// Of every sensor, over the fitted rows.
    pub residuals: Vec<Residuals>,
    /// The schedule, if there are heaters and an hour or more: its times, demand and plans.
    pub schedule: Option<Scheduled>,
    pub summary: Summary,
}

/// A schedule and what it is compared with.
pub struct Scheduled {
    pub heated: Heated,
    pub cheapest: Plan,
    pub constant: Plan,
    pub setback: Plan,
    /// Hours that the setback heats ahead.
    pub lead: usize,
    /// Hour of the day of the first step.
    pub clock: f64,
}

/// summary.json; the keys are stable.
#[derive(Serialize)]
pub struct Summary {
    pub data: String,
    pub house: String,
    pub seed: u64,
    pub rows_fitted: usize,
    pub rows_held_out: usize,
    pub measurements: usize,
    /// ln p of the fitted measurements.
    pub loglik: f64,
    /// Whether the fit came to rest: gᵀI⁻¹g under [`AT_REST`](thermograd_models::thermal::twin::AT_REST).
    pub settled: bool,
    /// Standard deviations of priors: of logarithms, and of temperatures at the start in K.
    pub priors: [f64; 2],
    pub parameters: Vec<Estimated>,
    /// Of the estimates, row by row.
    pub correlations: Vec<Vec<f64>>,
    /// kW/K, and its standard error.
    pub heat_loss: [f64; 2],
    pub heat_loss_true: Option<f64>,
    /// Relative standard errors of logarithmic parameters, and standard errors of others.
    pub errors: Vec<f64>,
    /// Combinations that the measurements do not tell.
    pub unidentified: Vec<Direction>,
    pub residuals: Vec<Whiteness>,
    pub comparisons: Vec<Comparison>,
    /// On held-out rows, in K.
    pub rmse_one_step: f64,
    pub rmse_one_step_persistence: f64,
    pub rmse_one_step_arx: Option<f64>,
    pub horizon_hours: f64,
    pub forecasts: usize,
    pub rmse_forecast: f64,
    /// The part of the held-out measurements that is within the band of 95 % of these forecasts.
    pub band_coverage: f64,
    /// Of the true numbers, of the made-up house.
    pub rmse_forecast_true: Option<f64>,
    pub rmse_persistence: f64,
    pub rmse_yesterday: Option<f64>,
    pub rmse_arx: Option<f64>,
    pub schedule: Option<Savings>,
    pub fit_seconds: f64,
}

#[derive(Serialize)]
pub struct Estimated {
    pub name: String,
    pub unit: &'static str,
    pub value: f64,
    pub error: f64,
    pub logarithmic: bool,
    pub truth: Option<f64>,
}

#[derive(Serialize)]
pub struct Whiteness {
    pub sensor: String,
    pub autocorrelation_lag_1: f64,
    pub band: f64,
    pub periodogram_distance: f64,
    pub periodogram_band: f64,
}

#[derive(Serialize)]
pub struct Comparison {
    pub house: String,
    pub loglik: f64,
    pub settled: bool,
    /// Values of its parameters with their errors, as above.
    pub estimates: Vec<(String, f64, f64)>,
    pub parameters: usize,
    /// Twice the difference of ln p of the larger and the smaller house, and how probable as much is if the smaller one is true.
    pub twice_difference: Option<f64>,
    pub probability: Option<f64>,
    /// Why these are not given.
    pub withheld: Option<String>,
    pub rmse_one_step: f64,
    pub rmse_forecast: f64,
}

#[derive(Serialize)]
pub struct Savings {
    pub hours: usize,
    pub cost: f64,
    pub energy: f64,
    /// K at the worst, and K h in all.
    pub violation: f64,
    pub missed: f64,
    pub cost_constant: f64,
    pub cost_setback: f64,
    pub missed_constant: f64,
    pub missed_setback: f64,
    /// Parts of the cost of the constant thermostat, and of the setback: to be read where these keep the band as well.
    pub saved: Option<f64>,
    pub saved_beside_setback: Option<f64>,
    /// The same when heat that is taken from nodes is charged at the mean price.
    pub saved_with_stored_heat: Option<f64>,
}

/// Columns that are no numbers: the line and the word where that was seen.
type Words = BTreeMap<String, (usize, String)>;

/// Refuses a column of words.
fn check_words(named: &str, column: &str, words: &Words) -> Result<()> {
    match words.get(column) {
        Some((line, word)) => bail!("{named}: column `{column}` is not of numbers: line {line} has `{word}`"),
        None => Ok(()),
    }
}

/// Reads or makes the record.
fn record(flags: &TwinFlags, key: Key) -> Result<(Record, String, Option<Vec<f64>>, Words)> {
    let Some(file) = &flags.data else {
        let house = House::rooms();
        let truth = truth(&house, key);
        let heating = if flags.thermostat { Heating::Thermostat } else { Heating::Setpoints };
        ensure!((3..=3650).contains(&flags.days), "--days {}: 3 to 3650 are possible", flags.days);
        let what = if flags.thermostat { "a thermostat" } else { "changing set points" };
        let record = made(&house, &truth, flags.days, heating, key.fork("house"))?;
        return Ok((
            record,
            format!("a made-up house, {} days of {what}", flags.days),
            Some(truth),
            Words::new(),
        ));
    };
    let Series { mut columns, others, .. } = text::read(file, Series::decode)?;
    let named = || file.display().to_string();
    for column in [&flags.time].into_iter().chain(&flags.price) {
        check_words(&named(), column, &others)?;
    }
    let times = columns.remove(&flags.time).with_context(|| {
        let known: Vec<&str> = columns.keys().map(String::as_str).collect();
        format!(
            "{}: there is no column `{}` of times; there are {} (--time says which)",
            named(),
            flags.time,
            known.join(", ")
        )
    })?;
    let record = Record::new(times, columns).with_context(named)?;
    let usual = record.usual();
    ensure!(
        (1e-4..=24.0).contains(&usual),
        "{}: rows are {usual} h apart: times are in h, and steps of up to a day are possible (divide seconds by 3600)",
        named()
    );
    Ok((record, named(), None, others))
}

/// The house of a name or a file.
fn house(name: &str, flags: &TwinFlags) -> Result<House> {
    let (outdoors, observed, heat, sun) =
        (flags.outdoors.as_str(), flags.observed.as_str(), flags.heat.as_str(), flags.sun.as_deref());
    let house = match name {
        "1r1c" => House::one(outdoors, observed, heat, sun),
        "2r2c" => House::two(outdoors, observed, heat, sun),
        "3r3c" => House::three(outdoors, observed, heat, sun),
        "rooms" => House::rooms(),
        file => {
            let path = Path::new(file);
            ensure!(
                path.extension().is_some_and(|extension| extension == "toml"),
                "--house {file}: 1r1c, 2r2c, 3r3c, rooms, or a .toml file"
            );
            let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {file}"))?;
            toml::from_str(&text).with_context(|| format!("in {file}"))?
        }
    };
    house.check().with_context(|| format!("house {name}"))?;
    Ok(house)
}

/// Fits, judges, forecasts and schedules.
pub fn fit(flags: &TwinFlags) -> Result<()> {
    ensure!(
        flags.hold_out > 0.0 && flags.hold_out < 0.9,
        "--hold-out {}: between 0 and 0.9 are possible",
        flags.hold_out
    );
    ensure!((1..=1000).contains(&flags.starts), "--starts {}: 1 to 1000 are possible", flags.starts);
    ensure!(flags.most > 0.0 && flags.most <= 1e6, "--most {}: up to 1e6 kW are possible", flags.most);
    ensure!(
        flags.comfort.iter().all(|t| (-50.0..=60.0).contains(t)),
        "--comfort: temperatures from -50 to 60 °C are possible"
    );
    ensure!((0.0..24.0).contains(&flags.clock), "--clock {}: from 0 to 24", flags.clock);
    ensure!((1e-3..=100.0).contains(&flags.prior), "--prior {}: from 0.001 to 100 are possible", flags.prior);
    let horizon = flags.horizon.unwrap_or(if flags.data.is_none() { 72.0 } else { 24.0 });
    ensure!(horizon > 0.0 && horizon <= 8760.0, "--horizon {horizon}: up to a year is possible");
    if let Some(out) = &flags.out {
        Run::check_free(out)?;
    }
    let key = Key::new(flags.seed).fork("twin");
    let (record, data, truth, words) = record(flags, key)?;
    let names: Vec<&String> = [&flags.house].into_iter().chain(&flags.compare).collect();
    let mut houses = Vec::new();
    for name in names {
        let house = house(name, flags)?;
        let columns = house.nodes.iter().filter_map(|node| node.observed.as_deref());
        for column in columns.chain(house.inputs()) {
            check_words(&data, column, &words)?;
        }
        let measured = Measured::new(&house, &record).with_context(|| format!("{data}, house {name}"))?;
        houses.push((name.clone(), house, measured));
    }
    if let Some(price) = &flags.price {
        let odd = |price: &f64| !(*price >= 0.0 && price.is_finite());
        if let Some(row) = record.column(price)?.iter().position(odd) {
            bail!(
                "row {}: `{price}` is {}: prices are finite and not negative",
                row + 1,
                record.column(price)?[row]
            );
        }
    }
    let rows = ((1.0 - flags.hold_out) * record.len() as f64).round() as usize;
    ensure!(
        rows >= 10 && rows < record.len(),
        "--hold-out {}: {rows} of {} rows are left to fit; ten are needed, and one to forecast",
        flags.hold_out,
        record.len()
    );
    for (name, house, measured) in &houses {
        measured.check(house, rows).with_context(|| format!("{data}, house {name}"))?;
    }
    let ahead = Ahead::new(&houses[0].2, rows, horizon)?;
    let gaps = record.gaps();
    for (row, hours) in gaps.iter().take(5) {
        say!("note: {data}: {hours:.2} h are missing after row {}; they are stepped over", row + 1);
    }
    if gaps.len() > 5 {
        say!("note: {data}: and {} more", gaps.len() - 5);
    }
    catch_interrupts()?;
    let config = Config {
        version: version(),
        data: data.clone(),
        fitted_rows: rows,
        horizon,
        flags,
        houses: houses.iter().map(|(name, house, _)| (name.as_str(), house)).collect(),
    };
    let identity = Identity { command: "thermal-twin".into(), continues: false };
    let folder = Run::begin(identity, flags.out.as_deref(), &toml::to_string(&config)?)?;
    let span = record.times()[record.len() - 1] - record.times()[0];
    say!(
        "{data}: {} rows every {} over {}, {rows} of them fitted",
        record.len(),
        duration(record.usual()),
        duration(span)
    );
    let mut twins = Vec::new();
    for (name, house, measured) in houses {
        let fitting = Fitting { prior: flags.prior, starts: flags.starts, ..Fitting::default() };
        let (since, bar) = (Instant::now(), bar("fit", 1000));
        let fitted = fit_house(&house, &measured, rows, fitting, key.fork("fit"), |part, posterior| {
            bar.set_message(format!("{name}, ln p {posterior:.2}"));
            bar.set_position((1000.0 * part) as u64);
            if interrupted() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        bar.end();
        if interrupted() {
            Interrupted::stopped().exit();
        }
        let fitted = fitted.with_context(|| format!("house {name}"))?;
        twins.push(Twin { name, house, measured, fitted, seconds: since.elapsed().as_secs_f64() });
    }
    let found = shown("forecast", Interrupted::stopped(), |progress| {
        judge(flags, twins, truth, &ahead, &data, &record, progress)
    })?;
    found.summary.print();
    folder.write_json("summary.json", &found.summary)?;
    folder.write("twin.toml", toml::to_string(&found.twins[0].fitted_house())?.as_bytes())?;
    folder.write("report.html", twinning::page(&found)?.as_bytes())?;
    say!("report: {}", folder.path("report.html").display());
    Ok(())
}

/// Hours as a person says them.
fn duration(hours: f64) -> String {
    match hours {
        ..0.1 => format!("{:.3} s", 3600.0 * hours),
        ..2.0 => format!("{:.2} min", 60.0 * hours),
        ..72.0 => format!("{hours:.2} h"),
        _ => format!("{:.1} days", hours / 24.0),
    }
}

impl Twin {
    /// The house with estimates for first guesses.
    fn fitted_house(&self) -> House {
        let mut house = self.house.clone();
        let mut values = self.fitted.values.iter().copied();
        let mut next = || values.next().unwrap_or(f64::NAN);
        house.nodes.iter_mut().for_each(|node| node.capacity = next());
        house.links.iter_mut().for_each(|link| link.resistance = next());
        house.nodes.iter_mut().flat_map(|node| node.gain.values_mut()).for_each(|area| *area = next());
        house.nodes.iter_mut().for_each(|node| node.noise = next());
        house.nodes.iter_mut().filter(|node| node.observed.is_some()).for_each(|node| node.sensor = next());
        house
    }

    /// One-step errors after these rows.
    fn one_step(&self, scored: &[usize]) -> f64 {
        let (_, innovations, _) = forecasts(&self.house, &self.fitted.values, &self.measured, &[], 0);
        let errors: Vec<f64> = innovations
            .iter()
            .filter(|i| scored.binary_search(&(i.row - 1)).is_ok())
            .map(|i| i.error * i.error)
            .collect();
        (errors.iter().sum::<f64>() / errors.len().max(1) as f64).sqrt()
    }
}

/// Where forecasts begin, and which rows are scored one step ahead: where enough rows before are there for all that are compared.
struct Ahead {
    /// Rows that are fitted.
    rows: usize,
    /// h.
    horizon: f64,
    /// Rows of a forecast.
    steps: usize,
    /// The last rows that are known.
    starts: Vec<usize>,
    /// The same, of a single step.
    scored: Vec<usize>,
}

impl Ahead {
    fn new(measured: &Measured, rows: usize, horizon: f64) -> Result<Self> {
        let (usual, count) = (measured.usual(), measured.times.len());
        let steps = (horizon / usual).round().max(1.0) as usize;
        // A forecast an hour, or from every sixth row.
        let each = ((1.0 / usual).round() as usize).max(1) * if usual >= 1.0 { 6 } else { 1 };
        let known = |start: &usize| *start + 1 >= ORDER && measured.is_whole(start + 1 - ORDER, *start);
        let regular = |start: &usize| {
            let hours = measured.times[start + steps] - measured.times[*start];
            measured.is_even(*start, start + steps) && (hours / (steps as f64 * usual) - 1.0).abs() < 0.02
        };
        let starts = (rows - 1..count.saturating_sub(steps)).step_by(each);
        let starts: Vec<usize> = starts.filter(|start| known(start) && regular(start)).collect();
        ensure!(
            !starts.is_empty(),
            "--horizon {horizon}: nowhere in the {} rows held out are so many hours without a gap after {ORDER} whole rows; use a shorter \
             one, or hold out more",
            count - rows
        );
        let scored =
            (rows - 1..count - 1).filter(|start| known(start) && measured.is_even(*start, start + 1));
        Ok(Self { rows, horizon, steps, starts, scored: scored.collect() })
    }
}

fn judge(
    flags: &TwinFlags,
    twins: Vec<Twin>,
    truth: Option<Vec<f64>>,
    ahead: &Ahead,
    data: &str,
    record: &Record,
    progress: &mut dyn FnMut(f64),
) -> Result<Found> {
    let first = &twins[0];
    let Ahead { rows, horizon, steps, ref starts, ref scored } = *ahead;
    let (own, innovations, filtered) =
        forecasts(&first.house, &first.fitted.values, &first.measured, starts, steps);
    let of = |all: &[Forecast], start: usize| {
        all.binary_search_by_key(&start, |forecast| forecast.from).ok().map(|k| all[k].mean.clone())
    };
    let (rmse_forecast, count) = rmse(&first.measured, starts, steps, |start| of(&own, start));
    progress(0.2);
    let seen = &first.measured.sensors;
    let held = |start: usize| Some(vec![seen[start].clone(); steps]);
    let (rmse_persistence, _) = rmse(&first.measured, starts, steps, held);
    let yesterday = |start: usize| {
        let back = |row: usize, sensor: usize| {
            first.measured.days_before(start, first.measured.times[row], sensor).unwrap_or(f64::NAN)
        };
        let rows = start + 1..=start + steps;
        Some(rows.map(|row| (0..seen[0].len()).map(|sensor| back(row, sensor)).collect()).collect())
    };
    // Only where it says something of every measurement that the others are judged by.
    let rmse_yesterday =
        Some(rmse(&first.measured, starts, steps, yesterday)).filter(|own| own.1 == count).map(|own| own.0);
    let arx = Arx::fit(&first.measured, rows, ORDER).ok();
    let of_arx = |starts: &[usize], steps: usize| {
        arx.as_ref().map(|arx| {
            rmse(&first.measured, starts, steps, |start| arx.forecast(&first.measured, start, steps)).0
        })
    };
    let rmse_forecast_true = truth.as_ref().filter(|_| first.house == House::rooms()).map(|truth| {
        let (best, ..) = forecasts(&first.house, truth, &first.measured, starts, steps);
        rmse(&first.measured, starts, steps, |start| of(&best, start)).0
    });
    progress(0.4);
    let inside: Vec<_> = innovations.iter().filter(|i| i.row < rows).copied().collect();
    let sensors = first.house.sensors();
    let residuals: Vec<Residuals> = (0..sensors.len()).map(|k| Residuals::new(&inside, k, LAGS)).collect();
    let comparisons = twins[1..].iter().map(|other| {
        let larger = other.fitted.values.len() > first.fitted.values.len();
        let (a, b) = if larger { (&first.fitted, &other.fitted) } else { (&other.fitted, &first.fitted) };
        let ratio = likelihood_ratio(a, b);
        let (all, ..) = forecasts(&other.house, &other.fitted.values, &other.measured, starts, steps);
        Comparison {
            house: other.name.clone(),
            loglik: other.fitted.likelihood,
            settled: other.fitted.settled,
            estimates: (0..other.fitted.values.len())
                .map(|k| {
                    (other.fitted.parameters[k].name.clone(), other.fitted.values[k], other.fitted.errors[k])
                })
                .collect(),
            parameters: other.fitted.values.len(),
            twice_difference: ratio.as_ref().ok().map(|ratio| ratio.0),
            probability: ratio.as_ref().ok().map(|ratio| ratio.2),
            withheld: ratio.as_ref().err().map(ToString::to_string),
            rmse_one_step: other.one_step(scored),
            rmse_forecast: rmse(&other.measured, starts, steps, |start| of(&all, start)).0,
        }
    });
    let comparisons = comparisons.collect();
    progress(0.6);
    let schedule = scheduled(flags, first, horizon, record, &filtered)?;
    let (loss, error) = first.fitted.heat_loss(&first.house);
    let known = truth.as_ref().filter(|_| first.house == House::rooms());
    let summary = Summary {
        data: data.into(),
        house: first.name.clone(),
        seed: flags.seed,
        rows_fitted: rows,
        rows_held_out: record.len() - rows,
        measurements: first.fitted.measurements,
        loglik: first.fitted.likelihood,
        settled: first.fitted.settled,
        priors: [flags.prior, START],
        correlations: {
            let (all, count) = (first.fitted.correlations(), first.fitted.values.len());
            (0..count).map(|a| (0..count).map(|b| all[(a, b)]).collect()).collect()
        },
        parameters: first
            .fitted
            .parameters
            .iter()
            .enumerate()
            .map(|(k, parameter)| Estimated {
                name: parameter.name.clone(),
                unit: parameter.unit,
                value: first.fitted.values[k],
                error: first.fitted.errors[k],
                logarithmic: parameter.logarithmic,
                truth: known.map(|truth| truth[k]).filter(|_| parameter.logarithmic),
            })
            .collect(),
        heat_loss: [loss, error],
        heat_loss_true: known.map(|truth| heat_loss(&first.house, truth)),
        errors: first.fitted.errors.clone(),
        unidentified: first.fitted.unidentified(),
        residuals: residuals
            .iter()
            .zip(&sensors)
            .map(|(residuals, &node)| Whiteness {
                sensor: first.house.nodes[node].name.clone(),
                autocorrelation_lag_1: residuals.autocorrelation.first().copied().unwrap_or(f64::NAN),
                band: residuals.band,
                periodogram_distance: residuals.distance,
                periodogram_band: residuals.periodogram_band,
            })
            .collect(),
        comparisons,
        rmse_one_step: first.one_step(scored),
        rmse_one_step_persistence: rmse(&first.measured, scored, 1, |start| Some(vec![seen[start].clone()]))
            .0,
        rmse_one_step_arx: of_arx(scored, 1),
        horizon_hours: steps as f64 * first.measured.usual(),
        forecasts: starts.len(),
        rmse_forecast,
        band_coverage: coverage(&first.measured, &own),
        rmse_forecast_true,
        rmse_persistence,
        rmse_yesterday,
        rmse_arx: of_arx(starts, steps),
        schedule: schedule.as_ref().map(Scheduled::savings),
        fit_seconds: first.seconds,
    };
    progress(1.0);
    Ok(Found { twins, forecasts: own, residuals, schedule, summary })
}

/// The part of measurements that is within 1.96 standard deviations of forecasts.
fn coverage(measured: &Measured, forecasts: &[Forecast]) -> f64 {
    let (mut inside, mut count) = (0, 0);
    for forecast in forecasts {
        for (ahead, (mean, sd)) in forecast.mean.iter().zip(&forecast.sd).enumerate() {
            for ((value, mean), sd) in measured.sensors[forecast.from + 1 + ahead].iter().zip(mean).zip(sd) {
                if value.is_finite() {
                    count += 1;
                    inside += usize::from((value - mean).abs() <= 1.96 * sd);
                }
            }
        }
    }
    f64::from(inside as u32) / f64::from(count.max(1) as u32)
}

/// The last hours of the record again, with heating that is chosen.
fn scheduled(
    flags: &TwinFlags,
    twin: &Twin,
    horizon: f64,
    record: &Record,
    filtered: &[Vec<f64>],
) -> Result<Option<Scheduled>> {
    let times = record.times();
    let hours = horizon.floor() as usize;
    let end = times[times.len() - 1];
    let Some(start) = times.iter().rposition(|time| *time <= end - hours as f64 + 1e-9) else {
        return Ok(None);
    };
    let mut heaters: Vec<String> = twin.house.nodes.iter().flat_map(|node| node.heat.clone()).collect();
    heaters.sort_unstable();
    heaters.dedup();
    if hours == 0 || heaters.is_empty() {
        return Ok(None);
    }
    // Means of inputs over every hour.
    let hourly = |of: &dyn Fn(usize) -> f64, hour: usize| -> f64 {
        let within = |row: &usize| {
            let since = times[*row] - times[start];
            since >= hour as f64 - 1e-9 && since < (hour + 1) as f64 - 1e-9
        };
        let rows: Vec<usize> = (start..times.len()).filter(within).collect();
        match rows.len() {
            // The last before it.
            0 => of((start..times.len())
                .rfind(|&row| times[row] < times[start] + hour as f64)
                .unwrap_or(start)),
            count => rows.iter().map(|&row| of(row)).sum::<f64>() / count as f64,
        }
    };
    let inputs = twin.house.inputs().len();
    let prices = flags.price.as_deref().map(|name| record.column(name)).transpose()?;
    let clock = (flags.clock + times[start]).rem_euclid(24.0);
    let [day, night] = [flags.comfort[0], flags.comfort[1]];
    // At the end of every hour.
    let low = |hour: usize| {
        let at = (clock + (hour + 1) as f64).rem_euclid(24.0);
        if (6.0..22.0).contains(&at) { day } else { night }
    };
    let demand = Demand {
        h: 1.0,
        most: vec![flags.most; heaters.len()],
        heaters,
        // From a row to the next, as they are fitted.
        inputs: (0..hours)
            .map(|hour| {
                let between = |row: usize, k: usize| twin.measured.between(row.min(times.len() - 2))[k];
                (0..inputs).map(|k| hourly(&|row| between(row, k), hour)).collect()
            })
            .collect(),
        price: (0..hours).map(|hour| prices.map_or(1.0, |prices| hourly(&|row| prices[row], hour))).collect(),
        low: (0..hours).map(low).collect(),
        high: vec![day.max(night) + 5.0; hours],
    };
    let heated = Heated::new(&twin.house, &twin.fitted.values, &filtered[start], demand)?;
    let cheapest = heated.cheapest(|_| {});
    let constant = heated.constant();
    let (setback, lead) = heated.setback(cheapest.missed + COMFORT);
    Ok(Some(Scheduled { heated, cheapest, constant, setback, lead, clock }))
}

impl Scheduled {
    fn savings(&self) -> Savings {
        let Self { heated, cheapest, constant, setback, .. } = self;
        let price = heated.demand().price.iter().sum::<f64>() / heated.demand().price.len() as f64;
        let charged = |plan: &Plan| plan.cost - price * plan.stored;
        let part = |own: f64, other: f64| (other > 0.0).then(|| 1.0 - own / other);
        Savings {
            hours: cheapest.powers.len(),
            cost: cheapest.cost,
            energy: cheapest.energy,
            violation: cheapest.violation,
            cost_constant: constant.cost,
            cost_setback: setback.cost,
            missed: cheapest.missed,
            missed_constant: constant.missed,
            missed_setback: setback.missed,
            saved: part(cheapest.cost, constant.cost),
            saved_beside_setback: part(cheapest.cost, setback.cost),
            saved_with_stored_heat: part(charged(cheapest), charged(constant)),
        }
    }
}

impl Summary {
    fn print(&self) {
        say!(
            "\nhouse {}: ln p = {:.2} of {} measurements, {:.1} s",
            self.house,
            self.loglik,
            self.measurements,
            self.fit_seconds
        );
        for p in &self.parameters {
            let truth = p.truth.map_or(String::new(), |truth| format!("   true {truth:.4}"));
            match p.logarithmic {
                true => {
                    say!("  {:<24} {:>10.4} ± {:>5.1} % {}{truth}", p.name, p.value, 100.0 * p.error, p.unit)
                }
                false => say!("  {:<24} {:>10.4} ± {:>5.2} {}{truth}", p.name, p.value, p.error, p.unit),
            }
        }
        let truth = self.heat_loss_true.map_or(String::new(), |truth| format!("   true {truth:.4}"));
        say!("  {:<24} {:>10.4} ± {:>6.4} kW/K{truth}", "heat loss", self.heat_loss[0], self.heat_loss[1]);
        if !self.settled {
            say!("  warning: the fit did not come to rest; use more --starts");
        }
        say!(
            "  priors                   e to {} about first guesses, {} K of temperatures at the start",
            self.priors[0],
            self.priors[1]
        );
        for direction in &self.unidentified {
            let parts: Vec<&str> = direction.parts.iter().map(|(name, _)| name.as_str()).collect();
            match parts[..] {
                [one] => say!("  warning: the measurements hardly tell {one} (the prior does)"),
                _ => say!(
                    "  warning: the measurements hardly tell {} apart (the prior does)",
                    parts.join(", ")
                ),
            }
        }
        for w in &self.residuals {
            let white = w.periodogram_distance <= w.periodogram_band;
            say!(
                "  residuals of {:<11} {}: autocorrelation {:.3} (band {:.3}), periodogram off by {:.3} (band {:.3})",
                w.sensor,
                if white { "white" } else { "not white: errors above are too small" },
                w.autocorrelation_lag_1,
                w.band,
                w.periodogram_distance,
                w.periodogram_band
            );
        }
        for c in &self.comparisons {
            let ratio = match (c.twice_difference, c.probability) {
                (Some(twice), Some(p)) => {
                    let p = if p > 0.0 { format!("p = {p:.1e}") } else { "p < 1e-300".into() };
                    format!(", twice the difference {twice:.1}, {p} if one is within the other")
                }
                _ => format!(", not compared: {}", c.withheld.as_deref().unwrap_or_default()),
            };
            say!(
                "  beside {:<17} ln p = {:.2}, {} parameters{ratio}; one step {:.4} K, forecast {:.3} K",
                c.house,
                c.loglik,
                c.parameters,
                c.rmse_one_step,
                c.rmse_forecast
            );
            if !c.settled {
                say!("  warning: the fit of {} did not come to rest; use more --starts", c.house);
            }
        }
        let other = |value: Option<f64>| value.map_or("–".into(), |value| format!("{value:.4}"));
        say!(
            "  held out, one step       {:.4} K; persistence {:.4}, ARX {}",
            self.rmse_one_step,
            self.rmse_one_step_persistence,
            other(self.rmse_one_step_arx)
        );
        say!(
            "  held out, {:>3} h          {:.4} K, {:.0} % of it in the band of 95 %; persistence {:.4}, yesterday {}, ARX {}{}",
            self.horizon_hours,
            self.rmse_forecast,
            100.0 * self.band_coverage,
            self.rmse_persistence,
            other(self.rmse_yesterday),
            other(self.rmse_arx),
            self.rmse_forecast_true.map_or(String::new(), |rmse| format!(", true numbers {rmse:.4}"))
        );
        if let Some(s) = &self.schedule {
            let part =
                |saved: Option<f64>| saved.map_or("–".into(), |saved| format!("{:.1} %", 100.0 * saved));
            let beside = |cost: f64, missed: f64, saved: Option<f64>| {
                let note = match missed - s.missed {
                    more if more > COMFORT => format!(", but it misses the band by {missed:.1} K h"),
                    less if less < -COMFORT => format!(", but it misses the band by {missed:.1} K h only"),
                    _ => String::new(),
                };
                format!("{cost:.2} ({} saved{note})", part(saved))
            };
            say!(
                "  schedule of {:>3} h        {:.2}, the band missed by {:.1} K h",
                s.hours,
                s.cost,
                s.missed
            );
            say!("    constant set point     {}", beside(s.cost_constant, s.missed_constant, s.saved));
            say!("    with stored heat       {} saved", part(s.saved_with_stored_heat));
            say!(
                "    setback, heating ahead {}",
                beside(s.cost_setback, s.missed_setback, s.saved_beside_setback)
            );
        }
    }
}
