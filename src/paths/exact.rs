//! The couplings that minimise the action on given trajectories, in closed form.
//!
//! The force is linear in couplings and biases, so the action is a convex quadratic in them. With
//!
//! ```text
//! y = Δx/(μΔt) + 2J₂x + 4J₄x³       the coupling force that the trajectory requires, z = (1, X)
//! bias and clamped values, y ≈ zΩ + xS                       Ω = −(b, J_in), S = −J symmetric with a zero diagonal,
//! ```
//!
//! the action is Σ_i μ_i |y_i − (zΩ + xS)_i|² Δt/4kT. Eliminating Ω by ridge regression, Ω = (ZᵀZ + Λ)⁻¹Zᵀ(y − xS),
//! leaves second moments of residuals G = ⟨x x⟩, B = ⟨x y⟩ and a symmetric Sylvester equation on the pairs that
//! couple (D holds the Lagrange multipliers of the pairs that do not, including the diagonal):
//!
//! ```text
//! G S M + M S G + D = B M + M Bᵀ,      M = diag μ.      (7)
//! ```
//!
//! It is solved by conjugate gradients on the coupled pairs, so any topology with full input blocks is supported. The
//! classifier's action is that of S. Whitelam, PNAS 123, e2528413123 (2026); the closed form is new here.

use std::collections::BTreeMap;
use std::ops::Range;

use burn::tensor::{Tensor, TensorData};
use faer::linalg::solvers::Solve;
use faer::{Mat, Side};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::network::substrate::Substrate;
use crate::network::topology::{Group, Pattern, PerUnit};
use crate::shards::Shards;
use crate::tensors::to_f64;

/// Columns of S that are processed together.
const PIECE: usize = 256;

/// Regularisation of the optimum, and the accuracy of its solution. The first two are variances in the units of the
/// values that the couplings multiply.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ridge {
    /// On couplings to clamped units.
    pub clamped: f64,
    /// On couplings among free units.
    pub free: f64,
    /// The relative residual at which the equations count as solved.
    #[serde(default = "Ridge::solved")]
    pub tolerance: f64,
}

impl Ridge {
    fn solved() -> f64 {
        1e-10
    }
}

impl Default for Ridge {
    fn default() -> Self {
        Self { clamped: 1e-3, free: 1e-6, tolerance: Self::solved() }
    }
}

/// Second moments of trajectories, on which alone the optimum depends. They are summed in f64, in any number of
/// parts.
#[derive(Clone, Debug)]
pub struct Moments {
    rows: f64,
    zz: Mat<f64>,
    zx: Mat<f64>,
    zy: Mat<f64>,
    xx: Mat<f64>,
    xy: Mat<f64>,
}

impl Moments {
    /// No trajectories yet.
    pub fn new(substrate: &Substrate) -> Self {
        let clamped = substrate.topology().clamped_units();
        let (z, x) = (clamped + 1, substrate.free_units());
        Self {
            rows: 0.0,
            zz: Mat::zeros(z, z),
            zx: Mat::zeros(z, x),
            zy: Mat::zeros(z, x),
            xx: Mat::zeros(x, x),
            xy: Mat::zeros(x, x),
        }
    }

    /// Adds steps x → x′ of length `dt`, several for each row of clamped values.
    ///
    /// # Shapes
    /// `clamped`: one `[batch, units]` per clamped group; `before`, `after` `[time · batch, unit]`, time-major.
    ///
    /// # Errors
    /// [`Error::Shape`] when rows and batch do not fit.
    pub fn add(
        &mut self,
        substrate: &Substrate,
        clamped: &[Tensor<2>],
        before: Tensor<2>,
        after: Tensor<2>,
        dt: f64,
    ) -> Result<()> {
        let [rows, units] = before.dims();
        let batch = clamped.first().map_or(rows, |values| values.dims()[0]);
        if batch == 0 || rows % batch != 0 || units != substrate.free_units() || after.dims() != [rows, units]
        {
            return Err(Error::Shape {
                what: "steps (rows, units, rows after)".into(),
                found: vec![rows, units, after.dims()[0]],
                expected: vec![batch, substrate.free_units(), rows],
            });
        }
        let times = rows / batch;
        let x2 = before.clone() * before.clone();
        let rate = substrate.unit_row(|group, unit| 1.0 / (group.mobility.at(unit) * dt));
        let j2 = substrate.unit_row(|group, unit| 2.0 * group.j2.at(unit));
        let j4 = substrate.unit_row(|group, unit| 4.0 * group.j4.at(unit));
        let y = (after - before.clone()) * rate + (j2 + j4 * x2) * before.clone();
        let ones = Tensor::ones([batch, 1], (&before.device(), before.dtype()));
        let z = Tensor::cat([vec![ones], clamped.to_vec()].concat(), 1).transpose();
        let over_time =
            |rows: Tensor<2>| -> Tensor<2> { rows.reshape([times, batch, units]).sum_dim(0).squeeze_dim(0) };
        let x = before.clone().transpose();
        self.rows += rows as f64;
        accumulate(&mut self.zz, z.clone().matmul(z.clone().transpose()) * times as f64);
        accumulate(&mut self.zx, z.clone().matmul(over_time(before.clone())));
        accumulate(&mut self.zy, z.matmul(over_time(y.clone())));
        accumulate(&mut self.xx, x.clone().matmul(before));
        accumulate(&mut self.xy, x.matmul(y));
        Ok(())
    }

