//! Linear dynamics: exact steps, the orders of the others, and what is refused.

use faer::linalg::solvers::Solve;
use faer::{Mat, mat};
use thermograd::{Dynamics, Error, Key, LinearProblem, LinearSteps, OrnsteinUhlenbeck, Scheme, run};

use crate::common::deviations;

fn diagonal(values: &[f64]) -> Mat<f64> {
    Mat::from_fn(values.len(), values.len(), |i, j| if i == j { values[i] } else { 0.0 })
}

/// Drifts and noises: symmetric, non-normal, rotating, stiff; noise that is correlated, nearly singular or singular.
fn systems() -> Vec<(&'static str, OrnsteinUhlenbeck)> {
    let symmetric = mat![[2.0, 0.5, 0.0], [0.5, 1.0, -0.3], [0.0, -0.3, 0.7]];
    let cases = [
        ("symmetric", symmetric.clone(), diagonal(&[2.0; 3])),
        (
            "symmetric under correlated noise",
            symmetric,
            mat![[2.0, 1.2, 0.3], [1.2, 1.5, 0.0], [0.3, 0.0, 0.4]],
        ),
        ("non-normal", mat![[1.0, 4.0], [0.0, 1.5]], diagonal(&[2.0; 2])),
        ("non-normal under correlated noise", mat![[1.0, 4.0], [0.0, 1.5]], mat![[1.0, -0.9], [-0.9, 1.0]]),
        ("rotating", mat![[0.2, 3.0], [-3.0, 0.2]], diagonal(&[1.0, 0.1])),
        ("under nearly singular noise", mat![[1.0, 0.4], [0.1, 2.0]], mat![[1.0, 1.0], [1.0, 1.0 + 1e-13]]),
        ("underdamped, under singular noise", mat![[0.0, -1.0], [4.0, 0.6]], diagonal(&[0.0, 1.2])),
        ("stiff", mat![[1e4, 30.0], [30.0, 1.0]], diagonal(&[2.0; 2])),
    ];
    let system = |(name, a, d): (&'static str, Mat<f64>, Mat<f64>)| {
        let b = (0..a.nrows()).map(|i| 1.0 - 0.7 * i as f64).collect();
        (name, OrnsteinUhlenbeck::new(a, b, d).unwrap_or_else(|error| panic!("{name}: {error}")))
    };
    cases.into_iter().map(system).collect()
}

/// Σ of AΣ + ΣAᵀ = D as a system of n² linear equations: another way than the product's.
fn lyapunov(system: &OrnsteinUhlenbeck) -> Mat<f64> {
    let (a, n) = (system.drift(), system.size());
    let equations = Mat::from_fn(n * n, n * n, |row, column| {
        let ((i, j), (k, l)) = ((row / n, row % n), (column / n, column % n));
        let left = if j == l { a[(i, k)] } else { 0.0 };
        left + if i == k { a[(j, l)] } else { 0.0 }
    });
    let d = Mat::from_fn(n * n, 1, |row, _| system.diffusion()[(row / n, row % n)]);
    let sigma = equations.partial_piv_lu().solve(d);
    Mat::from_fn(n, n, |i, j| sigma[(i * n + j, 0)])
}

fn apart(a: &Mat<f64>, b: &Mat<f64>) -> f64 {
    (a - b).norm_l2() / b.norm_l2()
}

/// The stationary covariance solves its equation, and steps of any length keep it: FΣFᵀ + Q = Σ. Two steps of half the
/// length are one of the whole, and the mean comes to rest where Ax = b.
#[test]
fn exact_steps_keep_the_stationary_state() {
    for (name, system) in systems() {
        let sigma = lyapunov(&system);
        let found = system.stationary().unwrap();
        assert!(apart(&found, &sigma) < 1e-9, "{name}: {:e}", apart(&found, &sigma));
        let n = system.size();
        let b = Mat::from_fn(n, 1, |i, _| system.force()[i]);
        let rest = system.drift().partial_piv_lu().solve(b);
        for h in [1e-3, 0.3, 2.0, 50.0] {
            let step = system.transition(h).unwrap();
            let f = &step.propagator;
            let kept = f * &sigma * f.transpose() + &step.covariance;
            assert!(apart(&kept, &sigma) < 1e-9, "{name}, h = {h}: {:e}", apart(&kept, &sigma));
            let half = system.transition(h / 2.0).unwrap();
            let twice = &half.propagator * &half.covariance * half.propagator.transpose() + &half.covariance;
            assert!(apart(&twice, &step.covariance) < 1e-9, "{name}, h = {h}");
            let moved = f * &rest + Mat::from_fn(n, 1, |i, _| step.shift[i]);
            assert!(apart(&moved, &rest) < 1e-9, "{name}, h = {h}: {:e}", apart(&moved, &rest));
        }
    }
}

