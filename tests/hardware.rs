//! Each imperfection, pruning, and training for hardware.

use std::collections::BTreeSet;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use thermograd::hardware::account;
use thermograd::{
    Error, Group, Hardware, Imperfection, Key, Pattern, Scale, Schedule, Shards, Substrate, SubstrateConfig,
    Topology, Well, to_f64,
};
use thermograd_models::{Classifier, Pathwise, Recipe, prune};

use crate::common::{Reader, distance, networks, pathwise, random, reader};

const SHARDS: Shards = Shards { size: 64, threads: 2 };

fn made(substrate: &Substrate, imperfection: Imperfection, key: Key) -> Substrate {
    Hardware::ideal(substrate.clone()).with(imperfection, key).unwrap().substrate
}

fn couplings(substrate: &Substrate) -> Vec<Vec<f64>> {
    (0..substrate.topology().blocks.len()).map(|block| substrate.pair_couplings(block)).collect()
}

/// The state of a device at the end of a run from rest.
fn end(device: &Hardware, clamped: &[Tensor<2>], batch: usize, key: Key) -> Vec<f64> {
    let x0 = Tensor::zeros([batch, device.substrate.free_units()], device.substrate.options());
    let field = device.substrate.field(clamped).unwrap();
    to_f64(device.simulate(x0, field, Schedule { dt: 1e-3, steps: 300 }, key, |_| {}).unwrap())
}

#[test]
fn an_ideal_device_is_its_substrate() {
    for (name, topology) in networks() {
        let (substrate, clamped) = random(&topology, 0.5, 4, Key::new(201));
        let device = Hardware::ideal(substrate.clone());
        let none = [
            Imperfection::Mismatch { sd: 0.0 },
            Imperfection::Range { limit: 1e9 },
            Imperfection::FanIn { limit: 1000 },
            Imperfection::Temperature { factor: 1.0 },
            Imperfection::Wells { j2: 1.0, j4: 1.0 },
            Imperfection::UnitMismatch { sd: 0.0 },
            Imperfection::ReadOut { sd: 0.0 },
        ];
        let perfect =
            none.into_iter().fold(device.clone(), |device, none| device.with(none, Key::new(1)).unwrap());
        let batch = if clamped.is_empty() { 1 } else { 4 };
        let ends = [&device, &perfect].map(|device| end(device, &clamped, batch, Key::new(202)));
        assert_eq!(ends[0], ends[1], "{name}");
        let x0 = Tensor::zeros([batch, substrate.free_units()], substrate.options());
        let field = substrate.field(&clamped).unwrap();
        let own =
            substrate.simulate(x0, field, Schedule { dt: 1e-3, steps: 300 }, Key::new(202), |_| {}).unwrap();
        assert_eq!(ends[0], to_f64(own), "{name}");
    }
}

#[test]
fn quantised_couplings_have_few_levels_and_stay_symmetric() {
    let Reader { classifier, .. } = reader();
    let substrate = &classifier.substrate;
    for (scale, bits) in [(Scale::Block, 3), (Scale::Unit, 3), (Scale::Unit, 8)] {
        let rounded = made(substrate, Imperfection::Quantised { bits, scale }, Key::new(1));
        for (index, block) in substrate.topology().blocks.iter().enumerate() {
            let apart = scale == Scale::Unit && block.from != block.to;
            let mut levels = vec![BTreeSet::new(); 784];
            for ([_, j], coupling) in substrate.topology().pairs(block).zip(rounded.pair_couplings(index)) {
                levels[if apart { j } else { 0 }].insert(coupling.to_bits());
            }
            assert!(levels.iter().all(|levels| levels.len() < 1 << bits), "{} at {bits} bits", block.name());
            let used = levels.iter().map(BTreeSet::len).max().unwrap();
            assert!(used >= 5, "{} uses {used} levels of {bits} bits", block.name());
            let dense = rounded.coupling(index);
            if block.from == block.to {
                assert_eq!(to_f64(dense.clone()), to_f64(dense.transpose()));
            }
        }
    }
    let error = |bits| {
        let rounded = made(substrate, Imperfection::Quantised { bits, scale: Scale::Unit }, Key::new(1));
        let pairs = couplings(substrate).concat().into_iter().zip(couplings(&rounded).concat());
        pairs.map(|(a, b)| (a - b).powi(2)).sum::<f64>()
    };
    // One more bit halves the spacing of levels, which reduces the error to a quarter, or nearly so because of
    // clipping.
    let errors = [4, 5, 6].map(error);
    println!("squared errors of 4, 5 and 6 bits: {errors:?}");
    assert!(errors[0] > 2.5 * errors[1] && errors[1] > 2.5 * errors[2]);
}

