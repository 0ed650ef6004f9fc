//! The potential energy of the free units and its gradient.
//!
//! ```text
//! V(x) = Σ_i (J₂ x_i² + J₄ x_i⁴) + Σ_i h_i x_i + Σ_(ij) J_ij x_i x_j,      h_i = b_i + Σ_c J_ci X_c      (1)
//! ∂_i V = 2 J₂ x_i + 4 J₄ x_i³ + h_i + Σ_j J_ij x_j                                                   (2)
//! ```
//!
//! (S. Whitelam, PNAS 123, e2528413123 (2026); equation numbers are those of docs/NOTATION.md). The last sum of V
//! counts each pair of free units once. h is the *field*: the biases, and the couplings to clamped units at their
//! values X. It is constant along a trajectory, and so is computed once per image, unless a
//! [protocol](crate::network::protocol) changes it. Gains are one here. Energies are in the units of kT, forces in
//! energy per displacement.

use std::ops::Range;

use burn::tensor::{IndexingUpdateOp, Int, Tensor};

use crate::network::control::Control;
use crate::tensors::indices;

/// V and ∇V as differentiable functions of a state, assembled from the parameters of a
/// [`Substrate`](crate::Substrate) for one forward pass.
///
/// States and fields are `[batch, unit]` over the free units in the order of their groups.
#[derive(Clone, Debug)]
pub struct Potential {
    pub(crate) j2: Tensor<2>,
    pub(crate) j4: Tensor<2>,
    pub(crate) coupling: Coupling,
}

impl Potential {
    /// V of each state. `control` is a field, or a field with gains.
    ///
    /// # Shapes
    /// `x` and the field `[batch, unit]` → `[batch]`.
    pub fn energy(&self, x: Tensor<2>, control: impl Into<Control>) -> Tensor<1> {
        let Control { field, gain, well, .. } = control.into();
        let x2 = x.clone() * x.clone();
        let wells = (self.shifted(well) + self.j4.clone() * x2.clone()) * x2;
        let pairs = self.coupling.apply_with(x.clone(), gain) * 0.5;
        (wells + (field + pairs) * x).sum_dim(1).squeeze_dim(1)
    }

    /// Σ(J₂x² + J₄x⁴) of each state: V without couplings and fields.
    ///
    /// # Shapes
    /// `[batch, unit]` → `[batch]`.
    pub fn wells(&self, x: Tensor<2>) -> Tensor<1> {
        let x2 = x.clone() * x;
        ((self.j2.clone() + self.j4.clone() * x2.clone()) * x2).sum_dim(1).squeeze_dim(1)
    }

    /// ∇V at each state; the force is its negative.
    ///
    /// # Shapes
    /// `x` and the field `[batch, unit]` → `[batch, unit]`.
    pub fn gradient(&self, x: Tensor<2>, control: impl Into<Control>) -> Tensor<2> {
        let Control { field, gain, well, .. } = control.into();
        let x2 = x.clone() * x.clone();
        let wells = (self.shifted(well) * 2.0 + self.j4.clone() * 4.0 * x2) * x.clone();
        wells + field + self.coupling.apply_with(x, gain)
    }

    /// J₂ + d.
    fn shifted(&self, well: Option<Tensor<2>>) -> Tensor<2> {
        well.map_or_else(|| self.j2.clone(), |well| self.j2.clone() + well)
    }

    /// The force without the fixed wells, −h − s∘J(s∘x) − 2d∘x.
    ///
    /// # Shapes
    /// As [`gradient`](Self::gradient).
    pub fn steered_force(&self, x: Tensor<2>, control: impl Into<Control>) -> Tensor<2> {
        let Control { field, gain, well, .. } = control.into();
        let shift = well.map(|well| x.clone() * well * 2.0);
        let pull = field + self.coupling.apply_with(x, gain);
        -shift.map_or_else(|| pull.clone(), |shift| pull.clone() + shift)
    }
}

/// The couplings among free units as a few dense matrix products, each from runs of source columns to target columns,
/// and the couplings that are too [sparse](crate::Topology::is_sparse) for that.
///
/// Missing blocks cost nothing; neighbouring groups with the same sources share a product.
#[derive(Clone, Debug)]
pub(crate) struct Coupling {
    pub(crate) units: usize,
    pub(crate) products: Vec<Product>,
    pub(crate) listed: Vec<Listed>,
}

/// A list of couplings, each from a source column to a target column.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) sources: Tensor<1, Int>,
    pub(crate) targets: Tensor<1, Int>,
    /// `[1, coupling]`.
    pub(crate) values: Tensor<2>,
}

