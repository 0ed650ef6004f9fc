//! Ising networks: layers, the two machines, their training, their read-out, and what leaves.

use std::ops::Range;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use thermograd::{Chains, Correlation, Couplings, Format, Gibbs, Key, Normalisation, Shards, run, to_f64};
use thermograd_models::ising::readout::Expected;
use thermograd_models::ising::sampling::LayeredGibbs;
use thermograd_models::{
    Augment, Examples, Fit, Forward, Hidden, IsingConfig, IsingNet, IsingTrainer, Realisation, Recipe,
    SpinReader, Sweeps,
};

use crate::common::{deviations, normals};

const PLAIN: Normalisation = Normalisation { offset: 0.5, scale: 0.5, norm: None };
const SHARDS: Shards = Shards { size: 50, threads: 2 };

fn config(hidden: Vec<Hidden>, realisation: Realisation, delta: f64) -> IsingConfig {
    IsingConfig { hidden, outputs: 2, replicas: 1, realisation, delta, scale: 1.0, normalise: false }
}

fn conv(channels: usize, kernel: usize, stride: usize) -> Hidden {
    Hidden::Conv { channels, kernel, stride }
}

/// Random images of random classes.
fn noise(count: usize, width: usize, height: usize, classes: u8) -> Examples {
    let pixels = Key::new(50).uniforms(0, count, width * height).into_iter().map(|u| (255.0 * u) as u8);
    let labels = (0..count).map(|index| index as u8 % classes).collect();
    Examples::new(width, height, pixels.collect(), labels).unwrap()
}

/// All images so many times, one after the other.
fn repeated(examples: &Examples, count: usize) -> Examples {
    let [_, height, width] = examples.shape();
    let all = || (0..count).flat_map(|_| 0..examples.len());
    let pixels = all().flat_map(|index| examples.pixels(index).iter().copied()).collect();
    Examples::new(width, height, pixels, all().map(|index| examples.label(index) as u8).collect()).unwrap()
}

/// Aᵀ is the transpose of A, and the listed pairs are its entries, whatever the sizes: (Aᵀs′)·s = s′·(As).
#[test]
fn layers_go_back_along_the_couplings_they_go_up() {
    let shapes =
        [([1, 7, 9], vec![conv(3, 3, 2), conv(2, 5, 3)]), ([2, 6, 6], vec![conv(4, 5, 2), Hidden::Dense(7)])];
    for (image, hidden) in shapes {
        let net = config(hidden, Realisation::Temperatures, 0.5);
        let net = net.init(image, 3, PLAIN, Key::new(51), &Device::flex()).unwrap();
        for layer in &net.layers {
            let geometry = layer.geometry();
            let row = |units, key| normals(1, units, 1.0, Key::new(key)).cast(burn::tensor::DType::F32);
            let (below, above) = (row(geometry.inputs(), 52), row(geometry.outputs(), 53));
            let weights = to_f64(layer.weight());
            let (b, a) = (to_f64(below.clone()), to_f64(above.clone()));
            let listed: f64 = geometry.pairs().iter().map(|&([i, j], w)| b[i] * weights[w] * a[j]).sum();
            let up = (layer.product(below.clone()) * above.clone()).sum().into_scalar::<f64>();
            let down = (layer.back(above) * below).sum().into_scalar::<f64>();
            assert!((up - listed).abs() < 1e-4 * listed.abs().max(1.0), "{geometry:?}: {up}, {listed}");
            assert!((down - listed).abs() < 1e-4 * listed.abs().max(1.0), "{geometry:?}: {down}, {listed}");
        }
    }
}

/// Mean output spins of some images, by sweeps of layers: `[image, spin]`, with standard errors.
fn outputs(net: &IsingNet, inputs: Tensor<2>, sweeps: usize, key: Key) -> Vec<Correlation> {
    let gibbs = LayeredGibbs::new(net, inputs, key);
    let mut series: Vec<Vec<f64>> = Vec::new();
    run(&gibbs, gibbs.start(key.fork("start")), sweeps + 50, |step| {
        if step.index >= 50 {
            let values = to_f64(step.after.0.last().unwrap().clone());
            series.resize(values.len(), Vec::new());
            series.iter_mut().zip(values).for_each(|(series, value)| series.push(value));
        }
    })
    .unwrap();
    series.into_iter().map(|values| Correlation::of(&[values]).unwrap()).collect()
}