/// Checks mean and standard deviation of the factors, at one in a million.
#[test]
fn mismatch_multiplies_every_coupling_by_its_own_factor() {
    let Reader { classifier, .. } = reader();
    let (substrate, sd) = (&classifier.substrate, 0.1);
    let specimen = |key| made(substrate, Imperfection::Mismatch { sd }, key);
    let one = specimen(Key::new(5));
    let pairs = couplings(substrate).concat().into_iter().zip(couplings(&one).concat());
    let factors: Vec<f64> = pairs.filter(|(a, _)| a.abs() > 1e-3).map(|(a, b)| b / a - 1.0).collect();
    let n = factors.len() as f64;
    let mean = factors.iter().sum::<f64>() / n;
    let spread = (factors.iter().map(|f| (f - mean).powi(2)).sum::<f64>() / n).sqrt();
    let allowed = (4.9 * sd / n.sqrt(), 4.9 * sd / (2.0 * n).sqrt());
    println!(
        "{n} factors: mean {mean:.1e} (allowed {:.1e}), s.d. {spread:.5} (allowed {:.1e} off)",
        allowed.0, allowed.1
    );
    assert!(mean.abs() < allowed.0 && (spread - sd).abs() < allowed.1);
    assert_eq!(couplings(&one), couplings(&specimen(Key::new(5))));
    assert_ne!(couplings(&one), couplings(&specimen(Key::new(6))));
    let hidden = substrate.topology().blocks.iter().position(|block| block.from == block.to).unwrap();
    assert_eq!(to_f64(one.coupling(hidden)), to_f64(one.coupling(hidden).transpose()));
    assert_ne!(to_f64(one.bias()), to_f64(substrate.bias()));
}

/// Every constant of every unit has its own factor, with the requested spread. Such a device can be exported and read
/// again, and runs the same.
#[test]
fn units_of_a_device_differ() {
    use thermograd::{Couplings, Group, SubstrateConfig, Topology};
    let (sd, units) = (0.1, 3000);
    let groups = vec![Group::free("unit", units).wells(0.7, 1.3).mobility(2.0)];
    let meant =
        SubstrateConfig::new(Topology { groups, blocks: vec![] }).init(crate::common::double()).unwrap();
    let one = made(&meant, Imperfection::UnitMismatch { sd }, Key::new(5));
    let group = &one.topology().groups[0];
    let allowed = (4.9 * sd / (units as f64).sqrt(), 4.9 * sd / (2.0 * units as f64).sqrt());
    let factors = [(&group.j2, 0.7), (&group.j4, 1.3), (&group.mobility, 2.0)].map(|(constant, meant)| {
        let factors: Vec<f64> = (0..units).map(|unit| constant.at(unit) / meant - 1.0).collect();
        let found = thermograd::Estimate::of(&factors);
        println!(
            "mean {:.1e} (allowed {:.1e}), s.d. {:.4} ({:.1e} off)",
            found.mean, allowed.0, found.sd, allowed.1
        );
        assert!(found.mean.abs() < allowed.0 && (found.sd - sd).abs() < allowed.1);
        factors
    });
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        let product: f64 = factors[a].iter().zip(&factors[b]).map(|(a, b)| a * b).sum();
        assert!(product.abs() < 4.9 * sd * sd * (units as f64).sqrt(), "factors {a} and {b} go together");
    }
    assert_eq!(one.config(), made(&meant, Imperfection::UnitMismatch { sd }, Key::new(5)).config());
    let couplings = Couplings::of(&one, Schedule { dt: 1e-3, steps: 50 }, None);
    let read = Couplings::decode(&couplings.encode().unwrap()).unwrap().substrate(one.options()).unwrap();
    let ends = [one, read].map(|substrate| end(&Hardware::ideal(substrate), &[], 2, Key::new(6)));
    assert_eq!(ends[0], ends[1]);
    let error = Hardware::ideal(meant).with(Imperfection::UnitMismatch { sd: 2.0 }, Key::new(5)).unwrap_err();
    assert!(matches!(error, Error::NotConfining { .. } | Error::Constant { .. }), "{error}");
}

