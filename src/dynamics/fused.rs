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
use crate::sparse::{Entry, Sparse};

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
    /// In the order of [`Coupling::values`].
    terms: Vec<Term>,
    /// D = 1 − 2μΔtJ₂ and q = −4μΔtJ₄.
    diagonal: Vec<f32>,
    quartic: Vec<f32>,
}

/// Couplings P from the units `sources` to `targets`.
#[derive(Debug)]
struct Term {
    sources: Range<usize>,
    targets: Range<usize>,
    /// How many numbers they are made of.
    count: usize,
    matrix: Matrix,
}

/// A matrix, and its transpose once that is needed.
#[derive(Debug)]
enum Matrix {
    Full {
        values: Vec<f32>,
        forward: Packed,
        backward: OnceLock<Packed>,
    },
    /// Numbers that are listed, or else those of a matrix that are not zero: zeros add nothing to products, but have gradients.
    Few {
        listed: bool,
        forward: Sparse,
        backward: OnceLock<Sparse>,
    },
}

/// A matrix of which at most one number in so many is not zero is multiplied without its zeros (`benches/sampling.rs`).
const FEW: usize = 8;

impl Matrix {
    /// A matrix of rows `[source, target]`.
    fn new(values: &[f32], sources: usize, targets: usize) -> Self {
        let some = values.iter().filter(|value| **value != 0.0).count();
        if some * FEW > values.len() {
            let forward = Packed::new(Strided::rows(values, targets), sources, targets);
            return Self::Full { values: values.to_vec(), forward, backward: OnceLock::new() };
        }
        let entry = |(place, &value): (usize, &f32)| Entry {
            source: (place / targets) as u32,
            target: (place % targets) as u32,
            value,
            place: place as u32,
        };
        let entries = values.iter().enumerate().filter(|(_, value)| **value != 0.0).map(entry);
        let forward = Sparse::new(entries.collect(), sources, targets);
        Self::Few { listed: false, forward, backward: OnceLock::new() }
    }
}

impl Fused {
    /// None if the couplings are not here, in single precision and not tracked.
    pub(crate) fn new(propagator: &Coupling, diagonal: &Tensor<2>, quartic: &Tensor<2>) -> Option<Self> {
        let mut terms = Vec::new();
        for product in &propagator.products {
            for (sources, matrix) in &product.terms {
                let (sources, targets) = (sources.clone(), product.targets.clone());
                let matrix = host(matrix)?;
                let count = values(&matrix).len();
                let matrix = Matrix::new(values(&matrix), sources.len(), targets.len());
                terms.push(Term { sources, targets, count, matrix });
            }
        }
        let units = propagator.units;
        for pairs in &propagator.listed {
            let places = |tensor: &Tensor<1, burn::tensor::Int>| tensor.to_data().convert::<i64>();
            let (sources, targets) = (places(&pairs.sources), places(&pairs.targets));
            let listed = host(&pairs.values)?;
            let entry = |(place, ((source, target), value)): (usize, ((i64, i64), &f32))| Entry {
                source: source as u32,
                target: target as u32,
                value: *value,
                place: place as u32,
            };
            let pairs = sources.iter::<i64>().zip(targets.iter::<i64>());
            let entries: Vec<Entry> = pairs.zip(values(&listed)).enumerate().map(entry).collect();
            let (count, forward) = (entries.len(), Sparse::new(entries, units, units));
            let matrix = Matrix::Few { listed: true, forward, backward: OnceLock::new() };
            terms.push(Term { sources: 0..units, targets: 0..units, count, matrix });
        }
        let row = |tensor: &Tensor<2>| Some(values(&host(tensor)?).to_vec());
        Some(Self { units, terms, diagonal: row(diagonal)?, quartic: row(quartic)? })
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
        for Term { sources, targets, matrix, .. } in &self.terms {
            let x = Strided::rows(x, self.units).columns_from(sources.start);
            let gain = gain.map(|gain| &gain[targets.clone()]);
            let sum = &mut sum[targets.start..];
            match matrix {
                Matrix::Full { forward, .. } => forward.add_product(x, batch, gain, sum, self.units),
                Matrix::Few { forward, .. } => forward.add_product(x, batch, gain, sum, self.units),
            }
        }
    }

    /// Adds gPᵀ to every row.
    fn add_transposed(&self, g: &[f32], sum: &mut [f32]) {
        let batch = g.len() / self.units.max(1);
        if batch == 0 {
            return;
        }
        for Term { sources, targets, matrix, .. } in &self.terms {
            let g = Strided::rows(g, self.units).columns_from(targets.start);
            let sum = &mut sum[sources.start..];
            match matrix {
                Matrix::Full { values, backward, .. } => {
                    let transposed = || Strided::rows(values, targets.len()).transposed();
                    backward
                        .get_or_init(|| Packed::new(transposed(), targets.len(), sources.len()))
                        .add_product(g, batch, None, sum, self.units);
                }
                Matrix::Few { forward, backward, .. } => {
                    let backward = backward.get_or_init(|| forward.transposed());
                    backward.add_product(g, batch, None, sum, self.units);
                }
            }
        }
    }

