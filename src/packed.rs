//! Matrices that many batches are multiplied with, on the processor's own cores.
//!
//! The couplings of a run stay while thousands of states are multiplied with them, so they are brought into the order
//! in which the product reads them once per run. A general product (crate `gemm`) brings its operands into such an
//! order every time, which at 16 to 128 rows takes as long as the multiplication (`benches/sampling.rs`).
//!
//! Every entry of a product is the sum over the sources in their order, each term added with one rounding
//! (`a·b + c`). It therefore has the same bits on every processor that has such an instruction, whatever the width of
//! its registers, and for any number of rows.

use aligned_vec::AVec;
use pulp::{Arch, Simd, WithSimd};

/// A matrix `[source, target]` in strips of a few vectors of targets.
#[derive(Clone, Debug)]
pub(crate) struct Packed {
    sources: usize,
    targets: usize,
    strips: AVec<f32>,
}

/// The numbers of a matrix, and how far apart its rows and columns are in memory.
#[derive(Clone, Copy)]
pub(crate) struct Strided<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) row: usize,
    pub(crate) column: usize,
}

impl<'a> Strided<'a> {
    /// Rows one after the other.
    pub(crate) fn rows(values: &'a [f32], columns: usize) -> Self {
        Self { values, row: columns, column: 1 }
    }

    /// The same numbers with rows and columns exchanged.
    pub(crate) fn transposed(self) -> Self {
        Self { row: self.column, column: self.row, ..self }
    }

    /// From a column on.
    pub(crate) fn columns_from(self, first: usize) -> Self {
        Self { values: &self.values[(first * self.column).min(self.values.len())..], ..self }
    }
}

/// Vectors of targets in a strip.
const VECTORS: usize = 2;

/// Targets in a strip.
fn width() -> usize {
    struct Width;
    impl WithSimd for Width {
        type Output = usize;
        fn with_simd<S: Simd>(self, _: S) -> usize {
            VECTORS * S::F32_LANES
        }
    }
    Arch::new().dispatch(Width)
}

impl Packed {
    /// Packs `sources` rows and `targets` columns.
    pub(crate) fn new(matrix: Strided, sources: usize, targets: usize) -> Self {
        let mut packed = None;
        Self::pack(&mut packed, matrix, sources, targets);
        packed.expect("made above")
    }

    /// Packs a matrix in the place of another, whose memory it takes.
    pub(crate) fn pack(place: &mut Option<Self>, matrix: Strided, sources: usize, targets: usize) {
        let strips = place.take().map_or_else(|| AVec::new(64), |old| old.strips);
        place.insert(Self { sources, targets, strips }).fill(matrix);
    }

    fn fill(&mut self, matrix: Strided) {
        let width = width();
        self.strips.clear();
        self.strips.resize(self.sources * self.targets.next_multiple_of(width), 0.0);
        let strips = self.strips.chunks_exact_mut((self.sources * width).max(1));
        for (strip, first) in strips.zip((0..self.targets).step_by(width)) {
            let targets = width.min(self.targets - first);
            for (source, packed) in strip.chunks_exact_mut(width).enumerate() {
                let row = &matrix.values[source * matrix.row + first * matrix.column..];
                match matrix.column {
                    1 => packed[..targets].copy_from_slice(&row[..targets]),
                    apart => {
                        packed[..targets].iter_mut().zip(row.iter().step_by(apart)).for_each(|(a, b)| *a = *b)
                    }
                }
            }
        }
    }

    /// Adds s∘(xJ) to `out`, with one factor s per target, or one for all if there are none.
    ///
    /// `x` has `rows` rows; `out` has them `stride` numbers apart, and begins with the first target.
    pub(crate) fn add_product(
        &self,
        x: Strided,
        rows: usize,
        scale: Option<&[f32]>,
        out: &mut [f32],
        stride: usize,
    ) {
        Arch::new().dispatch(Product { packed: self, x, rows, scale, out, stride });
    }
}

struct Product<'a> {
    packed: &'a Packed,
    x: Strided<'a>,
    rows: usize,
    scale: Option<&'a [f32]>,
    out: &'a mut [f32],
    stride: usize,
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let Packed { sources, targets, strips } = self.packed;
        let width = VECTORS * S::F32_LANES;
        if *sources == 0 {
            return;
        }
        // A strip stays in the cache while all rows are multiplied with it.
        for (strip, at) in strips.chunks_exact(sources * width).zip((0..*targets).step_by(width)) {
            let strip = S::as_simd_f32s(strip).0;
            // As many rows at once as their sums fit the registers: 32 of 16 numbers, or 16 of eight.
            let done = match S::F32_LANES {
                16.. => self.blocks::<S, 8>(simd, strip, at, 0),
                _ => 0,
            };
            let done = self.blocks::<S, 4>(simd, strip, at, done);
            let done = self.blocks::<S, 2>(simd, strip, at, done);
            self.blocks::<S, 1>(simd, strip, at, done);
        }
    }
}

