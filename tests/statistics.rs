//! Compares averages with closed forms and quadrature.
//!
//! Every threshold is derived: a statistic that is normal under the hypothesis is allowed 4.9 standard errors, the
//! Kolmogorov–Smirnov statistic √(½ ln(2/α)/N) with α = 1e-6 (Massart's form of the Dvoretzky–Kiefer–Wolfowitz
//! inequality, Ann. Probab. 18, 1269 (1990)). So each comparison fails for one seed in a million. Each test prints
//! the value found and the tolerance.

use burn::tensor::{Device, Tensor};
use thermograd::{Estimate, Group, Key, Schedule, SubstrateConfig, Topology, to_f64};

/// Standard errors that a normal exceeds once in a million.
const SIGMAS: f64 = 4.9;
const ALPHA: f64 = 1e-6;

fn check(what: &str, found: f64, expected: f64, allowed: f64) {
    println!("{what}: {found:.6}, expected {expected:.6} ± {allowed:.6}");
    assert!((found - expected).abs() <= allowed, "{what}: {found}, expected {expected} ± {allowed}");
}

#[test]
fn normals_have_the_moments_of_normals() {
    let count = 4_000_000.0_f64;
    let mut sums = [0.0_f64; 4];
    for step in 0..40 {
        for value in Key::new(31).normals(step, 1000, 100) {
            let value = f64::from(value);
            (1..=4).for_each(|power| sums[power - 1] += value.powi(power as i32));
        }
    }
    // Var xᵏ = (2k−1)!! − (E xᵏ)².
    let variances = [1.0, 2.0, 15.0, 96.0];
    for (power, (sum, variance)) in sums.iter().zip(variances).enumerate() {
        let expected = [0.0, 1.0, 0.0, 3.0][power];
        check(&format!("moment {}", power + 1), sum / count, expected, SIGMAS * (variance / count).sqrt());
    }
}

#[test]
fn normals_have_the_distribution_of_normals() {
    let mut values: Vec<f64> = Key::new(32).normals(7, 1000, 200).into_iter().map(f64::from).collect();
    values.sort_by(f64::total_cmp);
    let count = values.len() as f64;
    let gap = |(place, &value): (usize, &f64)| {
        let below = normal_cdf(value);
        (below - place as f64 / count).abs().max((below - (place + 1) as f64 / count).abs())
    };
    let statistic = values.iter().enumerate().map(gap).fold(0.0, f64::max);
    check("Kolmogorov–Smirnov", statistic, 0.0, ((2.0 / ALPHA).ln() / (2.0 * count)).sqrt());
}

#[test]
fn neighbours_in_every_direction_are_uncorrelated() {
    let (rows, columns) = (1000, 100);
    let key = Key::new(33);
    let here = key.normals(3, rows, columns);
    let product = |there: &[f32], shift: usize| {
        let pairs = here[..here.len() - shift].iter().zip(&there[shift..]);
        let products: Vec<f64> = pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).collect();
        Estimate::of(&products)
    };
    let cases = [
        ("unit", product(&here, 1)),
        ("pair of a block", product(&here, 2)),
        ("trajectory", product(&here, columns)),
        ("step", product(&key.normals(4, rows, columns), 0)),
        ("key", product(&key.at(1).normals(3, rows, columns), 0)),
        ("fork", product(&key.fork("other").normals(3, rows, columns), 0)),
    ];
    for (what, estimate) in cases {
        check(what, estimate.mean, 0.0, SIGMAS / (estimate.count as f64).sqrt());
    }
}

/// Φ by Simpson's rule on the density: independent of any library's erf, good to 1e-10.
fn normal_cdf(x: f64) -> f64 {
    let intervals = 400;
    let h = x.abs() / intervals as f64;
    let density = |t: f64| (-0.5 * t * t).exp() / std::f64::consts::TAU.sqrt();
    let inner = (1..intervals).map(|i| if i % 2 == 1 { 4.0 } else { 2.0 } * density(h * i as f64));
    let area = h / 3.0 * (density(0.0) + inner.sum::<f64>() + density(x.abs()));
    0.5 + area.copysign(x)
}

/// Without a quartic term the scheme's stationary variance is known: (kT/2J₂)/(1 − μJ₂Δt).
#[test]
fn harmonic_variance_is_that_of_the_scheme() {
    let (j2, kt, dt) = (0.5, 1.5, 0.4);
    let topology = Topology::all_to_all([Group::free("unit", 50).wells(j2, 0.0)]);
    let substrate = SubstrateConfig::new(topology).with_kt(kt).init(&Device::flex()).unwrap();
    let zeros = Tensor::zeros([2000, 50], &Device::flex());
    let field = Tensor::zeros([1, 50], &Device::flex());
    // The initial state has decayed to (1 − 0.4)^60 = 5e-14.
    let x = substrate.simulate(zeros, field, Schedule { dt, steps: 60 }, Key::new(34), |_| {}).unwrap();
    let squares: Vec<f64> = to_f64(x).into_iter().map(|x| x * x).collect();
    let expected = kt / (2.0 * j2) / (1.0 - j2 * dt);
    let allowed = SIGMAS * expected * (2.0 / squares.len() as f64).sqrt();
    check("⟨x²⟩ at Δt = 0.4", Estimate::of(&squares).mean, expected, allowed);
}

