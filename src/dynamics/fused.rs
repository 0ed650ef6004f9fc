//! The step of the overdamped dynamics, and its adjoint, as one pass over the batch on the processor's own cores.
//!
//! The [tensor form](crate::dynamics::overdamped) makes a new tensor for every product, square and sum. Here the
//! normals of a step are drawn into what becomes the next state; wells, drift and noise are added in one pass, and the
//! products with the couplings in another. It is used for states in single precision on Burn's `flex` backend that are
//! not tracked; the tensor form serves everywhere else, and as the reference.

use std::ops::Range;
use std::sync::OnceLock;

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::{DType, Tensor, TensorData};
use pulp::Arch;

use crate::network::control::Control;
use crate::network::potential::Coupling;
use crate::packed::{Packed, Strided};

/// The values of a tensor of single precision that is here and not tracked.
pub(crate) fn host(tensor: &Tensor<2>) -> Option<FlexTensor> {
    let tensor = tensor.clone().try_into_primitive::<Flex>().ok()?;
    (tensor.dtype() == DType::F32).then(|| tensor.to_contiguous())
}

fn values(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().expect("contiguous numbers of single precision")
}

/// A tensor of numbers that were computed here, beside another.
fn beside(other: &Tensor<2>, values: Vec<f32>, shape: [usize; 2]) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values, shape), &other.device())
}

/// The constants of a run in the order in which the steps read them.
#[derive(Debug)]
pub(crate) struct Fused {
    units: usize,
    terms: Vec<Term>,
    listed: Vec<Pairs>,
    /// D = 1 − 2μΔtJ₂ and q = −4μΔtJ₄.
    diagonal: Vec<f32>,
    quartic: Vec<f32>,
}

/// A block of couplings P from the units `sources` to `targets`.
#[derive(Debug)]
struct Term {
    sources: Range<usize>,
    targets: Range<usize>,
    matrix: Vec<f32>,
    forward: Packed,
    backward: OnceLock<Packed>,
}

/// Couplings that are listed.
#[derive(Debug)]
struct Pairs {
    pairs: Vec<[usize; 2]>,
    values: Vec<f32>,
}

impl Fused {
    /// None if the couplings are not here, in single precision and not tracked.
    pub(crate) fn new(propagator: &Coupling, diagonal: &Tensor<2>, quartic: &Tensor<2>) -> Option<Self> {
        let mut terms = Vec::new();
        for product in &propagator.products {
            for (sources, matrix) in &product.terms {
                let (sources, targets) = (sources.clone(), product.targets.clone());
                let matrix = values(&host(matrix)?).to_vec();
                let forward =
                    Packed::new(Strided::rows(&matrix, targets.len()), sources.len(), targets.len());
                terms.push(Term { sources, targets, matrix, forward, backward: OnceLock::new() });
            }
        }
        let mut listed = Vec::new();
        for pairs in &propagator.listed {
            let places = |tensor: &Tensor<1, burn::tensor::Int>| tensor.to_data().convert::<i64>();
            let (sources, targets) = (places(&pairs.sources), places(&pairs.targets));
            let place = |(i, j): (i64, i64)| [i as usize, j as usize];
            let pairs_of = sources.iter::<i64>().zip(targets.iter::<i64>()).map(place);
            listed.push(Pairs { pairs: pairs_of.collect(), values: values(&host(&pairs.values)?).to_vec() });
        }
        let row = |tensor: &Tensor<2>| Some(values(&host(tensor)?).to_vec());
        Some(Self {
            units: propagator.units,
            terms,
            listed,
            diagonal: row(diagonal)?,
            quartic: row(quartic)?,
        })
    }

