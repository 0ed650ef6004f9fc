//! A twin of a house: table → likelihood → fit → errors and whiteness → forecast → schedule.

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
use thermograd_models::thermal::house::{Heating, House, Record, made, truth};
use thermograd_models::thermal::kalman::Measured;
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
    seed: u64,
    data: String,
    fitted_rows: usize,
    prior: f64,
    starts: usize,
    horizon: f64,
    comfort: &'a [f64],
    most: f64,
    house: &'a House,
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
    pub parameters: Vec<Estimated>,
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
    pub parameters: usize,
    /// Twice the difference of ln p of the larger and the smaller house, and how probable as much is if the smaller one is true.
    pub twice_difference: Option<f64>,
    pub probability: Option<f64>,
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
    pub saved: f64,
    pub saved_beside_setback: f64,
    /// The same when heat that is taken from nodes is charged at the mean price.
    pub saved_with_stored_heat: f64,
}

/// Reads or makes the record.
fn record(flags: &TwinFlags, key: Key) -> Result<(Record, String, Option<Vec<f64>>)> {
    let Some(file) = &flags.data else {
        let house = House::rooms();
        let truth = truth(&house, key);
        let heating = if flags.thermostat { Heating::Thermostat } else { Heating::Setpoints };
        ensure!((3..=3650).contains(&flags.days), "--days {}: 3 to 3650 are possible", flags.days);
        let what = if flags.thermostat { "a thermostat" } else { "changing set points" };
        let record = made(&house, &truth, flags.days, heating, key.fork("house"))?;
        return Ok((record, format!("a made-up house, {} days of {what}", flags.days), Some(truth)));
    };
    let Series { mut columns, others, .. } = text::read(file, Series::decode)?;
    let named = || file.display().to_string();
    for column in [&flags.time].into_iter().chain(&flags.price) {
        if let Some((line, word)) = others.get(column) {
            bail!("{}: column `{column}` is not of numbers: line {line} has `{word}`", named());
        }
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
    // What is named but is no numbers is told when it is asked for.
    let record = Record::new(times, columns).with_context(named)?;
    Ok((record, named(), None))
}

/// The house of a name or a file.
fn house(name: &str, flags: &TwinFlags) -> Result<House> {
    let (outdoors, observed, heat, sun) =
        (flags.outdoors.as_str(), flags.observed.as_str(), flags.heat.as_str(), flags.sun.as_deref());
    Ok(match name {
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
            let house: House = toml::from_str(&text).with_context(|| format!("in {file}"))?;
            house.check().with_context(|| format!("in {file}"))?;
            house
        }
    })
}

/// Fits, judges, forecasts and schedules.
pub fn fit(flags: &TwinFlags) -> Result<()> {
    ensure!(
        flags.hold_out > 0.0 && flags.hold_out < 0.9,
        "--hold-out {}: between 0 and 0.9 are possible",
        flags.hold_out
    );
    ensure!(flags.prior > 0.0 && flags.prior.is_finite(), "--prior {}: it must be positive", flags.prior);
    ensure!((1..=1000).contains(&flags.starts), "--starts {}: 1 to 1000 are possible", flags.starts);
    ensure!(flags.most > 0.0 && flags.most.is_finite(), "--most {}: it must be positive", flags.most);
    ensure!(flags.comfort.iter().all(|t| t.is_finite()), "--comfort: two temperatures in °C");
    let horizon = flags.horizon.unwrap_or(if flags.data.is_none() { 72.0 } else { 24.0 });
    ensure!(horizon > 0.0 && horizon <= 8760.0, "--horizon {horizon}: up to a year is possible");
    if let Some(out) = &flags.out {
        Run::check_free(out)?;
    }
    let key = Key::new(flags.seed).fork("twin");
    let (record, data, truth) = record(flags, key)?;
    let names: Vec<&String> = [&flags.house].into_iter().chain(&flags.compare).collect();
    let mut houses = Vec::new();
    for name in names {
        let house = house(name, flags)?;
        let measured = Measured::new(&house, &record).with_context(|| format!("{data}, house {name}"))?;
        houses.push((name.clone(), house, measured));
    }
    if let Some(price) = &flags.price {
        record.column(price)?;
    }
    let rows = ((1.0 - flags.hold_out) * record.len() as f64).round() as usize;
    ensure!(rows >= 10 && rows < record.len(), "{rows} of {} rows to fit: ten are needed", record.len());
    for (row, hours) in record.gaps() {
        say!("note: {data}: {hours:.2} h are missing after row {}; they are stepped over", row + 1);
    }
    catch_interrupts()?;
    let config = Config {
        version: version(),
        seed: flags.seed,
        data: data.clone(),
        fitted_rows: rows,
        prior: flags.prior,
        starts: flags.starts,
        horizon,
        comfort: &flags.comfort,
        most: flags.most,
        house: &houses[0].1,
    };
    let identity = Identity { command: "thermal-twin".into(), continues: false };
    let folder = Run::begin(identity, flags.out.as_deref(), &toml::to_string(&config)?)?;
    say!("{data}: {} rows, {rows} of them fitted", record.len());
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
        judge(flags, twins, truth, rows, horizon, &data, &record, progress)
    })?;
    found.summary.print();
    folder.write_json("summary.json", &found.summary)?;
    folder.write("twin.toml", toml::to_string(&found.twins[0].fitted_house())?.as_bytes())?;
    folder.write("report.html", twinning::page(&found)?.as_bytes())?;
    say!("report: {}", folder.path("report.html").display());
    Ok(())
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

    /// One-step errors on held-out rows.
    fn one_step(&self, rows: usize) -> f64 {
        let (_, innovations, _) = forecasts(&self.house, &self.fitted.values, &self.measured, &[], 0);
        let errors: Vec<f64> =
            innovations.iter().filter(|i| i.row >= rows).map(|i| i.error * i.error).collect();
        (errors.iter().sum::<f64>() / errors.len().max(1) as f64).sqrt()
    }
}