impl Listed {
    /// The couplings `[1, pair]` of pairs of source and target.
    pub(crate) fn new(pairs: impl Iterator<Item = [usize; 2]> + Clone, values: Tensor<2>) -> Self {
        let device = values.device();
        let (sources, targets) = (pairs.clone().map(|[i, _]| i), pairs.map(|[_, j]| j));
        Self { sources: indices(sources, &device), targets: indices(targets, &device), values }
    }

    /// `sum` + xJ.
    pub(crate) fn add_to(&self, sum: Tensor<2>, x: &Tensor<2>) -> Tensor<2> {
        let products = x.clone().select(1, self.sources.clone()) * self.values.clone();
        sum.select_assign(1, self.targets.clone(), products, IndexingUpdateOp::Add)
    }

    fn transposed(&self) -> Self {
        Self { sources: self.targets.clone(), targets: self.sources.clone(), values: self.values.clone() }
    }

    /// −J∘rate, with one rate per target.
    pub(crate) fn scaled(self, rate: Tensor<2>) -> Self {
        let values = -(self.values * rate.select(1, self.targets.clone()));
        Self { values, ..self }
    }
}

/// Consecutive target groups with the same sources.
#[derive(Clone, Debug)]
pub(crate) struct Product {
    pub(crate) targets: Range<usize>,
    /// Runs of source columns with their couplings `[source, target]`.
    pub(crate) terms: Vec<(Range<usize>, Tensor<2>)>,
}

impl Coupling {
    /// Assembles the products from `blocks[a][b]`, the couplings `[units of a, units of b]` from free group a to b,
    /// and the listed couplings.
    pub(crate) fn new(sizes: &[usize], blocks: &[Vec<Option<Tensor<2>>>], listed: Vec<Listed>) -> Self {
        let starts: Vec<usize> = sizes
            .iter()
            .scan(0, |end, size| {
                *end += size;
                Some(*end - size)
            })
            .collect();
        let sources =
            |b: usize| -> Vec<usize> { (0..sizes.len()).filter(|&a| blocks[a][b].is_some()).collect() };
        let mut products = Vec::new();
        let mut b = 0;
        while b < sizes.len() {
            let from = sources(b);
            let end = (b + 1..sizes.len()).find(|&c| sources(c) != from).unwrap_or(sizes.len());
            let column = |c: usize, run: &[usize]| {
                let parts = run.iter().map(|&a| blocks[a][c].clone().expect("a source"));
                Tensor::cat(parts.collect(), 0)
            };
            let term = |run: &[usize]| {
                let last = run[run.len() - 1];
                let matrix = Tensor::cat((b..end).map(|c| column(c, run)).collect(), 1);
                (starts[run[0]]..starts[last] + sizes[last], matrix)
            };
            products.push(Product {
                targets: starts[b]..starts[end - 1] + sizes[end - 1],
                terms: from.chunk_by(|a, next| a + 1 == *next).map(term).collect(),
            });
            b = end;
        }
        Self { units: sizes.iter().sum(), products, listed }
    }

    /// Σ_j J_ij x_j.
    ///
    /// # Shapes
    /// `[batch, unit]` → `[batch, unit]`.
    pub(crate) fn apply(&self, x: Tensor<2>) -> Tensor<2> {
        let batch = x.dims()[0];
        let product =
            |product: &Product| {
                let term = |(sources, matrix): &(_, Tensor<2>)| columns(&x, sources).matmul(matrix.clone());
                product.terms.iter().map(term).reduce(|a, b| a + b).unwrap_or_else(|| {
                    Tensor::zeros([batch, product.targets.len()], (&x.device(), x.dtype()))
                })
            };
        let mut parts: Vec<_> = self.products.iter().map(product).collect();
        let dense = match parts.len() {
            1 => parts.remove(0),
            _ => Tensor::cat(parts, 1),
        };
        self.listed.iter().fold(dense, |sum, listed| listed.add_to(sum, &x))
    }

    /// −J∘rate, with one rate `[1, unit]` per target.
    pub(crate) fn scaled(self, rate: &Tensor<2>) -> Self {
        let product = |Product { targets, terms }: Product| {
            let rate = rate.clone().slice_dim(1, targets.clone());
            let terms = terms.into_iter().map(|(sources, matrix)| (sources, -(matrix * rate.clone())));
            Product { targets, terms: terms.collect() }
        };
        Self {
            units: self.units,
            products: self.products.into_iter().map(product).collect(),
            listed: self.listed.into_iter().map(|listed| listed.scaled(rate.clone())).collect(),
        }
    }

