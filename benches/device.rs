//! Noise and trajectories on a GPU, compared with noise that is drawn on the host and sent.
//!
//! `cargo bench --bench device --features wgpu` (or `vulkan`, `metal`, `cuda`) prints, from one run on the first device
//! of each GPU backend that is built in: the normals of batch 256 × 74 units × 200 steps drawn on the device, and drawn
//! on the host and sent to it; the whole trajectory in launches of many steps, and in one launch a step.

#[path = "peers/mod.rs"]
mod peers;

use burn::tensor::{Device, Tensor, TensorData};
use peers::table;
use thermograd::{Backend, Group, Key, Overdamped, SubstrateConfig, Topology, advance, carry};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 256;
const UNITS: usize = 74;
const STEPS: usize = 200;

/// Waits for the device.
fn wait(x: &Tensor<2>) {
    let _ = x.clone().slice([0..1, 0..1]).into_data();
}

fn measure(device: &Device) {
    let groups = [Group::free("hidden", 64), Group::free("output", 10)];
    let config = SubstrateConfig::new(Topology::all_to_all(groups));
    let substrate = config.init(device).expect("a valid network").randomised(1.0, Key::new(1));
    let field = substrate.field(&[]).expect("no clamped groups");
    let dynamics = Overdamped::new(&substrate, field, 1e-3, Key::new(2)).expect("a stable step");
    let x0 = Tensor::zeros([BATCH, UNITS], device);
    let key = Key::new(3);
    let [on_device, on_host, ..] = table([
        ("noise, on the device", &mut || {
            let drawn = (0..STEPS).map(|step| key.normals_beside(step, [BATCH, UNITS], &x0)).last();
            wait(&drawn.expect("steps"));
        }),
        ("noise, from the host", &mut || {
            let sent = (0..STEPS).map(|step| {
                let normals = TensorData::new(key.normals(step as u32, BATCH, UNITS), [BATCH, UNITS]);
                Tensor::<2>::from_data(normals, device)
            });
            wait(&sent.last().expect("steps"));
        }),
        ("trajectory, launches", &mut || wait(&carry(&dynamics, x0.clone(), STEPS).expect("finite"))),
        ("trajectory, by steps", &mut || wait(&advance(&dynamics, x0.clone(), 0..STEPS, |_| {}))),
    ]);
    println!("noise from the host takes {:.2} x as long as on the device", on_host / on_device);
}

fn main() {
    println!("batch {BATCH} x {UNITS} units x {STEPS} steps");
    let gpus = Backend::ALL.into_iter().filter(|backend| backend.is_built_in() && !backend.is_cpu());
    for backend in gpus {
        match backend.device() {
            Ok(device) => {
                println!("{backend}: {}", backend.names().expect("it has a device")[0]);
                measure(&device);
            }
            Err(error) => println!("{error}"),
        }
    }
}
