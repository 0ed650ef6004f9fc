//! Figures: line charts as SVG and pictures as PNG, both as text for an HTML page.

use anyhow::{Result, anyhow};
use base64::Engine;
use plotters::prelude::*;

/// Colours that colour-blind readers can distinguish (M. Okabe, K. Ito, 2008), then greys.
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
    /// The chart of one blue line as SVG text.
    pub fn line(&self, points: Vec<(f64, f64)>) -> Result<String> {
        self.svg(&[Line { name: "", colour: COLOURS[0], width: 2, points }])
    }

    /// The chart as SVG text.
    pub fn svg(&self, lines: &[Line]) -> Result<String> {
        self.svg_with(lines, &[], &[])
    }

    /// The same with dots, and with names for the positions 0, 1, 2, … of the horizontal axis.
    pub fn svg_with(&self, lines: &[Line], dots: &[(f64, f64)], names: &[String]) -> Result<String> {
        let points = lines.iter().flat_map(|line| line.points.iter().copied()).chain(dots.iter().copied());
        let points: Vec<_> = points.filter(|(x, y)| x.is_finite() && y.is_finite()).collect();
        if points.is_empty() {
            return Ok(String::new());
        }
        let range = |value: fn(&(f64, f64)) -> f64| {
            let values = points.iter().map(value);
            (values.clone().fold(f64::INFINITY, f64::min), values.fold(f64::NEG_INFINITY, f64::max))
        };
        let (x0, x1) = range(|point| point.0);
        let (y0, y1) = self.y_range.unwrap_or_else(|| {
            let (y0, y1) = range(|point| point.1);
            // A constant line is centred.
            let height = if y1 - y0 > 1e-9 * y1.abs() { y1 - y0 } else { y1.abs().max(1.0) };
            let margin = 0.05 * height;
            // Room above the lines for a legend.
            let legend = if lines.iter().any(|line| !line.name.is_empty()) { 0.3 * (y1 - y0) } else { 0.0 };
            (y0 - margin, y1 + margin + legend)
        });
        let (x0, x1) = if x0 < x1 { (x0, x1) } else { (x0 - 0.5, x1 + 0.5) };
        let mut text = String::new();
        {
            let root = SVGBackend::with_string(&mut text, self.size).into_drawing_area();
            let drawn = self.draw(&root, x0..x1, y0..y1, lines, dots, names);
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
        dots: &[(f64, f64)],
        names: &[String],
    ) -> Result<(), Box<dyn std::error::Error>> {
        root.fill(&WHITE)?;
        let mut builder = ChartBuilder::on(root);
        builder.margin(10).x_label_area_size(38).y_label_area_size(52);
        if !self.title.is_empty() {
            builder.caption(self.title, ("sans-serif", 15));
        }
        let mut chart = builder.build_cartesian_2d(x, y)?;
        let number = |x: &f64| match names.is_empty() {
            true => x.to_string(),
            false => names.get(x.round() as usize).filter(|_| x.fract() == 0.0).cloned().unwrap_or_default(),
        };
        let mut mesh = chart.configure_mesh();
        if !names.is_empty() {
            mesh.x_label_formatter(&number);
        }
        mesh.x_desc(self.x)
            .y_desc(self.y)
            .x_labels(if names.is_empty() { 6 } else { 2 * names.len() })
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
        // A line of a single point would be invisible.
        for line in lines.iter().filter(|line| line.points.len() == 1) {
            chart.draw_series(line.points.iter().map(|dot| Circle::new(*dot, 4, line.colour.filled())))?;
        }
        chart.draw_series(dots.iter().map(|dot| Circle::new(*dot, 3, COLOURS[1].filled())))?;
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

/// An RGB picture.
#[derive(Clone)]
pub struct Picture {
    /// Pixels in a row.
    pub width: usize,
    /// Row-major red, green and blue.
    pub pixels: Vec<[u8; 3]>,
}

impl Picture {
    /// The bytes of a PNG file.
    pub fn png(&self) -> Result<Vec<u8>> {
        animation(std::slice::from_ref(self), 0)
    }
}

/// Pictures of one size as the bytes of an animated PNG file that repeats; each is shown for `milliseconds`, the last
/// for two seconds.
pub fn animation(frames: &[Picture], milliseconds: u16) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let width = frames.first().map_or(1, |frame| frame.width);
    let height = frames.first().map_or(0, |frame| frame.pixels.len() / width);
    let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
    let few_greys =
        frames.iter().all(|frame| frame.pixels.iter().all(|&[r, g, b]| r == g && g == b && r % 17 == 0));
    if few_greys {
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::Four);
    } else {
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
    }
    if frames.len() > 1 {
        encoder.set_animated(frames.len() as u32, 0)?;
        encoder.set_frame_delay(milliseconds, 1000)?;
    }
    let mut writer = encoder.write_header()?;
    for (index, frame) in frames.iter().enumerate() {
        if frames.len() > 1 && index + 1 == frames.len() {
            writer.set_frame_delay(2000, 1000)?;
        }
        match few_greys {
            true => writer.write_image_data(&sixteen_greys(width, &frame.pixels))?,
            false => writer.write_image_data(frame.pixels.as_flattened())?,
        }
    }
    writer.finish()?;
    Ok(bytes)
}

