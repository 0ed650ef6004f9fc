//! The report of a twin.

use anyhow::Result;
use maud::{Markup, html};
use thermograd_experiments::report::{COLOURS, Chart, Line, document, facts, row};
use thermograd_models::thermal::twin::Residuals;

use crate::twin::{Found, Scheduled, Summary};

/// The whole page.
pub fn page(found: &Found) -> Result<String> {
    let s = &found.summary;
    let body = html! {
        (facts(&numbers(s)))
        (forecast(found)?)
        (parameters(found))
        (whiteness(found)?)
        (comparisons(s))
        @if let Some(schedule) = &found.schedule { (scheduled(found, schedule)?) }
    };
    Ok(document("A twin of a house", &body))
}

fn numbers(s: &Summary) -> Vec<(&'static str, String)> {
    let other = |value: Option<f64>| value.map_or("–".into(), |value| format!("{value:.4} K"));
    let mut rows = vec![
        ("data", format!("{}: {} rows fitted, {} held out", s.data, s.rows_fitted, s.rows_held_out)),
        ("house", format!("{}, seed {}", s.house, s.seed)),
        ("ln p", format!("{:.2} of {} measurements, {:.1} s", s.loglik, s.measurements, s.fit_seconds)),
        ("heat loss", format!("{:.4} ± {:.4} kW/K", s.heat_loss[0], s.heat_loss[1])),
        (
            "held out, one step",
            format!(
                "{:.4} K; the last measurement {:.4} K, ARX {}",
                s.rmse_one_step,
                s.rmse_one_step_persistence,
                other(s.rmse_one_step_arx)
            ),
        ),
        (
            "held out, forecasts",
            format!(
                "{:.4} K over {} h from {} starts; the last measurement {:.4} K, the same hour of the day before {}, ARX {}",
                s.rmse_forecast,
                s.horizon_hours,
                s.forecasts,
                s.rmse_persistence,
                other(s.rmse_yesterday),
                other(s.rmse_arx)
            ),
        ),
    ];
    if let (Some(loss), Some(rmse)) = (s.heat_loss_true, s.rmse_forecast_true) {
        rows.push((
            "the truth",
            format!("heat loss {loss:.4} kW/K; forecasts with true numbers {rmse:.4} K"),
        ));
    }
    rows
}

/// The last forecast with its band, and what was measured.
fn forecast(found: &Found) -> Result<Markup> {
    let Some(last) = found.forecasts.last() else { return Ok(html! {}) };
    let twin = &found.twins[0];
    let times = &twin.measured.times;
    let chart = |(sensor, node): (usize, usize)| -> Result<String> {
        let at = |row: usize| times[row] - times[last.from];
        let first = last.from.saturating_sub(last.mean.len() / 2);
        let seen = (first..=last.from + last.mean.len())
            .map(|row| (at(row), twin.measured.sensors[row][sensor]))
            .filter(|(_, value)| value.is_finite())
            .collect();
        let path = |sds: f64| -> Vec<(f64, f64)> {
            let value = |k: usize| last.mean[k][sensor] + sds * last.sd[k][sensor];
            (0..last.mean.len()).map(|k| (at(last.from + 1 + k), value(k))).collect()
        };
        let lines = [
            Line { name: "95 %", colour: COLOURS[7], width: 1, points: path(1.96) },
            Line { name: "", colour: COLOURS[7], width: 1, points: path(-1.96) },
            Line { name: "measured", colour: COLOURS[0], width: 2, points: seen },
            Line { name: "forecast", colour: COLOURS[1], width: 2, points: path(0.0) },
        ];
        let title = &twin.house.nodes[node].name;
        Chart { title, x: "h after the last row that is known", y: "°C", size: (640, 300), y_range: None }
            .svg(&lines)
    };
    let charts = twin.house.sensors().into_iter().enumerate().map(chart).collect::<Result<Vec<_>>>()?;
    Ok(html! {
        h2 { "Forecast" }
        p { "From the filtered state at hour 0, with the weather and the heating that were measured. The band is 1.96 standard deviations, if house and estimates were right: "
            (format!("{:.0}", 100.0 * found.summary.band_coverage)) " % of the held-out measurements are within those of all forecasts." }
        (row("row", &charts))
    })
}

