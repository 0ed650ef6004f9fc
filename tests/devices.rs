//! The same key gives the same numbers on every backend that is built in.
//!
//! Backends that are not built in, or have no adapter, are skipped with a message; if `THERMOGRAD_REQUIRE_BACKENDS`
//! names them (`ndarray,wgpu`), their absence is a failure.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use thermograd::{
    Backend, Control, Direction, Error, Group, Key, Ledger, Protocol, Schedule, Substrate, SubstrateConfig,
    Topology, to_f64,
};

use crate::common::{distance, skipped};

/// Every other backend that is available.
pub fn others() -> Vec<(Backend, Device)> {
    let required = std::env::var("THERMOGRAD_REQUIRE_BACKENDS").unwrap_or_default();
    let (mut devices, mut missing) = (Vec::new(), Vec::new());
    for backend in Backend::ALL.into_iter().filter(|backend| *backend != Backend::Flex) {
        match backend.device() {
            Ok(device) => devices.push((backend, device)),
            Err(error) => {
                let name = backend.name();
                assert!(!required.split(',').any(|required| required == name), "{name} is required: {error}");
                missing.push(name);
            }
        }
    }
    if !missing.is_empty() {
        skipped(&format!("backends {}", missing.join(", ")));
    }
    devices
}

fn classifier(device: &Device) -> (Substrate, Vec<Tensor<2>>) {
    let groups = [Group::clamped("input", 30), Group::free("hidden", 16), Group::free("output", 10)];
    let substrate = SubstrateConfig::new(Topology::all_to_all(groups)).init(device).unwrap();
    let image = burn::tensor::TensorData::new(Key::new(62).normals(0, 8, 30), [8, 30]);
    (substrate.randomised(3.0, Key::new(61)), vec![Tensor::from_data(image, device)])
}

#[test]
fn the_same_key_gives_the_same_trajectory() {
    let run = |device: &Device| {
        let (substrate, clamped) = classifier(device);
        let x0 = Tensor::zeros([8, 26], device);
        let field = substrate.field(&clamped).unwrap();
        let schedule = Schedule::new(1e-3, 0.2).unwrap();
        let run = substrate.trajectory(x0, field.clone(), schedule, 50, Key::new(63)).unwrap();
        let heat = to_f64(substrate.path_heat(&run, field.clone()));
        let action = to_f64(substrate.action(&run, field, Direction::Forward).unwrap());
        (to_f64(run.states), heat, action)
    };
    let (states, heat, action) = run(&Device::flex());
    for (backend, device) in others() {
        let (other_states, other_heat, other_action) = run(&device);
        let gap = distance(&states, &other_states);
        println!("{backend}: trajectories differ by {gap:.1e}");
        assert!(gap < 1e-5, "{backend}: {gap:e}");
        assert!(distance(&heat, &other_heat) < 1e-3, "{backend}: heat");
        assert!(distance(&action, &other_action) < 1e-2, "{backend}: action");
    }
}

/// The same under a protocol that moves field, gains and wells, including heat and work.
#[test]
fn the_same_key_gives_the_same_driven_trajectory() {
    let run = |device: &Device| {
        let (substrate, clamped) = classifier(device);
        let field = substrate.field(&clamped).unwrap();
        let row = |value: f64| Tensor::<2>::full([1, 26], value, device);
        let control = |part: f64| Control {
            field: field.clone() * part,
            gain: Some(row(0.5 + part)),
            well: Some(row(0.4 - part)),
            kt: None,
        };
        let protocol = Protocol::new(vec![0.0, 0.1, 0.2], [0.0, 1.0, 0.6].map(control).into()).unwrap();
        let mut ledger = Ledger::new(&substrate, protocol.clone(), 1e-3);
        let schedule = Schedule::new(1e-3, 0.2).unwrap();
        let x0 = Tensor::zeros([8, 26], device);
        let x =
            substrate.simulate(x0, protocol, schedule, Key::new(66), |step| ledger.observe(step)).unwrap();
        (to_f64(x), to_f64(ledger.heat().unwrap()), to_f64(ledger.work().unwrap()))
    };
    let (states, heat, work) = run(&Device::flex());
    assert!(work.iter().any(|work| work.abs() > 1e-3));
    for (backend, device) in others() {
        let (other_states, other_heat, other_work) = run(&device);
        assert!(distance(&states, &other_states) < 1e-5, "{backend}: states");
        assert!(distance(&heat, &other_heat) < 1e-3, "{backend}: heat");
        assert!(distance(&work, &other_work) < 1e-3, "{backend}: work");
    }
}

#[test]
fn the_same_key_gives_the_same_gradient() {
    let gradient = |device: &Device| {
        let (substrate, clamped) = classifier(device);
        let x0 = Tensor::zeros([8, 26], device);
        let schedule = Schedule::new(5e-3, 0.1).unwrap();
        let sum = |_: &Substrate, x: Tensor<2>| Ok((x.clone() * x).mean());
        let (loss, gradients) = substrate.pathwise(x0, &clamped, schedule, Key::new(64), sum).unwrap();
        let ids = burn::module::list_param_ids(&substrate.valid());
        let values: Vec<f64> =
            ids.into_iter().flat_map(|id| to_f64(gradients.get::<2>(id).unwrap())).collect();
        (loss, values)
    };
    let (loss, values) = gradient(&Device::flex());
    for (backend, device) in others() {
        let (other_loss, other_values) = gradient(&device);
        assert!((loss - other_loss).abs() < 1e-5, "{backend}: {loss} {other_loss}");
        assert!(distance(&values, &other_values) < 1e-5, "{backend}");
    }
}

/// Uniform numbers have the same bits wherever they are drawn, and normals differ in the last place at most.
#[test]
fn noise_is_the_same_everywhere() {
    let (key, shape) = (Key::new(65), [64, 33]);
    for (backend, device) in others() {
        let beside = Tensor::zeros([1, 1], &device);
        let host = |values: Tensor<2>| values.into_data().try_into_vec::<f32>().unwrap();
        assert_eq!(host(key.uniforms_beside(3, shape, &beside)), key.uniforms(3, 64, 33), "{backend}");
        let normals = host(key.normals_beside(3, shape, &beside));
        let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 2.0 * f32::EPSILON * b.abs();
        assert!(normals.iter().zip(&key.normals(3, 64, 33)).all(close), "{backend}");
    }
}

#[test]
fn a_backend_that_is_not_built_in_says_what_to_type() {
    for backend in Backend::ALL {
        if !backend.is_built_in() {
            let error = backend.device().unwrap_err();
            assert!(matches!(error, Error::NotBuiltIn { .. }));
            assert!(error.to_string().contains(&format!("--features {backend}")), "{error}");
        }
    }
    assert!("tpu".parse::<Backend>().unwrap_err().contains("flex, ndarray, wgpu, vulkan, metal, cuda"));
    let error = Backend::Flex.numbered(1).unwrap_err();
    assert!(matches!(error, Error::NoDevice { number: 1, found: 1, .. }), "{error}");
}
