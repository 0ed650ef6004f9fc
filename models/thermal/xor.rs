//! Exclusive or: the smallest thing that no network of constant capacities and conductances can do.

use rand::RngExt;
use thermograd::Key;

use crate::error::Result;
use crate::training::examples::Examples;

/// Points of the unit square as images of two pixels, class 1 where exactly one coordinate is above a half. None is closer to
/// a half than a twentieth.
///
/// # Errors
/// None with a point or more.
pub fn points(count: usize, key: Key) -> Result<Examples> {
    let mut rng = key.fork("xor").rng();
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let point: [bool; 2] = [rng.random(), rng.random()];
        for side in point {
            let x = 0.45 * rng.random::<f64>() + if side { 0.55 } else { 0.0 };
            pixels.push((255.0 * x).round() as u8);
        }
        labels.push(u8::from(point[0] != point[1]));
    }
    Examples::new(2, 1, pixels, labels)
}
