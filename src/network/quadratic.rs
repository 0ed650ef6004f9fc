//! The quadratic form of coupled units, which decides how large a step may be and whether the units are confined.
//!
//! If no unit has a quartic well,
//!
//! ```text
//! V = ½ xᵀAx + hᵀx,      A_ij = 2J₂ δ_ij + J_ij,                                                       (22)
//! ```
//!
//! which is confining if and only if A is positive definite. If some units have a quartic well, the others must be
//! confined for any state of those: A restricted to the units with J₄ = 0 must be positive definite. That is also
//! sufficient, since x⁴ grows faster than any product of two units.

use faer::dyn_stack::{MemBuffer, MemStack, StackReq};
use faer::matrix_free::LinOp;
use faer::matrix_free::eigen::{partial_self_adjoint_eigen, partial_self_adjoint_eigen_scratch};
use faer::sparse::{SparseColMat, Triplet};
use faer::{Col, Mat, MatMut, MatRef, Par, Scale, Side};

use crate::error::{Error, Result};
use crate::network::topology::Topology;

/// A symmetric matrix as its diagonal and its off-diagonal pairs, each once.
#[derive(Clone, Debug)]
pub(crate) struct Symmetric {
    pub(crate) diagonal: Vec<f64>,
    pub(crate) pairs: Vec<([usize; 2], f64)>,
}

/// Up to this many rows, computing all eigenvalues is as fast as computing the largest one.
const FEW: usize = 128;

impl Symmetric {
    /// The sum of the magnitudes in each row. No eigenvalue is above the largest of these sums (Gershgorin).
    fn row_sums(&self) -> Vec<f64> {
        let mut sums: Vec<f64> = self.diagonal.iter().map(|value| value.abs()).collect();
        for &([i, j], value) in &self.pairs {
            sums[i] += value.abs();
            sums[j] += value.abs();
        }
        sums
    }

    /// The largest of these sums.
    pub(crate) fn bound(&self) -> f64 {
        self.row_sums().into_iter().fold(0.0, f64::max)
    }

    /// The submatrix of the rows and columns for which `kept` is true.
    fn restricted(&self, kept: &[bool]) -> Self {
        let places: Vec<Option<usize>> = kept
            .iter()
            .scan(0, |next, &kept| {
                *next += usize::from(kept);
                Some(kept.then(|| *next - 1))
            })
            .collect();
        let diagonal = self.diagonal.iter().zip(kept).filter(|(_, kept)| **kept).map(|(value, _)| *value);
        let pair = |&([i, j], value): &([usize; 2], f64)| Some(([places[i]?, places[j]?], value));
        Self { diagonal: diagonal.collect(), pairs: self.pairs.iter().filter_map(pair).collect() }
    }

    /// Whether all eigenvalues are above `shift`, that is, whether the matrix minus `shift` on its diagonal has a
    /// Cholesky factor.
    fn exceeds(&self, shift: f64) -> bool {
        let n = self.diagonal.len();
        if 16 * self.pairs.len() > n * n {
            return (&self.dense() - faer::Scale(shift) * Mat::<f64>::identity(n, n))
                .llt(Side::Lower)
                .is_ok();
        }
        let diagonal = self.diagonal.iter().enumerate().map(|(i, value)| Triplet::new(i, i, value - shift));
        let below = self.pairs.iter().map(|&([i, j], value)| Triplet::new(i.max(j), i.min(j), value));
        let entries: Vec<_> = diagonal.chain(below).collect();
        let matrix = SparseColMat::try_new_from_triplets(n, n, &entries).expect("places within the matrix");
        matrix.sp_cholesky(Side::Lower).is_ok()
    }

    /// The smallest eigenvalue by bisection, accurate to 1e-9 of the largest row sum of magnitudes.
    fn smallest_eigenvalue(&self) -> f64 {
        let bound = self.bound();
        let (mut below, mut above) = (-bound, bound);
        while above - below > 1e-9 * bound {
            let middle = 0.5 * (below + above);
            if self.exceeds(middle) { below = middle } else { above = middle }
        }
        0.5 * (below + above)
    }