#[test]
fn range_and_fan_in_are_limits() {
    let Reader { classifier, .. } = reader();
    let substrate = &classifier.substrate;
    let cut = made(substrate, Imperfection::Range { limit: 0.3 }, Key::new(1));
    for (before, after) in couplings(substrate).concat().into_iter().zip(couplings(&cut).concat()) {
        assert_eq!(before.clamp(-0.3, 0.3) as f32, after as f32);
    }
    let limit = 40;
    let few = made(substrate, Imperfection::FanIn { limit }, Key::new(1));
    let topology = substrate.topology();
    let mut reaching = vec![0; substrate.free_units()];
    for (block, kept) in topology.blocks.iter().zip(couplings(&few)) {
        for ([i, j], coupling) in topology.pairs(block).zip(kept) {
            for (group, unit) in [(&block.from, i), (&block.to, j)] {
                if let (Ok(columns), true) = (topology.columns(group), coupling != 0.0) {
                    reaching[columns.start + unit] += 1;
                }
            }
        }
    }
    println!("couplings that reach each unit: {reaching:?}");
    assert!(reaching.iter().all(|&count| count <= limit) && reaching.iter().any(|&count| count > limit / 2));
    // The couplings that are kept are unchanged, and include the strongest input of every hidden unit.
    for (before, after) in couplings(substrate).concat().into_iter().zip(couplings(&few).concat()) {
        assert!(after == 0.0 || after == before);
    }
    let strongest = |of: &Substrate, unit: usize| {
        let input = to_f64(of.coupling(0));
        input.iter().skip(unit).step_by(16).fold(0.0_f64, |most, j| most.max(j.abs()))
    };
    (0..16).for_each(|unit| assert_eq!(strongest(substrate, unit), strongest(&few, unit)));
}

#[test]
fn wells_and_temperature_drift_and_nonsense_is_refused() {
    let (substrate, _) = random(&networks()[0].1, 0.5, 1, Key::new(203));
    assert_eq!(made(&substrate, Imperfection::Temperature { factor: 3.0 }, Key::new(1)).kt(), 1.5);
    let drifted = made(&substrate, Imperfection::Wells { j2: 2.0, j4: 0.5 }, Key::new(1));
    let hidden = &drifted.topology().groups[1];
    assert!(hidden.j2 == -1.0 && hidden.j4 == 0.35);
    let refused = |imperfection, part: &str| {
        let error = Hardware::ideal(substrate.clone()).with(imperfection, Key::new(1)).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
        error
    };
    refused(Imperfection::Quantised { bits: 1, scale: Scale::Block }, "bits");
    refused(Imperfection::Mismatch { sd: f64::NAN }, "mismatch");
    refused(Imperfection::Range { limit: -1.0 }, "range");
    refused(Imperfection::Temperature { factor: -1.0 }, "temperature");
    refused(Imperfection::Bandwidth { rate: 0.0 }, "bandwidth");
    let error = refused(Imperfection::Wells { j2: 1.0, j4: -1.0 }, "does not confine");
    assert!(matches!(error, Error::NotConfining { .. }));
}

