//! Spins: Gibbs sampling and parallel tempering against enumeration and Onsager, with derived thresholds.

use rand::RngExt;
use thermograd::{
    Chains, Correlation, Error, Gibbs, Key, Ladder, Landscape, Metropolis, Replicas, SpinProblem, Spins,
    Tempering, run,
};

use crate::common::{chi_squared, deviations};

/// A random graph of `n` spins with fields, and its couplings.
fn random(n: usize, density: f32, key: Key) -> (Vec<f64>, Vec<([usize; 2], f64)>) {
    let fields = key.fork("fields").normals(0, 1, n).into_iter().map(|h| 0.4 * f64::from(h)).collect();
    let noise = key.fork("couplings").normals(0, n, 2 * n);
    let couplings = (0..n).flat_map(|i| (0..i).map(move |j| [i, j]));
    let present = couplings.filter(|&[i, j]| noise[2 * (i * n + j)].abs() < 3.0 * density);
    let value = |[i, j]: [usize; 2]| ([i, j], 0.5 * f64::from(noise[2 * (i * n + j) + 1]));
    (fields, present.map(value).collect())
}

/// −βE of every state, by the definition.
fn exponents(fields: &[f64], couplings: &[([usize; 2], f64)], beta: f64) -> Vec<f64> {
    let n = fields.len();
    let energy = |state: usize| {
        let s = |i: usize| if state >> i & 1 == 1 { 1.0 } else { -1.0 };
        let fields = (0..n).map(|i| fields[i] * s(i)).sum::<f64>();
        fields + couplings.iter().map(|&([i, j], coupling)| coupling * s(i) * s(j)).sum::<f64>()
    };
    (0..1 << n).map(|state| -beta * energy(state)).collect()
}

fn probabilities(exponents: &[f64]) -> Vec<f64> {
    let weights: Vec<f64> = exponents.iter().map(|exponent| exponent.exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / sum).collect()
}

/// The number of the state of a chain.
fn state(spins: &Spins, chains: &Chains, chain: usize) -> usize {
    (0..spins.len()).map(|spin| usize::from(chains.of(spins, spin)[chain] > 0) << spin).sum()
}

/// The state of 20,000 independent chains after 60 sweeps is a sample of exp(−βE).
#[test]
fn states_of_small_graphs_are_drawn_with_their_boltzmann_weights() {
    for (n, density, seed) in [(1, 0.5, 1), (2, 1.0, 2), (5, 1.0, 3), (9, 0.4, 4), (12, 0.3, 5)] {
        let (fields, couplings) = random(n, density, Key::new(seed));
        let spins = Spins::new(&fields, &couplings).unwrap();
        let gibbs = Gibbs::new(&spins, 0.8, Key::new(100 + seed)).unwrap();
        let start = Chains::random(&spins, 20_000, Key::new(200 + seed));
        let end = run(&gibbs, start, 60, |_| {}).unwrap();
        let mut counts = vec![0; 1 << n];
        (0..end.count()).for_each(|chain| counts[state(&spins, &end, chain)] += 1);
        let found = chi_squared(&counts, &probabilities(&exponents(&fields, &couplings, 0.8)));
        let allowed = deviations(1e-6 / 5.0);
        println!(
            "{n} spins, {} couplings, {} colours: {found:.2} of {allowed:.2}",
            spins.pairs(),
            spins.colours()
        );
        assert!(found < allowed);
    }
}

/// What goes wrong when coupled spins are drawn together: two spins then sit at a total variation of 0.38 from their
/// distribution. The same statistic, on the same number of samples, sees it.
#[test]
fn drawing_coupled_spins_together_would_be_seen() {
    let p = probabilities(&exponents(&[0.0; 2], &[([0, 1], -1.0)], 1.0));
    // Each is drawn under the old value of the other: four states alike.
    let together = [5000; 4];
    assert!(chi_squared(&together, &p) > 10.0 * deviations(1e-6));
    let variation = p.iter().map(|p| (p - 0.25).abs()).sum::<f64>() / 2.0;
    assert!((variation - 0.38).abs() < 0.01, "{variation}");
}