    /// Zeros in the place of every coupling and every control parameter of `knots`, to which
    /// [`step_back`](Self::step_back) adds.
    pub(crate) fn gradients(&self, knots: &[Control]) -> Gradients {
        let zeros = |row: &Tensor<2>| vec![0.0; row.shape().num_elements()];
        let sums = |knot: &Control| Sums {
            field: zeros(&knot.field),
            gain: knot.gain.as_ref().map(zeros),
            well: knot.well.as_ref().map(zeros),
        };
        Gradients {
            couplings: self.terms.iter().map(|term| vec![0.0; term.count]).collect(),
            knots: knots.iter().map(sums).collect(),
            packed: None,
        }
    }

    /// ∂L/∂x_t of ∂L/∂x_{t+1}; adds (s∘x)ᵀ(s∘g) to the gradients of the couplings, and those of the control parameters to those of
    /// the knots, by their weights at this step. None if something is not here.
    pub(crate) fn step_back(
        &self,
        x: &Tensor<2>,
        g: &Tensor<2>,
        control: &Control,
        weights: impl Iterator<Item = (usize, f64)> + Clone,
        gradients: &mut Gradients,
    ) -> Option<Tensor<2>> {
        let (state, end, control) = (host(x)?, host(g)?, Held::new(control)?);
        let (state, end, gain) = (values(&state), values(&end), control.gain.as_ref().map(values));
        let shared = values(&control.field).len() == self.units;
        let diagonal = self.diagonal(control.well.as_ref().map(values));
        let mut back = vec![0.0; state.len()];
        let (mut field, mut well) = (vec![0.0; self.units], vec![0.0; self.units]);
        Arch::new().dispatch(|| {
            for ((back, x), g) in self.rows(&mut back).zip(self.rows_of(state)).zip(self.rows_of(end)) {
                let constants = self.quartic.iter().zip(&diagonal);
                for (((back, x), g), (quartic, diagonal)) in back.iter_mut().zip(x).zip(g).zip(constants) {
                    *back = (x * x * (quartic * 3.0) + diagonal) * g;
                }
                if shared {
                    field.iter_mut().zip(g).for_each(|(sum, g)| *sum += g);
                }
                if control.well.is_some() {
                    well.iter_mut().zip(x.iter().zip(g)).for_each(|(sum, (x, g))| *sum += x * g);
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
                Some(slope)
            }
        };
        let field = if shared { &field } else { end };
        for (knot, weight) in weights {
            let Sums { field: of_field, gain: of_gain, well: of_well } = &mut gradients.knots[knot];
            let add = |sum: &mut [f32], part: &[f32]| {
                Arch::new().dispatch(|| {
                    sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += weight as f32 * part);
                });
            };
            add(of_field, field);
            if let (Some(sum), Some(slope)) = (of_gain, &slope) {
                add(sum, slope);
            }
            if let Some(sum) = of_well {
                add(sum, &well);
            }
        }
        Some(beside(g, back, x.dims()))
    }

    /// Adds xᵀg at every coupling.
    fn add_outer(&self, x: &[f32], g: &[f32], gradients: &mut Gradients) {
        let batch = x.len() / self.units.max(1);
        let Gradients { couplings, packed, .. } = gradients;
        // What `packed` holds of this g.
        let mut held: Option<&Range<usize>> = None;
        for (Term { sources, targets, matrix, .. }, sum) in self.terms.iter().zip(couplings) {
            let x = Strided::rows(x, self.units).columns_from(sources.start);
            let g = Strided::rows(g, self.units).columns_from(targets.start);
            match matrix {
                Matrix::Few { listed: true, forward, .. } => forward.add_outer(x, g, batch, sum),
                Matrix::Few { listed: false, .. } | Matrix::Full { .. } => {
                    if held != Some(targets) {
                        Packed::pack(packed, g, batch, targets.len());
                        held = Some(targets);
                    }
                    let packed = packed.as_ref().expect("packed above");
                    packed.add_product(x.transposed(), sources.len(), None, sum, targets.len());
                }
            }
        }
    }
}

/// The gradients of couplings and control parameters.
pub(crate) struct Gradients {
    couplings: Vec<Vec<f32>>,
    knots: Vec<Sums>,
    /// Where a step packs what it multiplies with.
    packed: Option<Packed>,
}

/// The gradients of the control parameters of a knot.
struct Sums {
    field: Vec<f32>,
    gain: Option<Vec<f32>>,
    well: Option<Vec<f32>>,
}

impl Gradients {
    /// Adds each to its place among tensors of the same shapes.
    pub(crate) fn add_to(self, couplings: &mut [Tensor<2>], knots: &mut [Control]) {
        let add = |sum: &mut Tensor<2>, part: Vec<f32>| {
            let part = beside(sum, part, sum.dims());
            sum.inplace(|sum| sum + part);
        };
        couplings.iter_mut().zip(self.couplings).for_each(|(sum, part)| add(sum, part));
        for (knot, Sums { field, gain, well }) in knots.iter_mut().zip(self.knots) {
            add(&mut knot.field, field);
            for (sum, part) in [(&mut knot.gain, gain), (&mut knot.well, well)] {
                if let (Some(sum), Some(part)) = (sum, part) {
                    add(sum, part);
                }
            }
        }
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