    /// s_i Σ_j J_ij s_j x_j with gains s `[1, unit]`; without gains, s = 1.
    pub(crate) fn apply_with(&self, x: Tensor<2>, gain: Option<Tensor<2>>) -> Tensor<2> {
        match gain {
            None => self.apply(x),
            Some(gain) => self.apply(x * gain.clone()) * gain,
        }
    }

    /// Σ_i g_i J_ij: the product with the transposed couplings.
    ///
    /// # Shapes
    /// `[batch, unit]` → `[batch, unit]`.
    pub(crate) fn apply_transposed(&self, g: Tensor<2>) -> Tensor<2> {
        let terms = self.products.iter().flat_map(|product| {
            let local = columns(&g, &product.targets);
            product.terms.iter().map(move |(sources, matrix)| {
                pad(local.clone().matmul(matrix.clone().transpose()), sources, self.units)
            })
        });
        let dense = terms.reduce(|a, b| a + b).unwrap_or_else(|| g.zeros_like());
        self.listed.iter().fold(dense, |sum, listed| listed.transposed().add_to(sum, &g))
    }

    /// The matrix of every term of every product, and the listed couplings.
    pub(crate) fn values(&self) -> impl Iterator<Item = &Tensor<2>> {
        let matrices =
            self.products.iter().flat_map(|product| product.terms.iter().map(|(_, matrix)| matrix));
        matrices.chain(self.listed.iter().map(|listed| &listed.values))
    }

    /// Adds xᵀg to the gradient of each of the [values](Self::values).
    ///
    /// # Shapes
    /// `x` and `g` `[row, unit]`.
    pub(crate) fn add_outer(&self, sums: &mut [Tensor<2>], x: &Tensor<2>, g: &Tensor<2>) {
        let (mut sums, x_transposed) = (sums.iter_mut(), x.clone().transpose());
        let mut add = |outer| sums.next().expect("one for each").inplace(|sum| sum + outer);
        for product in &self.products {
            let local = columns(g, &product.targets);
            for (sources, _) in &product.terms {
                add(x_transposed.clone().slice_dim(0, sources.clone()).matmul(local.clone()));
            }
        }
        for Listed { sources, targets, .. } in &self.listed {
            let pairs = x.clone().select(1, sources.clone()) * g.clone().select(1, targets.clone());
            add(pairs.sum_dim(0));
        }
    }
}

/// Some columns of `x`; free of cost when they are all of them.
fn columns(x: &Tensor<2>, range: &Range<usize>) -> Tensor<2> {
    match range.len() == x.dims()[1] {
        true => x.clone(),
        false => x.clone().slice_dim(1, range.clone()),
    }
}

/// A wider tensor of zeros with `x` in the given columns.
fn pad(x: Tensor<2>, range: &Range<usize>, units: usize) -> Tensor<2> {
    if range.len() == units {
        return x;
    }
    let zeros = |width| Tensor::zeros([x.dims()[0], width], (&x.device(), x.dtype()));
    Tensor::cat(vec![zeros(range.start), x.clone(), zeros(units - range.end)], 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Key;
    use burn::tensor::{Device, TensorData};

    fn random(key: u64, rows: usize, columns: usize) -> Tensor<2> {
        let values = Key::new(key).normals(0, rows, columns);
        Tensor::from_data(TensorData::new(values, [rows, columns]), &Device::flex())
    }

    /// Compares listed couplings, one of them next to a block that is not listed, with their matrix.
    #[test]
    fn listed_couplings_act_as_their_matrix() {
        let (pairs, values) = ([[0, 1], [1, 0], [4, 2], [4, 0]], random(1, 1, 4));
        let block = random(2, 2, 3);
        let blocks = vec![vec![None, Some(block.clone())], vec![None, None]];
        let coupling = Coupling::new(&[2, 3], &blocks, vec![Listed::new(pairs.into_iter(), values.clone())]);
        let matrix = crate::tensors::scatter(values, &pairs, [5, 5]).slice_assign([0..2, 2..5], block);
        let (x, g) = (random(3, 7, 5), random(4, 7, 5));
        let same = |a: Tensor<2>, b: Tensor<2>| assert!((a - b).abs().max().into_scalar::<f32>() < 1e-5);
        same(coupling.apply(x.clone()), x.clone().matmul(matrix.clone()));
        same(coupling.apply_transposed(g.clone()), g.clone().matmul(matrix.transpose()));
        let mut sums: Vec<_> = coupling.values().map(Tensor::zeros_like).collect();
        coupling.add_outer(&mut sums, &x, &g);
        let outer = x.transpose().matmul(g);
        same(sums[0].clone(), outer.clone().slice([0..2, 2..5]));
        same(sums[1].clone(), crate::tensors::gather(outer, &pairs));
    }
}