/// Two pixels per byte, with rows padded to whole bytes.
fn sixteen_greys(width: usize, pixels: &[[u8; 3]]) -> Vec<u8> {
    let byte = |pair: &[[u8; 3]]| (pair[0][0] / 17) << 4 | pair.get(1).map_or(0, |pixel| pixel[0] / 17);
    pixels.chunks(width).flat_map(|row| row.chunks(2).map(byte)).collect()
}

/// The bytes of a PNG file as a data URI.
pub fn uri(png: &[u8]) -> String {
    format!("data:image/png;base64,{}", base64::engine::general_purpose::STANDARD.encode(png))
}

/// Images with values −1 … 1 side by side, white on black; values outside are clipped.
pub fn tiles<'a>(images: impl IntoIterator<Item = &'a [f32]>, width: usize, columns: usize) -> Picture {
    // Sixteen greys suffice to show noise, and halve the size of the files.
    let grey = |value: &f32| [((value.clamp(-1.0, 1.0) + 1.0) * 7.5).round() as u8 * 17; 3];
    let images: Vec<Vec<[u8; 3]>> =
        images.into_iter().map(|image| image.iter().map(grey).collect()).collect();
    arrange(&images, width, columns, [85; 3])
}

/// Pictures of width `width` in rows of `columns`, on a background.
fn arrange(pictures: &[Vec<[u8; 3]>], width: usize, columns: usize, ground: [u8; 3]) -> Picture {
    const GAP: usize = 2;
    let height = pictures.first().map_or(0, |picture| picture.len() / width);
    let rows = pictures.len().div_ceil(columns);
    let total = columns * (width + GAP) + GAP;
    let mut pixels = vec![ground; total * (rows * (height + GAP) + GAP)];
    for (index, picture) in pictures.iter().enumerate() {
        let (top, left) = (GAP + (index / columns) * (height + GAP), GAP + (index % columns) * (width + GAP));
        for (k, pixel) in picture.iter().enumerate() {
            pixels[(top + k / width) * total + left + k % width] = *pixel;
        }
    }
    Picture { width: total, pixels }
}

/// Grey values as a picture.
pub fn grey(pixels: &[u8], width: usize) -> Picture {
    Picture { width, pixels: pixels.iter().map(|&pixel| [255 - pixel; 3]).collect() }
}

/// Signed fields side by side, blue below zero and red above, each scaled to its own largest magnitude. For couplings
/// −J is shown, so red pushes up.
pub fn mosaic(fields: &[Vec<f32>], width: usize, columns: usize) -> Picture {
    let coloured = |field: &Vec<f32>| {
        let largest = field.iter().fold(1e-12_f32, |largest, value| largest.max(value.abs()));
        field.iter().map(|value| diverging(value / largest)).collect()
    };
    let fields: Vec<_> = fields.iter().map(coloured).collect();
    arrange(&fields, width, columns, [255; 3])
}

/// −1 blue, 0 white, 1 red.
fn diverging(value: f32) -> [u8; 3] {
    let fade = |to: u8| (255.0 - (255.0 - f32::from(to)) * value.abs().min(1.0)).round() as u8;
    let target = if value < 0.0 { [33, 102, 172] } else { [178, 24, 43] };
    target.map(fade)
}
