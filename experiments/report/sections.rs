//! Sections of several pages: learning curves, coupling fields, settings.

use anyhow::Result;
use burn::tensor::Tensor;
use maud::{Markup, html};
use serde::Serialize;
use thermograd::to_f64;

use crate::report::figures::{Chart, mosaic};
use crate::report::page::{figure, row};
use crate::workbench::training::Metric;

/// A section with charts for each training stage: its loss, and the accuracy on held-out images.
///
/// `read` says by what held-out images are read.
pub fn learning(metrics: &[Metric], read: &str) -> Result<Markup> {
    let mut stages: Vec<&str> =
        metrics.iter().filter(|metric| metric.loss.is_some()).map(|metric| metric.stage.as_str()).collect();
    stages.dedup();
    let (mut charts, mut short) = (Vec::new(), Vec::new());
    for stage in stages {
        let (title, x) = match stage {
            "descent" => ("descent: reversed action per step and unit".to_owned(), "cycle"),
            _ => (format!("{stage}: mean loss per epoch"), "epoch"),
        };
        let passes: Vec<&Metric> = metrics.iter().filter(|metric| metric.stage == stage).collect();
        if let [Metric { loss: Some(loss), held_out_accuracy, .. }] = passes[..] {
            let held_out =
                held_out_accuracy.map(|part| format!(", {} of the held-out images", percent(part)));
            short.push(format!("{stage}: one {x}, loss {loss:.4}{}.", held_out.unwrap_or_default()));
            continue;
        }
        let points = |value: fn(&Metric) -> Option<f64>| -> Vec<(f64, f64)> {
            passes.iter().filter_map(|metric| Some((metric.epoch as f64, value(metric)?))).collect()
        };
        let mut chart = |title: &str, y: &str, points: Vec<(f64, f64)>| -> Result<()> {
            charts.push(Chart { title, x, y, size: (560, 280), y_range: None }.line(points)?);
            Ok(())
        };
        chart(&title, "loss", points(|metric| metric.loss))?;
        let accuracies = points(|metric| Some(100.0 * metric.held_out_accuracy?));
        if !accuracies.is_empty() {
            chart(&format!("{stage}: held-out images, {read}"), "accuracy, %", accuracies)?;
        }
    }
    Ok(html! {
        @if !charts.is_empty() || !short.is_empty() { h2 { "Learning" } }
        @if !charts.is_empty() { (row("row", &charts)) }
        @for text in short { p { (text) } }
    })
}

/// −J of the first `most` rows of couplings: the forces on the units of the columns.
///
/// # Shapes
/// `coupling` `[row, pixel]` → `[row][pixel]`.
pub fn pushes(coupling: Tensor<2>, most: usize) -> Vec<Vec<f32>> {
    let [rows, pixels] = coupling.dims();
    let values = to_f64(coupling.inner().slice_dim(0, 0..rows.min(most)));
    values.chunks(pixels).map(|row| row.iter().map(|value| -value as f32).collect()).collect()
}

/// A section with a picture of fields of width `width`, `columns` in a row.
pub fn fields(
    heading: &str,
    fields: &[Vec<f32>],
    width: usize,
    columns: usize,
    caption: &str,
) -> Result<Markup> {
    let picture = figure(&mosaic(fields, width, columns), 2, caption)?;
    Ok(html! { h2 { (heading) } (picture) })
}

/// A section with the settings of a run.
pub fn settings(settings: &impl Serialize) -> Result<Markup> {
    let text = toml::to_string(settings)?;
    Ok(html! { h2 { "Settings" } pre { (text) } })
}

/// A fraction in percent.
pub fn percent(fraction: f64) -> String {
    format!("{:.2} %", 100.0 * fraction)
}

/// A count with its noun: `1 device`, `5 devices`, `2 trajectories`.
pub fn counted(count: usize, noun: &str) -> String {
    match noun.strip_suffix('y') {
        _ if count == 1 => format!("1 {noun}"),
        Some(stem) => format!("{count} {stem}ies"),
        None => format!("{count} {noun}s"),
    }
}

/// The standard deviation of a fraction in percent, if there is more than one value.
pub fn spread(sd: f64) -> String {
    if sd.is_finite() { format!(" (s.d. {:.2})", 100.0 * sd) } else { String::new() }
}
