//! Digits drawn from stroke skeletons: a data set that needs no files.
//!
//! Each digit consists of a few curves through control points. For each image the points are moved, slanted, rotated,
//! stretched and shifted, the plane is bent by a smooth wave, and the curves are drawn with a pen of random width and
//! softness. An image depends only on the seed and its index.

use std::f32::consts::TAU;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::images::{Images, Split};

/// Pixels per side.
pub const SIDE: usize = 28;

/// Training images in a [`split`].
pub const TRAIN: usize = 30_000;
/// Test images in a [`split`].
pub const TEST: usize = 5_000;

/// The default data: [`TRAIN`] and [`TEST`] images.
pub fn split(seed: u64) -> Split {
    let train = draw(seed, 0..TRAIN as u64);
    let test = draw(seed, TRAIN as u64..(TRAIN + TEST) as u64);
    Split { train, test }
}

/// The images with the given indices. Classes cycle, so any ten consecutive images contain each digit once.
pub fn draw(seed: u64, indices: std::ops::Range<u64>) -> Images {
    let count = (indices.end - indices.start) as usize;
    let mut pixels = vec![0; count * SIDE * SIDE];
    let labels: Vec<u8> = indices.clone().map(|index| (index % 10) as u8).collect();
    // Images are independent of each other, so the result does not depend on the number of threads.
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = count.div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        for (part, images) in pixels.chunks_mut(share * SIDE * SIDE).enumerate() {
            let first = indices.start + (part * share) as u64;
            scope.spawn(move || {
                for (index, image) in (first..).zip(images.chunks_exact_mut(SIDE * SIDE)) {
                    draw_one(seed, index, image);
                }
            });
        }
    });
    Images { channels: 1, width: SIDE, height: SIDE, pixels, labels }
}

type Point = [f32; 2];

/// One stroke: points in the unit square, y downwards, joined smoothly or by straight lines.
struct Stroke {
    smooth: bool,
    points: &'static [Point],
}

const fn curve(points: &'static [Point]) -> Stroke {
    Stroke { smooth: true, points }
}

const fn lines(points: &'static [Point]) -> Stroke {
    Stroke { smooth: false, points }
}