#[test]
fn read_out_noise_is_added_to_what_is_read() {
    let (substrate, _) = random(&networks()[0].1, 0.5, 1, Key::new(204));
    let device = Hardware::ideal(substrate).with(Imperfection::ReadOut { sd: 0.3 }, Key::new(1)).unwrap();
    let device = device.with(Imperfection::ReadOut { sd: 0.4 }, Key::new(1)).unwrap();
    let x = Tensor::<2>::ones([2000, 7], device.substrate.options());
    let read: Vec<f64> = to_f64(device.read(x, Key::new(205))).into_iter().map(|x| x - 1.0).collect();
    let n = read.len() as f64;
    let sd = (read.iter().map(|x| x * x).sum::<f64>() / n).sqrt();
    let allowed = 4.9 * 0.5 / (2.0 * n).sqrt();
    println!("s.d. {sd:.4}, 0.5 expected, allowed {allowed:.4} off");
    assert!((sd - 0.5).abs() < allowed);
}

/// Two harmonic units at kT = 0, the second driven by the delayed first: x₂ by the closed form of (19).
#[test]
fn delayed_couplings_follow_their_equation() {
    use thermograd::{Block, Group, SubstrateConfig, Topology};
    // dx₁/dt = −x₁ from 1 (at first order in J), so y = (ωe^(−t) − e^(−ωt))/(ω − 1), and dx₂/dt = −x₂ − Jy from 0.
    let groups = vec![Group::free("first", 1).wells(0.5, 0.0), Group::free("second", 1).wells(0.5, 0.0)];
    let topology = Topology { groups, blocks: vec![Block::full("first", "second")] };
    let config = SubstrateConfig::new(topology).with_kt(0.0);
    let weak = config.init(crate::common::double()).unwrap().with_pair_couplings(0, &[-1e-6]).unwrap();
    let rate = 5.0;
    let device = Hardware::ideal(weak).with(Imperfection::Bandwidth { rate }, Key::new(1)).unwrap();
    let end_at = |steps: usize| {
        let x0 = Tensor::from_data([[1.0, 0.0]], device.substrate.options());
        let field = device.substrate.field(&[]).unwrap();
        let schedule = Schedule { dt: 1.0 / steps as f64, steps };
        to_f64(device.simulate(x0, field, schedule, Key::new(1), |_| {}).unwrap())[1] / 1e-6
    };
    // x₂(t) = ∫ e^(−(t−s)) y(s) ds = [ω t e^(−t) − (e^(−t) − e^(−ωt))/(ω − 1)]/(ω − 1).
    let t = 1.0_f64;
    let exact = (rate * t * (-t).exp() - ((-t).exp() - (-rate * t).exp()) / (rate - 1.0)) / (rate - 1.0);
    let errors = [1000, 2000].map(|steps| (end_at(steps) - exact).abs());
    println!("exact {exact:.6}, errors at dt = 1e-3 and 5e-4: {errors:?}");
    assert!(errors[0] < 2e-3 && (errors[0] / errors[1] - 2.0).abs() < 0.2, "of first order in the step");
}