    /// Adds the expected moments of independent units, without trajectories. Each row is one moment in time, at which
    /// unit i has mean `means` and variance `variances` and requires on average the coupling force `targets`,
    /// independently of the other units.
    ///
    /// Only for networks without clamped groups.
    ///
    /// # Shapes
    /// All `[row, unit]`, row-major, over the free units.
    ///
    /// # Errors
    /// [`Error::Shape`] when the values do not fit, [`Error::Exact`] when the network has clamped groups.
    pub fn add_expected(&mut self, means: &[f64], variances: &[f64], targets: &[f64]) -> Result<()> {
        let units = self.xx.nrows();
        if self.zz.nrows() != 1 {
            return Err(Error::Exact("expected moments need a network without clamped groups".into()));
        }
        let found = vec![means.len(), variances.len(), targets.len()];
        if !means.len().is_multiple_of(units) || found.iter().any(|&length| length != means.len()) {
            let expected = vec![means.len() / units * units; 3];
            return Err(Error::Shape { what: "expected moments (values of each)".into(), found, expected });
        }
        let rows = means.len() / units;
        let matrix = |values: &[f64]| Mat::from_fn(rows, units, |row, unit| values[row * units + unit]);
        let (m, t) = (matrix(means), matrix(targets));
        let ones = Mat::<f64>::full(1, rows, 1.0);
        self.rows += rows as f64;
        self.zz[(0, 0)] += rows as f64;
        self.zx += &ones * &m;
        self.zy += &ones * &t;
        self.xx += m.transpose() * &m;
        self.xy += m.transpose() * &t;
        for (index, variance) in variances.iter().enumerate() {
            self.xx[(index % units, index % units)] += variance;
        }
        Ok(())
    }

    /// Adds the moments of other trajectories of the same computer.
    pub fn merge(&mut self, other: &Self) {
        self.rows += other.rows;
        self.zz += &other.zz;
        self.zx += &other.zx;
        self.zy += &other.zy;
        self.xx += &other.xx;
        self.xy += &other.xy;
    }

    /// The substrate with the couplings and biases that minimise the action. The relative residual of (7) is below
    /// `ridge.tolerance`.
    ///
    /// # Errors
    /// [`Error::Exact`] when there are no trajectories, when a block between clamped and free units is sparse, or
    /// when a system is not positive definite.
    pub fn optimum(&self, substrate: &Substrate, ridge: Ridge) -> Result<Substrate> {
        if self.rows == 0.0 {
            return Err(Error::Exact("no trajectories were added".into()));
        }
        let mut regressions = Vec::new();
        for group in substrate.topology().free() {
            let columns = substrate.topology().columns(&group.name)?;
            let inputs = design(substrate, group)?;
            let mobility = group.mobility.clone();
            regressions.push(Regression::new(self, inputs, columns, mobility, ridge)?);
        }
        let s = sylvester(&regressions, &coupled(substrate)?, ridge.tolerance)?;
        write(substrate, &regressions, &s)
    }
}

/// The columns of z that act on a free group: bias first, then the units of coupled clamped groups.
fn design(substrate: &Substrate, group: &Group) -> Result<Vec<usize>> {
    let mut columns = Vec::new();
    if group.bias {
        columns.push(0);
    }
    let mut start = 1;
    for clamped in substrate.topology().clamped() {
        let block = substrate.topology().block_between(&clamped.name, &group.name);
        match block.map(|(index, _)| &substrate.topology().blocks[index].pattern) {
            Some(Pattern::Full) => columns.extend(start..start + clamped.units),
            Some(Pattern::Pairs(_)) => {
                return Err(Error::Exact(format!(
                    "couplings {}–{} are sparse; the exact optimum needs full blocks from clamped groups",
                    clamped.name, group.name
                )));
            }
            None => {}
        }
        start += clamped.units;
    }
    Ok(columns)
}