/// The ways in which each digit is written.
const SKELETONS: [&[&[Stroke]]; 10] = [
    &[&[curve(&[
        [0.50, 0.10],
        [0.31, 0.24],
        [0.26, 0.52],
        [0.34, 0.80],
        [0.52, 0.90],
        [0.70, 0.76],
        [0.74, 0.46],
        [0.66, 0.20],
        [0.50, 0.10],
    ])]],
    &[
        &[lines(&[[0.50, 0.10], [0.50, 0.90]])],
        &[lines(&[[0.34, 0.26], [0.52, 0.10], [0.52, 0.90]])],
        &[lines(&[[0.34, 0.26], [0.52, 0.10], [0.52, 0.90]]), lines(&[[0.34, 0.90], [0.70, 0.90]])],
    ],
    &[
        &[
            curve(&[[0.25, 0.30], [0.36, 0.13], [0.60, 0.12], [0.72, 0.30], [0.58, 0.54], [0.24, 0.88]]),
            lines(&[[0.24, 0.88], [0.78, 0.86]]),
        ],
        &[curve(&[
            [0.26, 0.26],
            [0.48, 0.10],
            [0.70, 0.24],
            [0.58, 0.56],
            [0.32, 0.84],
            [0.24, 0.74],
            [0.40, 0.74],
            [0.62, 0.88],
            [0.80, 0.80],
        ])],
    ],
    &[&[curve(&[
        [0.27, 0.20],
        [0.46, 0.10],
        [0.68, 0.22],
        [0.62, 0.42],
        [0.44, 0.48],
        [0.68, 0.56],
        [0.72, 0.76],
        [0.50, 0.90],
        [0.25, 0.80],
    ])]],
    &[
        &[lines(&[[0.54, 0.10], [0.22, 0.62], [0.80, 0.62]]), lines(&[[0.62, 0.36], [0.60, 0.90]])],
        &[
            curve(&[[0.28, 0.12], [0.26, 0.46], [0.48, 0.54], [0.70, 0.46]]),
            lines(&[[0.72, 0.12], [0.66, 0.90]]),
        ],
    ],
    &[
        &[
            lines(&[[0.74, 0.12], [0.36, 0.13], [0.32, 0.46]]),
            curve(&[[0.32, 0.46], [0.52, 0.40], [0.72, 0.54], [0.70, 0.78], [0.46, 0.90], [0.24, 0.82]]),
        ],
        &[curve(&[
            [0.74, 0.14],
            [0.44, 0.12],
            [0.34, 0.28],
            [0.48, 0.46],
            [0.68, 0.60],
            [0.66, 0.82],
            [0.44, 0.90],
            [0.26, 0.80],
        ])],
    ],
    &[&[curve(&[
        [0.66, 0.12],
        [0.42, 0.30],
        [0.29, 0.60],
        [0.36, 0.84],
        [0.56, 0.90],
        [0.71, 0.74],
        [0.62, 0.56],
        [0.42, 0.58],
        [0.31, 0.72],
    ])]],
    &[
        &[lines(&[[0.24, 0.14], [0.76, 0.14]]), curve(&[[0.76, 0.14], [0.56, 0.50], [0.44, 0.90]])],
        &[
            lines(&[[0.24, 0.14], [0.76, 0.14]]),
            curve(&[[0.76, 0.14], [0.56, 0.50], [0.44, 0.90]]),
            lines(&[[0.36, 0.52], [0.70, 0.50]]),
        ],
    ],
    &[&[curve(&[
        [0.66, 0.20],
        [0.48, 0.10],
        [0.33, 0.24],
        [0.44, 0.44],
        [0.66, 0.62],
        [0.66, 0.82],
        [0.48, 0.91],
        [0.30, 0.80],
        [0.38, 0.58],
        [0.62, 0.40],
        [0.66, 0.20],
    ])]],
    &[
        &[curve(&[
            [0.69, 0.32],
            [0.54, 0.49],
            [0.35, 0.42],
            [0.34, 0.20],
            [0.52, 0.10],
            [0.68, 0.20],
            [0.68, 0.44],
            [0.62, 0.68],
            [0.46, 0.90],
        ])],
        &[
            curve(&[[0.68, 0.28], [0.52, 0.48], [0.33, 0.38], [0.38, 0.15], [0.58, 0.11], [0.68, 0.28]]),
            lines(&[[0.69, 0.24], [0.66, 0.90]]),
        ],
    ],
];

/// How much images differ from their skeletons.
const JITTER: f32 = 0.035;
const SLANT: f32 = 0.38;
const TURN: f32 = 0.22;
const SHIFT: f32 = 2.2;
const WAVE: f32 = 0.05;

/// A random map of the unit square to pixels.
struct Hand {
    linear: [[f32; 2]; 2],
    shift: Point,
    wave: [[f32; 4]; 2],
}

impl Hand {
    fn new(rng: &mut Pcg64Mcg) -> Self {
        let between = |rng: &mut Pcg64Mcg, half: f32| rng.random_range(-half..half);
        let (slant, turn) = (between(rng, SLANT), between(rng, TURN));
        let size = rng.random_range(15.0..23.0_f32);
        let aspect = rng.random_range(0.75..1.15_f32);
        let (sin, cos) = turn.sin_cos();
        // Slants x by the height, then rotates, then scales.
        let linear = [
            [size * aspect * cos, -size * (slant * cos + sin)],
            [size * aspect * sin, size * (cos - slant * sin)],
        ];
        let shift = [between(rng, SHIFT), between(rng, SHIFT)];
        let mut wave = || [between(rng, WAVE), between(rng, 1.4), between(rng, 1.4), between(rng, 0.5)];
        Self { linear, shift, wave: [wave(), wave()] }
    }

    fn place(&self, point: Point) -> Point {
        let bend = |[height, fx, fy, phase]: [f32; 4]| {
            height * (TAU * (fx * point[0] + fy * point[1] + phase)).sin()
        };
        let bent = [0, 1].map(|axis| point[axis] - 0.5 + bend(self.wave[axis]));
        let centre = SIDE as f32 / 2.0;
        [0, 1].map(|axis| {
            let [a, b] = self.linear[axis];
            centre + self.shift[axis] + a * bent[0] + b * bent[1]
        })
    }
}

