//! Products with matrices of few entries, on the processor's own cores.
//!
//! Rows are taken a block at a time and turned, so that the numbers of one unit lie side by side, and every entry is
//! then one multiplication of a vector. Every entry of a product is the sum over the sources in their order, each term
//! added with one rounding: without the zeros, it is the sum that [`Packed`](crate::packed::Packed) makes, to the bit.

use pulp::{Arch, Simd, WithSimd};

use crate::packed::Strided;

/// Rows of a block.
const BLOCK: usize = 16;

/// The entries of a matrix `[source, target]`, by target.
#[derive(Clone, Debug)]
pub(crate) struct Sparse {
    sources: usize,
    /// Where the entries of each target begin, and the end of the last.
    starts: Vec<u32>,
    entries: Vec<Entry>,
}

/// One number of a matrix.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) source: u32,
    pub(crate) target: u32,
    pub(crate) value: f32,
    /// Its place among all the numbers that the matrix is made of.
    pub(crate) place: u32,
}

impl Sparse {
    /// The matrix of some entries, which keep their order within a target.
    pub(crate) fn new(mut entries: Vec<Entry>, sources: usize, targets: usize) -> Self {
        entries.sort_by_key(|entry| entry.target);
        let mut starts = vec![0_u32; targets + 1];
        entries.iter().for_each(|entry| starts[entry.target as usize + 1] += 1);
        (0..targets).for_each(|target| starts[target + 1] += starts[target]);
        Self { sources, starts, entries }
    }

    /// With sources and targets exchanged.
    pub(crate) fn transposed(&self) -> Self {
        let turned = |entry: &Entry| Entry { source: entry.target, target: entry.source, ..*entry };
        Self::new(self.entries.iter().map(turned).collect(), self.targets(), self.sources)
    }

    fn targets(&self) -> usize {
        self.starts.len() - 1
    }

    /// Adds s∘(xJ) to `out`, as [`Packed::add_product`](crate::packed::Packed::add_product).
    pub(crate) fn add_product(
        &self,
        x: Strided,
        rows: usize,
        scale: Option<&[f32]>,
        out: &mut [f32],
        stride: usize,
    ) {
        for first in (0..rows).step_by(BLOCK) {
            let count = BLOCK.min(rows - first);
            let x = turned(x, first, count, self.sources);
            let out = &mut out[first * stride..];
            Arch::new().dispatch(Product { sparse: self, x: &x, count, scale, out, stride });
        }
    }

    /// Adds xᵀg to `out` at the place of every entry, and of no other.
    pub(crate) fn add_outer(&self, x: Strided, g: Strided, rows: usize, out: &mut [f32]) {
        for first in (0..rows).step_by(BLOCK) {
            let count = BLOCK.min(rows - first);
            let (x, g) = (turned(x, first, count, self.sources), turned(g, first, count, self.targets()));
            Arch::new().dispatch(Outer { sparse: self, x: &x, g: &g, out });
        }
    }
}

/// Some rows as columns, and zeros for those that are missing.
fn turned(x: Strided, first: usize, count: usize, columns: usize) -> Vec<[f32; BLOCK]> {
    let mut turned = vec![[0.0; BLOCK]; columns];
    for row in 0..count {
        let values = &x.values[(first + row) * x.row..];
        for (place, value) in turned.iter_mut().zip(values.iter().step_by(x.column)) {
            place[row] = *value;
        }
    }
    turned
}

struct Product<'a> {
    sparse: &'a Sparse,
    x: &'a [[f32; BLOCK]],
    count: usize,
    scale: Option<&'a [f32]>,
    out: &'a mut [f32],
    stride: usize,
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for (target, ends) in self.sparse.starts.windows(2).enumerate() {
            let mut vectors = [simd.splat_f32s(0.0); BLOCK];
            for entry in &self.sparse.entries[ends[0] as usize..ends[1] as usize] {
                let value = simd.splat_f32s(entry.value);
                let (x, _) = S::as_simd_f32s(&self.x[entry.source as usize]);
                for at in 0..BLOCK / S::F32_LANES {
                    vectors[at] = simd.mul_add_f32s(x[at], value, vectors[at]);
                }
            }
            let mut sums = [0.0_f32; BLOCK];
            let (places, _) = S::as_mut_simd_f32s(&mut sums);
            places.iter_mut().zip(vectors).for_each(|(place, vector)| *place = vector);
            let scale = self.scale.map_or(1.0, |scale| scale[target]);
            for (row, sum) in sums[..self.count].iter().enumerate() {
                self.out[row * self.stride + target] += scale * sum;
            }
        }
    }
}

