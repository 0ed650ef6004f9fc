//! Linear algebra by fluctuations: errors as derived, intervals that cover, machines that never see the answer.

use std::ops::ControlFlow;
use std::process::Command;
use std::sync::Arc;

use faer::{Mat, mat};
use thermograd::{CellArray, Key, LinearSteps, OrnsteinUhlenbeck, Scheme, Shards, run, underdamped};
use thermograd_models::linear::answer::{Outcome, Search, answer};
use thermograd_models::linear::averages::{Averages, Observable, Pace};
use thermograd_models::linear::board::{Board, Drive, Measurement, Quantity, Resistor};
use thermograd_models::linear::cost::{driven, programming};
use thermograd_models::linear::gaussian::{Process, samples};
use thermograd_models::linear::machine::{Device, Machine, Precision};
use thermograd_models::linear::matrices::{conditioned, laplacian, wishart};
use thermograd_models::linear::netlist::{self, Transient, Units};
use thermograd_models::linear::plan::{Until, of_form, of_position, of_square};
use thermograd_models::linear::problem::{Problem, regression};
use thermograd_models::linear::reference::{Digital, Factorisations};
use thermograd_models::linear::work::{bennett, switched};

use crate::common::{deviations, ngspice};

const SHARDS: Shards = Shards { size: 64, threads: 2 };

/// A, and b for which A⁻¹b is of ones.
fn solve(a: &Mat<f64>) -> Problem {
    Problem::Solve { b: force(a), a: a.clone().into() }
}

fn exact() -> Precision {
    Precision::default()
}

fn apart(a: &Mat<f64>, b: &Mat<f64>) -> f64 {
    (a - b).norm_l2() / b.norm_l2()
}

fn found(problem: &Problem, device: Device, search: Search, key: Key) -> Outcome {
    let program = problem.program(device, 1.0, &exact(), key).unwrap();
    answer(&program, search, SHARDS, key, |_, _| ControlFlow::Continue(())).unwrap()
}

fn long(time: f64) -> Search {
    Search { until: Until::Time(time), chains: 32, single: false }
}

/// b for which A⁻¹b is of ones.
fn force(a: &Mat<f64>) -> Vec<f64> {
    (0..a.nrows()).map(|i| (0..a.ncols()).map(|j| a[(i, j)]).sum()).collect()
}

fn problems() -> Vec<Problem> {
    let a = conditioned(6, 10.0, Key::new(300)).unwrap();
    let other = wishart(6, Key::new(301)).unwrap();
    let skew = mat![[1.0, 4.0, 0.0], [0.0, 1.5, -0.3], [0.2, 0.0, 0.8]];
    let noise = mat![[1.0, -0.9, 0.0], [-0.9, 1.0, 0.0], [0.0, 0.0, 0.0]];
    vec![
        solve(&a),
        Problem::Inverse { a: (a.clone()).into() },
        Problem::LogDeterminant { a: a.clone().into(), over: None },
        Problem::LogDeterminant { a: a.into(), over: Some(other.into()) },
        Problem::Exponential { a: (skew.clone() * faer::Scale(-1.0)).into(), time: 0.7 },
        Problem::Exponential { a: mat![[0.3, 1.0], [-1.0, 0.1]].into(), time: 1.0 },
        Problem::Lyapunov { a: skew.into(), d: noise.into() },
    ]
}

/// Digital answers that nobody may ask for.
struct Panicking;

impl Digital for Panicking {
    fn solve(&self, _: &Mat<f64>, _: &[f64]) -> thermograd_models::Result<Mat<f64>> {
        panic!("the machine asked for A⁻¹b")
    }
    fn inverse(&self, _: &Mat<f64>) -> thermograd_models::Result<Mat<f64>> {
        panic!("the machine asked for A⁻¹")
    }
    fn log_determinant(&self, _: &Mat<f64>) -> thermograd_models::Result<f64> {
        panic!("the machine asked for det A")
    }
    fn exponential(&self, _: &Mat<f64>) -> thermograd_models::Result<Mat<f64>> {
        panic!("the machine asked for e^A")
    }
    fn lyapunov(&self, _: &OrnsteinUhlenbeck) -> thermograd_models::Result<Mat<f64>> {
        panic!("the machine asked for Σ")
    }
}

/// Every problem is answered within its interval, entry by entry, at two temperatures.
#[test]
fn machines_answer_within_their_intervals() {
    for (index, (problem, kt)) in [1.0, 0.3]
        .into_iter()
        .flat_map(|kt| problems().into_iter().map(move |problem| (problem, kt)))
        .enumerate()
    {
        let key = Key::new(310 + index as u64);
        let program = problem.program(Device::Rc, kt, &exact(), key).unwrap();
        let search = long(32.0 * 60.0);
        let outcome = answer(&program, search, SHARDS, key, |_, _| ControlFlow::Continue(())).unwrap();
        let answer = outcome.answer;
        let truth = problem.digital(&Factorisations).unwrap();
        let entries = truth.nrows() * truth.ncols();
        let allowed = answer.quantile(1.0 - 1e-6 / (14.0 * entries as f64));
        for i in 0..truth.nrows() {
            for j in 0..truth.ncols() {
                let (mean, error) = (answer.mean[(i, j)], answer.error[(i, j)]);
                let off = (mean - truth[(i, j)]).abs() / error;
                assert!(
                    off < allowed,
                    "{} {index}: ({i}, {j}) is {mean} ± {error}, not {}",
                    problem.name(),
                    truth[(i, j)]
                );
            }
        }
        println!(
            "{} {index}: error {:.3e}, told {:.3e}",
            problem.name(),
            answer.error_of(&truth),
            answer.standard_error()
        );
    }
}