/// At one temperature the layers are an Ising system in equilibrium, with copies of hidden spins and without: output spins
/// have their means over all states, enumerated from the exported couplings by the definition of E.
#[test]
fn at_one_temperature_the_network_is_in_equilibrium() {
    for (replicas, units) in [(1, 10), (2, 16)] {
        let config = config(vec![Hidden::Dense(3), Hidden::Dense(3)], Realisation::Equilibrium, 0.7);
        let config = IsingConfig { replicas, ..config };
        let net = config.init([1, 2, 2], 2, PLAIN, Key::new(54), &Device::flex()).unwrap();
        let examples = noise(4, 2, 2, 2);
        let inputs = examples.clamped(&[0, 1, 2, 3], &PLAIN, None, &Device::flex());
        let found = outputs(&net, inputs.clone(), 20_000, Key::new(55));
        let couplings = net.couplings_of(Sweeps { burn_in: 10, read: 10 }).unwrap();
        let substrate = couplings.substrate(&Device::flex()).unwrap();
        let fields = to_f64(substrate.field(&[inputs]).unwrap());
        assert_eq!(substrate.free_units(), units);
        let columns = |name: &str| substrate.topology().columns(name).unwrap();
        let mut pairs = Vec::new();
        for (from, to) in [("hidden1", "hidden2"), ("hidden2", "output")] {
            let (dense, from, to) = (couplings.dense(from, to).unwrap(), columns(from), columns(to));
            let place = |k: usize| [from.start + k / to.len(), to.start + k % to.len()];
            pairs.extend(dense.iter().enumerate().map(|(k, &j)| (place(k), f64::from(j))));
        }
        let sampling = couplings.description.sampling.as_ref().unwrap();
        assert_eq!(sampling.spins_of(&substrate).unwrap().0.pairs(), pairs.len());
        let first = columns("output").start;
        let outputs = units - first;
        let allowed = deviations(1e-6 / 32.0);
        for image in 0..4 {
            let (mut sum, mut means) = (0.0, vec![0.0; outputs]);
            for state in 0..1 << units {
                let s = |unit: usize| if state >> unit & 1 == 1 { 1.0 } else { -1.0 };
                let energy = (0..units).map(|unit| fields[image * units + unit] * s(unit)).sum::<f64>()
                    + pairs.iter().map(|&([i, j], coupling)| coupling * s(i) * s(j)).sum::<f64>();
                let weight = (-energy).exp();
                sum += weight;
                means.iter_mut().enumerate().for_each(|(k, mean)| *mean += weight * s(first + k));
            }
            for (output, mean) in means.into_iter().enumerate() {
                let (exact, found) = (mean / sum, found[image * outputs + output]);
                let error = found.standard_error();
                assert!(
                    (found.mean - exact).abs() < allowed * error,
                    "{replicas} copies: {} instead of {exact} ± {error}",
                    found.mean
                );
            }
        }
    }
}

/// A network of local couplings, copies and fields, sampled by layers and, once exported, spin by spin: both have the same mean
/// outputs, on both machines; and files keep them.
#[test]
fn exported_couplings_sampled_spin_by_spin_read_what_the_layers_read() {
    let examples = noise(6, 5, 5, 2);
    for (realisation, delta) in [(Realisation::Equilibrium, 0.6), (Realisation::Temperatures, 0.4)] {
        let config =
            IsingConfig { replicas: 2, ..config(vec![conv(2, 3, 2), Hidden::Dense(4)], realisation, delta) };
        let net = config.init([1, 5, 5], 2, PLAIN, Key::new(56), &Device::flex()).unwrap();
        let net = stirred(net, &noise(40, 5, 5, 2));
        let fields = net.layers.iter().flat_map(|layer| to_f64(layer.bias()));
        assert!(fields.filter(|field| field.abs() > 0.01).count() > 5);
        let couplings = net.couplings_of(Sweeps { burn_in: 20, read: 50 }).unwrap();
        for name in ["a.safetensors", "a.npz", "a.csv"] {
            let format = Format::of_name(name).unwrap();
            assert_eq!(format.decode(&format.encode(&couplings).unwrap()).unwrap(), couplings, "{name}");
        }
        let reader = SpinReader::from_couplings(&couplings, &Device::flex()).unwrap();
        // Accuracies over many images and sweeps are means of the same numbers.
        let many = repeated(&examples, 200);
        let sweeps = Sweeps { burn_in: 20, read: 1 };
        let layered = net.read(&many, sweeps, &[], SHARDS, Key::new(57), |_| {}).unwrap();
        let single = reader.read(&many, sweeps, &[], SHARDS, Key::new(58), |_| {}).unwrap();
        let [a, b] = [&layered, &single].map(|reading| reading.accuracy[0].1);
        // Of 1200 readings each, with a variance of ¼ at most.
        let allowed = deviations(1e-6) * (2.0 * 0.25 / 1200.0_f64).sqrt();
        println!(
            "{realisation:?}: {a} {b}, {allowed} allowed; flips {} {}",
            layered.flips_per_image, single.flips_per_image
        );
        assert!((a - b).abs() < allowed);
        assert!((layered.flips_per_image / single.flips_per_image - 1.0).abs() < 0.1);
    }
}