struct Outer<'a> {
    sparse: &'a Sparse,
    x: &'a [[f32; BLOCK]],
    g: &'a [[f32; BLOCK]],
    out: &'a mut [f32],
}

impl WithSimd for Outer<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for entry in &self.sparse.entries {
            let (x, g) = (&self.x[entry.source as usize], &self.g[entry.target as usize]);
            let mut products = [0.0_f32; BLOCK];
            for at in 0..BLOCK {
                products[at] = x[at] * g[at];
            }
            // By halves, so that the order is the same for registers of any width.
            let mut half = BLOCK / 2;
            while half > 0 {
                for at in 0..half {
                    products[at] += products[at + half];
                }
                half /= 2;
            }
            self.out[entry.place as usize] += products[0];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Key;
    use crate::packed::Packed;

    /// Of a matrix with zeros, and its transpose, for any number of rows: the bits of the product with all of it.
    #[test]
    fn zeros_are_left_out_and_nothing_else() {
        for (rows, sources, targets) in [(1, 1, 1), (3, 9, 40), (4, 40, 33), (13, 5, 16), (21, 64, 64)] {
            let x = Key::new(1).normals(0, rows, sources);
            let g = Key::new(2).normals(0, rows, targets);
            let kept = |value: &f32| if value.abs() > 1.0 { *value } else { 0.0 };
            let matrix: Vec<f32> = Key::new(3).normals(0, sources, targets).iter().map(kept).collect();
            let scale = Key::new(4).normals(0, 1, targets);
            let entry = |(at, &value): (usize, &f32)| Entry {
                source: (at / targets) as u32,
                target: (at % targets) as u32,
                value,
                place: at as u32,
            };
            let entries = matrix.iter().enumerate().filter(|(_, value)| **value != 0.0).map(entry).collect();
            let sparse = Sparse::new(entries, sources, targets);
            let full = Packed::new(Strided::rows(&matrix, targets), sources, targets);
            for scale in [None, Some(&scale[..])] {
                let (mut found, mut expected) = (vec![1.0; rows * targets], vec![1.0; rows * targets]);
                sparse.add_product(Strided::rows(&x, sources), rows, scale, &mut found, targets);
                full.add_product(Strided::rows(&x, sources), rows, scale, &mut expected, targets);
                assert_eq!(found, expected, "{rows} × {sources} × {targets}");
            }
            let (mut found, mut expected) = (vec![1.0; rows * sources], vec![1.0; rows * sources]);
            sparse.transposed().add_product(Strided::rows(&g, targets), rows, None, &mut found, sources);
            Packed::new(Strided::rows(&matrix, targets).transposed(), targets, sources).add_product(
                Strided::rows(&g, targets),
                rows,
                None,
                &mut expected,
                sources,
            );
            assert_eq!(found, expected);

            let mut outer = vec![0.0; matrix.len()];
            sparse.add_outer(Strided::rows(&x, sources), Strided::rows(&g, targets), rows, &mut outer);
            for (at, (found, value)) in outer.iter().zip(&matrix).enumerate() {
                let (source, target) = (at / targets, at % targets);
                let product =
                    |row: usize| f64::from(x[row * sources + source]) * f64::from(g[row * targets + target]);
                let all: f64 = (0..rows).map(product).sum();
                let size: f64 = (0..rows).map(|row| product(row).abs()).sum();
                let expected = if *value == 0.0 { 0.0 } else { all };
                // One rounding a product, and one a sum, of 2⁻²⁴ each.
                assert!((f64::from(*found) - expected).abs() <= (rows + 1) as f64 * size * 2.0_f64.powi(-24));
            }
        }
    }
}