fn draw_one(seed: u64, index: u64, image: &mut [u8]) {
    // Two rounds of multiplication by an odd number separate neighbouring seeds and indices.
    let mixed = (seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ index).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    let mut rng = Pcg64Mcg::seed_from_u64(mixed);
    let ways = SKELETONS[(index % 10) as usize];
    let strokes = ways[rng.random_range(0..ways.len() as u32) as usize];
    let hand = Hand::new(&mut rng);
    let pen = rng.random_range(0.55..1.5_f32);
    let softness = rng.random_range(0.35..0.9_f32);
    let ink = rng.random_range(0.75..1.0_f32);
    let mut distance = vec![f32::INFINITY; image.len()];
    for stroke in strokes {
        let mut moved = || rng.random_range(-JITTER..JITTER) + rng.random_range(-JITTER..JITTER);
        let points: Vec<Point> = stroke.points.iter().map(|&[x, y]| [x + moved(), y + moved()]).collect();
        let path: Vec<Point> = match stroke.smooth {
            true => catmull_rom(&points),
            false => points,
        };
        let path: Vec<Point> = path.into_iter().map(|point| hand.place(point)).collect();
        for ends in path.windows(2) {
            shorten(&mut distance, ends[0], ends[1]);
        }
    }
    for (pixel, square) in image.iter_mut().zip(distance) {
        let grey = 1.0 / (1.0 + ((square.sqrt() - pen) / (0.5 * softness)).exp());
        *pixel = (255.0 * ink * grey).round() as u8;
    }
}

/// A smooth curve through all points: four pieces between neighbours (E. Catmull, R. Rom, 1974).
fn catmull_rom(points: &[Point]) -> Vec<Point> {
    const PIECES: usize = 4;
    let at = |i: isize| points[i.clamp(0, points.len() as isize - 1) as usize];
    let mut path = vec![points[0]];
    for i in 0..points.len() as isize - 1 {
        let [a, b, c, d] = [at(i - 1), at(i), at(i + 1), at(i + 2)];
        for piece in 1..=PIECES {
            let t = piece as f32 / PIECES as f32;
            path.push([0, 1].map(|k| {
                let linear = c[k] - a[k];
                let square = 2.0 * a[k] - 5.0 * b[k] + 4.0 * c[k] - d[k];
                let cubic = 3.0 * (b[k] - c[k]) + d[k] - a[k];
                b[k] + 0.5 * t * (linear + t * (square + t * cubic))
            }));
        }
    }
    path
}

/// Lowers each pixel's squared distance to the pen's path by the segment from `a` to `b`.
fn shorten(distance: &mut [f32], a: Point, b: Point) {
    const REACH: f32 = 4.0;
    let span = |axis: usize| {
        let low = (a[axis].min(b[axis]) - REACH).max(0.0) as usize;
        let high = ((a[axis].max(b[axis]) + REACH).max(0.0) as usize + 1).min(SIDE);
        low..high
    };
    let along = [b[0] - a[0], b[1] - a[1]];
    let length = along[0] * along[0] + along[1] * along[1];
    for row in span(1) {
        for column in span(0) {
            let from = [column as f32 + 0.5 - a[0], row as f32 + 0.5 - a[1]];
            let part = (from[0] * along[0] + from[1] * along[1]) / length.max(1e-12);
            let part = part.clamp(0.0, 1.0);
            let gap = [from[0] - part * along[0], from[1] - part * along[1]];
            let pixel = &mut distance[row * SIDE + column];
            *pixel = pixel.min(gap[0] * gap[0] + gap[1] * gap[1]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_depends_on_seed_and_index_alone() {
        let all = draw(1, 0..50);
        let part = draw(1, 20..30);
        assert_eq!(part.pixels, all.pixels[20 * SIDE * SIDE..30 * SIDE * SIDE]);
        assert_eq!(part.labels, all.labels[20..30]);
        assert_ne!(draw(2, 20..30).pixels, part.pixels);
    }

    #[test]
    fn every_image_shows_something() {
        let images = draw(0, 0..1000);
        for index in 0..1000 {
            let ink: f32 = images.pixels_of(index).iter().map(|&p| f32::from(p) / 255.0).sum();
            assert!((15.0..350.0).contains(&ink), "image {index} has {ink} pixels of ink");
        }
    }
}
