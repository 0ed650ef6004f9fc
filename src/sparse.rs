//! Products with matrices of few entries, on the processor's own cores.
//!
//! Rows are taken a block at a time and turned, so that the numbers of one unit lie side by side, and every entry is
//! then one multiplication of a vector. Every entry of a product is the sum over the sources in their order, each term
//! added with one rounding: without the zeros, it is the sum that [`Packed`](crate::packed::Packed) makes, to the bit.

use pulp::Arch;

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
        Self::new(self.entries.iter().map(turned).collect(), self.starts.len() - 1, self.sources)
    }

    fn targets(&self) -> impl Iterator<Item = (usize, &[Entry])> {
        self.starts.windows(2).map(|ends| &self.entries[ends[0] as usize..ends[1] as usize]).enumerate()
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
        let mut first = 0;
        while first < rows {
            first += match rows - first {
                9.. => self.block::<BLOCK>(x, first..rows, scale, out, stride),
                2.. => self.block::<4>(x, first..rows, scale, out, stride),
                _ => self.block::<1>(x, first..rows, scale, out, stride),
            };
        }
    }

    /// Up to R rows of a product; how many.
    fn block<const R: usize>(
        &self,
        x: Strided,
        rows: std::ops::Range<usize>,
        scale: Option<&[f32]>,
        out: &mut [f32],
        stride: usize,
    ) -> usize {
        let (first, count) = (rows.start, rows.len().min(R));
        let x = turned::<R>(x, first, count, self.sources);
        Arch::new().dispatch(|| {
            for (target, entries) in self.targets() {
                let mut sums = [0.0_f32; R];
                for entry in entries {
                    let x = &x[entry.source as usize];
                    for (sum, x) in sums.iter_mut().zip(x) {
                        *sum = x.mul_add(entry.value, *sum);
                    }
                }
                let scale = scale.map_or(1.0, |scale| scale[target]);
                for (row, sum) in sums[..count].iter().enumerate() {
                    out[(first + row) * stride + target] += scale * sum;
                }
            }
        });
        count
    }

    /// Adds xᵀg to `out` at the place of every entry.
    pub(crate) fn add_outer(&self, x: Strided, g: Strided, rows: usize, out: &mut [f32]) {
        for first in (0..rows).step_by(BLOCK) {
            let count = BLOCK.min(rows - first);
            let x = turned::<BLOCK>(x, first, count, self.sources);
            let g = turned::<BLOCK>(g, first, count, self.starts.len() - 1);
            Arch::new().dispatch(|| {
                for entry in &self.entries {
                    let (x, g) = (&x[entry.source as usize], &g[entry.target as usize]);
                    let mut products = [0.0_f32; BLOCK];
                    for ((product, x), g) in products.iter_mut().zip(x).zip(g) {
                        *product = x * g;
                    }
                    // By halves, so that the order is the same for registers of any width.
                    let mut half = BLOCK / 2;
                    while half > 0 {
                        for at in 0..half {
                            products[at] += products[at + half];
                        }
                        half /= 2;
                    }
                    out[entry.place as usize] += products[0];
                }
            });
        }
    }
}

/// Some rows as columns, and zeros for those that are missing.
fn turned<const R: usize>(x: Strided, first: usize, count: usize, columns: usize) -> Vec<[f32; R]> {
    let mut turned = vec![[0.0; R]; columns];
    for row in 0..count {
        let values = &x.values[(first + row) * x.row..];
        for (place, value) in turned.iter_mut().zip(values.iter().step_by(x.column)) {
            place[row] = *value;
        }
    }
    turned
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