/// A chain of one spin is τ = ½; one with fields of their own for each chain has their means.
#[test]
fn fields_of_chains_and_independent_sweeps() {
    let spins = Spins::new(&[0.0; 3], &[]).unwrap();
    let fields: Vec<f32> = (0..3 * 200).map(|k| 0.01 * k as f32 - 3.0).collect();
    let gibbs = Gibbs::new(&spins, 0.7, Key::new(1)).unwrap().with_fields(200, &fields).unwrap();
    let mut sums = vec![0.0; 600];
    let mut series = vec![Vec::new(); 200];
    let sweeps = 4000;
    run(&gibbs, Chains::random(&spins, 200, Key::new(2)), sweeps, |step| {
        for spin in 0..3 {
            for (chain, &s) in step.after.of(&spins, spin).iter().enumerate() {
                sums[spin * 200 + chain] += f64::from(s) / sweeps as f64;
                if spin == 1 {
                    series[chain].push(f64::from(s));
                }
            }
        }
    })
    .unwrap();
    let allowed = deviations(1e-6 / 600.0);
    for (sum, &h) in sums.iter().zip(&fields) {
        let mean = (-0.7 * f64::from(h)).tanh();
        let error = ((1.0 - mean * mean) / sweeps as f64).sqrt();
        assert!((sum - mean).abs() < allowed * error, "{sum} instead of {mean}");
    }
    let tau = Correlation::of(&series[100..101]).unwrap();
    assert!((tau.tau - 0.5).abs() < deviations(1e-6) * tau.tau_error, "{tau:?}");
    assert!(gibbs.clone().with_fields(100, &fields).is_err());
    assert!(run(&gibbs, Chains::random(&spins, 3, Key::new(3)), 1, |_| {}).is_err());
}

/// Onsager's energy of the square lattice (Phys. Rev. 65, 117, 1944):
/// E/N = −J coth 2K (1 + (2/π)(2 tanh² 2K − 1) K₁(k)), k = 2 sinh 2K/cosh² 2K, with J = 1 and K = β.
pub fn onsager(beta: f64) -> f64 {
    let (k, t) = (2.0 * beta, (2.0 * beta).tanh());
    let modulus = 2.0 * k.sinh() / k.cosh().powi(2);
    // The complete elliptic integral by the arithmetic–geometric mean.
    let (mut a, mut g) = (1.0, (1.0 - modulus * modulus).max(0.0).sqrt());
    while (a - g).abs() > 1e-15 {
        (a, g) = ((a + g) / 2.0, (a * g).sqrt());
    }
    let elliptic = std::f64::consts::PI / (2.0 * a);
    -(1.0 + 2.0 / std::f64::consts::PI * (2.0 * t * t - 1.0) * elliptic) / t
}

/// Refuses an exact energy per spin that chains on a torus do not have, after some sweeps and over some more.
fn energy_is(exact: f64, side: usize, beta: f64, chains: usize, [warm, sweeps]: [usize; 2], seeds: [u64; 3]) {
    let torus = Spins::grid(side, side, true, -1.0).unwrap();
    let [first, start, second] = seeds.map(Key::new);
    let gibbs = Gibbs::new(&torus, beta, first).unwrap();
    let warm = run(&gibbs, Chains::random(&torus, chains, start), warm, |_| {}).unwrap();
    let mut series = vec![Vec::new(); chains];
    let gibbs = Gibbs::new(&torus, beta, second).unwrap();
    run(&gibbs, warm, sweeps, |step| {
        for (series, energy) in series.iter_mut().zip(torus.energies(&step.after)) {
            series.push(energy / torus.len() as f64);
        }
    })
    .unwrap();
    let found = Correlation::of(&series).unwrap();
    let allowed = deviations(1e-6) * found.standard_error();
    println!("{} ± {:.1e} at tau {:.1}, exactly {exact}", found.mean, found.standard_error(), found.tau);
    assert!((found.mean - exact).abs() < allowed, "{} instead of {exact}, {allowed:e} allowed", found.mean);
}

/// At β = 0.3 a torus of 64 × 64 is large against its correlation length of 2, so its energy is Onsager's to e⁻³⁰.
#[test]
fn the_energy_of_the_square_lattice_is_onsagers() {
    energy_is(onsager(0.3), 64, 0.3, 16, [200, 600], [8, 9, 10]);
}