impl Product<'_> {
    /// Multiplies blocks of R rows as long as there are so many, and returns the first row that is left.
    #[inline(always)]
    fn blocks<S: Simd, const R: usize>(
        &mut self,
        simd: S,
        strip: &[S::f32s],
        at: usize,
        mut first: usize,
    ) -> usize {
        while first + R <= self.rows {
            self.block::<S, R>(simd, strip, at, first);
            first += R;
        }
        first
    }

    #[inline(always)]
    fn block<S: Simd, const R: usize>(&mut self, simd: S, strip: &[S::f32s], at: usize, first: usize) {
        let targets = self.packed.targets;
        let x = &self.x.values[first * self.x.row..];
        let (row, column) = (self.x.row, self.x.column);
        let sums = match targets - at > S::F32_LANES {
            true => sums::<S, R, VECTORS>(simd, x, row, column, strip),
            false => {
                let narrow = sums::<S, R, 1>(simd, x, row, column, strip);
                narrow.map(|[sum]| [sum, simd.splat_f32s(0.0)])
            }
        };
        for (r, sums) in sums.into_iter().enumerate() {
            for (vector, sum) in sums.into_iter().enumerate() {
                let range = at + vector * S::F32_LANES..targets.min(at + (vector + 1) * S::F32_LANES);
                if range.is_empty() {
                    continue;
                }
                let scaled = match self.scale {
                    Some(scale) => simd.mul_f32s(simd.partial_load_f32s(&scale[range.clone()]), sum),
                    None => sum,
                };
                let out = &mut self.out[(first + r) * self.stride..][range];
                simd.partial_store_f32s(out, simd.add_f32s(simd.partial_load_f32s(out), scaled));
            }
        }
    }
}

/// Σ_j x_j J_j of R rows and V vectors of targets.
#[inline(always)]
fn sums<S: Simd, const R: usize, const V: usize>(
    simd: S,
    x: &[f32],
    row: usize,
    column: usize,
    strip: &[S::f32s],
) -> [[S::f32s; V]; R] {
    let (strip, rest) = strip.as_chunks::<VECTORS>();
    assert!(rest.is_empty() && (R - 1) * row + strip.len().saturating_sub(1) * column < x.len());
    let mut sums = [[simd.splat_f32s(0.0); V]; R];
    for (source, couplings) in strip.iter().enumerate() {
        for (r, sums) in sums.iter_mut().enumerate() {
            // SAFETY: the assertion is about the last row and source.
            let x = simd.splat_f32s(unsafe { *x.get_unchecked(r * row + source * column) });
            for (sum, coupling) in sums.iter_mut().zip(couplings) {
                *sum = simd.mul_add_f32s(x, *coupling, *sum);
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Key;

    /// Every entry is the sum in the order of the sources, with one rounding a term, to the bit; with either layout of
    /// either factor, beside columns that must stay as they are.
    #[test]
    fn products_are_sums_in_order() {
        for (rows, sources, targets) in
            [(1, 1, 1), (3, 7, 5), (13, 40, 33), (8, 74, 74), (9, 16, 16), (4, 0, 3), (0, 2, 2)]
        {
            let (x, j) = (Key::new(1).normals(0, rows, sources), Key::new(2).normals(0, sources, targets));
            let scale = Key::new(3).normals(0, 1, targets);
            let stride = targets + 2;
            let flip = |values: &[f32], rows: usize, columns: usize| -> Vec<f32> {
                (0..rows * columns).map(|at| values[at % rows * columns + at / rows]).collect()
            };
            let (x_flipped, j_flipped) = (flip(&x, rows, sources), flip(&j, sources, targets));
            for scale in [None, Some(&scale[..])] {
                let sum = |row: usize, target: usize| {
                    let term =
                        |sum: f32, s: usize| x[row * sources + s].mul_add(j[s * targets + target], sum);
                    scale.map_or(1.0, |scale| scale[target]) * (0..sources).fold(0.0, term)
                };
                let at = |at: usize| match at % stride < targets {
                    true => 1.0 + sum(at / stride, at % stride),
                    false => 1.0,
                };
                let expected: Vec<f32> = (0..rows * stride).map(at).collect();
                for j in [Strided::rows(&j, targets), Strided::rows(&j_flipped, sources).transposed()] {
                    for x in [Strided::rows(&x, sources), Strided::rows(&x_flipped, rows).transposed()] {
                        let mut out = vec![1.0; rows * stride];
                        Packed::new(j, sources, targets).add_product(x, rows, scale, &mut out, stride);
                        assert_eq!(out, expected, "{rows} × {sources} × {targets}");
                    }
                }
            }
        }
    }
}
