//! Samples of a linear machine, in components × steps per second of one core.
//!
//! `cargo bench --workspace --bench linear` prints, from one run on one thread, 64 components in double precision: exact steps of one
//! chain and of 32, by a dense propagator and by modes (with the way back to the components); Leimkuhler–Matthews steps; the
//! normal numbers alone; and, if `python3 -c "import thermox"` works (or `THERMOGRAD_PYTHON` names a Python where it does), the
//! same in thermox.

#[path = "peers/mod.rs"]
mod peers;

use std::hint::black_box;

use faer::Mat;
use peers::{peer, table};
use thermograd::{Key, LinearSteps, OrnsteinUhlenbeck, Scheme, run};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const D: usize = 64;

/// Rates from 0.1 to 1 in a random basis.
fn system() -> OrnsteinUhlenbeck {
    let normals = Key::new(1).normals(0, D, D);
    let basis = Mat::from_fn(D, D, |i, j| f64::from(normals[i * D + j])).qr().compute_Q();
    let rate = |k: usize| 10.0_f64.powf(k as f64 / (D - 1) as f64 - 1.0);
    let a = Mat::from_fn(D, D, |i, j| (0..D).map(|k| basis[(i, k)] * rate(k) * basis[(j, k)]).sum::<f64>());
    let a = (&a + a.transpose()) * faer::Scale(0.5);
    OrnsteinUhlenbeck::gradient(a, vec![0.0; D], 1.0).expect("a positive definite matrix")
}

/// The components of every step.
fn sample(steps: &LinearSteps, vectors: Option<&Mat<f64>>, chains: usize, count: usize) -> f64 {
    let mut sum = 0.0;
    run(steps, Mat::zeros(D, chains).into(), count, |step| {
        let x = match vectors {
            Some(vectors) => vectors * &step.after.x,
            None => step.after.x.clone(),
        };
        sum += x[(0, 0)];
    })
    .expect("steps that are stable");
    sum
}

fn main() {
    let system = system();
    let (modes, vectors) = system.modes().expect("a symmetric matrix");
    let steps = |system: &OrnsteinUhlenbeck, scheme| {
        LinearSteps::new(system, scheme, 1.0, Key::new(2)).expect("a step")
    };
    let (dense, modes) = (steps(&system, Scheme::Exact), steps(&modes, Scheme::Exact));
    let euler = steps(&system, Scheme::LeimkuhlerMatthews);
    let (one, many) = ((1, 3200), (32, 100));
    let count = (D * 3200) as f64;
    let [one_dense, one_modes, dense, modes, lm, noise] = table([
        ("one chain, dense", &mut || {
            black_box(sample(&dense, None, one.0, one.1));
        }),
        ("one chain, modes", &mut || {
            black_box(sample(&modes, Some(&vectors), one.0, one.1));
        }),
        ("32 chains, dense", &mut || {
            black_box(sample(&dense, None, many.0, many.1));
        }),
        ("32 chains, modes", &mut || {
            black_box(sample(&modes, Some(&vectors), many.0, many.1));
        }),
        ("32 chains, LM", &mut || {
            black_box(sample(&euler, None, many.0, many.1));
        }),
        ("normal numbers", &mut || {
            black_box((0..100).map(|k| Key::new(3).normals(k, 32, D)[0]).sum::<f32>());
        }),
    ]);
    let rates = [
        ("one chain, dense", one_dense),
        ("one chain, modes", one_modes),
        ("32 chains, dense", dense),
        ("32 chains, modes", modes),
        ("32 chains, Leimkuhler–Matthews", lm),
        ("normal numbers", noise),
    ];
    for (name, seconds) in rates {
        println!("{name:32} {:9.3e} components × steps per second", count / seconds);
    }
    match peer("thermox_sampling.py", ["scan", "associative", "many"]) {
        None => println!("thermox: not found (set THERMOGRAD_PYTHON to a Python that has it)"),
        Some([scan, associative, many]) => {
            let peer = scan.max(associative);
            println!("thermox, one chain, scan         {scan:9.3e} per CPU-second");
            println!("thermox, one chain, associative  {associative:9.3e} per CPU-second");
            println!("thermox, 32 chains               {many:9.3e} per CPU-second");
            println!("one chain: ours are {:.1} x", count / one_modes.min(one_dense) / peer);
            println!("32 chains: ours are {:.1} x", count / modes.min(dense) / many.max(peer));
        }
    }
}