    /// The next state: s∘(s∘x)P + (D + w + q∘x²)∘x + d + kick, with the kick of the step as row-major `[batch, unit]`;
    /// none if the state or a control parameter is not here.
    pub(crate) fn step(&self, x: &Tensor<2>, control: &Control, kick: Option<Vec<f32>>) -> Option<Tensor<2>> {
        let batch = x.dims()[0];
        let (state, control) = (host(x)?, Held::new(control)?);
        let state = values(&state);
        let mut next = kick.unwrap_or_else(|| vec![0.0; state.len()]);
        let Held { field, gain, well } = &control;
        let (field, gain) = (values(field), gain.as_ref().map(values));
        let diagonal = self.diagonal(well.as_ref().map(values));
        Arch::new().dispatch(|| {
            for (row, (next, x)) in self.rows(&mut next).zip(self.rows_of(state)).enumerate() {
                let field =
                    if field.len() == self.units { field } else { &field[row * self.units..][..self.units] };
                let constants = self.quartic.iter().zip(&diagonal).zip(field);
                for ((next, x), ((quartic, diagonal), drift)) in next.iter_mut().zip(x).zip(constants) {
                    *next = (x * x * quartic + diagonal) * x + (*next + drift);
                }
            }
        });
        let scaled = gain.map(|gain| self.scaled(state, gain));
        self.add_products(scaled.as_deref().unwrap_or(state), gain, &mut next);
        Some(beside(x, next, [batch, self.units]))
    }

    /// D + w.
    fn diagonal(&self, well: Option<&[f32]>) -> Vec<f32> {
        match well {
            None => self.diagonal.clone(),
            Some(well) => self.diagonal.iter().zip(well).map(|(diagonal, well)| diagonal + well).collect(),
        }
    }

