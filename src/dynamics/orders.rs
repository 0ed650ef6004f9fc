//! The orders of convergence of both schemes, measured with noise.

#![cfg(test)]

use burn::tensor::{DType, Device, Tensor};

use crate::dynamics::overdamped::{Integrator, Overdamped};
use crate::dynamics::run::{Dynamics, Place, run};
use crate::network::substrate::{Substrate, SubstrateConfig};
use crate::network::topology::{Group, Topology};
use crate::noise::Key;
use crate::paths::heat::Estimate;
use crate::tensors::to_f64;

/// The same scheme as `fine` with steps `factor` times as long, along the same noise path. The normal of a long step
/// is the sum of the normals of its short steps, divided by √factor.
struct Coarse {
    fine: Overdamped,
    coarse: Overdamped,
    factor: usize,
}

impl Coarse {
    fn increment(&self, index: usize, x: &Tensor<2>) -> Tensor<2> {
        let steps = index * self.factor..(index + 1) * self.factor;
        steps.map(|step| self.fine.kick(step, x, None)).reduce(|a, b| a + b).expect("a step")
    }
}

impl Dynamics for Coarse {
    type State = Tensor<2>;

    fn step(&self, index: usize, x: Tensor<2>) -> Tensor<2> {
        let noise = match self.coarse.integrator {
            Integrator::EulerMaruyama => self.increment(index, &x),
            Integrator::LeimkuhlerMatthews => {
                (self.increment(index, &x) + self.increment(index + 1, &x)) * 0.5
            }
        };
        self.coarse.advance(index, x.clone(), self.coarse.drift.at(0.0)) + noise
    }

    fn diverged(&self, x: &Tensor<2>) -> Option<Place> {
        self.coarse.diverged(x)
    }
}

/// The slope of ln(error) over ln(Δt) when the step doubles.
fn orders(errors: &[f64]) -> Vec<f64> {
    errors.windows(2).map(|pair| (pair[1] / pair[0]).log2()).collect()
}

/// Strong order: the root mean square distance, at t = 1, to the path of the same noise with steps so short that the
/// error of the reference is a few percent of the smallest one measured.
#[test]
fn strong_orders_are_one_and_a_half() {
    let groups = [Group::free("a", 4).wells(0.5, 0.2), Group::free("b", 3).wells(-0.2, 0.3).mobility(1.5)];
    let options = (&Device::flex(), DType::F64);
    let config = SubstrateConfig::new(Topology::all_to_all(groups)).with_kt(0.5);
    let substrate = config.init(options).unwrap().randomised(1.0, Key::new(1));
    let quiet = substrate.clone().with_config(config.clone().with_kt(0.0)).unwrap();
    let (field, x0) = (substrate.field(&[]).unwrap(), Tensor::zeros([1600, 7], options));
    let (finest, key) = (4096, Key::new(2));
    let of = |substrate: &Substrate, steps: usize| {
        Overdamped::unchecked(substrate, field.clone().into(), 1.0 / steps as f64, key)
    };
    let truth = run(&of(&substrate, finest), x0.clone(), finest, |_| {}).unwrap();
    for (integrator, order) in [(Integrator::EulerMaruyama, 1.0), (Integrator::LeimkuhlerMatthews, 0.5)] {
        let error = |steps: usize| {
            let fine = of(&substrate, finest);
            let coarse = of(&quiet, steps).with_integrator(integrator);
            let path = Coarse { fine, coarse, factor: finest / steps };
            let x = run(&path, x0.clone(), steps, |_| {}).unwrap();
            let square: f64 = to_f64((x - truth.clone()).square().mean())[0];
            square.sqrt()
        };
        let errors = [256, 128, 64, 32].map(error);
        println!("{integrator:?}: errors {errors:?}, orders {:.3?}", orders(&errors));
        // Mean squares of 1600 independent paths: relative standard errors of √(2/1600) = 3.5 % at most, half of it
        // in their roots, and √2/ln 2 of that in an order: 0.036 if neighbouring errors were independent; they share
        // their noise, so it is less.
        assert!(orders(&errors).iter().all(|found| (found - order).abs() < 4.9 * 0.036), "{integrator:?}");
    }
}