    /// The dense matrix.
    fn dense(&self) -> Mat<f64> {
        let n = self.diagonal.len();
        let mut dense = Mat::zeros(n, n);
        self.diagonal.iter().enumerate().for_each(|(i, value)| dense[(i, i)] = *value);
        for &([i, j], value) in &self.pairs {
            (dense[(i, j)], dense[(j, i)]) = (value, value);
        }
        dense
    }

    /// The largest eigenvalue: for few rows by full decomposition, for many by Lanczos iteration with a shift that
    /// makes it the largest in magnitude. If the iteration does not converge, the result is Gershgorin's bound, which
    /// is on the safe side for a step.
    pub(crate) fn largest_eigenvalue(&self) -> f64 {
        let (n, shift) = (self.diagonal.len(), self.bound());
        if n <= FEW {
            return self.dense().self_adjoint_eigenvalues(Side::Lower).map_or(shift, |all| all[n - 1]);
        }
        let diagonal = self.diagonal.iter().map(|value| value + shift).collect();
        let shifted = Self { diagonal, pairs: self.pairs.clone() };
        let start = Col::from_fn(n, |i| 1.0 + (i as f64 * 0.7).sin());
        let start = &start * Scale(1.0 / start.norm_l2());
        let (mut vector, mut value, settings) = (Mat::zeros(n, 1), [0.0], Default::default());
        let mut memory = MemBuffer::new(partial_self_adjoint_eigen_scratch(&shifted, 1, Par::Seq, settings));
        let found = partial_self_adjoint_eigen(
            vector.as_mut(),
            &mut value,
            &shifted,
            start.as_ref(),
            1e-12,
            Par::Seq,
            MemStack::new(&mut memory),
            settings,
        );
        if found.n_converged_eigen == 0 { shift } else { value[0] - shift }
    }
}

impl LinOp<f64> for Symmetric {
    fn apply_scratch(&self, _columns: usize, _par: Par) -> StackReq {
        StackReq::EMPTY
    }

    fn nrows(&self) -> usize {
        self.diagonal.len()
    }

    fn ncols(&self) -> usize {
        self.diagonal.len()
    }

    fn apply(&self, mut out: MatMut<f64>, rhs: MatRef<f64>, _par: Par, _stack: &mut MemStack) {
        for column in 0..rhs.ncols() {
            for (i, value) in self.diagonal.iter().enumerate() {
                out[(i, column)] = value * rhs[(i, column)];
            }
            for &([i, j], value) in &self.pairs {
                out[(i, column)] += value * rhs[(j, column)];
                out[(j, column)] += value * rhs[(i, column)];
            }
        }
    }

    fn conj_apply(&self, out: MatMut<f64>, rhs: MatRef<f64>, par: Par, stack: &mut MemStack) {
        self.apply(out, rhs, par, stack);
    }
}

/// Refuses units without a quartic well that are not confined together, with `shift` added to the J₂ of each unit,
/// `gain` as the gain of each, and `pairs` among the free units.
///
/// Among gains up to given magnitudes, those magnitudes themselves are the worst case: xᵀ(C + sJs)x is linear in each
/// s_i, so it is least at the corners of their box, and the signs of a corner can be absorbed into x.
///
/// # Errors
/// [`Error::NotJointlyConfining`] with the smallest eigenvalue.
pub(crate) fn check_confinement(
    topology: &Topology,
    shift: Option<Vec<f64>>,
    gain: Option<Vec<f64>>,
    pairs: impl FnOnce() -> Vec<([usize; 2], f64)>,
) -> Result<()> {
    let is_harmonic: Vec<bool> =
        topology.unit_values(|group, unit| group.j4.at(unit)).into_iter().map(|j4| j4 == 0.0).collect();
    if !is_harmonic.contains(&true) {
        return Ok(());
    }
    let mut diagonal = topology.unit_values(|group, unit| 2.0 * group.j2.at(unit));
    for (diagonal, shift) in diagonal.iter_mut().zip(shift.into_iter().flatten()) {
        *diagonal += 2.0 * shift;
    }
    let mut pairs = pairs();
    if let Some(gain) = gain {
        pairs.iter_mut().for_each(|([i, j], value)| *value *= gain[*i] * gain[*j]);
    }
    let harmonic = Symmetric { diagonal, pairs }.restricted(&is_harmonic);
    // Every row is outweighed by its diagonal (Gershgorin), which settles most cases.
    if harmonic.row_sums().iter().zip(&harmonic.diagonal).all(|(sum, diagonal)| 2.0 * diagonal > *sum) {
        return Ok(());
    }
    // A zero eigenvalue that rounding has made slightly positive does not confine.
    if harmonic.exceeds(1e-12 * harmonic.bound()) {
        return Ok(());
    }
    let (eigenvalue, units) = (harmonic.smallest_eigenvalue(), harmonic.diagonal.len());
    Err(Error::NotJointlyConfining { eigenvalue, units })
}

