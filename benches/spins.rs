//! Gibbs sampling of a square lattice, in spin updates per second of one core.
//!
//! `cargo bench --workspace --bench spins` prints, from one run on one thread, couplings in single precision and fields computed
//! anew for every update: one chain on a torus of 256 × 256; 64 chains on one of 70 × 70; the random words alone; and, if
//! `python3 -c "import thrml"` works (or `THERMOGRAD_PYTHON` names a Python where it does), the same lattices in THRML.

#[path = "peers/mod.rs"]
mod peers;

use std::hint::black_box;

use peers::{peer, table};
use thermograd::{Chains, Gibbs, Key, Spins, run};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Inverse temperature: the lattice orders above 0.4407.
const BETA: f64 = 0.44;

struct Job {
    spins: Spins,
    start: Chains,
    sweeps: usize,
}

impl Job {
    fn new(side: usize, chains: usize, sweeps: usize) -> Self {
        let spins = Spins::grid(side, side, true, -1.0).expect("a torus");
        let start = Chains::random(&spins, chains, Key::new(1));
        Self { spins, start, sweeps }
    }

    fn sample(&self) -> Chains {
        let gibbs = Gibbs::new(&self.spins, BETA, Key::new(2)).expect("a temperature");
        run(&gibbs, self.start.clone(), self.sweeps, |_| {}).expect("the chains of these spins")
    }

    fn updates(&self) -> f64 {
        (self.spins.len() * self.start.count() * self.sweeps) as f64
    }
}

fn main() {
    let (one, many) = (Job::new(256, 1, 20), Job::new(70, 64, 20));
    let words = (one.updates() as usize, Key::new(3));
    let [alone, together, noise] = table([
        ("one chain, 256 x 256", &mut || drop(black_box(one.sample()))),
        ("64 chains, 70 x 70", &mut || drop(black_box(many.sample()))),
        ("uniform numbers", &mut || drop(black_box(words.1.uniforms(0, 1, words.0)))),
    ]);
    let (alone, together) = (one.updates() / alone, many.updates() / together);
    println!("one chain   {alone:9.3e} updates per second");
    println!("64 chains   {together:9.3e} updates per second");
    println!("uniforms    {:9.3e} per second", words.0 as f64 / noise);
    match peer("thrml_torus.py", ["one", "many"]) {
        None => println!("THRML: not found (set THERMOGRAD_PYTHON to a Python that has it)"),
        Some([one, many]) => {
            println!("THRML, one chain    {one:9.3e} updates per CPU-second; ours are {:.1} x", alone / one);
            println!(
                "THRML, 64 chains    {many:9.3e} updates per CPU-second; ours are {:.1} x",
                together / many
            );
        }
    }
}