fn parameters(found: &Found) -> Markup {
    let s = &found.summary;
    let fitted = &found.twins[0].fitted;
    let correlations = fitted.correlations();
    let count = s.parameters.len();
    let mut pairs: Vec<(usize, usize, f64)> = (0..count)
        .flat_map(|a| (0..a).map(move |b| (a, b)))
        .map(|(a, b)| (a, b, correlations[(a, b)]))
        .collect();
    pairs.sort_by(|a, b| b.2.abs().total_cmp(&a.2.abs()));
    let known = s.parameters.iter().any(|p| p.truth.is_some());
    html! {
        h2 { "Parameters" }
        p {
            "With standard errors from the information of measurements and prior (a factor of e to "
            (format!("{}", fitted.parameters[0].prior)) " about the first guess; " (format!("{}", s.priors[1])) " K of temperatures at the start)."
            @if !fitted.settled { " The fit did not come to rest: use more starts." }
        }
        table {
            tr { th { "parameter" } th { "estimate" } th { "standard error" } th { "first guess" } @if known { th { "truth" } } }
            @for (p, parameter) in s.parameters.iter().zip(&fitted.parameters) {
                tr {
                    td { (p.name) }
                    td { (format!("{:.4} {}", p.value, p.unit)) }
                    td { @if p.logarithmic { (format!("{:.1} %", 100.0 * p.error)) } @else { (format!("{:.3}", p.error)) } }
                    td { (format!("{}", parameter.guess)) }
                    @if known { td { (p.truth.map_or("–".into(), |truth| format!("{truth:.4}"))) } }
                }
            }
        }
        p {
            "Most correlated: "
            @for (a, b, r) in pairs.iter().take(5) { (s.parameters[*a].name) " and " (s.parameters[*b].name) " (" (format!("{r:.2}")) "); " }
        }
        p {
            "What the measurements alone tell worst, by the eigenvectors of the Fisher information: "
            @for direction in fitted.directions().iter().take(3) {
                @for (name, part) in &direction.parts { (format!("{part:+.2} ")) (name) " " }
                "to " (if direction.error < 10.0 { format!("{:.0} %", 100.0 * direction.error) } else { "nothing".into() }) "; "
            }
        }
    }
}

fn whiteness(found: &Found) -> Result<Markup> {
    let twin = &found.twins[0];
    let mut charts = Vec::new();
    for (node, residuals) in twin.house.sensors().into_iter().zip(&found.residuals) {
        let Residuals { autocorrelation, band, periodogram, periodogram_band, .. } = residuals;
        let name = &twin.house.nodes[node].name;
        let lags = autocorrelation.len() as f64;
        let flat = |y: f64| vec![(1.0, y), (lags.max(2.0), y)];
        let bars: Vec<(f64, f64)> = autocorrelation
            .iter()
            .enumerate()
            .flat_map(|(k, &r)| [(k + 1, 0.0), (k + 1, r), (k + 1, 0.0)].map(|(k, r)| (k as f64, r)))
            .collect();
        let lines = [
            Line { name: "", colour: COLOURS[7], width: 1, points: flat(*band) },
            Line { name: "", colour: COLOURS[7], width: 1, points: flat(-band) },
            Line { name: "", colour: COLOURS[0], width: 2, points: bars },
        ];
        let title = format!("{name}: autocorrelation");
        charts.push(
            Chart { title: &title, x: "lag, rows", y: "", size: (420, 260), y_range: None }.svg(&lines)?,
        );
        let count = periodogram.len().max(2) as f64;
        let line = |off: f64| vec![(0.0, off), (0.5, 1.0 + off)];
        let points =
            periodogram.iter().enumerate().map(|(k, &x)| (0.5 * (k + 1) as f64 / count, x)).collect();
        let lines = [
            Line { name: "", colour: COLOURS[7], width: 1, points: line(*periodogram_band) },
            Line { name: "", colour: COLOURS[7], width: 1, points: line(-periodogram_band) },
            Line { name: "", colour: COLOURS[0], width: 2, points },
        ];
        let title = format!("{name}: cumulated periodogram");
        let x = "frequency, per row";
        charts.push(
            Chart { title: &title, x, y: "", size: (420, 260), y_range: Some((0.0, 1.0)) }.svg(&lines)?,
        );
    }
    Ok(html! {
        h2 { "Residuals" }
        p {
            "What every measurement was beside what was expected a row before. If the house is well described they are white: autocorrelations stay \
             between the grey lines nineteen times of twenty, and the cumulated periodogram stays between its own. If not, the errors above are too small."
        }
        (row("row", &charts))
    })
}