/// Weak order at a fixed time: the bias of ⟨x⟩ at t = 1 of independent quartic units that start at 1.5, measured
/// against steps a sixteenth as long as the shorter ones, along the same noise.
#[test]
fn weak_orders_at_a_fixed_time_are_one() {
    let (rows, units, finest) = (2048, 64, 256);
    let groups = vec![Group::free("unit", units).wells(0.25, 0.1)];
    let config = SubstrateConfig::new(Topology { groups, blocks: vec![] });
    let substrate = config.init(&Device::flex()).unwrap();
    let quiet = substrate.clone().with_config(config.clone().with_kt(0.0)).unwrap();
    let (field, x0) = (substrate.field(&[]).unwrap(), Tensor::full([rows, units], 1.5, &Device::flex()));
    let of = |substrate: &Substrate, steps: usize| {
        Overdamped::unchecked(substrate, field.clone().into(), 1.0 / steps as f64, Key::new(5))
    };
    let truth = run(&of(&substrate, finest), x0.clone(), finest, |_| {}).unwrap();
    for integrator in [Integrator::EulerMaruyama, Integrator::LeimkuhlerMatthews] {
        let bias = |steps: usize| {
            let coarse = of(&quiet, steps).with_integrator(integrator);
            let path = Coarse { fine: of(&substrate, finest), coarse, factor: finest / steps };
            let x = run(&path, x0.clone(), steps, |_| {}).unwrap();
            let gaps = Estimate::of(&to_f64((x - truth.clone()).mean_dim(1)));
            (gaps.mean, gaps.standard_error())
        };
        let [(fine, fine_se), (coarse, coarse_se)] = [16, 8].map(bias);
        let found = (coarse / fine).log2();
        let spread = (fine_se / fine).hypot(coarse_se / coarse) / std::f64::consts::LN_2;
        // The reference is biased too, by a sixteenth and a thirty-second of these biases, which raises the measured
        // order by 0.047. The tolerance is 4.9 standard errors plus a fifth for the next order in the step.
        let allowed = 4.9 * spread + 0.2;
        println!(
            "{integrator:?}: biases {fine:.2e} ± {fine_se:.0e}, {coarse:.2e} ± {coarse_se:.0e}: order {found:.2}, \
             expected 1.05 ± {allowed:.2}"
        );
        assert!((found - 1.047).abs() < allowed && allowed < 0.6, "{integrator:?}");
    }
}

/// Two machines side by side under the same noise: they share key and shape.
struct Pair([Overdamped; 2]);

impl Dynamics for Pair {
    type State = [Tensor<2>; 2];

    fn step(&self, index: usize, [x, y]: Self::State) -> Self::State {
        [self.0[0].step(index, x), self.0[1].step(index, y)]
    }

    fn diverged(&self, [x, y]: &Self::State) -> Option<Place> {
        self.0[0].diverged(x).or_else(|| self.0[1].diverged(y))
    }
}

/// ⟨x²⟩ at equilibrium in V = J₂x² + J₄x⁴ at kT = 1, by the trapezoidal rule.
fn exact_square(j2: f64, j4: f64) -> f64 {
    let weight = |x: f64| (-j2 * x * x - j4 * x.powi(4)).exp();
    let grid = || (-800..=800).map(|k| f64::from(k) * 0.01);
    grid().map(|x| x * x * weight(x)).sum::<f64>() / grid().map(weight).sum::<f64>()
}