/// −∂ ln Z/∂K per spin of an `l` × `l` torus with J = 1 and K = β, by B. Kaufman's partition function (Phys. Rev. 76, 1232,
/// 1949): Z = ½ (2 sinh 2K)^(N/2) (Π 2cosh(lγ_odd/2) + Π 2sinh(lγ_odd/2) + Π 2cosh(lγ_even/2) + Π 2sinh(lγ_even/2)).
fn kaufman(l: usize, beta: f64) -> f64 {
    let logarithm = |k: f64| {
        let gamma = |number: usize| {
            let angle = std::f64::consts::PI * number as f64 / l as f64;
            match number {
                0 => 2.0 * k + k.tanh().ln(),
                _ => ((2.0 * k).cosh() / (2.0 * k).tanh() - angle.cos()).acosh(),
            }
        };
        let half = l as f64 / 2.0;
        // The products as logarithms of their sizes and signs.
        let product = |odd: usize, f: fn(f64) -> f64| {
            let factors = (0..l).map(|r| 2.0 * f(half * gamma(2 * r + odd)));
            factors.fold((0.0, 1.0), |(log, sign), factor: f64| {
                (log + factor.abs().ln(), sign * factor.signum())
            })
        };
        let terms =
            [product(1, f64::cosh), product(1, f64::sinh), product(0, f64::cosh), product(0, f64::sinh)];
        let largest = terms.iter().map(|term| term.0).fold(f64::MIN, f64::max);
        let sum: f64 = terms.iter().map(|(log, sign)| sign * (log - largest).exp()).sum();
        (l * l) as f64 / 2.0 * (2.0 * (2.0 * k).sinh()).ln() + largest + sum.ln()
    };
    let step = 1e-5;
    -(logarithm(beta + step) - logarithm(beta - step)) / (2.0 * step * (l * l) as f64)
}

/// At β = 0.44, next to the transition, finite lattices have energies of their own: Kaufman's, which on 4 × 4 is that of all
/// states, and which Gibbs sampling of 16 × 16 has.
#[test]
fn the_energy_of_a_small_lattice_at_the_transition_is_kaufmans() {
    let four = Spins::grid(4, 4, true, -1.0).unwrap();
    let (mut weights, mut sum) = (0.0, 0.0);
    for state in 0..1 << 16 {
        let spins: Vec<i8> = (0..16).map(|i| if state >> i & 1 == 1 { 1 } else { -1 }).collect();
        let energy = four.energies(&Chains::alike(&four, 1, &spins).unwrap())[0];
        let weight = (-0.44 * (energy + 32.0)).exp();
        (weights, sum) = (weights + weight, sum + weight * energy / 16.0);
    }
    let (exact, found) = (sum / weights, kaufman(4, 0.44));
    assert!((exact - found).abs() < 1e-6, "{found} instead of {exact}");

    energy_is(kaufman(16, 0.44), 16, 0.44, 128, [3000, 4000], [11, 12, 13]);
}

/// Every rung of a ladder samples its own temperature, though replicas move: by the heat bath, by the rule of Metropolis, and with
/// clusters that two ladders exchange, counted one ladder of a pair at a time.
#[test]
fn every_rung_of_a_ladder_has_the_weights_of_its_temperature() {
    let (fields, couplings) = random(6, 0.8, Key::new(21));
    let spins = Spins::new(&fields, &couplings).unwrap();
    let betas = [0.3, 0.8, 1.6, 3.0];
    const LADDERS: usize = 5000;
    fn ends<L: Landscape>(landscape: &L, betas: [f64; 4], clusters: bool) -> Replicas<L::Chains> {
        let ladder = Ladder::new(betas.to_vec()).unwrap();
        let tempering = Tempering::new(landscape, ladder, LADDERS, Key::new(22));
        let tempering = if clusters { tempering.with_clusters() } else { tempering };
        run(&tempering, tempering.start(Key::new(23)), 200, |_| {}).unwrap()
    }
    let metropolis = Metropolis(&spins);
    let all = [
        ends(&spins, betas, false),
        ends(&metropolis, betas, false),
        ends(&spins, betas, true),
        ends(&metropolis, betas, true),
    ];
    for (kind, end) in all.iter().enumerate() {
        assert!(end.acceptance().iter().all(|&part| part > 0.05 && part < 1.0), "{:?}", end.acceptance());
        assert!(end.round_trips() > 0);
        let sides: &[usize] = if kind < 2 { &[0] } else { &[0, 1] };
        for (rung, beta) in betas.into_iter().enumerate() {
            for &side in sides {
                let mut counts = vec![0; 64];
                for ladder in (side..LADDERS).step_by(sides.len()) {
                    counts[state(&spins, &end.chains, end.on(ladder, rung))] += 1;
                }
                let found = chi_squared(&counts, &probabilities(&exponents(&fields, &couplings, beta)));
                println!("{kind}, beta {beta}: {found:.2}");
                assert!(found < deviations(1e-6 / 24.0), "{kind}, beta {beta}: {found}");
            }
        }
        let anew = spins.energies(&end.chains);
        assert!(end.energies.iter().zip(anew).all(|(carried, anew)| (carried - anew).abs() < 1e-4));
    }
}