    fn rows_of<'a>(&self, x: &'a [f32]) -> std::slice::ChunksExact<'a, f32> {
        x.chunks_exact(self.units.max(1))
    }

    fn rows<'a>(&self, x: &'a mut [f32]) -> std::slice::ChunksExactMut<'a, f32> {
        x.chunks_exact_mut(self.units.max(1))
    }

    /// s∘x.
    fn scaled(&self, x: &[f32], gain: &[f32]) -> Vec<f32> {
        self.rows_of(x).flat_map(|x| x.iter().zip(gain).map(|(x, s)| x * s)).collect()
    }

    /// Adds s∘(xP) to every row.
    fn add_products(&self, x: &[f32], gain: Option<&[f32]>, sum: &mut [f32]) {
        let batch = x.len() / self.units.max(1);
        if batch == 0 {
            return;
        }
        for Term { sources, targets, forward, .. } in &self.terms {
            let x = Strided::rows(x, self.units).columns_from(sources.start);
            let gain = gain.map(|gain| &gain[targets.clone()]);
            forward.add_product(x, batch, gain, &mut sum[targets.start..], self.units);
        }
        for Pairs { pairs, values } in &self.listed {
            for (sum, x) in self.rows(sum).zip(self.rows_of(x)) {
                for ([i, j], coupling) in pairs.iter().zip(values) {
                    sum[*j] += x[*i] * coupling * gain.map_or(1.0, |gain| gain[*j]);
                }
            }
        }
    }

    /// Adds gPᵀ to every row.
    fn add_transposed(&self, g: &[f32], sum: &mut [f32]) {
        let batch = g.len() / self.units.max(1);
        if batch == 0 {
            return;
        }
        for Term { sources, targets, matrix, backward, .. } in &self.terms {
            let transposed = || Strided::rows(matrix, targets.len()).transposed();
            let backward = backward.get_or_init(|| Packed::new(transposed(), targets.len(), sources.len()));
            let g = Strided::rows(g, self.units).columns_from(targets.start);
            backward.add_product(g, batch, None, &mut sum[sources.start..], self.units);
        }
        for Pairs { pairs, values } in &self.listed {
            for (sum, g) in self.rows(sum).zip(self.rows_of(g)) {
                for ([i, j], coupling) in pairs.iter().zip(values) {
                    sum[*i] += g[*j] * coupling;
                }
            }
        }
    }

    /// Zeros in the place of every coupling, to which [`step_back`](Self::step_back) adds.
    pub(crate) fn gradients(&self) -> Gradients {
        let matrices = self.terms.iter().map(|term| vec![0.0; term.matrix.len()]);
        Gradients(matrices.chain(self.listed.iter().map(|listed| vec![0.0; listed.values.len()])).collect())
    }

    /// ∂L/∂x_t of ∂L/∂x_{t+1}, and with gains also ∂L/∂s of this step, `[1, unit]`; adds (s∘x)ᵀ(s∘g) to the gradients
    /// of the couplings. None if something is not here.
    pub(crate) fn step_back(
        &self,
        x: &Tensor<2>,
        g: &Tensor<2>,
        control: &Control,
        gradients: &mut Gradients,
    ) -> Option<(Tensor<2>, Option<Tensor<2>>)> {
        let (state, end, control) = (host(x)?, host(g)?, Held::new(control)?);
        let (state, end, gain) = (values(&state), values(&end), control.gain.as_ref().map(values));
        let diagonal = self.diagonal(control.well.as_ref().map(values));
        let mut back = vec![0.0; state.len()];
        Arch::new().dispatch(|| {
            for ((back, x), g) in self.rows(&mut back).zip(self.rows_of(state)).zip(self.rows_of(end)) {
                let constants = self.quartic.iter().zip(&diagonal);
                for (((back, x), g), (quartic, diagonal)) in back.iter_mut().zip(x).zip(g).zip(constants) {
                    *back = (x * x * (quartic * 3.0) + diagonal) * g;
                }
            }
        });
        let slope = match gain {
            None => {
                self.add_transposed(end, &mut back);
                self.add_outer(state, end, gradients);
                None
            }
            Some(gain) => {
                let (sx, sg) = (self.scaled(state, gain), self.scaled(end, gain));
                let (mut pull, mut push) = (vec![0.0; state.len()], vec![0.0; state.len()]);
                self.add_transposed(&sg, &mut pull);
                self.add_products(&sx, None, &mut push);
                self.add_outer(&sx, &sg, gradients);
                let mut slope = vec![0.0; self.units];
                let rows = self.rows_of(state).zip(self.rows_of(end));
                let rows = rows.zip(self.rows_of(&push)).zip(self.rows_of(&pull)).zip(self.rows(&mut back));
                for ((((x, g), push), pull), back) in rows {
                    for unit in 0..self.units {
                        slope[unit] += push[unit] * g[unit] + pull[unit] * x[unit];
                        back[unit] += gain[unit] * pull[unit];
                    }
                }
                Some(beside(g, slope, [1, self.units]))
            }
        };
        Some((beside(g, back, x.dims()), slope))
    }

    /// Adds xᵀg at every coupling.
    fn add_outer(&self, x: &[f32], g: &[f32], gradients: &mut Gradients) {
        let batch = x.len() / self.units.max(1);
        let mut sums = gradients.0.iter_mut();
        let mut last: Option<(Range<usize>, Packed)> = None;
        for (Term { sources, targets, .. }, sum) in self.terms.iter().zip(&mut sums) {
            let local = Strided::rows(g, self.units).columns_from(targets.start);
            let packed = match last.take() {
                Some((same, packed)) if same == *targets => packed,
                _ => Packed::new(local, batch, targets.len()),
            };
            let x = Strided::rows(x, self.units).columns_from(sources.start).transposed();
            packed.add_product(x, sources.len(), None, sum, targets.len());
            last = Some((targets.clone(), packed));
        }
        for (Pairs { pairs, .. }, sum) in self.listed.iter().zip(sums) {
            for (x, g) in self.rows_of(x).zip(self.rows_of(g)) {
                for ([i, j], sum) in pairs.iter().zip(sum.iter_mut()) {
                    *sum += x[*i] * g[*j];
                }
            }
        }
    }
}

/// The gradients of the couplings, in the order of [`Coupling::values`].
pub(crate) struct Gradients(Vec<Vec<f32>>);

impl Gradients {
    /// Each in the shape of its couplings.
    pub(crate) fn into_tensors(self, propagator: &Coupling) -> Vec<Tensor<2>> {
        let pairs = propagator.values().zip(self.0);
        pairs.map(|(values, gradient)| beside(values, gradient, values.dims())).collect()
    }
}

/// The control parameters of a step, here.
struct Held {
    field: FlexTensor,
    gain: Option<FlexTensor>,
    well: Option<FlexTensor>,
}

impl Held {
    /// None if one of them is not.
    fn new(control: &Control) -> Option<Self> {
        let held = |row: &Option<Tensor<2>>| match row {
            None => Some(None),
            Some(row) => host(row).map(Some),
        };
        Some(Self { field: host(&control.field)?, gain: held(&control.gain)?, well: held(&control.well)? })
    }
}