/// The network with fields of its own in every layer, which an untrained one does not have.
fn stirred(net: IsingNet, examples: &Examples) -> IsingNet {
    let recipe = Recipe { epochs: 30, batch: 10, learning_rate: 0.05, ..Recipe::default() };
    let (fixed_point, magnitude, augment) = (0.0, 0.0, Augment::default());
    let trainer = IsingTrainer {
        recipe,
        forward: Forward::MeanField,
        logit_gain: 1.0,
        fixed_point,
        passes: 0,
        settling: Recipe::default(),
        magnitude,
        augment,
    };
    crate::common::run(Fit::new(trainer.training(&net, examples).unwrap(), net, SHARDS, Key::new(70))).valid()
}

/// Exact mean outputs of a network with one dense hidden layer, for one image: the Markov chain on its outputs, of which a
/// step draws the hidden spins and then the outputs by (26), written out for each machine.
fn exact_outputs(net: &IsingNet, image: &[f64], delta: f64) -> Vec<f64> {
    let [w1, b1, w2, b2] = [0, 1]
        .map(|l| [to_f64(net.layers[l].weight()), to_f64(net.layers[l].bias())])
        .concat()
        .try_into()
        .unwrap();
    let (hidden, outputs) = (b1.len(), b2.len());
    let spin = |state: usize, k: usize| if state >> k & 1 == 1 { 1.0 } else { -1.0 };
    // Of layer two: what goes up is scaled at one temperature, and what comes back in both, by δ.
    let up = if net.realisation() == Realisation::Equilibrium { delta } else { 1.0 };
    let chance = |fields: Vec<f64>, state: usize| -> f64 {
        fields.iter().enumerate().map(|(k, f)| 1.0 / (1.0 + (-2.0 * f * spin(state, k)).exp())).product()
    };
    let to_hidden = |s: usize| -> Vec<f64> {
        let field = |h: usize| {
            let image: f64 = image.iter().enumerate().map(|(i, x)| x * w1[i * hidden + h]).sum();
            image + b1[h] + delta * (0..outputs).map(|o| w2[h * outputs + o] * spin(s, o)).sum::<f64>()
        };
        (0..hidden).map(field).collect()
    };
    let to_outputs = |s: usize| -> Vec<f64> {
        let field = |o: usize| b2[o] + (0..hidden).map(|h| w2[h * outputs + o] * spin(s, h)).sum::<f64>();
        (0..outputs).map(|o| up * field(o)).collect()
    };
    let mut p = vec![1.0 / f64::from(1 << outputs); 1 << outputs];
    for _ in 0..400 {
        let mut above = vec![0.0; 1 << hidden];
        for (s, p) in p.iter().enumerate() {
            let fields = to_hidden(s);
            above.iter_mut().enumerate().for_each(|(h, sum)| *sum += p * chance(fields.clone(), h));
        }
        p = vec![0.0; 1 << outputs];
        for (h, above) in above.iter().enumerate() {
            let fields = to_outputs(h);
            p.iter_mut().enumerate().for_each(|(s, sum)| *sum += above * chance(fields.clone(), s));
        }
    }
    (0..outputs).map(|o| p.iter().enumerate().map(|(s, p)| p * spin(s, o)).sum()).collect()
}

