//! The kernels behind [noise and steps on a GPU](crate::cube): what one thread does.

// A kernel has as many arguments as it needs, and its macro writes code that lints were not made for.
#![allow(clippy::too_many_arguments, clippy::assign_op_pattern, clippy::manual_div_ceil, missing_docs)]

use burn::cubecl;
use cubecl::prelude::*;

/// Where noise comes from, as arguments of a kernel: the words of the key and of its first trajectory.
#[derive(CubeType, CubeLaunch)]
pub(crate) struct Source {
    key0: u32,
    key1: u32,
    low: u32,
    high: u32,
}

#[derive(CubeType, Clone, Copy)]
struct Quad {
    a: f32,
    b: f32,
    c: f32,
    d: f32,
}

/// The words of Philox4x32-10; uniform numbers have a bit of the counter to themselves.
#[cube]
fn words(
    source: &Source,
    step: u32,
    row: u32,
    block: u32,
    #[comptime] uniform: bool,
) -> (u32, u32, u32, u32) {
    let low = source.low + row;
    let mut high = source.high;
    if low < row {
        high += 1u32;
    }
    high &= 0x7FFF_FFFFu32;
    if comptime!(uniform) {
        high |= 0x4000_0000u32;
    }
    let (mut c0, mut c1, mut c2, mut c3) = (block, step, low, high);
    let (mut k0, mut k1) = (source.key0, source.key1);
    for _ in 0..10u32 {
        let (hi0, lo0) = (c0.mul_hi(0xD251_1F53u32), c0 * 0xD251_1F53u32);
        let (hi1, lo1) = (c2.mul_hi(0xCD9E_8D57u32), c2 * 0xCD9E_8D57u32);
        c0 = hi1 ^ c1 ^ k0;
        c2 = hi0 ^ c3 ^ k1;
        c1 = lo1;
        c3 = lo0;
        k0 += 0x9E37_79B9u32;
        k1 += 0xBB67_AE85u32;
    }
    (c0, c1, c2, c3)
}

/// Four normals, by the transform of Box and Muller with the polynomials of [`crate::noise`].
#[cube]
fn normals_of(source: &Source, step: u32, row: u32, block: u32) -> Quad {
    let (c0, c1, c2, c3) = words(source, step, row, block, false);
    let (r0, r1) = (radius(c0), radius(c2));
    let (t0, t1) = (turns(c1), turns(c3));
    Quad { a: r0 * t0.0, b: r0 * t0.1, c: r1 * t1.0, d: r1 * t1.1 }
}

/// Four numbers in (0, 1) of 24 bits.
#[cube]
fn uniforms_of(source: &Source, step: u32, row: u32, block: u32) -> Quad {
    let (c0, c1, c2, c3) = words(source, step, row, block, true);
    Quad { a: uniform(c0), b: uniform(c1), c: uniform(c2), d: uniform(c3) }
}

#[cube]
fn uniform(word: u32) -> f32 {
    (f32::cast_from(word >> 8u32) + 0.5f32) * (1.0f32 / 16_777_216.0f32)
}

/// √(−2 ln u) of a word.
#[cube]
fn radius(word: u32) -> f32 {
    let u = f32::cast_from(word >> 1u32) * (1.0f32 / 2_147_483_648.0f32) + 1.0f32 / 4_294_967_296.0f32;
    let shifted = u32::reinterpret(u) - 0x3F35_04F3u32;
    let mut exponent = f32::cast_from(shifted >> 23u32);
    if exponent >= 256.0f32 {
        exponent -= 512.0f32;
    }
    let m = f32::reinterpret((shifted & 0x007F_FFFFu32) + 0x3F35_04F3u32);
    let s = (m - 1.0f32) / (m + 1.0f32);
    let s2 = s * s;
    let artanh = s + s
        * s2
        * (1.0f32 / 3.0f32 + s2 * (1.0f32 / 5.0f32 + s2 * (1.0f32 / 7.0f32 + s2 * (1.0f32 / 9.0f32))));
    let ln = exponent * 0.693_147_2f32 + 2.0f32 * artanh;
    max(-2.0f32 * ln, 0.0f32).sqrt()
}