/// The couplings among free units from those of every block, each pair once, as columns of the state.
pub(crate) fn free_pairs<V: Into<f64>>(
    topology: &Topology,
    of_block: impl Fn(usize) -> Vec<V>,
) -> Vec<([usize; 2], f64)> {
    let mut all = Vec::new();
    for (index, block) in topology.blocks.iter().enumerate() {
        let (Ok(from), Ok(to)) = (topology.columns(&block.from), topology.columns(&block.to)) else {
            continue; // from a clamped group: a field
        };
        let pairs = topology.pairs(block).zip(of_block(index));
        all.extend(pairs.map(|([i, j], value)| ([from.start + i, to.start + j], value.into())));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Key;

    fn random(n: usize, offset: f64) -> (Symmetric, Mat<f64>) {
        let normals = Key::new(n as u64).normals(0, n, n);
        let value = |i: usize, j: usize| f64::from(normals[i * n + j] + normals[j * n + i]);
        let diagonal = (0..n).map(|i| value(i, i) + offset).collect();
        let pairs = (0..n).flat_map(|i| (0..i).map(move |j| [i, j]));
        let matrix = Symmetric { diagonal, pairs: pairs.map(|[i, j]| ([i, j], value(i, j))).collect() };
        (matrix, Mat::from_fn(n, n, |i, j| value(i, j) + if i == j { offset } else { 0.0 }))
    }

    /// Compares with the full decomposition on random symmetric matrices, one of them with eigenvalues far below
    /// zero.
    #[test]
    fn eigenvalues_at_the_ends_are_those_of_the_whole_spectrum() {
        for (n, offset) in [(1, 2.0), (2, 1.0), (128, 3.0), (129, 0.0), (200, -20.0), (200, 90.0)] {
            let (matrix, dense) = random(n, offset);
            let all = dense.self_adjoint_eigenvalues(Side::Lower).unwrap();
            for (found, expected) in
                [(matrix.largest_eigenvalue(), all[n - 1]), (matrix.smallest_eigenvalue(), all[0])]
            {
                let scale = matrix.bound();
                assert!((found - expected).abs() < 2e-9 * scale, "{n}: {found} {expected}");
            }
        }
    }

    /// A stiff elastic chain, (2 − 2cos k)² + 1 in the mode k: its low eigenvalues are very close together.
    #[test]
    fn a_long_chain_is_positive_definite_as_far_as_it_is() {
        for n in [1000, 20_000] {
            let near = (1..n).map(|i| ([i - 1, i], -4.0));
            let far = (2..n).map(|i| ([i - 2, i], 1.0));
            let pairs: Vec<_> = near.chain(far).collect();
            let chain = |offset: f64| Symmetric { diagonal: vec![6.0 + offset; n], pairs: pairs.clone() };
            assert!(chain(1.0).exceeds(0.0) && chain(1e-3).exceeds(0.0));
            // With free ends its lowest mode is about (π/n)⁴, which is lost in rounding.
            assert!(!chain(-1e-3).exceeds(0.0));
            let found = chain(0.25).smallest_eigenvalue();
            assert!((found - 0.25).abs() < 1e-5, "{n}: {found}");
        }
    }

    /// A restriction has the entries of its rows and columns.
    #[test]
    fn a_restriction_leaves_the_others_out() {
        let (matrix, dense) = random(5, 0.0);
        let few = matrix.restricted(&[true, false, true, false, true]);
        assert_eq!(few.diagonal, [dense[(0, 0)], dense[(2, 2)], dense[(4, 4)]]);
        let expected = [([1, 0], dense[(2, 0)]), ([2, 0], dense[(4, 0)]), ([2, 1], dense[(4, 2)])];
        assert_eq!(few.pairs, expected);
    }
}