/// Delayed couplings have a memory; a divergence is reported at the same step at which an observer sees it.
#[test]
fn a_divergence_under_delayed_couplings_is_told_at_its_step() {
    let topology = thermograd::Topology::all_to_all([thermograd::Group::free("unit", 4)]);
    let config = thermograd::SubstrateConfig::new(topology);
    let substrate = config.init(&burn::tensor::Device::flex()).unwrap().randomised(1.0, Key::new(209));
    let device =
        Hardware::ideal(substrate).with(Imperfection::Bandwidth { rate: 30.0 }, Key::new(1)).unwrap();
    for (start, row) in [(9.0, 1), (12.0, 0), (30.0, 2)] {
        // Far out in a quartic well, the step is too long.
        let mut x0 = vec![0.0_f32; 12];
        x0[4 * row + 3] = start;
        let x0 = burn::tensor::TensorData::new(x0, [3, 4]);
        let x0 = Tensor::<2>::from_data(x0, device.substrate.options());
        let mut seen = None;
        let field = device.substrate.field(&[]).unwrap();
        let observe = |step: &thermograd::Step| {
            if seen.is_none() && to_f64(step.after.clone()).iter().any(|x| !x.is_finite()) {
                seen = Some(step.index);
            }
        };
        let schedule = Schedule { dt: 0.02, steps: 100 };
        let error = device.simulate(x0, field, schedule, Key::new(210), observe).unwrap_err();
        let Error::Diverged(found) = error else { panic!("{error}") };
        assert_eq!((Some(found.step), found.trajectory), (seen, row), "{found}");
        assert!(found.step > 0 && found.energy.is_none(), "{found}");
    }
}

#[test]
fn fast_couplings_are_couplings_without_delay() {
    let (substrate, clamped) = random(&networks()[0].1, 0.5, 4, Key::new(206));
    let ideal = end(&Hardware::ideal(substrate.clone()), &clamped, 4, Key::new(207));
    let off = |rate| {
        let device =
            Hardware::ideal(substrate.clone()).with(Imperfection::Bandwidth { rate }, Key::new(1)).unwrap();
        distance(&end(&device, &clamped, 4, Key::new(207)), &ideal)
    };
    let offs = [30.0, 300.0, 1e6].map(off);
    println!("largest deviation at bandwidths 30, 300, 1e6: {offs:?}");
    assert!(offs[0] > offs[1] && offs[1] > offs[2] && offs[2] < 1e-9);
}

/// The requested fraction of couplings is left, and the mean force on every unit is unchanged.
#[test]
fn pruning_keeps_the_mean_field() {
    let Reader { classifier, train, test } = reader();
    let pruned = prune(classifier, train, 0.3, SHARDS, Key::new(208)).unwrap();
    let count = |classifier: &Classifier| couplings(&classifier.substrate).concat().len();
    assert_eq!(count(&pruned), (0.3 * count(classifier) as f64).ceil() as usize);
    assert!(
        pruned.substrate.topology().blocks.iter().all(|block| matches!(block.pattern, Pattern::Pairs(_)))
    );
    let exported = pruned.couplings().encode().unwrap();
    assert!(exported.len() < count(&pruned) * 12 + 6000, "{} bytes", exported.len());

    // Input couplings only: with hidden and output units at zero, only inputs and biases exert forces. Couplings
    // between free units that were removed also change the bias, so this uses a network in which free units do not
    // couple.
    let mut alone = classifier.substrate.clone();
    for (index, block) in classifier.substrate.topology().blocks.iter().enumerate() {
        if block.from != "input" {
            let zeros = vec![0.0; alone.pair_couplings(index).len()];
            alone = alone.with_pair_couplings(index, &zeros).unwrap();
        }
    }
    let alone = classifier.with_substrate(alone);
    let halved = prune(&alone, train, 0.3, SHARDS, Key::new(208)).unwrap();
    let indices: Vec<usize> = (0..train.len()).collect();
    let mean_field = |classifier: &Classifier| {
        let (field, _) = classifier.prepare(train, &indices).unwrap();
        to_f64(field.mean_dim(0))
    };
    let (before, after) = (mean_field(&alone), mean_field(&halved));
    let scale = before.iter().fold(0.0_f64, |scale, h| scale.max(h.abs()));
    println!("mean fields up to {scale:.1} differ by {:.1e}", distance(&before, &after));
    assert!(distance(&before, &after) < 1e-5 * scale);

    // Compares with removing the weakest couplings without correcting the biases.
    let mut magnitudes: Vec<f64> =
        couplings(&classifier.substrate).concat().iter().map(|j| j.abs()).collect();
    magnitudes.sort_by(|a, b| b.total_cmp(a));
    let least = magnitudes[count(&pruned)];
    let blocks = couplings(&classifier.substrate).into_iter().enumerate();
    let weak = blocks.fold(classifier.substrate.clone(), |substrate, (index, couplings)| {
        let kept: Vec<f64> = couplings.into_iter().map(|j| if j.abs() > least { j } else { 0.0 }).collect();
        substrate.with_pair_couplings(index, &kept).unwrap()
    });
    let accuracy = |substrate: &Substrate| {
        classifier.accuracy_on(&Hardware::ideal(substrate.clone()), test, SHARDS, Key::new(209)).unwrap()
    };
    let scores = [&classifier.substrate, &pruned.substrate, &weak].map(accuracy);
    println!("whole, pruned, pruned by magnitude: {scores:?}");
    assert!(scores[1] > scores[2] + 0.1, "{scores:?}");
    assert!(prune(classifier, train, 0.0, SHARDS, Key::new(1)).is_err());
}