/// cos and sin of word/2³² turns.
#[cube]
fn turns(word: u32) -> (f32, f32) {
    let quarter = (word + 0x2000_0000u32) >> 30u32;
    let rest = i32::reinterpret(word - (quarter << 30u32));
    let t = f32::cast_from(rest) * (6.283_185_5f32 / 4_294_967_296.0f32);
    let t2 = t * t;
    let sin = t + t
        * t2
        * (-1.0f32 / 6.0f32
            + t2 * (1.0f32 / 120.0f32 + t2 * (-1.0f32 / 5040.0f32 + t2 * (1.0f32 / 362_880.0f32))));
    let cos = 1.0f32
        + t2 * (-0.5f32 + t2 * (1.0f32 / 24.0f32 + t2 * (-1.0f32 / 720.0f32 + t2 * (1.0f32 / 40_320.0f32))));
    let odd = quarter & 1u32 == 1u32;
    let (mut x, mut y) = (select(odd, sin, cos), select(odd, cos, sin));
    if ((quarter + 1u32) & 2u32) == 2u32 {
        x = -x;
    }
    if (quarter & 2u32) == 2u32 {
        y = -y;
    }
    (x, y)
}

#[cube(launch)]
pub(crate) fn draw_kernel(
    out: &mut Tensor<f32>,
    source: &Source,
    step: u32,
    units: u32,
    #[comptime] uniform: bool,
) {
    let blocks = (units + 3u32) / 4u32;
    let place = ABSOLUTE_POS as u32;
    let (row, block) = (place / blocks, place % blocks);
    let first = row * units + 4u32 * block;
    if (first as usize) < out.len() {
        let drawn = if comptime!(uniform) {
            uniforms_of(source, step, row, block)
        } else {
            normals_of(source, step, row, block)
        };
        let left = units - 4u32 * block;
        out[first as usize] = drawn.a;
        if left > 1u32 {
            out[first as usize + 1] = drawn.b;
        }
        if left > 2u32 {
            out[first as usize + 2] = drawn.c;
        }
        if left > 3u32 {
            out[first as usize + 3] = drawn.d;
        }
    }
}

#[cube]
fn kicks(
    source: &Source,
    step: u32,
    row: u32,
    block: u32,
    f0: Quad,
    f1: Quad,
    #[comptime] both: bool,
) -> Quad {
    let n = normals_of(source, step, row, block);
    if comptime!(both) {
        let m = normals_of(source, step + 1u32, row, block);
        Quad {
            a: 0.5f32 * (n.a * f0.a + m.a * f1.a),
            b: 0.5f32 * (n.b * f0.b + m.b * f1.b),
            c: 0.5f32 * (n.c * f0.c + m.c * f1.c),
            d: 0.5f32 * (n.d * f0.d + m.d * f1.d),
        }
    } else {
        Quad { a: n.a * f0.a, b: n.b * f0.b, c: n.c * f0.c, d: n.d * f0.d }
    }
}

/// Four numbers of a row, or of the one row there is; the last one again beyond its end.
#[cube]
fn quad_of(values: &Tensor<f32>, row: u32, units: u32, block: u32) -> Quad {
    let rows = values.len() as u32 / units;
    quad_at(values, select(rows == 1u32, 0u32, row * units), units, block)
}

#[cube(launch)]
pub(crate) fn step_kernel(
    x: &Tensor<f32>,
    product: &Tensor<f32>,
    diagonal: &Tensor<f32>,
    quartic: &Tensor<f32>,
    drift: &Tensor<f32>,
    factor: &Tensor<f32>,
    next_factor: &Tensor<f32>,
    out: &mut Tensor<f32>,
    source: &Source,
    step: u32,
    units: u32,
    #[comptime] both: bool,
) {
    let blocks = (units + 3u32) / 4u32;
    let place = ABSOLUTE_POS as u32;
    let (row, block) = (place / blocks, place % blocks);
    let first = (row * units + 4u32 * block) as usize;
    if first < out.len() {
        let f0 = quad_of(factor, row, units, block);
        let f1 = quad_of(next_factor, row, units, block);
        let kick = kicks(source, step, row, block, f0, f1, both);
        let (x, pull) = (quad_of(x, row, units, block), quad_of(product, row, units, block));
        let (d, q) = (quad_of(diagonal, 0u32, units, block), quad_of(quartic, 0u32, units, block));
        let field = quad_of(drift, row, units, block);
        let left = units - 4u32 * block;
        out[first] = moved(x.a, pull.a, d.a, q.a, field.a, kick.a);
        if left > 1u32 {
            out[first + 1] = moved(x.b, pull.b, d.b, q.b, field.b, kick.b);
        }
        if left > 2u32 {
            out[first + 2] = moved(x.c, pull.c, d.c, q.c, field.c, kick.c);
        }
        if left > 3u32 {
            out[first + 3] = moved(x.d, pull.d, d.d, q.d, field.d, kick.d);
        }
    }
}

/// xP + (D + q x²) x + (ν + d).
#[cube]
fn moved(x: f32, pull: f32, diagonal: f32, quartic: f32, drift: f32, kick: f32) -> f32 {
    pull + (x * x * quartic + diagonal) * x + (kick + drift)
}

