//! Time to sample a generator of 784 visible and 512 hidden units, compared with lower bounds and with JAX.
//!
//! `cargo bench --workspace --bench sampling` prints, from one run of batch 32 × 1296 units × 100 steps: ours on all
//! cores; the matrix products and the noise alone; and, if `python3 -c "import jax"` works (or `THERMOGRAD_PYTHON`
//! names a Python where it does), the same job in JAX `lax.scan`, both with one dense coupling matrix and with the
//! blocks that exist, and the products by the BLAS of its NumPy, with the ratios. Last it prints how long steps take in which one of so
//! many pairs is coupled, which is where the constant comes from that says which matrices are multiplied without their zeros.

#[path = "peers/mod.rs"]
mod peers;

use std::hint::black_box;

use burn::tensor::{Device, Tensor};
use peers::{peer, table};
use thermograd::{Block, Group, Key, Pattern, Schedule, Shards, Substrate, SubstrateConfig, Topology};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 32;
const VISIBLE: usize = 784;
const HIDDEN: usize = 512;
const UNITS: usize = VISIBLE + HIDDEN;
const STEPS: usize = 100;

struct Job {
    substrate: Substrate,
    field: Tensor<2>,
    schedule: Schedule,
    shards: Shards,
    key: Key,
}

impl Job {
    fn new() -> Self {
        let groups = [Group::free("visible", VISIBLE).unbiased(), Group::free("hidden", HIDDEN)];
        let mut topology = Topology::all_to_all(groups);
        topology.blocks.retain(|block| block.to == "hidden");
        let config = SubstrateConfig::new(topology).with_kt(0.1);
        let substrate = config.init(&Device::flex()).expect("a valid network").randomised(1.0, Key::new(1));
        let field = substrate.field(&[]).expect("no clamped groups");
        let shards = Shards::new(BATCH.div_ceil(Shards::new(1).threads));
        Self { substrate, field, schedule: Schedule { dt: 1e-3, steps: STEPS }, shards, key: Key::new(2) }
    }

    fn sample(&self) -> Vec<Tensor<2>> {
        self.shards.map(BATCH, |range| {
            let x0 = Tensor::zeros([range.len(), UNITS], &Device::flex());
            let key = self.key.skip(range.start as u64);
            self.substrate.forward(x0, self.field.clone(), self.schedule, key)
        })
    }

    /// Only the products with the two blocks: hidden to visible, and both to hidden.
    fn products(&self) -> Vec<Tensor<2>> {
        let device = Device::flex();
        let to_visible = Tensor::<2>::ones([HIDDEN, VISIBLE], &device);
        let to_hidden = Tensor::<2>::ones([UNITS, HIDDEN], &device);
        self.shards.map(BATCH, |range| {
            let x = Tensor::<2>::ones([range.len(), UNITS], &device);
            let hidden = Tensor::<2>::ones([range.len(), HIDDEN], &device);
            for _ in 0..STEPS {
                black_box((hidden.clone().matmul(to_visible.clone()), x.clone().matmul(to_hidden.clone())));
            }
            x
        })
    }

    fn noise(&self) -> Vec<f32> {
        self.shards.map(BATCH, |range| {
            let key = self.key.skip(range.start as u64);
            (0..STEPS).map(|step| black_box(key.normals(step as u32, range.len(), UNITS))[0]).sum()
        })
    }
}

/// A computer in which one of `few` pairs of visible and hidden units is coupled, by listed couplings.
fn thinned(few: usize) -> Job {
    let pairs = (0..VISIBLE).flat_map(|i| (0..HIDDEN).map(move |j| [i, j]));
    // Far apart in every row and column.
    let kept = pairs.filter(|[i, j]| (i * 7919 + j * 104_729) % 1009 < 1009 / few);
    let block =
        Block { from: "visible".into(), to: "hidden".into(), pattern: Pattern::Pairs(kept.collect()) };
    let groups = vec![Group::free("visible", VISIBLE).unbiased(), Group::free("hidden", HIDDEN)];
    let config = SubstrateConfig::new(Topology { groups, blocks: vec![block] }).with_kt(0.1);
    let substrate = config.init(&Device::flex()).expect("a valid network").randomised(1.0, Key::new(1));
    Job { field: substrate.field(&[]).expect("no clamped groups"), substrate, ..Job::new() }
}

fn main() {
    let job = Job::new();
    println!("batch {BATCH} x {UNITS} units x {STEPS} steps, {} threads", job.shards.threads);
    let [ours, ..] = table([
        ("sampling", &mut || drop(black_box(job.sample()))),
        ("products alone", &mut || drop(black_box(job.products()))),
        ("noise alone", &mut || drop(black_box(job.noise()))),
    ]);
    match peer("blas_sampling.py", ["rows", "columns"]) {
        None => println!("NumPy: not found"),
        Some(ways) => {
            let best = ways.into_iter().fold(f64::INFINITY, f64::min);
            println!("the products by NumPy's BLAS {:8.2} ms; ours {:.2} x as long", 1e3 * best, ours / best);
        }
    }
    match peer("jax_sampling.py", ["dense", "blocks"]) {
        None => println!("JAX: not found (set THERMOGRAD_PYTHON to a Python that has it)"),
        Some([dense, blocks]) => {
            println!("JAX, one dense matrix    {:8.2} ms = {:.2} x ours", 1e3 * dense, dense / ours);
            println!("JAX, the blocks there are {:7.2} ms = {:.2} x ours", 1e3 * blocks, blocks / ours);
        }
    }
    let jobs = [1, 4, 6, 8, 16, 32].map(thinned);
    table([
        ("all pairs coupled", &mut || drop(black_box(jobs[0].sample()))),
        ("one in 4", &mut || drop(black_box(jobs[1].sample()))),
        ("one in 6", &mut || drop(black_box(jobs[2].sample()))),
        ("one in 8", &mut || drop(black_box(jobs[3].sample()))),
        ("one in 16", &mut || drop(black_box(jobs[4].sample()))),
        ("one in 32", &mut || drop(black_box(jobs[5].sample()))),
    ]);
}