fn tuned(start: &Classifier, hardware: Vec<Imperfection>) -> Classifier {
    let recipe = Recipe { epochs: 8, warm_up: 20, ..Pathwise::default().recipe };
    let trainer = Pathwise { recipe, hardware, ..Pathwise::default() };
    pathwise(start, &reader().train, &trainer, SHARDS, Key::new(182))
}

#[test]
fn training_for_few_levels_beats_rounding_what_was_trained_without() {
    let Reader { classifier, test, .. } = reader();
    let rounding = Imperfection::Quantised { bits: 2, scale: Scale::Unit };
    let accuracy = |classifier: &Classifier| {
        let device = Hardware::ideal(classifier.substrate.clone()).with(rounding, Key::new(1)).unwrap();
        classifier.accuracy_on(&device, test, SHARDS, Key::new(211)).unwrap()
    };
    let (plain, aware) = (tuned(classifier, vec![]), tuned(classifier, vec![rounding]));
    let scores = [accuracy(&plain), accuracy(&aware)];
    println!("at 2 bits: trained without rounding {}, with it {}", scores[0], scores[1]);
    // A binomial standard error is 1.5 %.
    assert!(scores[1] > scores[0] + 0.06, "{scores:?}");
}

/// The loss of a specimen as a function of the intended couplings: compares its gradient with finite differences.
#[test]
fn the_gradient_of_a_mismatched_device_is_that_of_its_design() {
    for (name, topology) in networks() {
        let (substrate, clamped) = random(&topology, 0.3, 4, Key::new(216));
        let batch = if clamped.is_empty() { 1 } else { 4 };
        let schedule = Schedule { dt: 0.01, steps: 20 };
        let x0 = Tensor::zeros([batch, substrate.free_units()], substrate.options());
        let run = |substrate: &Substrate| {
            let mismatch = Imperfection::Mismatch { sd: 0.5 };
            let device = Hardware::ideal(substrate.valid()).with(mismatch, Key::new(217)).unwrap();
            let loss = |_: &Substrate, x: Tensor<2>| Ok(x.powi_scalar(4).sum());
            let outcome = device.substrate.pathwise(x0.clone(), &clamped, schedule, Key::new(218), loss);
            let (loss, gradients) = outcome.unwrap();
            (loss, device.pull_back(gradients))
        };
        let gradients = run(&substrate).1;
        let ids = burn::module::list_param_ids(&substrate);
        let (along, step) = (substrate.clone().randomised(1.0, Key::new(219)), 1e-5);
        for (index, block) in topology.blocks.iter().enumerate() {
            let direction = along.pair_couplings(index);
            let at = |step: f64| {
                let pairs = substrate.pair_couplings(index);
                let moved: Vec<f64> = pairs.iter().zip(&direction).map(|(j, d)| j + step * d).collect();
                run(&substrate.clone().with_pair_couplings(index, &moved).unwrap()).0
            };
            let expected = (at(step) - at(-step)) / (2.0 * step);
            // A pair within a full group is stored twice, and each entry has half of the derivative.
            let stored = along.clone().with_pair_couplings(index, &direction).unwrap();
            let gradient = to_f64(gradients.get::<2>(ids[index]).unwrap());
            let dense = match block.pattern {
                Pattern::Full => to_f64(stored.coupling(index)),
                Pattern::Pairs(_) => direction.clone(),
            };
            let found: f64 = gradient.iter().zip(dense).map(|(g, d)| g * d).sum();
            assert!(
                (found - expected).abs() < 1e-6 * (1.0 + expected.abs()),
                "{name}, {}: {found} {expected}",
                block.name()
            );
        }
    }
}