/// The regression of one free group's targets on bias and clamped units.
struct Regression {
    /// Columns of z.
    inputs: Vec<usize>,
    /// Columns of x.
    columns: Range<usize>,
    mobility: PerUnit,
    /// (ZᵀZ + Λ)⁻¹ Zᵀx and (ZᵀZ + Λ)⁻¹ Zᵀy.
    on_x: Mat<f64>,
    on_y: Mat<f64>,
    /// G, and the group's columns of B.
    g: Mat<f64>,
    b: Mat<f64>,
}

impl Regression {
    fn new(
        moments: &Moments,
        inputs: Vec<usize>,
        columns: Range<usize>,
        mobility: PerUnit,
        ridge: Ridge,
    ) -> Result<Self> {
        let (n, k, units) = (inputs.len(), columns.len(), moments.xx.nrows());
        let held = |i: usize| if inputs[i] == 0 { 0.0 } else { ridge.clamped * moments.rows };
        let zz = Mat::from_fn(n, n, |i, j| {
            moments.zz[(inputs[i], inputs[j])] + if i == j { held(i) } else { 0.0 }
        });
        let zx = Mat::from_fn(n, units, |i, j| moments.zx[(inputs[i], j)]);
        let zy = Mat::from_fn(n, k, |i, j| moments.zy[(inputs[i], columns.start + j)]);
        let xx = Mat::from_fn(units, units, |i, j| {
            moments.xx[(i, j)] + if i == j { ridge.free * moments.rows } else { 0.0 }
        });
        let xy = Mat::from_fn(units, k, |i, j| moments.xy[(i, columns.start + j)]);
        let factor = zz.llt(Side::Lower).map_err(|_| {
            Error::Exact(format!(
                "the moments of {n} inputs are not positive definite at ridge {:e}; raise it",
                ridge.clamped
            ))
        })?;
        let (on_x, on_y) = (factor.solve(&zx), factor.solve(&zy));
        Ok(Self {
            g: xx - zx.transpose() * &on_x,
            b: xy - zx.transpose() * &on_y,
            inputs,
            columns,
            mobility,
            on_x,
            on_y,
        })
    }
}

/// Which pairs of free units are coupled.
fn coupled(substrate: &Substrate) -> Result<Mat<f64>> {
    let topology = substrate.topology();
    let units = substrate.free_units();
    let mut mask = Mat::zeros(units, units);
    for block in &topology.blocks {
        let (Ok(from), Ok(to)) = (topology.columns(&block.from), topology.columns(&block.to)) else {
            continue;
        };
        let mut couple = |i: usize, j: usize| {
            if from.start + i != to.start + j {
                mask[(from.start + i, to.start + j)] = 1.0;
                mask[(to.start + j, from.start + i)] = 1.0;
            }
        };
        match &block.pattern {
            Pattern::Pairs(pairs) => pairs.iter().for_each(|&[i, j]| couple(i, j)),
            Pattern::Full => {
                (0..from.len()).for_each(|i| (0..to.len()).for_each(|j| couple(i, j)));
            }
        }
    }
    Ok(mask)
}