/// What a machine is programmed with does not depend on a digital answer: the one that panics is not asked before the end.
#[test]
fn no_machine_sees_the_answer() {
    fn answered(problem: &Problem, digital: &impl Digital, compare: bool) -> Outcome {
        let outcome = found(problem, Device::Rc, long(64.0), Key::new(320));
        if compare {
            let _ = problem.digital(digital).unwrap();
        }
        outcome
    }
    for problem in problems() {
        let blind = answered(&problem, &Panicking, false);
        assert_eq!(blind.answer.mean, answered(&problem, &Factorisations, true).answer.mean);
        let asked = std::panic::catch_unwind(|| answered(&problem, &Panicking, true));
        assert!(asked.is_err(), "{} is compared with something else", problem.name());
    }
    // Nothing that moves a machine factorises a matrix in order to solve with it. The plan of a determinant takes eigenvectors: it
    // decides how long machines run, and nothing else.
    for file in ["averages", "answer", "problem", "machine", "gaussian", "work", "plan"] {
        let path = format!("{}/../models/linear/{file}.rs", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap();
        for word in [
            "solvers::",
            ".inverse(",
            "_lu()",
            ".llt(",
            ".qr(",
            "Factorisations",
            "stationary(",
            "self_adjoint_eigen(",
            "modes(",
            "transition(",
        ] {
            let planned = file == "plan" && word == "modes(";
            assert!(planned || !text.contains(word), "{file}.rs has `{word}`");
        }
    }
    // What moves an overdamped machine is A, b and noise: a step of a size at which x − h(Ax − b) is known by hand.
    let a = mat![[2.0, 0.5], [0.5, 1.0]];
    let machine = Device::Rc.programmed(a, vec![1.0, -3.0], 0.0, &exact()).unwrap();
    let steps = machine.steps::<f64>(0.1, Key::new(321)).unwrap();
    let moved = run(&steps, mat![[1.0], [2.0]].into(), 1, |_| {}).unwrap().x;
    assert!(apart(&moved, &mat![[1.0 - 0.1 * (3.0 - 1.0)], [2.0 - 0.1 * (2.5 + 3.0)]]) < 1e-14);
}

/// The heat of programming one voltage under b at kT, by the first law: from V(0) = 0 to ⟨V⟩ = −½b²/a + ½kT. Driven power is the
/// trace of the drift: tr A, nγ, tr C⁻¹/R.
#[test]
fn heat_is_that_of_the_first_law() {
    let (a, b, kt) = (2.0, 3.0, 0.5);
    let heat = programming(&mat![[b / a]], &[b], kt);
    assert!((heat - (0.5 * b * b / a - 0.5 * kt)).abs() < 1e-14);
    let a = mat![[2.0, 0.5], [0.5, 1.0]];
    let power = |device: Device, bandwidth| {
        let precision = Precision { bandwidth, ..exact() };
        driven(&device.programmed(a.clone(), vec![0.0; 2], 1.0, &precision).unwrap())
    };
    assert!((power(Device::Rc, 0.0) - 3.0).abs() < 1e-14 && (power(Device::Rc, 2.0) - 3.0).abs() < 1e-14);
    let slowest = OrnsteinUhlenbeck::gradient(a.clone(), vec![0.0; 2], 1.0).unwrap().rates()[0];
    let gamma = 1.5 * slowest.sqrt();
    assert!((power(Device::Underdamped { damping: 1.5 }, 0.0) - 2.0 * gamma).abs() < 1e-12);
    // C⁻¹ = [[1, −½], [−½, 2]]/1.75.
    let cells = power(Device::Rlc { inductance: 1.0, resistance: 4.0 }, 0.0);
    assert!((cells - 3.0 / 1.75 / 4.0).abs() < 1e-12, "{cells}");
}

/// n·Σ s.e.², the mean squared error of one chain, times its time over the formula: from two thousand chains.
fn ratio(a: &Mat<f64>, observable: Observable, time: f64, key: Key) -> f64 {
    const CHAINS: usize = 2000;
    let machine = Device::Rc.programmed(a.clone(), vec![0.0; a.nrows()], 1.0, &exact()).unwrap();
    let rates = machine.system.rates().to_vec();
    let formula = match &observable {
        Observable::Square => of_square(&rates, 1.0),
        Observable::Form(form) => of_form(&machine.system, form, 1.0).unwrap(),
        _ => of_position(&rates, 1.0),
    };
    let squares = !matches!(observable, Observable::Position);
    let (h, slowest) = (machine.step(squares), machine.slowest());
    let pace = Pace { h, burn_in: (8.0 * slowest / h) as usize, chains: CHAINS, single: false };
    let mut run = Averages::new(machine, observable, pace, SHARDS, key).unwrap();
    run.reach((time * slowest / h) as usize).unwrap();
    let estimate = run.estimate().unwrap();
    let squared = CHAINS as f64 * estimate.error.squared_norm_l2();
    squared * (estimate.time / CHAINS as f64) / formula
}

/// Mean squared errors of solutions, of inverses and of the forms that determinants are made of are those of (32) within a fifth, at a hundred and more of the slowest time
/// constants, and fall as 1/T. 2000 chains know them within 4 % (one standard error of the variance of a normal variable of one
/// degree of freedom is √(2/2000) = 3.2 %).
#[test]
fn errors_are_as_derived() {
    let a = conditioned(8, 10.0, Key::new(330)).unwrap();
    // Of a basis of its own.
    let form = Observable::Form(Arc::new(conditioned(8, 5.0, Key::new(333)).unwrap()));
    let all = [("solve", Observable::Position), ("inverse", Observable::Square), ("form", form)];
    for (name, observable) in all {
        let short = ratio(&a, observable.clone(), 100.0, Key::new(331));
        let long = ratio(&a, observable, 800.0, Key::new(332));
        // The error itself falls with this power of T.
        let slope = -0.5 + 0.5 * (long / short).ln() / 8.0_f64.ln();
        println!("{name}: {short} and {long} of the formula, slope {slope}");
        for ratio in [short, long] {
            assert!((0.8..1.25).contains(&ratio), "{name}: {ratio}");
        }
        assert!((slope + 0.5).abs() < 0.05, "{name}: {slope}");
    }
}

/// Intervals of 95 % from 200 time constants, of one chain in batches and of four chains, hold the truth as often as they say.
/// Of 600 runs, each with one entry, the share has a standard error of 0.9 %; what is allowed is [0.92, 0.98].
#[test]
fn intervals_cover() {
    const RUNS: u64 = 600;
    for chains in [1, 4] {
        let mut covered = 0;
        for seed in 0..RUNS {
            let a = conditioned(3, 4.0, Key::new(340)).unwrap();
            let problem = solve(&a);
            let search = Search { until: Until::Time(200.0), chains, single: false };
            let answer = found(&problem, Device::Rc, search, Key::new(1000 + seed)).answer;
            let entry = (seed % 3) as usize;
            let off = (answer.mean[(entry, 0)] - 1.0).abs() / answer.error[(entry, 0)];
            covered += usize::from(off < answer.quantile(0.95));
        }
        let share = covered as f64 / RUNS as f64;
        println!("{chains} chains: {share}");
        assert!((0.92..0.98).contains(&share), "{chains} chains: {share}");
    }
}

/// A run ends when the error that was asked for is reached, and the error is what it says. One chain that is too short for an
/// interval gives none.
#[test]
fn runs_end_at_the_error_that_was_asked_for() {
    let a = conditioned(12, 20.0, Key::new(350)).unwrap();
    let problems = [
        solve(&a),
        Problem::Inverse { a: (a.clone()).into() },
        Problem::LogDeterminant { a: a.clone().into(), over: None },
    ];
    for (index, problem) in problems.iter().enumerate() {
        for chains in [1, 16] {
            let search = Search { until: Until::Error(0.1), chains, single: false };
            let outcome = found(problem, Device::Rc, search, Key::new(351 + index as u64));
            let (answer, truth) = (&outcome.answer, problem.digital(&Factorisations).unwrap());
            assert!(outcome.finished && answer.standard_error() <= 0.1);
            // Squared errors are sums of squares of normal variables: beyond five times their mean once in a million if one
            // of them has it all.
            let error = answer.error_of(&truth);
            println!(
                "{}, {chains} chains: {error} of {}, time {}",
                problem.name(),
                answer.standard_error(),
                answer.time
            );
            assert!(error < 0.1 * deviations(1e-6 / 6.0), "{}: {error}", problem.name());
            assert!(outcome.planned.is_some_and(|time| answer.time >= time * (1.0 - 1e-9)));
            assert!(outcome.looks.windows(2).all(|pair| pair[0].time < pair[1].time));
        }
    }
    let program = problems[0].program(Device::Rc, 1.0, &exact(), Key::new(0)).unwrap();
    let search = |until, chains| Search { until, chains, single: false };
    let ask = |search| answer(&program, search, SHARDS, Key::new(0), |_, _| ControlFlow::Continue(()));
    let error = ask(search(Until::Time(50.0), 1)).err().unwrap().to_string();
    assert!(error.contains("no interval") && error.contains("is enough"), "{error}");
    assert!(ask(search(Until::Error(0.0), 4)).is_err() && ask(search(Until::Time(f64::NAN), 4)).is_err());
    assert!(ask(search(Until::Time(10.0), 0)).is_err());
    // Stopped by hand, it answers with what it has.
    let stopped =
        answer(&program, search(Until::Error(1e-4), 8), SHARDS, Key::new(0), |_, error| match error {
            Some(_) => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        })
        .unwrap();
    assert!(!stopped.finished && stopped.answer.standard_error() > 1e-4);
}

/// Promises are kept on average where nothing but the chains tells the error, with few of them, and where the answer is large
/// against its fluctuations, so that what is left of the start would show. The mean square of 60 errors of one entry, over that
/// of the promise, is below 1 + 5.1·√(2/60) = 1.93 all but once in a million if they are normal.
#[test]
fn promises_are_kept() {
    let lyapunov = Problem::Lyapunov { a: mat![[1.0]].into(), d: mat![[2.0]].into() };
    let a = mat![[1.0, 0.5], [0.5, 1.0]];
    let strong = Problem::Solve { a: a.into(), b: vec![1000.0, -2000.0] };
    for (problem, error, chains) in [(lyapunov.clone(), 0.1, 2), (lyapunov, 0.1, 8), (strong, 1e-3, 32)] {
        let truth = problem.digital(&Factorisations).unwrap();
        let square = |seed: u64| {
            let search = Search { until: Until::Error(error), chains, single: false };
            let answer = found(&problem, Device::Rc, search, Key::new(2000 + seed)).answer;
            (answer.error_of(&truth) / error).powi(2)
        };
        let mean = (0..60).map(square).sum::<f64>() / 60.0;
        println!("{}, {chains} chains: {mean}", problem.name());
        assert!(mean < 1.93, "{}, {chains} chains: {mean}", problem.name());
    }
    // What is not told from zero is not told relative to itself.
    let nothing = Problem::Solve { a: laplacian(2).unwrap().into(), b: vec![0.0; 2] };
    let program = nothing.program(Device::Rc, 1.0, &exact(), Key::new(0)).unwrap();
    let ask = |until| {
        let search = Search { until, chains: 4, single: false };
        answer(&program, search, SHARDS, Key::new(0), |_, _| ControlFlow::Continue(()))
    };
    match ask(Until::Error(0.05)) {
        Ok(outcome) => assert!(outcome.hopeless.is_some()),
        Err(error) => assert!(error.to_string().contains("not told from zero"), "{error}"),
    }
    assert!(ask(Until::Time(100.0)).is_ok());
    let error = ask(Until::Time(1e300)).err().unwrap().to_string();
    assert!(error.contains("steps"), "{error}");
}

/// The same seed gives the same numbers on any number of threads; single precision agrees with double within its rounding.
#[test]
fn answers_do_not_depend_on_threads() {
    let a = conditioned(5, 10.0, Key::new(360)).unwrap();
    let program = Problem::Inverse { a: a.into() }.program(Device::Rc, 1.0, &exact(), Key::new(0)).unwrap();
    let of = |threads, single| {
        let search = Search { until: Until::Time(100.0), chains: 6, single };
        let shards = Shards { size: 64, threads };
        answer(&program, search, shards, Key::new(361), |_, _| ControlFlow::Continue(())).unwrap().answer.mean
    };
    let double = of(1, false);
    assert!(apart(&of(2, false), &double) < 1e-12 && apart(&of(3, false), &double) < 1e-12);
    let single = apart(&of(2, true), &double);
    assert!(single > 0.0 && single < 1e-4, "{single:e}");
}

/// Damped machines and RLC cells have the inverse in their stationary state, for any damping, and read it.
#[test]
fn other_machines_have_the_same_inverse() {
    let a = conditioned(4, 30.0, Key::new(370)).unwrap();
    let inverse = Factorisations.inverse(&a).unwrap();
    let block = |sigma: &Mat<f64>, first: usize| Mat::from_fn(4, 4, |i, j| sigma[(first + i, first + j)]);
    for gamma in [0.1, 1.0, 20.0] {
        let sigma = underdamped(a.clone(), vec![0.0; 4], gamma, 0.5).unwrap().stationary().unwrap();
        assert!(apart(&block(&sigma, 0), &(&inverse * faer::Scale(0.5))) < 1e-9);
        let cells = CellArray { capacitance: a.clone(), inductance: gamma, resistance: 2.0, kt: 0.5 };
        let sigma = cells.dynamics().unwrap().stationary().unwrap();
        assert!(apart(&block(&sigma, 4), &(&inverse * faer::Scale(0.5))) < 1e-9);
        // Cov(i) = κ₀R/L.
        let currents = Mat::<f64>::identity(4, 4) * faer::Scale(0.5 / gamma);
        assert!(apart(&block(&sigma, 0), &currents) < 1e-9);
    }
    for device in [Device::Underdamped { damping: 1.5 }, Device::Rlc { inductance: 1.0, resistance: 1.0 }] {
        let problem = Problem::Inverse { a: (a.clone()).into() };
        let answer = found(&problem, device, long(32.0 * 100.0), Key::new(371)).answer;
        let allowed = answer.quantile(1.0 - 1e-6 / 32.0);
        for i in 0..4 {
            for j in 0..4 {
                let off = (answer.mean[(i, j)] - inverse[(i, j)]).abs() / answer.error[(i, j)];
                assert!(off < allowed, "{device:?}: ({i}, {j}) is {off} standard errors off");
            }
        }
    }
    let solve = solve(&a);
    let cells = Device::Rlc { inductance: 1.0, resistance: 1.0 };
    assert!(solve.program(cells, 1.0, &exact(), Key::new(0)).unwrap_err().to_string().contains("no force"));
}

/// Works of switching obey ⟨W_F⟩ ≥ ΔF ≥ −⟨W_R⟩, and Bennett's equation agrees with thermodynamic integration and the truth.
#[test]
fn work_tells_the_determinant() {
    let (from, to) =
        (conditioned(6, 5.0, Key::new(380)).unwrap(), conditioned(6, 12.0, Key::new(381)).unwrap());
    let problem = Problem::LogDeterminant { a: to.clone().into(), over: Some(from.clone().into()) };
    let truth = problem.digital(&Factorisations).unwrap()[(0, 0)];
    let found_by = switched(&from, &to, (20.0, 40), 4000, SHARDS, Key::new(382)).unwrap();
    let mean = |works: &[f64]| works.iter().sum::<f64>() / works.len() as f64;
    let (forth, back, difference) = (mean(&found_by.forward), mean(&found_by.reverse), 0.5 * truth);
    println!(
        "⟨W_F⟩ {forth} ΔF {difference} −⟨W_R⟩ {}; {:?} ± , {}",
        -back, found_by.bennett, found_by.jarzynski
    );
    assert!(forth > difference && difference > -back);
    let (value, error) = found_by.bennett;
    assert!((value - truth).abs() < deviations(1e-6 / 2.0) * error, "{value} ± {error}, not {truth}");
    let integrated = found(&problem, Device::Rc, long(3200.0), Key::new(383)).answer;
    let both = error.hypot(integrated.error[(0, 0)]);
    assert!((value - integrated.mean[(0, 0)]).abs() < integrated.quantile(1.0 - 1e-6 / 2.0) * both);
    // The error of Bennett's equation is that of its value: forty independent runs.
    let runs: Vec<(f64, f64)> = (0..40)
        .map(|seed| switched(&from, &to, (5.0, 20), 200, SHARDS, Key::new(1000 + seed)).unwrap().bennett)
        .collect();
    let squares = runs.iter().map(|(value, error)| ((value - truth) / error).powi(2)).sum::<f64>();
    // χ² of forty, within its one in a million on both sides (Wilson and Hilferty).
    let bound = |z: f64| 40.0 * (1.0 - 2.0 / 360.0 + z * (2.0_f64 / 360.0).sqrt()).powi(3);
    let z = deviations(1e-6);
    println!("χ² {squares}, {} to {}", bound(-z), bound(z));
    assert!(squares > bound(-z) && squares < bound(z), "{squares}");
    // Works of normal distributions: ΔF = ⟨W⟩ − σ²/2.
    let (value, _) = bennett(&[1.0, 3.0], &[-1.0, -3.0]);
    assert!((value - 2.0).abs() < 1e-9, "{value}");
}

/// Filters and noise of the read-out do what theory says, rounding at random is right on average, and what cannot be made is
/// refused.
#[test]
fn imprecise_machines() {
    let a = mat![[2.0, 0.5], [0.5, 1.0]];
    let precision = Precision { bandwidth: 3.0, ..exact() };
    let machine = Device::Rc.programmed(a.clone(), vec![0.0; 2], 1.0, &precision).unwrap();
    let sigma = machine.system.stationary().unwrap();
    // A mode of rate λ behind a filter of ω: ω/(λ(λ + ω)).
    let modes = OrnsteinUhlenbeck::gradient(a.clone(), vec![0.0; 2], 1.0).unwrap();
    let omega = 3.0 * modes.fastest();
    let (turned, vectors) = modes.modes().unwrap();
    let kept = Mat::from_fn(2, 2, |i, j| {
        let rate = turned.drift()[(i, i)];
        if i == j { omega / (rate * (rate + omega)) } else { 0.0 }
    });
    let seen = Mat::from_fn(2, 2, |i, j| sigma[(2 + i, 2 + j)]);
    assert!(apart(&seen, &(&vectors * kept * vectors.transpose())) < 1e-9);

    let noisy = Precision { read_out: 0.5, ..exact() };
    let problem = Problem::Inverse { a: (a.clone()).into() };
    let program = problem.program(Device::Rc, 1.0, &noisy, Key::new(390)).unwrap();
    let answer = answer(&program, long(3200.0), SHARDS, Key::new(391), |_, _| ControlFlow::Continue(()))
        .unwrap()
        .answer;
    let expected = Factorisations.inverse(&a).unwrap() + Mat::<f64>::identity(2, 2) * faer::Scale(0.25);
    for i in 0..2 {
        for j in 0..2 {
            let off = (answer.mean[(i, j)] - expected[(i, j)]).abs() / answer.error[(i, j)];
            assert!(off < answer.quantile(1.0 - 1e-6 / 4.0), "({i}, {j}) is {off} standard errors off");
        }
    }

    // Rounded entries are at most half a level off; pairs of dithered ones less than a level, and right on average.
    let a = conditioned(12, 4.0, Key::new(392)).unwrap();
    let (shared, level) = (std::sync::Arc::new(a.clone()), a.norm_max() / 7.0);
    let rounded = Precision { bits: 4, ..exact() }.held(&shared, 0, Key::new(393));
    assert!((&*rounded - &a).norm_max() <= 0.5 * level * (1.0 + 1e-12));
    let dithered = Precision { bits: 4, dithers: 64, ..exact() };
    let mut mean = Mat::<f64>::zeros(12, 12);
    for machine in 0..64 {
        let made = dithered.held(&shared, machine, Key::new(393));
        assert_eq!(*made, made.transpose().to_owned());
        assert!((&*made - &a).norm_max() <= level * (1.0 + 1e-12));
        mean += &*made * faer::Scale(1.0 / 64.0);
    }
    // The error of a mean of 32 pairs: √(¼/32) of a level each, or less.
    let allowed = deviations(1e-6 / 78.0) * level * (0.25_f64 / 32.0).sqrt();
    assert!((&mean - &a).norm_max() < allowed);
    // The bias of the inverse that rounding makes is mostly gone. Without noise: the inverses of what the machines hold.
    let truth = Factorisations.inverse(&a).unwrap();
    let bits = Precision { bits: 5, dithers: 64, ..exact() };
    let nearest = Precision { bits: 5, ..exact() }.held(&shared, 0, Key::new(394));
    let mut sum = Mat::<f64>::zeros(12, 12);
    for machine in 0..64 {
        sum += Factorisations.inverse(&bits.held(&shared, machine, Key::new(394))).unwrap()
            * faer::Scale(1.0 / 64.0);
    }
    let (rounded, averaged) =
        (apart(&Factorisations.inverse(&nearest).unwrap(), &truth), apart(&sum, &truth));
    println!("5 bits {rounded}, averaged {averaged}");
    assert!(averaged < 0.7 * rounded, "{averaged} against {rounded}");

    for (precision, part) in [
        (Precision { bits: 1, ..exact() }, "bits = 1"),
        (Precision { dithers: 3, ..exact() }, "no bits"),
        (Precision { mismatch: -0.1, ..exact() }, "mismatch"),
        (Precision { bandwidth: f64::NAN, ..exact() }, "bandwidth"),
    ] {
        let error = problem.program(Device::Rc, 1.0, &precision, Key::new(0)).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let coarse = Precision { bits: 2, ..exact() };
    let stiff = Problem::Inverse { a: (conditioned(12, 1000.0, Key::new(395)).unwrap()).into() };
    let error = stiff.program(Device::Rc, 1.0, &coarse, Key::new(0)).unwrap_err().to_string();
    assert!(error.contains("2 bits") && error.contains("use more bits"), "{error}");
}

/// Samples have the mean and the covariance of their distribution.
#[test]
fn samples_are_of_their_distribution() {
    const COUNT: usize = 40_000;
    let a = mat![[2.0, 0.5, 0.0], [0.5, 1.0, -0.3], [0.0, -0.3, 0.7]];
    let (inverse, b) = (Factorisations.inverse(&a).unwrap(), vec![1.0, -1.0, 0.5]);
    let centre = Factorisations.solve(&a, &b).unwrap();
    let machine = Device::Rc.programmed(a, b, 1.0, &exact()).unwrap();
    let of = |count, chains| {
        samples(&machine, count, chains, 5.0, SHARDS, Key::new(400), |_| ControlFlow::Continue(())).unwrap()
    };
    let all = of(COUNT, 400);
    let z = deviations(1e-6 / 9.0);
    // Chains hold on to e^(−5) of themselves: 1.4 % more variance of the mean than of independent samples.
    let count = COUNT as f64 / 1.02;
    for i in 0..3 {
        let mean = (0..COUNT).map(|k| all[(k, i)]).sum::<f64>() / COUNT as f64;
        assert!((mean - centre[(i, 0)]).abs() < z * (inverse[(i, i)] / count).sqrt());
        for j in 0..=i {
            let product = |k: usize| (all[(k, i)] - centre[(i, 0)]) * (all[(k, j)] - centre[(j, 0)]);
            let found = (0..COUNT).map(product).sum::<f64>() / COUNT as f64;
            let variance = inverse[(i, i)] * inverse[(j, j)] + inverse[(i, j)].powi(2);
            assert!((found - inverse[(i, j)]).abs() < z * (variance / count).sqrt(), "({i}, {j}): {found}");
        }
    }
    assert_eq!((of(7, 32).nrows(), of(7, 2).nrows()), (7, 7));
}

/// The posterior of a Gaussian process is that of its kernel, s²(1 + r) e^(−r) with r = √3 |x − x′|/ℓ, up to the grid.
#[test]
fn a_gaussian_process_has_the_posterior_of_its_kernel() {
    let process = Process { amplitude: 1.3, length: 1.0, noise: 0.2 };
    let (x, y) = ([0.0, 0.7, 1.5, 2.0, 4.0], [0.3, 1.0, 0.2, -0.5, 0.4]);
    let (grid, problem) = process.posterior(&x, &y, 401).unwrap();
    let Problem::Solve { a, b } = &problem else { unreachable!() };
    let (mean, sigma) = (Factorisations.solve(a, b).unwrap(), Factorisations.inverse(a).unwrap());
    let kernel = |x: f64, other: f64| {
        let r = 3.0_f64.sqrt() * (x - other).abs() / process.length;
        process.amplitude.powi(2) * (1.0 + r) * (-r).exp()
    };
    let n = x.len();
    let k = Mat::from_fn(n, n, |i, j| kernel(x[i], x[j]) + if i == j { process.noise.powi(2) } else { 0.0 });
    let inverse = Factorisations.inverse(&k).unwrap();
    for (index, &place) in grid.iter().enumerate() {
        let weights: Vec<f64> =
            (0..n).map(|i| (0..n).map(|j| inverse[(i, j)] * kernel(place, x[j])).sum()).collect();
        let expected = (0..n).map(|i| weights[i] * y[i]).sum::<f64>();
        let variance = kernel(place, place) - (0..n).map(|i| weights[i] * kernel(place, x[i])).sum::<f64>();
        assert!((mean[(index, 0)] - expected).abs() < 0.02, "{place}: {} for {expected}", mean[(index, 0)]);
        assert!((sigma[(index, index)].sqrt() - variance.sqrt()).abs() < 0.02, "{place}");
    }
    assert!(process.posterior(&x, &y[1..], 100).is_err());
    assert!(process.posterior(&x, &y, 5).unwrap_err().to_string().contains("are enough"));
    let quiet = Process { noise: 1e-3, ..process };
    assert!(quiet.posterior(&x, &y, 100).unwrap_err().to_string().contains("more than the noise"));
    assert!(Process { noise: 0.0, ..process }.posterior(&x, &y, 100).is_err());
}

/// The stochastic normal equation gives the weights and the spread of their posterior.
#[test]
fn regression_has_the_posterior_of_the_weights() {
    let x = mat![[1.0, 0.1], [1.0, 0.4], [1.0, 0.9], [1.0, 1.7]];
    let y = [0.3, 0.5, 1.2, 1.9];
    let problem = regression(&x, &y, 0.3, 2.0).unwrap();
    let Problem::Solve { a, b } = &problem else { unreachable!() };
    let gram = x.transpose() * &x;
    let by_hand = |i: usize, j: usize| gram[(i, j)] / 0.09 + if i == j { 0.25 } else { 0.0 };
    assert!((0..4).all(|k| (a[(k / 2, k % 2)] - by_hand(k / 2, k % 2)).abs() < 1e-12));
    let outcome = found(&problem, Device::Rc, long(32.0 * 200.0), Key::new(410));
    let (weights, sigma) = (Factorisations.solve(a, b).unwrap(), Factorisations.inverse(a).unwrap());
    for i in 0..2 {
        let off = (outcome.answer.mean[(i, 0)] - weights[(i, 0)]).abs() / outcome.answer.error[(i, 0)];
        assert!(off < outcome.answer.quantile(1.0 - 1e-6 / 4.0));
        // Of 6400 time constants there are 3200 independent variances: 2.5 % each.
        let ratio = outcome.answer.variance[i] / sigma[(i, i)];
        assert!((ratio - 1.0).abs() < deviations(1e-6 / 4.0) * 0.025, "{ratio}");
    }
    assert!(regression(&x, &y[1..], 0.3, 2.0).is_err() && regression(&x, &y, 0.0, 2.0).is_err());
}

/// The board of github.com/colinc86/thermodynamic-solver.
fn two_nodes() -> Board {
    Board {
        name: "two RC nodes".into(),
        capacitors: vec![23.50e-9, 23.51e-9],
        drives: vec![
            Drive { node: 1, ohms: 4690.0, strength: 1.0 },
            Drive { node: 2, ohms: 4680.0, strength: 1.0 },
        ],
        resistors: vec![Resistor { nodes: [1, 2], ohms: 6830.0 }, Resistor { nodes: [2, 0], ohms: 9900.0 }],
        band: None,
        measured: Vec::new(),
    }
}

/// A board in all frequencies has the covariance of its Lyapunov equation, a wide band nearly that, and a simulation the
/// covariance of any band.
#[test]
fn boards_have_the_covariance_of_their_band() {
    let board = two_nodes();
    let all = board.covariance(None).unwrap();
    let wide = board.covariance(Some([0.0, 1e8])).unwrap();
    assert!(apart(&wide, &all) < 1e-4, "{}", apart(&wide, &all));
    let correlation = board.theory(Quantity::Correlation, None).unwrap();
    assert!((correlation - 0.3595).abs() < 1e-4, "{correlation}");
    let sum = all[(0, 0)] + all[(1, 1)];
    let ratio = (sum + 2.0 * all[(0, 1)]) / (sum - 2.0 * all[(0, 1)]);
    assert!((ratio - 2.11).abs() < 0.01, "{ratio}");
    let times = [Quantity::SlowestSeconds, Quantity::FastestSeconds].map(|q| board.theory(q, None).unwrap());
    assert!((times[0] - 92.0e-6).abs() < 0.1e-6 && (times[1] - 41.6e-6).abs() < 0.1e-6, "{times:?}");
    // Parts of a band add up.
    let parts =
        board.covariance(Some([200.0, 900.0])).unwrap() + board.covariance(Some([900.0, 5e4])).unwrap();
    assert!(apart(&parts, &board.covariance(Some([200.0, 5e4])).unwrap()) < 1e-9);

    let bands = [Some([200.0, 5e4]), Some([200.0, 500.0]), Some([2e3, 5e3])];
    const BLOCKS: usize = 64;
    let found = board.simulate(&bands, (BLOCKS, 1 << 14, 1e-6), SHARDS, Key::new(420)).unwrap();
    let z = deviations(1e-6 / 9.0);
    for (band, stretches) in bands.iter().zip(found) {
        let expected = board.covariance(*band).unwrap();
        for (i, j) in [(0, 0), (0, 1), (1, 1)] {
            let values: Vec<f64> = stretches.iter().map(|sigma| sigma[(i, j)]).collect();
            let mean = values.iter().sum::<f64>() / BLOCKS as f64;
            let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (BLOCKS - 1) as f64;
            let error = (variance / BLOCKS as f64).sqrt();
            // The edges of a band lie within half a line of the spectrum, 61 Hz apart: that is 10 % of the narrowest.
            let edges = 61.0 / (band.unwrap()[1] - band.unwrap()[0]);
            let off = (mean - expected[(i, j)]).abs();
            assert!(
                off < z * error + edges * expected[(i, j)],
                "{band:?} ({i}, {j}): {mean} ± {error}, not {}",
                expected[(i, j)]
            );
        }
    }
    let bad = |change: &dyn Fn(&mut Board), part: &str| {
        let mut board = two_nodes();
        change(&mut board);
        let error = board.covariance(None).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    bad(&|board| board.capacitors[1] = 0.0, "node 2");
    bad(&|board| board.drives[0].node = 3, "node 3 of 2");
    bad(&|board| board.resistors[0].nodes = [1, 1], "between nodes 1 and 1");
    bad(&|board| board.resistors[0].ohms = f64::NAN, "NaN ohm");
    bad(&|board| board.drives.clear(), "0 drives");
    bad(&|board| board.drives.iter_mut().for_each(|drive| drive.strength = 0.0), "strength");
    bad(&|board| board.band = Some([0.0, 1e200]), "1e200");
    let measured = |quantity, band, board| Measurement { quantity, band, board, error: None, model: None };
    bad(&|board| board.measured = vec![measured(Quantity::Correlation, Some([500.0, 200.0]), None)], "500");
    bad(&|board| board.measured = vec![measured(Quantity::Correlation, None, Some(f64::NAN))], "NaN");
    bad(
        &|board| {
            board.capacitors.truncate(1);
            (board.drives, board.resistors) = (vec![board.drives[0]], Vec::new());
            board.measured = vec![measured(Quantity::Correlation, None, None)];
        },
        "two nodes",
    );
}

/// Node voltages of a netlist, by time.
fn spice(text: &str) -> Vec<Vec<f64>> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("run.cir"), text).unwrap();
    let output = Command::new("ngspice").args(["-b", "run.cir"]).current_dir(folder.path()).output().unwrap();
    let table = std::fs::read_to_string(folder.path().join("run.data"))
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let row = |line: &str| line.split_whitespace().skip(1).map(|word| word.parse().unwrap()).collect();
    table.lines().skip(1).map(row).collect()
}

/// The covariance of the rows after a part of them, and its standard errors from twenty batches.
fn covariance(rows: &[Vec<f64>], skip: usize) -> (Mat<f64>, Mat<f64>) {
    const BATCHES: usize = 20;
    let (rows, n) = (&rows[skip..], rows[0].len());
    let each = rows.len() / BATCHES;
    let batches: Vec<Mat<f64>> = rows
        .chunks(each)
        .take(BATCHES)
        .map(|rows| Mat::from_fn(n, n, |i, j| rows.iter().map(|x| x[i] * x[j]).sum::<f64>() / each as f64))
        .collect();
    let mean = Mat::from_fn(n, n, |i, j| batches.iter().map(|b| b[(i, j)]).sum::<f64>() / BATCHES as f64);
    let error = Mat::from_fn(n, n, |i, j| {
        let squares = batches.iter().map(|b| (b[(i, j)] - mean[(i, j)]).powi(2)).sum::<f64>();
        (squares / (BATCHES * (BATCHES - 1)) as f64).sqrt()
    });
    (mean, error)
}

/// Cells and a board as circuits: the covariance of the node voltages in ngspice is C⁻¹ and Σ. Beside the error of twenty
/// batches, 1 % is allowed for noise that is joined by straight lines.
#[test]
fn circuits_have_the_covariance_of_their_machines() {
    if !ngspice() {
        return;
    }
    let a = mat![[2.0, -0.6, 0.3], [-0.6, 1.5, 0.0], [0.3, 0.0, 1.0]];
    let inverse = Factorisations.inverse(&a).unwrap();
    let array = CellArray { capacitance: a, inductance: 1.0, resistance: 1.0, kt: 1.0 };
    let units = Units::default();
    let second = units.ohms * units.farads;
    let transient = Transient { dt: 0.05 * second, end: 4000.0 * second };
    let rows = spice(&netlist::cells(&array, units, transient, "run.data").unwrap());
    let (found, error) = covariance(&rows, rows.len() / 50);
    // Student's t of 19: 7.1 at one in a million on both sides.
    let check = |found: &Mat<f64>, error: &Mat<f64>, expected: &Mat<f64>, what: &str| {
        for i in 0..expected.nrows() {
            for j in 0..=i {
                let allowed = 7.6 * error[(i, j)] + 0.01 * (expected[(i, i)] * expected[(j, j)]).sqrt();
                let off = (found[(i, j)] - expected[(i, j)]).abs();
                println!("{what} ({i}, {j}): {} ± {}, {}", found[(i, j)], error[(i, j)], expected[(i, j)]);
                assert!(off < allowed, "{what} ({i}, {j}): {}, not {}", found[(i, j)], expected[(i, j)]);
            }
        }
    };
    let volts = units.volts.powi(-2);
    check(&(found * faer::Scale(volts)), &(error * faer::Scale(volts)), &inverse, "cells");

    let board = two_nodes();
    let transient = Transient { dt: 2e-6, end: 0.4 };
    let density = 1e-9;
    let rows = spice(&netlist::board(&board, density, transient, "run.data").unwrap());
    let (found, error) = covariance(&rows, rows.len() / 50);
    check(&found, &error, &(board.covariance(None).unwrap() * faer::Scale(density)), "board");
}

/// Matrices of the wrong kind are refused, with their numbers.
#[test]
fn what_cannot_be_asked_is_refused() {
    let refused = |problem: Problem, parts: &[&str]| {
        let error = problem.program(Device::Rc, 1.0, &exact(), Key::new(0)).unwrap_err().to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    };
    let indefinite = mat![[1.0, 2.0], [2.0, 1.0]];
    refused(Problem::Inverse { a: (indefinite.clone()).into() }, &["-1", "must be positive"]);
    refused(Problem::Solve { a: laplacian(3).unwrap().into(), b: vec![1.0; 2] }, &["3 by 3", "2 by 2"]);
    refused(Problem::Solve { a: mat![[1.0, 0.5], [0.4, 1.0]].into(), b: vec![1.0; 2] }, &["symmetric"]);
    refused(Problem::Inverse { a: (mat![[f64::NAN]]).into() }, &["NaN", "row 0"]);
    refused(Problem::Inverse { a: (Mat::zeros(2, 3)).into() }, &["2 by 3"]);
    refused(Problem::Inverse { a: (mat![[1.0, 1.0], [1.0, 1.0]]).into() }, &["must be positive"]);
    refused(
        Problem::LogDeterminant { a: laplacian(2).unwrap().into(), over: Some(laplacian(3).unwrap().into()) },
        &["3 by 3"],
    );
    // Both ends of the path of a determinant.
    let negative = mat![[-0.001]];
    refused(
        Problem::LogDeterminant { a: mat![[1.0]].into(), over: Some(negative.into()) },
        &["must be positive"],
    );
    refused(Problem::Lyapunov { a: indefinite.clone().into(), d: laplacian(2).unwrap().into() }, &["-1"]);
    refused(Problem::Lyapunov { a: laplacian(2).unwrap().into(), d: indefinite.into() }, &["semi-definite"]);
    refused(Problem::Exponential { a: laplacian(2).unwrap().into(), time: -1.0 }, &["t = -1"]);
    refused(Problem::Exponential { a: laplacian(2).unwrap().into(), time: 1e4 }, &["overflows"]);
    assert!(conditioned(4, 0.5, Key::new(0)).is_err() && laplacian(0).is_err());
    let machine = Machine::general(
        OrnsteinUhlenbeck::new(mat![[1.0]], vec![0.0], mat![[2.0]]).unwrap(),
        &Precision { read_out: -1.0, ..exact() },
    );
    assert!(machine.is_err());
    // A step that is too long for the scheme runs away, and says when.
    let system = OrnsteinUhlenbeck::gradient(mat![[1.0]], vec![0.0], 1.0).unwrap();
    let steps = LinearSteps::<f64>::new(&system, Scheme::EulerMaruyama, 3.0, Key::new(0)).unwrap();
    let error = run(&steps, Mat::zeros(1, 2).into(), 5000, |_| {}).unwrap_err().to_string();
    assert!(error.contains("step"), "{error}");
}