/// a(1 − w) + b w of the rows of a knot and the next.
#[cube]
fn between(
    values: &Tensor<f32>,
    knots: u32,
    knot: u32,
    weight: f32,
    row: u32,
    units: u32,
    block: u32,
) -> Quad {
    let rows = values.len() as u32 / units / knots;
    let own = select(rows == 1u32, 0u32, row);
    let a = quad_at(values, (knot * rows + own) * units, units, block);
    let after = min(knot + 1u32, knots - 1u32);
    let b = quad_at(values, (after * rows + own) * units, units, block);
    Quad {
        a: a.a * (1.0f32 - weight) + b.a * weight,
        b: a.b * (1.0f32 - weight) + b.b * weight,
        c: a.c * (1.0f32 - weight) + b.c * weight,
        d: a.d * (1.0f32 - weight) + b.d * weight,
    }
}

#[cube]
fn quad_at(values: &Tensor<f32>, start: u32, units: u32, block: u32) -> Quad {
    let (first, last) = (4u32 * block, units - 1u32);
    Quad {
        a: values[(start + min(first, last)) as usize],
        b: values[(start + min(first + 1u32, last)) as usize],
        c: values[(start + min(first + 2u32, last)) as usize],
        d: values[(start + min(first + 3u32, last)) as usize],
    }
}

#[cube]
fn root_kt(values: &Tensor<f32>, knots: u32, course: &Tensor<f32>, step: u32, row: u32) -> f32 {
    let rows = values.len() as u32 / knots;
    let own = select(rows == 1u32, 0u32, row);
    let knot = u32::cast_from(course[(2u32 * step) as usize]);
    let weight = course[(2u32 * step + 1u32) as usize];
    let after = min(knot + 1u32, knots - 1u32);
    let (a, b) = (values[(knot * rows + own) as usize], values[(after * rows + own) as usize]);
    (a * (1.0f32 - weight) + b * weight).sqrt()
}

#[cube]
fn times(quad: &Quad, factor: f32) -> Quad {
    Quad { a: quad.a * factor, b: quad.b * factor, c: quad.c * factor, d: quad.d * factor }
}

/// s∘(s∘y)J of four units, with the rows y and the matrix J in the memory of the workgroup.
#[cube]
fn products(
    rows: &Shared<[f32]>,
    matrix: &Shared<[f32]>,
    scale: &Shared<[f32]>,
    base: u32,
    block: u32,
    #[comptime] units: u32,
    #[comptime] gains: bool,
) -> Quad {
    let (u, last) = (4u32 * block, units - 1u32);
    let (u1, u2, u3) = (min(u + 1u32, last), min(u + 2u32, last), min(u + 3u32, last));
    let mut a = f32::new(0.0);
    let mut b = f32::new(0.0);
    let mut c = f32::new(0.0);
    let mut d = f32::new(0.0);
    for j in 0..units {
        let mut own = rows[(base + j) as usize];
        if comptime!(gains) {
            own *= scale[j as usize];
        }
        a += matrix[(j * units + u) as usize] * own;
        b += matrix[(j * units + u1) as usize] * own;
        c += matrix[(j * units + u2) as usize] * own;
        d += matrix[(j * units + u3) as usize] * own;
    }
    if comptime!(gains) {
        a *= scale[u as usize];
        b *= scale[u1 as usize];
        c *= scale[u2 as usize];
        d *= scale[u3 as usize];
    }
    Quad { a, b, c, d }
}

/// D + w of four units.
#[cube]
fn stiffness(
    diagonal: &Tensor<f32>,
    well: &Tensor<f32>,
    knots: u32,
    knot: u32,
    weight: f32,
    units: u32,
    block: u32,
    #[comptime] wells: bool,
) -> Quad {
    let own = quad_of(diagonal, 0u32, units, block);
    if comptime!(wells) {
        let w = between(well, knots, knot, weight, 0u32, units, block);
        Quad { a: own.a + w.a, b: own.b + w.b, c: own.c + w.c, d: own.d + w.d }
    } else {
        own
    }
}