/// Weak order at equilibrium: the bias of ⟨x²⟩ of independent quartic units, with harmonic units under the same
/// noise as a control variate, for which either scheme's ⟨y²⟩ is known: (kT/2J₂)/(1 − μJ₂Δt), and kT/2J₂.
#[test]
fn weak_orders_at_equilibrium_are_one_and_two() {
    let (units, j2, j4) = (256, 0.25, 0.1);
    let exact = exact_square(j2, j4);
    let stiffness = 0.5 / exact;
    let alone = |j2: f64, j4: f64| {
        let groups = vec![Group::free("unit", units).wells(j2, j4)];
        SubstrateConfig::new(Topology { groups, blocks: vec![] }).init(&Device::flex()).unwrap()
    };
    let substrates = [alone(j2, j4), alone(stiffness, 0.0)];
    let zero = || Tensor::<2>::zeros([1, units], &Device::flex());
    let bias = |integrator: Integrator, rows: usize, dt: f64| {
        let known = match integrator {
            Integrator::EulerMaruyama => exact / (1.0 - stiffness * dt),
            Integrator::LeimkuhlerMatthews => exact,
        };
        let own = |s| Overdamped::unchecked(s, zero().into(), dt, Key::new(3)).with_integrator(integrator);
        let start = |s: &Substrate| s.uncoupled_equilibrium(rows, Key::new(4)).unwrap();
        // At relaxation rates above one, less than e^(−8) of the initial state is left at t = 8.
        let (skip, steps, every) = ((8.0 / dt) as usize, (40.0 / dt) as usize, (0.5 / dt) as usize);
        let mut squares = [vec![0.0; rows], vec![0.0; rows]];
        let mut count = 0.0;
        run(&Pair(substrates.each_ref().map(own)), substrates.each_ref().map(start), steps, |step| {
            if step.index >= skip && (step.index - skip).is_multiple_of(every) {
                count += 1.0;
                for (sums, x) in squares.iter_mut().zip(&step.after) {
                    let means = to_f64(x.clone().square().mean_dim(1));
                    sums.iter_mut().zip(means).for_each(|(sum, mean)| *sum += mean);
                }
            }
        })
        .unwrap();
        // Rows are independent; this coefficient gives the least variance.
        let [x, y] = squares.map(|sums| sums.into_iter().map(|sum| sum / count).collect::<Vec<f64>>());
        let mean = |values: &[f64]| values.iter().sum::<f64>() / rows as f64;
        let (mx, my) = (mean(&x), mean(&y));
        let product = |a: &[f64], ma: f64| a.iter().zip(&y).map(|(a, y)| (a - ma) * (y - my)).sum::<f64>();
        let slope = product(&x, mx) / product(&y, my);
        let rest: Vec<f64> = x.iter().zip(&y).map(|(x, y)| x - slope * (y - known) - exact).collect();
        let bias = mean(&rest);
        let square = rest.iter().map(|value| (value - bias).powi(2)).sum::<f64>();
        (bias, (square / (rows * (rows - 1)) as f64).sqrt())
    };
    for (integrator, rows, steps, order) in [
        (Integrator::EulerMaruyama, 512, [0.05, 0.1], 1.0),
        (Integrator::LeimkuhlerMatthews, 3072, [0.125, 0.25], 2.0),
    ] {
        let [(fine, fine_se), (coarse, coarse_se)] = steps.map(|dt| bias(integrator, rows, dt));
        let found = (coarse / fine).log2();
        let spread = (fine_se / fine).hypot(coarse_se / coarse) / std::f64::consts::LN_2;
        // The tolerance is 4.9 standard errors plus a fifth for the next order in the step.
        let allowed = 4.9 * spread + 0.2;
        println!(
            "{integrator:?}: biases {fine:.2e} ± {fine_se:.0e}, {coarse:.2e} ± {coarse_se:.0e} at Δt = {steps:?}: \
             order {found:.2}, expected {order} ± {allowed:.2}"
        );
        assert!((found - order).abs() < allowed && allowed < 0.8, "{integrator:?}");
    }
}
