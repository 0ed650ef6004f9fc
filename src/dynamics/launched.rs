//! The overdamped dynamics on a GPU: what is handed to the [kernels](crate::cube).

use std::ops::Range;

use burn::tensor::{Tensor, TensorData};

use crate::cube;
use crate::dynamics::overdamped::{Integrator, Overdamped};
use crate::dynamics::run::Dynamics;
use crate::network::control::Control;
use crate::tensors::identity;

impl Overdamped {
    /// √(2μkTΔt) as a row, `[1, unit]`.
    pub(crate) fn sigma_row(&self) -> Tensor<2> {
        let row = || {
            let sigma = TensorData::new(self.sigma.clone(), [1, self.sigma.len()]);
            Tensor::from_data(sigma, (&self.quartic.device(), self.quartic.dtype()))
        };
        self.sigma_row.get_or_init(row).clone()
    }

    /// One step whose noise is drawn on the GPU; none if it is not there.
    pub(crate) fn step_on_device(&self, index: usize, x: &Tensor<2>, control: &Control) -> Option<Tensor<2>> {
        cube::device(x)?;
        let Control { field, gain, well, kt } = control;
        let both = self.integrator == Integrator::LeimkuhlerMatthews;
        let factor = |kt: &Option<Tensor<2>>| match kt {
            None => self.sigma_row(),
            Some(kt) => self.spread.clone() * kt.clone().sqrt(),
        };
        let now = factor(kt);
        let next = if both && kt.is_some() { factor(&self.next_kt(index, kt.as_ref())) } else { now.clone() };
        let diagonal =
            well.clone().map_or_else(|| self.diagonal.clone(), |well| well + self.diagonal.clone());
        let product = self.propagator.apply_with(x.clone(), gain.clone());
        let row = cube::Row {
            diagonal: &diagonal,
            quartic: &self.quartic,
            drift: field,
            factors: [&now, &next],
            both,
        };
        cube::step(self.key, index, x, &product, &row)
    }

    /// Steps in one launch, keeping the last state or all of them, `[step · batch, unit]`; none if that is not possible here.
    pub(crate) fn leap_on_device(&self, steps: Range<usize>, x: &Tensor<2>, keep: bool) -> Option<Tensor<2>> {
        self.launch(steps.clone(), x, |run| {
            cube::trajectory(self.key, steps.start, steps.len(), x, run, keep)
        })
    }

    /// ∂L/∂x before each step of a stretch, `[step · batch, unit]`, from the states before them and ∂L/∂x after the last;
    /// none if that is not possible here.
    pub(crate) fn pull_on_device(
        &self,
        steps: Range<usize>,
        states: &Tensor<2>,
        end: &Tensor<2>,
    ) -> Option<Tensor<2>> {
        self.launch(steps.clone(), end, |run| cube::pull(steps.len(), states, end, run))
    }

    /// Does something with the arguments of a launch of some steps.
    fn launch<T>(
        &self,
        steps: Range<usize>,
        x: &Tensor<2>,
        work: impl FnOnce(&cube::Run) -> Option<T>,
    ) -> Option<T> {
        if !cube::fits(x) {
            return None;
        }
        let options = (&self.quartic.device(), self.quartic.dtype());
        let controls = self.drift.controls();
        let stacked = |row: &dyn Fn(&Control) -> Option<Tensor<2>>| {
            let rows: Option<Vec<_>> = controls.iter().map(row).collect();
            rows.map(|rows| Tensor::cat(rows, 0))
        };
        let (drift, gain) = (stacked(&|c| Some(c.field.clone()))?, stacked(&|c| c.gain.clone()));
        let (well, kt) = (stacked(&|c| c.well.clone()), stacked(&|c| c.kt.clone()));
        let course = (steps.start..=steps.end).flat_map(|index| {
            let mut weights = self.drift.weights(self.time(index));
            let (knot, _) = weights.next().expect("a knot");
            [knot as f32, weights.next().map_or(0.0, |(_, weight)| weight as f32)]
        });
        let course: Vec<f32> = course.collect();
        let course = Tensor::from_data(TensorData::new(course, [steps.len() + 1, 2]), options);
        let dense = || self.propagator.apply(identity(self.propagator.units, options));
        work(&cube::Run {
            couplings: self.dense.get_or_init(dense),
            diagonal: &self.diagonal,
            quartic: &self.quartic,
            drift: &drift,
            gain: gain.as_ref(),
            well: well.as_ref(),
            factor: &if kt.is_some() { self.spread.clone() } else { self.sigma_row() },
            kt: kt.as_ref(),
            course: &course,
            knots: controls.len(),
            both: self.integrator == Integrator::LeimkuhlerMatthews,
        })
    }
}