#[cube(launch)]
pub(crate) fn trajectory_kernel(
    x: &Tensor<f32>,
    couplings: &Tensor<f32>,
    diagonal: &Tensor<f32>,
    quartic: &Tensor<f32>,
    drift: &Tensor<f32>,
    gain: &Tensor<f32>,
    well: &Tensor<f32>,
    kt: &Tensor<f32>,
    factor: &Tensor<f32>,
    course: &Tensor<f32>,
    out: &mut Tensor<f32>,
    source: &Source,
    first_step: u32,
    steps: u32,
    batch: u32,
    knots: u32,
    #[comptime] units: u32,
    #[comptime] rows: u32,
    #[comptime] gains: bool,
    #[comptime] wells: bool,
    #[comptime] temperatures: bool,
    #[comptime] both: bool,
    #[comptime] keep: bool,
) {
    let mut pulls = Shared::<[f32]>::new_slice(comptime!((units * units) as usize));
    let mut states = Shared::<[f32]>::new_slice(comptime!((2 * rows * units) as usize));
    let mut scale = Shared::<[f32]>::new_slice(comptime!(units as usize));
    let blocks = comptime!((units + 3) / 4);
    let first = CUBE_POS as u32 * rows;
    let mut place = UNIT_POS as u32;
    while place < units * units {
        pulls[place as usize] = couplings[place as usize];
        place += CUBE_DIM as u32;
    }
    place = UNIT_POS as u32;
    while place < rows * units {
        let row = first + place / units;
        let mut value = f32::new(0.0);
        if row < batch {
            value = x[(first * units + place) as usize];
        }
        states[place as usize] = value;
        place += CUBE_DIM as u32;
    }
    place = UNIT_POS as u32;
    while place < units {
        scale[place as usize] = 1.0f32;
        place += CUBE_DIM as u32;
    }
    sync_cube();
    let mut now = u32::new(0);
    for local in 0..steps {
        let step = first_step + local;
        let knot = u32::cast_from(course[(2u32 * local) as usize]);
        let weight = course[(2u32 * local + 1u32) as usize];
        if comptime!(gains) {
            place = UNIT_POS as u32;
            while place < units {
                let after = min(knot + 1u32, knots - 1u32);
                let (a, b) = (gain[(knot * units + place) as usize], gain[(after * units + place) as usize]);
                scale[place as usize] = a * (1.0f32 - weight) + b * weight;
                place += CUBE_DIM as u32;
            }
            sync_cube();
        }
        let next = rows * units - now;
        let mut index = UNIT_POS as u32;
        while index < rows * blocks {
            let (local_row, block) = (index / blocks, index % blocks);
            let row = first + local_row;
            if row < batch {
                let (u, last) = (4u32 * block, units - 1u32);
                let (u1, u2, u3) = (min(u + 1u32, last), min(u + 2u32, last), min(u + 3u32, last));
                let base = now + local_row * units;
                let pull = products(&states, &pulls, &scale, base, block, units, gains);
                let root = if comptime!(temperatures) {
                    root_kt(kt, knots, course, local, row)
                } else {
                    f32::cast_from(1u32)
                };
                let next_root = if comptime!(temperatures && both) {
                    root_kt(kt, knots, course, local + 1u32, row)
                } else {
                    root
                };
                let f = quad_of(factor, 0u32, units, block);
                let kick = kicks(source, step, row, block, times(&f, root), times(&f, next_root), both);
                let stiff = stiffness(diagonal, well, knots, knot, weight, units, block, wells);
                let q = quad_of(quartic, 0u32, units, block);
                let field = between(drift, knots, knot, weight, row, units, block);
                let to = next + local_row * units + u;
                let left = units - u;
                let at = (local * batch + row) * units + u;
                let (xa, xb) = (states[(base + u) as usize], states[(base + u1) as usize]);
                let (xc, xd) = (states[(base + u2) as usize], states[(base + u3) as usize]);
                let value = moved(xa, pull.a, stiff.a, q.a, field.a, kick.a);
                states[to as usize] = value;
                if comptime!(keep) {
                    out[at as usize] = value;
                }
                if left > 1u32 {
                    let value = moved(xb, pull.b, stiff.b, q.b, field.b, kick.b);
                    states[(to + 1u32) as usize] = value;
                    if comptime!(keep) {
                        out[(at + 1u32) as usize] = value;
                    }
                }
                if left > 2u32 {
                    let value = moved(xc, pull.c, stiff.c, q.c, field.c, kick.c);
                    states[(to + 2u32) as usize] = value;
                    if comptime!(keep) {
                        out[(at + 2u32) as usize] = value;
                    }
                }
                if left > 3u32 {
                    let value = moved(xd, pull.d, stiff.d, q.d, field.d, kick.d);
                    states[(to + 3u32) as usize] = value;
                    if comptime!(keep) {
                        out[(at + 3u32) as usize] = value;
                    }
                }
            }
            index += CUBE_DIM as u32;
        }
        sync_cube();
        now = next;
    }
    if comptime!(!keep) {
        place = UNIT_POS as u32;
        while place < rows * units {
            if first + place / units < batch {
                out[(first * units + place) as usize] = states[(now + place) as usize];
            }
            place += CUBE_DIM as u32;
        }
    }
}