#[test]
fn what_training_cannot_know_is_refused() {
    let substrate = &reader().classifier.substrate;
    for imperfection in [Imperfection::ReadOut { sd: 0.1 }, Imperfection::Bandwidth { rate: 10.0 }] {
        let pathwise = Pathwise { hardware: vec![imperfection], ..Pathwise::default() };
        assert!(pathwise.device(substrate, Key::new(1)).unwrap_err().to_string().contains("bandwidth"));
    }
}

#[test]
fn fine_tuning_recovers_what_pruning_cost_and_adds_no_coupling() {
    let Reader { classifier, train, test } = reader();
    let pruned = prune(classifier, train, 0.1, SHARDS, Key::new(214)).unwrap();
    let after = tuned(&pruned, vec![]);
    let accuracy = |classifier: &Classifier| {
        classifier
            .accuracy_on(&Hardware::ideal(classifier.substrate.clone()), test, SHARDS, Key::new(215))
            .unwrap()
    };
    let scores = [accuracy(classifier), accuracy(&pruned), accuracy(&after)];
    println!("whole, pruned, fine-tuned: {scores:?}");
    assert!(scores[2] > scores[1] + 0.05, "{scores:?}");
    assert_eq!(after.substrate.topology(), pruned.substrate.topology());
}

/// Uncoupled units that start as thermal noise stay in equilibrium, so a reset releases no energy. From rest they
/// gain their thermal energy.
#[test]
fn a_reset_is_counted_from_where_a_computer_starts() {
    let (units, rows) = (40, 500);
    let topology = Topology::all_to_all([Group::free("unit", units)]);
    let computer = SubstrateConfig::new(topology).with_kt(0.1).init(&Device::flex()).unwrap();
    let schedule = Schedule::new(0.01, 3.0).unwrap();
    let noise = computer.uncoupled_equilibrium(rows, Key::new(222)).unwrap();
    let found = [noise.clone(), noise.zeros_like()].map(|x0| {
        let field = computer.field(&[]).unwrap();
        let x = computer.simulate(x0.clone(), field, schedule, Key::new(223), |_| {}).unwrap();
        account::reset(&computer, x0, x)
    });
    // V₀ of a unit in kT has a mean u and, at this depth of the quartic, a variance below ½; a difference of two has
    // at most twice that. A normal exceeds 4.9 standard deviations once in a million.
    let well = Well::new(&computer.topology().groups[0], 0.1, 0.0).unwrap().equilibrium(0.0);
    let u = units as f64 * well.mean_of(|x| (x * x + x.powi(4)) / 0.1);
    let sd = (2.0 * 0.5 * units as f64 / rows as f64).sqrt();
    println!(
        "reset from noise {:.3} kT, from rest {:.3} (of {u:.3}), s.d. at most {sd:.3}",
        found[0], found[1]
    );
    assert!(found[0].abs() < 4.9 * sd);
    // Δt = 0.01 makes wells appear softer by about a per cent.
    assert!((found[1] - u).abs() < 4.9 * sd + 0.03 * u);
}