#[expect(clippy::too_many_arguments, reason = "all of one command line")]
fn judge(
    flags: &TwinFlags,
    twins: Vec<Twin>,
    truth: Option<Vec<f64>>,
    rows: usize,
    horizon: f64,
    data: &str,
    record: &Record,
    progress: &mut dyn FnMut(f64),
) -> Result<Found> {
    let first = &twins[0];
    let times = record.times();
    let usual = (times[times.len() - 1] - times[0]) / (times.len() - 1) as f64;
    let steps = (horizon / usual).round().max(1.0) as usize;
    // A forecast an hour, or from every sixth row.
    let each = ((1.0 / usual).round() as usize).max(1) * if usual >= 1.0 { 6 } else { 1 };
    let starts: Vec<usize> = (rows - 1..record.len().saturating_sub(steps)).step_by(each).collect();
    ensure!(
        !starts.is_empty(),
        "--horizon {horizon}: the {} rows held out are shorter than that; use a shorter one, or hold out more",
        record.len() - rows
    );
    let (own, innovations, filtered) =
        forecasts(&first.house, &first.fitted.values, &first.measured, &starts, steps);
    let of = |all: &[Forecast], start: usize| all.iter().find(|f| f.from == start).map(|f| f.mean.clone());
    let (rmse_forecast, _) = rmse(&first.measured, &starts, steps, |start| of(&own, start));
    progress(0.2);
    let seen = &first.measured.sensors;
    let held = |start: usize| Some(vec![seen[start].clone(); steps]);
    let (rmse_persistence, _) = rmse(&first.measured, &starts, steps, held);
    let day = (24.0 / usual).round() as usize;
    let yesterday = |start: usize| {
        let back =
            |ahead: usize| seen.get((start + 1 + ahead).checked_sub(day * (1 + ahead / day))?).cloned();
        (0..steps).map(back).collect::<Option<Vec<_>>>()
    };
    let rmse_yesterday = (rows > day).then(|| rmse(&first.measured, &starts, steps, yesterday).0);
    let arx = Arx::fit(&first.measured, rows, ORDER).ok();
    let all_rows: Vec<usize> = (rows - 1..record.len() - 1).collect();
    let of_arx = |starts: &[usize], steps: usize| {
        arx.as_ref().map(|arx| {
            rmse(&first.measured, starts, steps, |start| arx.forecast(&first.measured, start, steps)).0
        })
    };
    let rmse_forecast_true = truth.as_ref().filter(|_| first.house == House::rooms()).map(|truth| {
        let (best, ..) = forecasts(&first.house, truth, &first.measured, &starts, steps);
        rmse(&first.measured, &starts, steps, |start| of(&best, start)).0
    });
    progress(0.4);
    let inside: Vec<_> = innovations.iter().filter(|i| i.row < rows).copied().collect();
    let sensors = first.house.sensors();
    let residuals: Vec<Residuals> = (0..sensors.len()).map(|k| Residuals::new(&inside, k, LAGS)).collect();
    let comparisons = twins[1..].iter().map(|other| {
        let larger = other.fitted.values.len() > first.fitted.values.len();
        let (a, b) = if larger { (&first.fitted, &other.fitted) } else { (&other.fitted, &first.fitted) };
        let ratio = likelihood_ratio(a, b);
        let (all, ..) = forecasts(&other.house, &other.fitted.values, &other.measured, &starts, steps);
        Comparison {
            house: other.name.clone(),
            loglik: other.fitted.likelihood,
            parameters: other.fitted.values.len(),
            twice_difference: ratio.map(|ratio| ratio.0),
            probability: ratio.map(|ratio| ratio.2),
            rmse_one_step: other.one_step(rows),
            rmse_forecast: rmse(&other.measured, &starts, steps, |start| of(&all, start)).0,
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
        rmse_one_step: first.one_step(rows),
        rmse_one_step_persistence: rmse(&first.measured, &all_rows, 1, |start| {
            Some(vec![seen[start].clone()])
        })
        .0,
        rmse_one_step_arx: of_arx(&all_rows, 1),
        horizon_hours: horizon,
        forecasts: starts.len(),
        rmse_forecast,
        rmse_forecast_true,
        rmse_persistence,
        rmse_yesterday,
        rmse_arx: of_arx(&starts, steps),
        schedule: schedule.as_ref().map(Scheduled::savings),
        fit_seconds: first.seconds,
    };
    progress(1.0);
    Ok(Found { twins, forecasts: own, residuals, schedule, summary })
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
    let heaters: Vec<String> = twin.house.nodes.iter().flat_map(|node| node.heat.clone()).collect();
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
            0 => of(start),
            count => rows.iter().map(|&row| of(row)).sum::<f64>() / count as f64,
        }
    };
    let inputs = twin.house.inputs().len();
    let prices = flags.price.as_deref().map(|name| record.column(name)).transpose()?;
    let clock = times[start].rem_euclid(24.0);
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
        inputs: (0..hours)
            .map(|hour| (0..inputs).map(|k| hourly(&|row| twin.measured.inputs[row][k], hour)).collect())
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
            saved: 1.0 - cheapest.cost / constant.cost,
            saved_beside_setback: 1.0 - cheapest.cost / setback.cost,
            saved_with_stored_heat: 1.0 - charged(cheapest) / charged(constant),
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
        for direction in &self.unidentified {
            let parts: Vec<&str> = direction.parts.iter().map(|(name, _)| name.as_str()).collect();
            say!("  warning: the measurements hardly tell {} apart (the prior does)", parts.join(", "));
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
                (Some(twice), Some(p)) => format!(", twice the difference {twice:.1}, p = {p:.1e}"),
                _ => String::new(),
            };
            say!(
                "  beside {:<17} ln p = {:.2}, {} parameters{ratio}; one step {:.4} K, forecast {:.3} K",
                c.house,
                c.loglik,
                c.parameters,
                c.rmse_one_step,
                c.rmse_forecast
            );
        }
        let other = |value: Option<f64>| value.map_or("–".into(), |value| format!("{value:.4}"));
        say!(
            "  held out, one step       {:.4} K; persistence {:.4}, ARX {}",
            self.rmse_one_step,
            self.rmse_one_step_persistence,
            other(self.rmse_one_step_arx)
        );
        say!(
            "  held out, {:>3} h          {:.4} K; persistence {:.4}, yesterday {}, ARX {}{}",
            self.horizon_hours,
            self.rmse_forecast,
            self.rmse_persistence,
            other(self.rmse_yesterday),
            other(self.rmse_arx),
            self.rmse_forecast_true.map_or(String::new(), |rmse| format!(", true numbers {rmse:.4}"))
        );
        if let Some(s) = &self.schedule {
            let beside = |cost: f64, missed: f64, saved: f64| {
                let worse = if missed > s.missed + COMFORT {
                    format!(", but it misses the band by {missed:.1} K h")
                } else {
                    String::new()
                };
                format!("{cost:.2} ({:.1} % saved{worse})", 100.0 * saved)
            };
            say!(
                "  schedule of {:>3} h        {:.2}, the band missed by {:.1} K h",
                s.hours,
                s.cost,
                s.missed
            );
            say!("    constant set point     {}", beside(s.cost_constant, s.missed_constant, s.saved));
            say!("    with stored heat       {:.1} % saved", 100.0 * s.saved_with_stored_heat);
            say!(
                "    setback, heating ahead {}",
                beside(s.cost_setback, s.missed_setback, s.saved_beside_setback)
            );
        }
    }
}
