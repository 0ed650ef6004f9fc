//! Figures for people: line charts as SVG, pictures as PNG, both as text for a page.

use anyhow::{Result, anyhow};
use base64::Engine;
use plotters::prelude::*;

/// Colours that stay apart for most eyes (M. Okabe, K. Ito, 2008), then greys.
pub const COLOURS: [RGBColor; 10] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(148, 103, 60),
    RGBColor(110, 110, 110),
    RGBColor(60, 60, 140),
    RGBColor(170, 170, 60),
];

/// One line of a chart.
pub struct Line<'a> {
    /// Its name in the legend; empty for none.
    pub name: &'a str,
    /// Its colour.
    pub colour: RGBColor,
    /// Its width in pixels.
    pub width: u32,
    /// Its points.
    pub points: Vec<(f64, f64)>,
}

/// A chart of lines.
pub struct Chart<'a> {
    /// What it shows.
    pub title: &'a str,
    /// The horizontal axis with its unit.
    pub x: &'a str,
    /// The vertical axis with its unit.
    pub y: &'a str,
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// Lowest and highest value of the vertical axis, if not those of the data.
    pub y_range: Option<(f64, f64)>,
}

impl Chart<'_> {
    /// The chart as SVG text.
    pub fn svg(&self, lines: &[Line]) -> Result<String> {
        let points = lines.iter().flat_map(|line| line.points.iter().copied());
        let points: Vec<_> = points.filter(|(x, y)| x.is_finite() && y.is_finite()).collect();
        let low = |values: &mut dyn Iterator<Item = f64>| values.fold(f64::INFINITY, f64::min);
        let high = |values: &mut dyn Iterator<Item = f64>| values.fold(f64::NEG_INFINITY, f64::max);
        if points.is_empty() {
            return Ok(String::new());
        }
        let (x0, x1) = (low(&mut points.iter().map(|p| p.0)), high(&mut points.iter().map(|p| p.0)));
        let (y0, y1) = self.y_range.unwrap_or_else(|| {
            let (y0, y1) = (low(&mut points.iter().map(|p| p.1)), high(&mut points.iter().map(|p| p.1)));
            let margin = 0.05 * (y1 - y0).max(1e-9);
            // Room above the lines for a legend.
            let legend = if lines.iter().any(|line| !line.name.is_empty()) { 0.3 * (y1 - y0) } else { 0.0 };
            (y0 - margin, y1 + margin + legend)
        });
        let (x0, x1) = if x0 < x1 { (x0, x1) } else { (x0 - 0.5, x1 + 0.5) };
        let mut text = String::new();
        {
            let root = SVGBackend::with_string(&mut text, self.size).into_drawing_area();
            let drawn = self.draw(&root, x0..x1, y0..y1, lines);
            drawn.map_err(|error| anyhow!("cannot draw `{}`: {error}", self.title))?;
        }
        Ok(text)
    }

    fn draw(
        &self,
        root: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
        x: std::ops::Range<f64>,
        y: std::ops::Range<f64>,
        lines: &[Line],
    ) -> Result<(), Box<dyn std::error::Error>> {
        root.fill(&WHITE)?;
        let mut builder = ChartBuilder::on(root);
        builder.margin(10).x_label_area_size(38).y_label_area_size(52);
        if !self.title.is_empty() {
            builder.caption(self.title, ("sans-serif", 15));
        }
        let mut chart = builder.build_cartesian_2d(x, y)?;
        chart
            .configure_mesh()
            .x_desc(self.x)
            .y_desc(self.y)
            .x_labels(6)
            .y_labels(6)
            .label_style(("sans-serif", 12))
            .axis_desc_style(("sans-serif", 13))
            .light_line_style(WHITE)
            .bold_line_style(RGBColor(228, 228, 228))
            .draw()?;
        let mut named = false;
        for line in lines {
            let style = line.colour.stroke_width(line.width);
            let drawn = chart.draw_series(LineSeries::new(line.points.iter().copied(), style))?;
            if !line.name.is_empty() {
                named = true;
                let colour = line.colour;
                let mark = move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2));
                drawn.label(line.name).legend(mark);
            }
        }
        if named {
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::UpperLeft)
                .background_style(WHITE.mix(0.85))
                .border_style(RGBColor(200, 200, 200))
                .label_font(("sans-serif", 12))
                .draw()?;
        }
        root.present()?;
        Ok(())
    }
}

/// An RGB picture as a PNG data URI.
pub fn png_uri(width: usize, rgb: &[[u8; 3]]) -> Result<String> {
    let mut bytes = Vec::new();
    let height = rgb.len() / width;
    let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(rgb.as_flattened())?;
    writer.finish()?;
    Ok(format!("data:image/png;base64,{}", base64::engine::general_purpose::STANDARD.encode(bytes)))
}

/// Grey values as a picture.
pub fn grey(pixels: &[u8]) -> Vec<[u8; 3]> {
    pixels.iter().map(|&pixel| [255 - pixel; 3]).collect()
}

/// Signed fields side by side, blue below zero and red above, each scaled to its own largest magnitude.
/// Returns the width and the pixels.
pub fn mosaic(fields: &[Vec<f32>], width: usize, columns: usize) -> (usize, Vec<[u8; 3]>) {
    const GAP: usize = 2;
    let height = fields.first().map_or(0, |field| field.len() / width);
    let rows = fields.len().div_ceil(columns);
    let total = columns * (width + GAP) + GAP;
    let mut picture = vec![[255; 3]; total * (rows * (height + GAP) + GAP)];
    for (place, field) in fields.iter().enumerate() {
        let largest = field.iter().fold(1e-12_f32, |largest, value| largest.max(value.abs()));
        let corner = (GAP + (place / columns) * (height + GAP), GAP + (place % columns) * (width + GAP));
        for (k, value) in field.iter().enumerate() {
            let at = (corner.0 + k / width) * total + corner.1 + k % width;
            picture[at] = diverging(value / largest);
        }
    }
    (total, picture)
}

/// −1 blue, 0 white, 1 red.
fn diverging(value: f32) -> [u8; 3] {
    let fade = |to: u8| (255.0 - (255.0 - f32::from(to)) * value.abs().min(1.0)).round() as u8;
    let target = if value < 0.0 { [33, 102, 172] } else { [178, 24, 43] };
    target.map(fade)
}
