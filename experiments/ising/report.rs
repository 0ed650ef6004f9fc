//! report.html of an Ising network.

use anyhow::Result;
use maud::{Markup, html};
use thermograd_experiments::report::{
    COLOURS, Chart, Line, document, facts, learning, percent, row, settings,
};
use thermograd_experiments::workbench::Session;
use thermograd_models::IsingNet;
use thermograd_models::ising::sampling::Reading;

use crate::summary::Summary;
use crate::{Forecast, Setup};

/// The whole page.
pub fn page(
    setup: &Setup,
    session: &Session,
    _network: &IsingNet,
    reading: &Reading,
    forecast: &Forecast,
    summary: &Summary,
) -> Result<String> {
    let s = &setup.settings;
    let body = html! {
        (facts(&numbers(summary)))
        (curve(reading, forecast)?)
        (learning(&session.metrics())?)
        (settings(s)?)
    };
    Ok(document(&format!("An Ising network reads {}", s.source.dataset.shows()), &body))
}

fn numbers(summary: &Summary) -> Vec<(&'static str, String)> {
    vec![("accuracy", percent(summary.accuracy))]
}

/// Accuracy against sweeps, on a logarithmic axis.
fn curve(reading: &Reading, forecast: &Forecast) -> Result<Markup> {
    let most = reading.accuracy.last().map_or(1, |&(sweeps, _)| sweeps);
    let place = |sweeps: f64| sweeps.log10();
    let measured =
        reading.accuracy.iter().map(|&(sweeps, part)| (place(sweeps as f64), 100.0 * part)).collect();
    let expected = (0..=40).map(|k| (most as f64).powf(f64::from(k) / 40.0)).map(|sweeps| {
        (place(sweeps), 100.0 * forecast.expected.accuracy(sweeps.round() as usize, forecast.tau))
    });
    let lines = [
        Line { name: "expected", colour: COLOURS[7], width: 1, points: expected.collect() },
        Line { name: "measured", colour: COLOURS[0], width: 2, points: measured },
    ];
    let chart = Chart {
        title: "",
        x: "log10 of the sweeps averaged",
        y: "accuracy, %",
        size: (560, 300),
        y_range: None,
    };
    Ok(html! { h2 { "How many sweeps" } (row("row", &[chart.svg(&lines)?])) })
}