fn comparisons(s: &Summary) -> Markup {
    if s.comparisons.is_empty() {
        return html! {};
    }
    let other = |value: Option<f64>| value.map_or("–".into(), |value| format!("{value:.2}"));
    html! {
        h2 { "Other houses" }
        p {
            "Twice the difference of ln p is χ² of as many degrees of freedom as parameters differ, if one house lies within the other and the \
             smaller one is true."
            @for c in &s.comparisons {
                @if let Some(reason) = &c.withheld { " Not of " (c.house) ": " (reason) "." }
                @if !c.settled { " The fit of " (c.house) " did not come to rest: use more starts." }
            }
        }
        table {
            tr { th { "house" } th { "parameters" } th { "ln p" } th { "twice the difference" } th { "p" } th { "one step, K" } th { "forecast, K" } }
            tr {
                td { (s.house) } td { (s.parameters.len()) } td { (format!("{:.2}", s.loglik)) } td { "–" } td { "–" }
                td { (format!("{:.4}", s.rmse_one_step)) } td { (format!("{:.3}", s.rmse_forecast)) }
            }
            @for c in &s.comparisons {
                tr {
                    td { (c.house) } td { (c.parameters) } td { (format!("{:.2}", c.loglik)) }
                    td { (other(c.twice_difference)) } td { (c.probability.map_or("–".into(), |p| format!("{p:.1e}"))) }
                    td { (format!("{:.4}", c.rmse_one_step)) } td { (format!("{:.3}", c.rmse_forecast)) }
                }
            }
        }
    }
}

fn scheduled(found: &Found, s: &Scheduled) -> Result<Markup> {
    let twin = &found.twins[0];
    let demand = s.heated.demand();
    let rooms = twin.house.sensors();
    let points = |values: &dyn Fn(usize) -> f64, count: usize| -> Vec<(f64, f64)> {
        (0..count).map(|k| ((k + 1) as f64, values(k))).collect()
    };
    let hours = demand.price.len();
    let band = [
        Line { name: "comfort", colour: COLOURS[7], width: 2, points: points(&|k| demand.low[k], hours) },
        Line { name: "", colour: COLOURS[7], width: 1, points: points(&|k| demand.high[k], hours) },
    ];
    let mut charts = Vec::new();
    for &room in &rooms {
        let of = |name, colour, plan: &thermograd_models::thermal::schedule::Plan| Line {
            name,
            colour,
            width: 2,
            points: points(&|k| plan.temperatures[k][room], hours),
        };
        let lines: Vec<Line> = band
            .iter()
            .map(|line| Line {
                name: line.name,
                colour: line.colour,
                width: line.width,
                points: line.points.clone(),
            })
            .chain([of("cheapest", COLOURS[1], &s.cheapest), of("setback", COLOURS[2], &s.setback)])
            .collect();
        let title = &twin.house.nodes[room].name;
        charts.push(Chart { title, x: "h", y: "°C", size: (640, 280), y_range: None }.svg(&lines)?);
    }
    let powers: Vec<Line> = (0..demand.heaters.len())
        .map(|j| Line {
            name: "",
            colour: COLOURS[j % COLOURS.len()],
            width: 2,
            points: (0..hours)
                .flat_map(|k| {
                    [(k, s.cheapest.powers[k][j]), (k + 1, s.cheapest.powers[k][j])]
                        .map(|(k, p)| (k as f64, p))
                })
                .collect(),
        })
        .collect();
    charts.push(Chart { title: "heaters", x: "h", y: "kW", size: (640, 240), y_range: None }.svg(&powers)?);
    let saved = found.summary.schedule.as_ref();
    let part = |saved: Option<f64>| saved.map_or("–".into(), |saved| format!("{:.1} %", 100.0 * saved));
    let table: [(&str, &thermograd_models::thermal::schedule::Plan); 3] = [
        ("cheapest", &s.cheapest),
        ("constant set point", &s.constant),
        ("setback, heating ahead", &s.setback),
    ];
    Ok(html! {
        h2 { "A schedule" }
        p {
            "The last " (hours) " hours again with heating that is chosen, beginning at " (format!("{:.0}", s.clock)) " o'clock, in the twin and with its \
             weather known. What the real house would do where the twin is wrong is not said."
        }
        table {
            tr { th { "heating" } th { "cost" } th { "kWh" } th { "band missed by, K h" } th { "heat left in the house, kWh" } }
            @for (name, plan) in table {
                tr {
                    td { (name) } td { (format!("{:.2}", plan.cost)) } td { (format!("{:.2}", plan.energy)) }
                    td { (format!("{:.2}", plan.missed)) } td { (format!("{:+.2}", plan.stored)) }
                }
            }
        }
        @if let Some(saved) = saved {
            p {
                (part(saved.saved)) " less than the constant set point (" (part(saved.saved_with_stored_heat))
                " when heat taken out of walls is charged), and " (part(saved.saved_beside_setback))
                " less than an ideal setback that heats " (s.lead) " hours ahead."
            }
        }
        (row("row", &charts))
    })
}