/// ⟨f⟩ of two units under e^(−V/kT) by the trapezoidal rule, which converges geometrically here.
fn quadrature(energy: impl Fn(f64, f64) -> f64, kt: f64, f: impl Fn(f64, f64) -> f64) -> f64 {
    let grid = || (-300..=300).map(|i| f64::from(i) * 0.015);
    let (mut sum, mut norm) = (0.0, 0.0);
    for x in grid() {
        for y in grid() {
            let weight = (-energy(x, y) / kt).exp();
            sum += weight * f(x, y);
            norm += weight;
        }
    }
    sum / norm
}

/// One double well and two coupled wells, sampled at equilibrium.
#[test]
fn wells_are_sampled_as_quadrature_says() {
    let (j2, j4, coupling, bias, kt) = (-0.5, 0.6, 0.8, 0.3, 0.7);
    let dt = 5e-4;
    for coupling in [0.0, coupling] {
        let topology = Topology::all_to_all([Group::free("unit", 2).wells(j2, j4)]);
        let substrate = SubstrateConfig::new(topology).with_kt(kt).init(&Device::flex()).unwrap();
        let matrix = Tensor::<2>::from_data([[0.0, coupling], [coupling, 0.0]], &Device::flex());
        let biases = Tensor::<2>::from_data([[bias, 0.0]], &Device::flex());
        let substrate = substrate.with_coupling(0, matrix).unwrap().with_bias(biases).unwrap();
        let (batch, schedule) = (10_000, Schedule::new(dt, 6.0).unwrap());
        let shards = thermograd::Shards::new(2500);
        let parts = shards.map(batch, |range| {
            let x0 = Tensor::zeros([range.len(), 2], &Device::flex());
            let key = Key::new(35).skip(range.start as u64);
            to_f64(substrate.simulate(x0, substrate.field(&[]).unwrap(), schedule, key, |_| {}).unwrap())
        });
        let states = parts.concat();
        let energy = |x: f64, y: f64| {
            j2 * (x * x + y * y) + j4 * (x.powi(4) + y.powi(4)) + bias * x + coupling * x * y
        };
        type Observable = fn(f64, f64) -> f64;
        let observables: [(&str, Observable); 5] = [
            ("⟨x⟩", |x, _| x),
            ("⟨x²⟩", |x, _| x * x),
            ("⟨x⁴⟩", |x, _| x.powi(4)),
            ("⟨xy⟩", |x, y| x * y),
            ("⟨y²⟩", |_, y| y * y),
        ];
        for (name, f) in observables {
            let values: Vec<f64> = states.chunks(2).map(|s| f(s[0], s[1])).collect();
            let estimate = Estimate::of(&values);
            let expected = quadrature(energy, kt, f);
            // Weak order 1: a relative bias of about Δt times the stiffness, here below 10.
            let allowed = SIGMAS * estimate.standard_error() + 10.0 * dt * expected.abs();
            check(&format!("{name} at J = {coupling}"), estimate.mean, expected, allowed);
        }
    }
}

/// Jensen and Crooks: the mean entropy production of a relaxation is positive and close to the mean heat.
#[test]
fn entropy_production_approaches_heat_as_steps_shrink() {
    let topology = Topology::all_to_all([Group::free("unit", 8)]);
    let substrate = SubstrateConfig::new(topology).init(crate::common::double()).unwrap();
    let substrate = substrate.randomised(1.0, Key::new(36));
    let field = crate::common::normals(1, 8, 4.0, Key::new(37));
    let x0 = Tensor::zeros([64, 8], crate::common::double());
    let gap = |dt: f64| {
        let schedule = Schedule::new(dt, 0.5).unwrap();
        let run = substrate.trajectory(x0.clone(), field.clone(), schedule, 1, Key::new(38)).unwrap();
        let entropy = to_f64(substrate.entropy_production(&run, field.clone()).unwrap());
        let heat = to_f64(substrate.heat(x0.clone(), run.last(), field.clone()));
        assert!(Estimate::of(&entropy).mean > 0.0);
        let gaps: Vec<f64> = entropy.iter().zip(&heat).map(|(s, q)| (s - q).abs()).collect();
        Estimate::of(&gaps).mean / 8.0
    };
    let (coarse, fine) = (gap(4e-3), gap(1e-3));
    println!("|ln P/P̃ − Q/kT| per unit: {coarse:.4} at Δt = 4e-3, {fine:.4} at 1e-3");
    assert!(fine < 0.02 && fine < 0.5 * coarse);
}