/// Both machines have the steady state of (26), which is enumerated, whether sampled by layers or, once exported, spin by
/// spin.
#[test]
fn outputs_have_the_means_of_their_steady_state_by_layers_and_spin_by_spin() {
    let examples = noise(40, 2, 2, 2);
    let inputs = examples.clamped(&[0, 1, 2], &PLAIN, None, &Device::flex());
    let images = to_f64(inputs.clone());
    let allowed = deviations(1e-6 / 48.0);
    for (realisation, delta) in [(Realisation::Temperatures, 0.6), (Realisation::Equilibrium, 0.6)] {
        let net = config(vec![Hidden::Dense(3)], realisation, delta);
        let net = stirred(net.init([1, 2, 2], 2, PLAIN, Key::new(71), &Device::flex()).unwrap(), &examples);
        let layers = outputs(&net, inputs.clone(), 20_000, Key::new(72));
        let couplings = net.couplings_of(Sweeps { burn_in: 1, read: 1 }).unwrap();
        let substrate = couplings.substrate(&Device::flex()).unwrap();
        let (spins, betas) = couplings.description.sampling.unwrap().spins_of(&substrate).unwrap();
        let field = to_f64(substrate.field(std::slice::from_ref(&inputs)).unwrap().transpose());
        let field: Vec<f32> = field.into_iter().map(|h| h as f32).collect();
        let gibbs = Gibbs::new(&spins, 1.0, Key::new(73)).unwrap().with_fields(3, &field).unwrap();
        let gibbs = gibbs.with_temperatures(&betas).unwrap();
        let mut series = vec![Vec::new(); 12];
        run(&gibbs, Chains::random(&spins, 3, Key::new(74)), 20_050, |step| {
            for output in 0..4 {
                for (image, &s) in step.after.of(&spins, 3 + output).iter().enumerate() {
                    if step.index >= 50 {
                        series[image * 4 + output].push(f64::from(s));
                    }
                }
            }
        })
        .unwrap();
        let single = series.into_iter().map(|values| Correlation::of(&[values]).unwrap());
        let exact = images.chunks(4).flat_map(|image| exact_outputs(&net, image, delta));
        for ((exact, layers), single) in exact.zip(layers).zip(single) {
            for found in [layers, single] {
                let error = found.standard_error();
                let far = (found.mean - exact).abs();
                assert!(
                    far < allowed * error,
                    "{realisation:?}: {} instead of {exact} ± {error}",
                    found.mean
                );
            }
        }
    }
}

#[test]
fn what_is_no_machine_is_refused() {
    let device = Device::flex();
    let dense = || vec![Hidden::Dense(3)];
    let init = |config: IsingConfig| config.init([1, 2, 2], 2, PLAIN, Key::new(1), &device);
    for (realisation, delta) in [
        (Realisation::Equilibrium, 0.0),
        (Realisation::Equilibrium, 1.1),
        (Realisation::Temperatures, -0.1),
        (Realisation::Temperatures, f64::NAN),
    ] {
        let error = init(config(dense(), realisation, delta)).unwrap_err().to_string();
        assert!(error.contains("delta"), "{error}");
    }
    for hidden in [vec![], vec![Hidden::Dense(0)], vec![conv(1, 2, 1)], vec![conv(1, 3, 0)]] {
        assert!(init(config(hidden, Realisation::Temperatures, 0.1)).is_err());
    }
    let forward = init(config(dense(), Realisation::Temperatures, 0.0)).unwrap();
    let error = forward.couplings_of(Sweeps { burn_in: 1, read: 1 }).unwrap_err().to_string();
    assert!(error.contains("symmetric"), "{error}");
    let langevin = crate::common::reader().classifier.couplings();
    assert!(SpinReader::from_couplings(&langevin, &device).is_err());
    let spins = init(config(dense(), Realisation::Equilibrium, 1.0)).unwrap();
    let couplings: Couplings = spins.couplings_of(Sweeps { burn_in: 1, read: 1 }).unwrap();
    assert!(thermograd_models::Classifier::from_couplings(&couplings, &device).is_err());
    let reader = SpinReader::from_couplings(&couplings, &device).unwrap();
    let (sweeps, images) = (Sweeps { burn_in: 1, read: 1 }, noise(4, 2, 2, 3));
    let error = reader.read(&images, sweeps, &[], SHARDS, Key::new(1), |_| {}).unwrap_err().to_string();
    assert!(error.contains("3 classes"), "{error}");
    let mut broken = couplings.clone();
    broken.description.sampling.as_mut().unwrap().burn_in = usize::MAX;
    assert!(broken.validate().unwrap_err().to_string().contains("sweeps"));
    let faint = init(config(dense(), Realisation::Temperatures, 1e-30)).unwrap();
    assert!(!faint.exports() && faint.couplings_of(sweeps).is_err());
    for (beta, output) in [(0.0, "output"), (1.0, "nothing")] {
        let mut broken = couplings.clone();
        let sampling = broken.description.sampling.as_mut().unwrap();
        (sampling.output, *sampling.betas.get_mut("hidden1").unwrap()) = (output.into(), beta);
        assert!(broken.validate().is_err());
    }
}