/// A rotation with decay and a triangular matrix have exponentials that are known.
#[test]
fn propagators_are_matrix_exponentials() {
    let (decay, turn, h) = (0.2, 3.0, 0.9_f64);
    let system =
        OrnsteinUhlenbeck::new(mat![[decay, turn], [-turn, decay]], vec![0.0; 2], diagonal(&[1.0; 2]));
    let (sin, cos) = (turn * h).sin_cos();
    let exact = mat![[cos, -sin], [sin, cos]] * faer::Scale((-decay * h).exp());
    assert!(apart(&system.unwrap().transition(h).unwrap().propagator, &exact) < 1e-13);
    let system =
        OrnsteinUhlenbeck::new(mat![[1.0, 4.0], [0.0, 1.5]], vec![0.0; 2], diagonal(&[1.0; 2])).unwrap();
    let (slow, fast) = ((-h).exp(), (-1.5 * h).exp());
    let exact = mat![[slow, 4.0 * (fast - slow) / 0.5], [0.0, fast]];
    assert!(apart(&system.transition(h).unwrap().propagator, &exact) < 1e-13);
}

/// Samples of two steps from a fixed start have the covariance of the transition, on the cases that are wrong in
/// thermox 0.0.6 among others.
#[test]
fn samples_of_exact_steps_have_their_covariance() {
    const CHAINS: usize = 40_000;
    for (index, (name, system)) in systems().into_iter().enumerate() {
        let (h, n) = (0.4, system.size());
        let steps = LinearSteps::<f64>::new(&system, Scheme::Exact, h, Key::new(90 + index as u64)).unwrap();
        let end = run(&steps, Mat::from_fn(n, CHAINS, |i, _| i as f64).into(), 2, |_| {}).unwrap().x;
        let whole = system.transition(2.0 * h).unwrap();
        let start = Mat::from_fn(n, 1, |i, _| i as f64);
        let mean = &whole.propagator * start + Mat::from_fn(n, 1, |i, _| whole.shift[i]);
        let q = |i: usize, j: usize| whole.covariance[(i, j)];
        // Entries of means and covariances, n(n + 3)/2 each of eight systems.
        let z = deviations(1e-6 / 100.0);
        for i in 0..n {
            let found = (0..CHAINS).map(|c| end[(i, c)]).sum::<f64>() / CHAINS as f64;
            let allowed = z * (q(i, i) / CHAINS as f64).sqrt() + 1e-6;
            assert!(
                (found - mean[(i, 0)]).abs() < allowed,
                "{name}: mean {i} is {found}, not {}",
                mean[(i, 0)]
            );
            for j in 0..=i {
                let product = |c: usize| (end[(i, c)] - mean[(i, 0)]) * (end[(j, c)] - mean[(j, 0)]);
                let found = (0..CHAINS).map(product).sum::<f64>() / CHAINS as f64;
                // Var x_i x_j = Q_ii Q_jj + Q_ij² (Isserlis).
                let allowed = z * ((q(i, i) * q(j, j) + q(i, j).powi(2)) / CHAINS as f64).sqrt() + 1e-6;
                assert!((found - q(i, j)).abs() < allowed, "{name}: Q{i}{j} is {found}, not {}", q(i, j));
            }
        }
    }
}

/// The stationary covariance of a scheme, without noise: that of x and, for Leimkuhler–Matthews, of the random number that
/// the next step will use again.
fn stationary_of(system: &OrnsteinUhlenbeck, scheme: Scheme, h: f64) -> Mat<f64> {
    let n = system.size();
    let f = Mat::<f64>::identity(n, n) - system.drift() * faer::Scale(h);
    let d = system.diffusion() * faer::Scale(h);
    let mut sigma = Mat::<f64>::zeros(n, n);
    for _ in 0..(40.0 / h) as usize {
        sigma = match scheme {
            // ⟨x ξᵀ⟩√Dᵀ√h = D h/2 for the number that came in with the last step.
            Scheme::LeimkuhlerMatthews => {
                let cross = &f * &d * faer::Scale(0.25);
                &f * &sigma * f.transpose() + &cross + cross.transpose() + &d * faer::Scale(0.5)
            }
            _ => &f * &sigma * f.transpose() + &d,
        };
    }
    sigma
}

/// Euler's stationary covariance is wrong in the first order of the step. Leimkuhler–Matthews is right for symmetric drifts
/// and isotropic noise, and else wrong in the first order or less. The slope of ln error against ln h is the order.
#[test]
fn schemes_have_their_orders() {
    for (name, system) in systems().into_iter().take(4) {
        let sigma = lyapunov(&system);
        let error = |scheme, h| apart(&stationary_of(&system, scheme, h), &sigma);
        let order = |scheme| (error(scheme, 0.02) / error(scheme, 0.01)).log2();
        let euler = order(Scheme::EulerMaruyama);
        assert!((euler - 1.0).abs() < 0.05, "{name}: order {euler} of Euler–Maruyama");
        let exact = error(Scheme::LeimkuhlerMatthews, 0.02);
        println!("{name}: Euler order {euler}, Leimkuhler–Matthews error {exact:e}");
        match name {
            "symmetric" => assert!(exact < 1e-12, "{exact:e}"),
            _ => {
                let order = order(Scheme::LeimkuhlerMatthews);
                println!("{name}: order {order} of Leimkuhler–Matthews");
                assert!(order > 0.95, "{name}: {order}");
            }
        }
    }
}

