//! Memory of a gradient through many steps: 784 + 512 units, batch 256, 2500 steps.
//!
//! `cargo bench --workspace --bench memory` prints the memory that all states would take, what those that are kept
//! take, and the growth of the largest resident size of the process (Linux) while the gradient is computed.

use std::time::Instant;

use burn::tensor::{Device, Tensor};
use thermograd::{Group, Key, Schedule, Substrate, SubstrateConfig, Topology};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 256;
const UNITS: usize = 784 + 512;
const STEPS: usize = 2500;

/// The largest resident size so far, in MiB.
fn peak() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<f64>().ok().map(|kib| kib / 1024.0)
}

fn main() {
    let groups = [Group::free("visible", 784).unbiased(), Group::free("hidden", 512)];
    let mut topology = Topology::all_to_all(groups);
    topology.blocks.retain(|block| block.to == "hidden");
    let config = SubstrateConfig::new(topology).with_kt(0.1);
    let substrate = config.init(&Device::flex()).expect("a valid network").randomised(1.0, Key::new(1));
    let x0 = Tensor::zeros([BATCH, UNITS], &Device::flex());
    let gradient = |steps: usize| {
        let schedule = Schedule { dt: 1e-3, steps };
        let loss = |_: &Substrate, x: Tensor<2>| Ok((x.clone() * x).sum());
        substrate.pathwise(x0.clone(), &[], schedule, Key::new(2), loss).expect("shapes fit").0
    };
    gradient(2);
    let before = peak();
    let start = Instant::now();
    let loss = gradient(STEPS);
    let state = (BATCH * UNITS * size_of::<f32>()) as f64 / f64::from(1 << 20);
    println!(
        "{BATCH} x {UNITS} units x {STEPS} steps: loss {loss:.3e} after {:.1} s",
        start.elapsed().as_secs_f64()
    );
    println!("all states        {:8.0} MiB", state * STEPS as f64);
    let kept = STEPS.isqrt() + STEPS.div_ceil(STEPS.isqrt());
    println!("states kept       {:8.0} MiB ({kept} at once)", state * kept as f64);
    if let Some((before, after)) = before.zip(peak()) {
        println!("growth of the process {:4.0} MiB, from {before:.0} MiB", after - before);
    }
}