/// A trained network of 64 hidden spins, and drawn digits to try it on.
fn trained(realisation: Realisation, delta: f64, forward: Forward) -> (IsingNet, Examples, Examples) {
    trained_of(vec![Hidden::Dense(64)], realisation, delta, forward)
}

fn trained_of(
    hidden: Vec<Hidden>,
    realisation: Realisation,
    delta: f64,
    forward: Forward,
) -> (IsingNet, Examples, Examples) {
    let reader = crate::common::reader();
    let config = IsingConfig { outputs: 10, scale: 0.3, ..config(hidden, realisation, delta) };
    let inputs = Normalisation { offset: 0.5, scale: 0.25, norm: None };
    let net = config.init([1, 28, 28], 10, inputs, Key::new(60), &Device::flex()).unwrap();
    let recipe = Recipe { epochs: 4, batch: 100, learning_rate: 3e-3, warm_up: 20, ..Recipe::default() };
    let trainer = IsingTrainer {
        recipe,
        forward,
        logit_gain: 10.0,
        fixed_point: if realisation == Realisation::Equilibrium { 1.0 } else { 0.0 },
        magnitude: 0.0,
        passes: 0,
        settling: Recipe::default(),
        augment: Augment::default(),
    };
    let training = trainer.training(&net, &reader.train).unwrap();
    (
        crate::common::run(Fit::new(training, net, SHARDS, Key::new(61))),
        reader.train.clone(),
        reader.test.clone(),
    )
}

/// The average reads what the normal model expects of it, from one sweep to a hundred; the mean field is its limit.
#[test]
fn the_read_out_is_what_is_expected_of_it() {
    let dense = || vec![Hidden::Dense(64)];
    let local = [(8, 5), (16, 3)].map(|(channels, kernel)| Hidden::Conv { channels, kernel, stride: 2 });
    // Few sweeps are read so many times, and many.
    for (hidden, realisation, delta, forward, [few, many]) in [
        (dense(), Realisation::Temperatures, 0.3, Forward::MeanField, [60, 16]),
        (dense(), Realisation::Equilibrium, 1.0, Forward::StraightThrough, [60, 16]),
        (local.to_vec(), Realisation::Temperatures, 0.1, Forward::MeanField, [10, 2]),
    ] {
        let (net, _, test) = trained_of(hidden, realisation, delta, forward);
        let tau = net.tau(&test, 20, 400, Key::new(62), |_| {}).unwrap().unwrap();
        let expected = net.expected(&test, 20, SHARDS, |_| {});
        let sweeps = Sweeps { burn_in: net.burn_in(tau.tau), read: 100 };
        // The covariances of class means between sweeps are C of (28): from a hundred images 1000 sweeps know the variances within a
        // fraction of a percent, and the rest is the closure's; covariances are few percent of them, and known less well.
        for (what, derived, measured) in
            noise_of(&net, &test, &expected, 100, sweeps.burn_in..sweeps.burn_in + 1000)
        {
            println!(
                "{realisation:?}: {what} {derived} derived, {measured} measured: {}",
                derived / measured
            );
            let most = if what == "variance" { 0.03 } else { 0.1 };
            assert!((derived / measured - 1.0).abs() < most, "{what}: {derived} is not {measured}");
        }
        // One point, and what is left of the noise of reading the same images many times,
        // which is at most that of independent coins; the first marks are read more often, since they have more of it.
        let mut sums = [0.0; 5];
        for time in 0..few {
            let all = time < many;
            let sweeps = Sweeps { read: if all { 100 } else { 3 }, ..sweeps };
            let marks: &[usize] = if all { &[1, 3, 10, 30] } else { &[1] };
            let reading = net.read(&test, sweeps, marks, SHARDS, Key::new(100 + time), |_| {}).unwrap();
            sums.iter_mut().zip(&reading.accuracy).for_each(|(sum, (_, accuracy))| *sum += accuracy);
        }
        for (index, (sum, read)) in sums.iter_mut().zip([1, 3, 10, 30, 100]).enumerate() {
            let times = if index < 2 { few as f64 } else { many as f64 };
            *sum /= times;
            let (mean, expected) = (*sum, expected.accuracy(read, tau.tau));
            let noise = deviations(1e-6 / 15.0) * (mean * (1.0 - mean) / (1000.0 * times)).sqrt();
            println!("{realisation:?} {read}: {mean} ± {noise}, {expected}, tau {}", tau.tau);
            assert!((mean - expected).abs() < 0.01 + noise, "{read}: {mean} ± {noise}, {expected}");
        }
        assert!(sums[4] > 0.75);
        let cheapest = expected.cheapest(0.7, tau.tau, 1000).unwrap();
        assert!(expected.accuracy(cheapest.sweeps - 1, tau.tau) < 0.7 || cheapest.sweeps == 1);
        assert!(expected.cheapest(0.9999, tau.tau, 1000).is_none());
    }
}

