//! Time of trajectories of the classifier's size, forward and with the gradient, compared with lower bounds and with
//! JAX.
//!
//! `cargo bench --workspace --bench trajectories` prints, from one run: the tensor loop on all cores; the same loop
//! written by hand for this one network (one thread per half of the batch); the matrix products and the noise
//! alone; and, if `python3 -c "import jax"` works (or `THERMOGRAD_PYTHON` names a Python where it does), the
//! same job in JAX, with the ratios. Batch 256 × 74 free units × 200 steps.

#[path = "peers/mod.rs"]
mod peers;

use std::hint::black_box;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use peers::{peer, table};
use thermograd::{Group, Key, Schedule, Shards, Substrate, SubstrateConfig, Topology};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 256;
const UNITS: usize = 74;
const STEPS: usize = 200;
const DT: f64 = 1e-3;

struct Job {
    substrate: Substrate,
    clamped: Tensor<2>,
    field: Tensor<2>,
    schedule: Schedule,
    shards: Shards,
    key: Key,
}

impl Job {
    fn new() -> Self {
        let device = Device::flex();
        let groups = [Group::clamped("input", 1), Group::free("hidden", 64), Group::free("output", 10)];
        let config = SubstrateConfig::new(Topology::all_to_all(groups));
        let substrate = config.init(&device).expect("a valid network").randomised(1.0, Key::new(1));
        let clamped = Tensor::ones([BATCH, 1], &device);
        let field = substrate.valid().field(std::slice::from_ref(&clamped)).expect("one clamped group");
        let schedule = Schedule { dt: DT, steps: STEPS };
        Self { substrate, clamped, field, schedule, shards: Shards::new(128), key: Key::new(2) }
    }

    fn x0(&self, batch: usize) -> Tensor<2> {
        Tensor::zeros([batch, UNITS], self.substrate.options())
    }

    fn forward(&self) -> Vec<Tensor<2>> {
        self.shards.map(BATCH, |range| {
            let key = self.key.skip(range.start as u64);
            let field = self.field.clone().slice_dim(0, range.clone());
            self.substrate.forward(self.x0(range.len()), field, self.schedule, key)
        })
    }

    fn adjoint(&self) -> Vec<f64> {
        self.shards.map(BATCH, |range| {
            let key = self.key.skip(range.start as u64);
            let clamped = [self.clamped.clone().slice_dim(0, range.clone())];
            let sum = |_: &Substrate, x: Tensor<2>| Ok(x.sum());
            let result = self.substrate.pathwise(self.x0(range.len()), &clamped, self.schedule, key, sum);
            result.expect("shapes fit").0
        })
    }

    fn autodiff(&self) -> Vec<f64> {
        self.shards.map(BATCH, |range| {
            let key = self.key.skip(range.start as u64);
            let tracked = self.substrate.valid().train();
            let field =
                tracked.field(&[self.clamped.clone().slice_dim(0, range.clone())]).expect("one group");
            let loss = tracked.forward(self.x0(range.len()), field, self.schedule, key).sum();
            black_box(loss.backward());
            loss.into_scalar::<f64>()
        })
    }

    /// Only the products x A.
    fn products(&self) -> Vec<Tensor<2>> {
        self.shards.map(BATCH, |range| {
            let a = Tensor::<2>::eye(UNITS, &Device::flex());
            (0..STEPS).fold(self.x0(range.len()), |x, _| x.matmul(a.clone()))
        })
    }

    fn noise(&self) -> Vec<f32> {
        self.shards.map(BATCH, |range| {
            let key = self.key.skip(range.start as u64);
            (0..STEPS).map(|step| black_box(key.normals(step as u32, range.len(), UNITS))[0]).sum()
        })
    }