/// Variances of one mode by both schemes with steps that are not small, measured: 1/λ, and 1/(λ(1 − hλ/2)).
#[test]
fn variances_of_large_steps_are_as_derived() {
    const CHAINS: usize = 4000;
    let system = OrnsteinUhlenbeck::gradient(mat![[2.0]], vec![0.0], 1.0).unwrap();
    for (scheme, h) in
        [(Scheme::LeimkuhlerMatthews, 0.75), (Scheme::EulerMaruyama, 0.5), (Scheme::Exact, 3.0)]
    {
        let steps = LinearSteps::<f64>::new(&system, scheme, h, Key::new(98)).unwrap();
        let end = run(&steps, Mat::zeros(1, CHAINS).into(), 60, |_| {}).unwrap().x;
        let found = (0..CHAINS).map(|c| end[(0, c)].powi(2)).sum::<f64>() / CHAINS as f64;
        let exact = if scheme == Scheme::EulerMaruyama { 0.5 / (1.0 - h) } else { 0.5 };
        let allowed = deviations(1e-6 / 3.0) * exact * (2.0 / CHAINS as f64).sqrt();
        println!("{scheme:?}: {found} instead of {exact} ± {allowed}");
        assert!((found - exact).abs() < allowed);
    }
}

/// Modes do what the components do: the same state, turned.
#[test]
fn modes_have_the_statistics_of_the_components() {
    let (_, system) = systems().remove(0);
    let (modes, vectors) = system.modes().unwrap();
    let turned = &vectors * modes.stationary().unwrap() * vectors.transpose();
    assert!(apart(&turned, &system.stationary().unwrap()) < 1e-12);
    let step = modes.transition(0.7).unwrap();
    let shift = &vectors * Mat::from_fn(3, 1, |i, _| step.shift[i]);
    let whole = system.transition(0.7).unwrap();
    assert!((0..3).all(|i| (shift[(i, 0)] - whole.shift[i]).abs() < 1e-12));
    assert!(systems().remove(2).1.modes().is_none());
}

#[test]
fn what_does_not_come_to_rest_is_refused() {
    let new = |a, b, d| OrnsteinUhlenbeck::new(a, b, d).unwrap_err();
    let unit = || diagonal(&[1.0; 2]);
    let problem = |error| match error {
        Error::Linear(problem) => problem,
        other => panic!("{other}"),
    };
    let unstable = problem(new(mat![[1.0, 2.0], [2.0, 1.0]], vec![0.0; 2], unit()));
    assert!(matches!(unstable, LinearProblem::Unstable { rate } if (rate + 1.0).abs() < 1e-12), "{unstable}");
    let wide = problem(new(mat![[1.0, 2.0]], vec![0.0; 2], unit()));
    assert!(matches!(wide, LinearProblem::Size { what: "A", rows: 1, columns: 2, expected: 2 }), "{wide}");
    let nan = problem(new(mat![[1.0, 0.0], [f64::NAN, 1.0]], vec![0.0; 2], unit()));
    assert!(matches!(nan, LinearProblem::NotFinite { what: "A", row: 1, column: 0, .. }), "{nan}");
    let infinite = problem(new(unit(), vec![0.0, f64::INFINITY], unit()));
    assert!(matches!(infinite, LinearProblem::NotFinite { what: "b", row: 1, .. }), "{infinite}");
    let skew = problem(new(unit(), vec![0.0; 2], mat![[1.0, 0.5], [0.4, 1.0]]));
    assert!(matches!(skew, LinearProblem::NotSymmetric { what: "D", .. }), "{skew}");
    let negative = problem(new(unit(), vec![0.0; 2], mat![[1.0, 2.0], [2.0, 1.0]]));
    assert!(matches!(negative, LinearProblem::NotDefinite { what: "D", .. }), "{negative}");
    let system = OrnsteinUhlenbeck::gradient(unit(), vec![0.0; 2], 1.0).unwrap();
    for h in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(system.transition(h).is_err(), "{h}");
        assert!(LinearSteps::<f64>::new(&system, Scheme::EulerMaruyama, h, Key::new(0)).is_err(), "{h}");
    }
    assert!(OrnsteinUhlenbeck::gradient(mat![[1.0, 0.1], [0.0, 1.0]], vec![0.0; 2], 1.0).is_err());
    let steps = LinearSteps::<f64>::new(&system, Scheme::Exact, 0.5, Key::new(0)).unwrap();
    assert!((steps.time(4) - 2.0).abs() < 1e-12);
}