/// s∘(s∘g)Pᵀ + (D + w + 3q x²) g of one unit, apart from the products.
#[cube]
fn pulled(x: f32, g: f32, pull: f32, diagonal: f32, quartic: f32) -> f32 {
    pull + (3.0f32 * quartic * x * x + diagonal) * g
}

#[cube(launch)]
pub(crate) fn pull_kernel(
    states: &Tensor<f32>,
    end: &Tensor<f32>,
    couplings: &Tensor<f32>,
    diagonal: &Tensor<f32>,
    quartic: &Tensor<f32>,
    gain: &Tensor<f32>,
    well: &Tensor<f32>,
    course: &Tensor<f32>,
    out: &mut Tensor<f32>,
    steps: u32,
    batch: u32,
    knots: u32,
    #[comptime] units: u32,
    #[comptime] rows: u32,
    #[comptime] gains: bool,
    #[comptime] wells: bool,
) {
    let mut pulls = Shared::<[f32]>::new_slice(comptime!((units * units) as usize));
    let mut slopes = Shared::<[f32]>::new_slice(comptime!((2 * rows * units) as usize));
    let mut scale = Shared::<[f32]>::new_slice(comptime!(units as usize));
    let blocks = comptime!((units + 3) / 4);
    let first = CUBE_POS as u32 * rows;
    let mut place = UNIT_POS as u32;
    while place < units * units {
        // Transposed: the sum is over targets.
        pulls[((place % units) * units + place / units) as usize] = couplings[place as usize];
        place += CUBE_DIM as u32;
    }
    place = UNIT_POS as u32;
    while place < rows * units {
        let mut value = f32::new(0.0);
        if first + place / units < batch {
            value = end[(first * units + place) as usize];
        }
        slopes[place as usize] = value;
        place += CUBE_DIM as u32;
    }
    place = UNIT_POS as u32;
    while place < units {
        scale[place as usize] = 1.0f32;
        place += CUBE_DIM as u32;
    }
    sync_cube();
    let mut now = u32::new(0);
    for back in 0..steps {
        let local = steps - 1u32 - back;
        let knot = u32::cast_from(course[(2u32 * local) as usize]);
        let weight = course[(2u32 * local + 1u32) as usize];
        if comptime!(gains) {
            place = UNIT_POS as u32;
            while place < units {
                let after = min(knot + 1u32, knots - 1u32);
                let (a, b) = (gain[(knot * units + place) as usize], gain[(after * units + place) as usize]);
                scale[place as usize] = a * (1.0f32 - weight) + b * weight;
                place += CUBE_DIM as u32;
            }
            sync_cube();
        }
        let next = rows * units - now;
        let mut index = UNIT_POS as u32;
        while index < rows * blocks {
            let (local_row, block) = (index / blocks, index % blocks);
            let row = first + local_row;
            if row < batch {
                let (u, last) = (4u32 * block, units - 1u32);
                let (u1, u2, u3) = (min(u + 1u32, last), min(u + 2u32, last), min(u + 3u32, last));
                let base = now + local_row * units;
                let pull = products(&slopes, &pulls, &scale, base, block, units, gains);
                let stiff = stiffness(diagonal, well, knots, knot, weight, units, block, wells);
                let q = quad_of(quartic, 0u32, units, block);
                let at = (local * batch + row) * units;
                let x = quad_at(states, at, units, block);
                let to = next + local_row * units + u;
                let left = units - u;
                let value = pulled(x.a, slopes[(base + u) as usize], pull.a, stiff.a, q.a);
                slopes[to as usize] = value;
                out[(at + u) as usize] = value;
                if left > 1u32 {
                    let value = pulled(x.b, slopes[(base + u1) as usize], pull.b, stiff.b, q.b);
                    slopes[(to + 1u32) as usize] = value;
                    out[(at + u1) as usize] = value;
                }
                if left > 2u32 {
                    let value = pulled(x.c, slopes[(base + u2) as usize], pull.c, stiff.c, q.c);
                    slopes[(to + 2u32) as usize] = value;
                    out[(at + u2) as usize] = value;
                }
                if left > 3u32 {
                    let value = pulled(x.d, slopes[(base + u3) as usize], pull.d, stiff.d, q.d);
                    slopes[(to + 3u32) as usize] = value;
                    out[(at + u3) as usize] = value;
                }
            }
            index += CUBE_DIM as u32;
        }
        sync_cube();
        now = next;
    }
}