    /// The same steps written by hand for this network: row by row, with state and couplings in the first-level
    /// cache.
    fn by_hand(&self) -> Vec<f32> {
        let gradient = {
            let eye = Tensor::<2>::eye(UNITS, &Device::flex());
            let zero = Tensor::zeros([1, UNITS], &Device::flex());
            // ∇V of a unit vector is 2J₂ + 4J₄ = 6 on the unit itself, and J elsewhere.
            self.substrate.valid().potential().gradient(eye.clone(), zero) - eye * 6.0
        };
        let mut coupling = [[0.0_f32; WIDE]; UNITS];
        let values = gradient.into_data().try_into_vec::<f32>().expect("f32");
        for (row, values) in coupling.iter_mut().zip(values.chunks(UNITS)) {
            row[..UNITS].copy_from_slice(values);
        }
        let field = self.field.to_data().try_into_vec::<f32>().expect("f32");
        self.shards.map(BATCH, |range| {
            let key = self.key.skip(range.start as u64);
            let mut x = vec![[0.0_f32; WIDE]; range.len()];
            for step in 0..STEPS {
                let noise = key.normals(step as u32, range.len(), UNITS);
                step_by_hand(&mut x, &coupling, &field[range.start * UNITS..], &noise);
            }
            x.iter().flatten().sum::<f32>()
        })
    }
}

/// Units padded to whole vectors of eight.
const WIDE: usize = UNITS.next_multiple_of(8);

fn step_by_hand(x: &mut [[f32; WIDE]], coupling: &[[f32; WIDE]; UNITS], field: &[f32], noise: &[f32]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the processor has both features.
        return unsafe { step_avx2(x, coupling, field, noise) };
    }
    step_portable(x, coupling, field, noise);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn step_avx2(x: &mut [[f32; WIDE]], coupling: &[[f32; WIDE]; UNITS], field: &[f32], noise: &[f32]) {
    step_portable(x, coupling, field, noise);
}

#[inline(always)]
fn step_portable(x: &mut [[f32; WIDE]], coupling: &[[f32; WIDE]; UNITS], field: &[f32], noise: &[f32]) {
    let (dt, sigma) = (DT as f32, (2.0 * DT).sqrt() as f32);
    for (row, x) in x.iter_mut().enumerate() {
        let mut gradient = [0.0_f32; WIDE];
        for (own, j) in x.iter().zip(coupling) {
            for (sum, j) in gradient.iter_mut().zip(j) {
                *sum = own.mul_add(*j, *sum);
            }
        }
        let (field, noise) = (&field[row * UNITS..][..UNITS], &noise[row * UNITS..][..UNITS]);
        for i in 0..UNITS {
            let slope = gradient[i] + field[i] + 2.0 * x[i] + 4.0 * x[i] * x[i] * x[i];
            x[i] += sigma * noise[i] - slope * dt;
        }
    }
}

fn main() {
    let job = Job::new();
    println!("batch {BATCH} x {UNITS} units x {STEPS} steps, {} threads", job.shards.threads);
    let [forward, .., gradient, _] = table([
        ("forward, tensors", &mut || drop(black_box(job.forward()))),
        ("forward, by hand", &mut || drop(black_box(job.by_hand()))),
        ("products alone", &mut || drop(black_box(job.products()))),
        ("noise alone", &mut || drop(black_box(job.noise()))),
        ("gradient, adjoint", &mut || drop(black_box(job.adjoint()))),
        ("gradient, autodiff", &mut || drop(black_box(job.autodiff()))),
    ]);
    match peer("jax_trajectories.py", ["forward", "gradient"]) {
        None => println!("JAX: not found (set THERMOGRAD_PYTHON to a Python that has it)"),
        Some([peer_forward, peer_gradient]) => {
            println!("JAX forward  {:8.2} ms = {:.2} x ours", 1e3 * peer_forward, peer_forward / forward);
            println!("JAX gradient {:8.2} ms = {:.2} x ours", 1e3 * peer_gradient, peer_gradient / gradient);
        }
    }
}