/// C of (28) in networks of three hidden layers and random couplings, where spins of a layer share the noise of those below, with
/// one copy of every spin and with four: within a fiftieth, and covariances within a tenth, which is what its closure and its linear response leave.
#[test]
fn the_noise_of_deep_layers_reaches_the_outputs_once() {
    for replicas in [1, 4] {
        let hidden = vec![Hidden::Dense(60); 3];
        let config = IsingConfig {
            outputs: 10,
            replicas,
            scale: 1.0,
            ..config(hidden, Realisation::Temperatures, 0.0)
        };
        let net = config.init([1, 8, 8], 10, PLAIN, Key::new(80), &Device::flex()).unwrap();
        let images = 40;
        let examples = noise(images, 8, 8, 10);
        let expected = net.expected(&examples, 1, SHARDS, |_| {});
        for (what, derived, measured) in noise_of(&net, &examples, &expected, images, 4..2004) {
            println!(
                "{replicas} copies: {what} {derived} derived, {measured} measured: {}",
                derived / measured
            );
            let most = if what == "variance" { 0.02 } else { 0.1 };
            assert!(
                (derived / measured - 1.0).abs() < most,
                "{replicas}, {what}: {derived} is not {measured}"
            );
        }
    }
}

/// What is derived and what some sweeps have: the variances of class means, in sum over images, and the covariances of any two,
/// each multiplied by what is derived of it, so that those that are wrong or missing show.
fn noise_of(
    net: &IsingNet,
    examples: &Examples,
    expected: &Expected,
    images: usize,
    sweeps: Range<usize>,
) -> [(&'static str, f64, f64); 2] {
    let inputs =
        examples.clamped(&(0..images).collect::<Vec<_>>(), net.normalisation(), None, &Device::flex());
    let gibbs = LayeredGibbs::new(net, inputs, Key::new(81));
    let (mut sum, mut products) = (vec![0.0; images * 10], vec![0.0; images * 100]);
    run(&gibbs, gibbs.start(Key::new(82)), sweeps.end, |step| {
        if sweeps.contains(&step.index) {
            let outputs = to_f64(step.after.0.last().unwrap().clone());
            let replicas = outputs.len() / (10 * images);
            for (image, spins) in outputs.chunks(10 * replicas).enumerate() {
                let mean = |spins: &[f64]| spins.iter().sum::<f64>() / replicas as f64;
                let means: Vec<f64> = spins.chunks(replicas).map(mean).collect();
                for i in 0..10 {
                    sum[10 * image + i] += means[i];
                    for j in 0..10 {
                        products[100 * image + 10 * i + j] += means[i] * means[j];
                    }
                }
            }
        }
    })
    .unwrap();
    let n = sweeps.len() as f64;
    let [mut variances, mut covariances] = [[0.0; 2]; 2];
    for (place, &derived) in expected.covariances()[..images * 100].iter().enumerate() {
        let (image, i, j) = (place / 100, place / 10 % 10, place % 10);
        let measured = products[place] / n - sum[10 * image + i] * sum[10 * image + j] / (n * n);
        let (sums, by) = if i == j { (&mut variances, 1.0) } else { (&mut covariances, derived) };
        sums[0] += by * derived;
        sums[1] += by * measured;
    }
    [("variance", variances[0], variances[1]), ("covariance", covariances[0], covariances[1])]
}

/// A network that was trained without the way back reads better where all of it comes back, once it has been trained on
/// with a pass that takes it into account.
#[test]
fn training_goes_on_with_the_way_back() {
    let (net, train, test) = trained(Realisation::Temperatures, 1.0, Forward::MeanField);
    let accuracy = |net: &IsingNet| {
        let sweeps = Sweeps { burn_in: 10, read: 30 };
        net.read(&test, sweeps, &[], SHARDS, Key::new(68), |_| {}).unwrap().accuracy[0].1
    };
    let recipe = Recipe { epochs: 2, batch: 100, learning_rate: 2e-3, warm_up: 20, ..Recipe::default() };
    let trainer = IsingTrainer {
        recipe,
        forward: Forward::Closure,
        logit_gain: 10.0,
        fixed_point: 0.0,
        magnitude: 0.0,
        passes: 2,
        settling: recipe,
        augment: Augment::default(),
    };
    let settled = crate::common::run(Fit::new(trainer.settled(&train), net.clone(), SHARDS, Key::new(69)));
    let blind = IsingTrainer { passes: 0, ..trainer };
    let blind = crate::common::run(Fit::new(blind.settled(&train), net.clone(), SHARDS, Key::new(69)));
    let [before, blind, after] = [&net, &blind, &settled].map(accuracy);
    println!("{before}, {blind} without the way back, {after}");
    assert!(after > blind + 0.02 && after > before + 0.02);
}

/// Nothing comes back at δ = 0: sweeps are independent, τ = ½.
#[test]
fn sweeps_of_a_feed_forward_network_are_independent() {
    let (net, _, test) = trained(Realisation::Temperatures, 0.0, Forward::MeanField);
    let tau = net.tau(&test, 20, 1000, Key::new(64), |_| {}).unwrap().unwrap();
    assert!((tau.tau - 0.5).abs() < deviations(1e-6) * tau.tau_error, "{tau:?}");
}

/// At one temperature margins go with δ, so that as many sweeps as go with δ⁻² are needed: accuracies at equal Gδ² agree.
#[test]
fn accuracies_collapse_on_sweeps_times_delta_squared() {
    let (net, _, test) = trained(Realisation::Equilibrium, 1.0, Forward::MeanField);
    let accuracy = |delta: f64, read: usize| {
        let net = net.clone().realised(Realisation::Equilibrium, delta).unwrap();
        let sweeps = Sweeps { burn_in: 10, read };
        net.read(&test, sweeps, &[], SHARDS, Key::new(65), |_| {}).unwrap().accuracy[0].1
    };
    let (half, quarter) = (accuracy(0.25, 40), accuracy(0.125, 160));
    let other = accuracy(0.125, 40);
    println!("{half} {quarter} {other}");
    // The same images: their difference is of noise alone.
    assert!((half - quarter).abs() < 0.03 && half - other > 0.06, "{half}, {quarter}, {other}");
}

/// Folding makes plain couplings that give the fields that normalised ones had, and the noise that the closure counts on.
#[test]
fn folded_layers_have_the_fields_of_normalised_ones() {
    let config = IsingConfig {
        normalise: true,
        ..config(vec![conv(3, 3, 2), Hidden::Dense(5)], Realisation::Temperatures, 0.1)
    };
    let net = config.init([1, 6, 6], 2, PLAIN, Key::new(66), &Device::flex()).unwrap();
    let examples = noise(40, 6, 6, 2);
    let indices: Vec<usize> = (0..40).collect();
    let inputs = examples.clamped(&indices, &PLAIN, None, &Device::flex());
    assert!(net.couplings_of(Sweeps { burn_in: 1, read: 1 }).is_err());
    let outputs = [Forward::MeanField, Forward::Closure].map(|forward| {
        let folded = net.folded(&examples, 40, forward, Shards::whole(), Key::new(67)).unwrap();
        assert!(folded.couplings_of(Sweeps { burn_in: 1, read: 1 }).is_ok());
        let [a, b] = [net.valid(), folded].map(|net| to_f64(net.means(inputs.clone(), forward, Key::new(0))));
        let apart = crate::common::distance(&a, &b);
        assert!(apart < 1e-3, "{forward:?}: outputs are {apart} apart");
        a
    });
    // The two passes are not the same thing, so that each is tested.
    assert!(crate::common::distance(&outputs[0], &outputs[1]) > 1e-2);
}