/// Clusters change two chains and keep the sum of their energies, and both energies are those of the definition.
#[test]
fn clusters_keep_the_sum_of_two_energies() {
    // Halves add up without rounding.
    let spins = {
        let mut rng = Key::new(41).rng();
        let place = |row: usize, column: usize| 8 * (row % 8) + column % 8;
        let pairs = (0..8).flat_map(|r| (0..8).map(move |c| (r, c)));
        let pairs = pairs.flat_map(|(r, c)| [[place(r, c), place(r + 1, c)], [place(r, c), place(r, c + 1)]]);
        let couplings: Vec<([usize; 2], f64)> =
            pairs.map(|pair| (pair, 0.5 * f64::from(rng.random_range(-3_i32..=3)))).collect();
        let fields: Vec<f64> = (0..64).map(|_| 0.5 * f64::from(rng.random_range(-1_i32..=1))).collect();
        Spins::new(&fields, &couplings).unwrap()
    };
    let mut chains = spins.random(20, Key::new(42));
    let mut energies = spins.energies(&chains);
    let (mut rng, mut changed) = (Key::new(43).rng(), 0);
    for _ in 0..1000 {
        let [a, b] = [rng.random_range(0..20), rng.random_range(0..20)];
        let (before, all) = (energies[a] + energies[b], energies.clone());
        if a == b {
            continue;
        }
        Landscape::isoenergetic(&spins, &mut chains, &mut energies, [a, b], &mut rng);
        assert_eq!(energies[a] + energies[b], before);
        assert_eq!(energies, spins.energies(&chains));
        changed += usize::from(energies != all);
    }
    println!("{changed} of 1000 clusters changed energies");
    assert!(changed > 100);
}

/// Exchanges of the adapted ladder are accepted about equally often, of the geometric one not.
#[test]
fn an_adapted_ladder_is_accepted_equally_often() {
    let torus = Spins::grid(16, 16, true, -1.0).unwrap();
    let measure = |ladder: Ladder, key: Key| {
        let tempering = Tempering::new(&torus, ladder, 4, key);
        let warm = run(&tempering, tempering.start(key.fork("start")), 500, |_| {}).unwrap();
        run(&tempering, warm, 4000, |_| {}).unwrap()
    };
    let spread = |acceptance: &[f64]| {
        let most = acceptance.iter().copied().fold(0.0, f64::max);
        most - acceptance.iter().copied().fold(1.0, f64::min)
    };
    let ladder = Ladder::geometric(0.1, 0.8, 9).unwrap();
    let before = measure(ladder.clone(), Key::new(31));
    let adapted = ladder.adapted(&torus, 5, 2000, Key::new(32)).unwrap();
    let after = measure(adapted.clone(), Key::new(33));
    let spreads = [&before, &after].map(|replicas| spread(&replicas.acceptance()));
    println!("{:?} {:?} {spreads:?}", before.acceptance(), after.acceptance());
    assert!(spreads[1] < 0.15 && spreads[1] < spreads[0] / 2.0);
    assert!(after.round_trips() > before.round_trips() / 2);
    assert_eq!((adapted.betas()[0], adapted.betas()[8]), (0.1, 0.8));
}

#[test]
fn temperatures_and_ladders_that_are_none_are_refused() {
    let spins = Spins::new(&[0.0], &[]).unwrap();
    for beta in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e300] {
        let error = Gibbs::new(&spins, beta, Key::new(1)).unwrap_err();
        assert!(matches!(error, Error::Spins(SpinProblem::Beta { .. })), "{error}");
        assert!(Ladder::new(vec![0.5, beta]).is_err());
    }
    for (betas, index) in [(vec![], 0), (vec![1.0], 1), (vec![1.0, 1.0], 1), (vec![1.0, 2.0, 1.5], 2)] {
        let error = Ladder::new(betas).unwrap_err();
        assert!(matches!(error, Error::Spins(SpinProblem::Ladder { index: found, .. }) if found == index));
    }
    assert!(Chains::alike(&spins, 2, &[1, 1]).is_err());
}