/// Solves G S M + M S G = B M + M Bᵀ on the coupled pairs for a symmetric S, by conjugate gradients preconditioned
/// with the diagonal of the operator.
fn sylvester(regressions: &[Regression], mask: &Mat<f64>, tolerance: f64) -> Result<Mat<f64>> {
    let units = mask.nrows();
    // Columns of one regression, few enough that every thread has work.
    let pieces: Vec<(&Regression, Range<usize>)> = regressions
        .iter()
        .flat_map(|r| {
            let cuts = r.columns.clone().step_by(PIECE);
            cuts.map(move |start| (r, start..r.columns.end.min(start + PIECE)))
        })
        .collect();
    // G S M restricted to coupled pairs and symmetrised.
    let project = |columns: &(dyn Fn(&Regression, &Range<usize>) -> Mat<f64> + Sync)| {
        let parts = Shards::new(1).map(pieces.len(), |piece| {
            let (regression, range) = &pieces[piece.start];
            columns(regression, range)
        });
        let mut full = Mat::<f64>::zeros(units, units);
        for ((regression, range), local) in pieces.iter().zip(parts) {
            for (j, column) in range.clone().enumerate() {
                let mobility = regression.mobility.at(column - regression.columns.start);
                for i in 0..units {
                    full[(i, column)] = local[(i, j)] * mobility;
                }
            }
        }
        Mat::from_fn(units, units, |i, j| mask[(i, j)] * (full[(i, j)] + full[(j, i)]))
    };
    // The range of rows of S that are not zero in the columns of a regression.
    let sources: BTreeMap<usize, Range<usize>> = regressions
        .iter()
        .map(|r| {
            let couples = |&i: &usize| r.columns.clone().any(|j| mask[(i, j)] > 0.0);
            let first = (0..units).find(couples).unwrap_or(0);
            let last = (first..units).rev().find(couples).map_or(first, |last| last + 1);
            (r.columns.start, first..last)
        })
        .collect();
    let apply = |s: &Mat<f64>| {
        project(&|r, columns| {
            let rows = &sources[&r.columns.start];
            let local = s.submatrix(rows.start, columns.start, rows.len(), columns.len());
            r.g.subcols(rows.start, rows.len()) * local
        })
    };
    let curvature = project(&|r, columns| Mat::from_fn(units, columns.len(), |i, _| r.g[(i, i)]));
    let precondition = |r: &Mat<f64>| {
        Mat::from_fn(
            units,
            units,
            |i, j| if mask[(i, j)] > 0.0 { r[(i, j)] / curvature[(i, j)] } else { 0.0 },
        )
    };
    let target =
        project(&|r, columns| r.b.subcols(columns.start - r.columns.start, columns.len()).to_owned());
    let goal = tolerance * target.norm_l2();
    let mut s = Mat::<f64>::zeros(units, units);
    let mut residual = target;
    let mut direction = precondition(&residual);
    let mut slope = dot(&residual, &direction);
    let limit = 20 * units * units + 100;
    for _ in 0..limit {
        if residual.norm_l2() <= goal {
            return Ok(s);
        }
        let image = apply(&direction);
        let step = slope / dot(&direction, &image);
        s += faer::Scale(step) * &direction;
        residual -= faer::Scale(step) * &image;
        let improved = precondition(&residual);
        let next = dot(&residual, &improved);
        direction = improved + faer::Scale(next / slope) * &direction;
        slope = next;
    }
    Err(Error::Exact(format!(
        "conjugate gradients did not converge in {limit} steps: residual {:.1e} of {goal:.1e}; raise the ridge on \
         free units",
        residual.norm_l2()
    )))
}

/// Writes J = −S into the blocks, and J_in and b from −Ω.
fn write(substrate: &Substrate, regressions: &[Regression], s: &Mat<f64>) -> Result<Substrate> {
    let topology = substrate.topology();
    let clamped = topology.clamped_units();
    let mut omega = Mat::<f64>::zeros(clamped + 1, s.nrows());
    for regression in regressions {
        let columns = regression.columns.clone();
        let local = &regression.on_y - &regression.on_x * s.subcols(columns.start, columns.len());
        for (row, &input) in regression.inputs.iter().enumerate() {
            for (j, column) in columns.clone().enumerate() {
                omega[(input, column)] = local[(row, j)];
            }
        }
    }
    let tensor = |rows: usize, columns: usize, value: &dyn Fn(usize, usize) -> f64| {
        let values: Vec<f64> = (0..rows * columns).map(|k| -value(k / columns, k % columns)).collect();
        Tensor::<2>::from_data(TensorData::new(values, [rows, columns]), substrate.options())
    };
    let mut solved = substrate.clone().with_bias(tensor(1, s.nrows(), &|_, j| omega[(0, j)]))?;
    // The rows of Ω at which each clamped group starts.
    let mut starts = BTreeMap::new();
    topology.clamped().fold(1, |start, group| {
        starts.insert(&group.name, start);
        start + group.units
    });
    for (index, block) in topology.blocks.iter().enumerate() {
        let columns = |name: &str| topology.columns(name).map(|columns| columns.start);
        let units = |name: &str| topology.group(name).map(|group| topology.groups[group].units);
        let (rows, width) = (units(&block.from)?, units(&block.to)?);
        let dense = match (starts.get(&block.from), starts.get(&block.to)) {
            (Some(&row), _) => {
                let column = columns(&block.to)?;
                tensor(rows, width, &|i, j| omega[(row + i, column + j)])
            }
            (_, Some(&row)) => {
                let column = columns(&block.from)?;
                tensor(rows, width, &|i, j| omega[(row + j, column + i)])
            }
            _ => {
                let (row, column) = (columns(&block.from)?, columns(&block.to)?);
                tensor(rows, width, &|i, j| s[(row + i, column + j)])
            }
        };
        solved = solved.with_coupling(index, dense)?;
    }
    Ok(solved)
}

fn accumulate(sum: &mut Mat<f64>, moments: Tensor<2>) {
    let columns = sum.ncols();
    for (k, value) in to_f64(moments.inner()).into_iter().enumerate() {
        sum[(k / columns, k % columns)] += value;
    }
}

fn dot(a: &Mat<f64>, b: &Mat<f64>) -> f64 {
    (0..a.ncols()).map(|j| (0..a.nrows()).map(|i| a[(i, j)] * b[(i, j)]).sum::<f64>()).sum()
}
