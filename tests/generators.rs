//! Generators on small images, for all ways of training.

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use thermograd::{Couplings, Direction, Estimate, Key, Schedule, Shards, Substrate, to_f64};
use thermograd_models::generator::{metrics, noising, stored};
use thermograd_models::{
    ClassesConfig, Descent, Error, Examples, Fit, Generator, HiddenUnits, Noising, Recipe, Request, Rule,
    Stored, StoredConfig,
};

use crate::common::{distance, double, networks, normals, random, run};

/// Compares autodiff of the reversed action with the local rule, on networks of every kind.
#[test]
fn the_gradient_of_the_reversed_action_is_the_local_rule() {
    for (name, topology) in networks() {
        for direction in [Direction::Reverse, Direction::Forward] {
            let (substrate, clamped) = random(&topology, 0.6, 5, Key::new(121));
            let units = substrate.free_units();
            let (before, after) =
                (normals(5, units, 0.7, Key::new(122)), normals(5, units, 0.7, Key::new(123)));
            let tracked = substrate.valid().train();
            let action = tracked.step_action(0.01, direction).unwrap();
            let action = action.of(before.clone(), after.clone(), tracked.field(&clamped).unwrap()).sum();
            let gradients = GradientsParams::from_grads(action.backward(), &tracked);
            let rule = substrate.local_rule(&clamped, before, after, 0.01, direction).unwrap();
            let ids = burn::module::list_param_ids(&tracked);
            let by_autodiff: Vec<Vec<f64>> =
                ids.into_iter().map(|id| to_f64(gradients.get::<2>(id).unwrap())).collect();
            for (index, block) in topology.blocks.iter().enumerate() {
                let shape = rule.couplings[index].dims();
                let local = to_f64(rule.couplings[index].clone());
                let expected: Vec<f64> = match &block.pattern {
                    thermograd::Pattern::Pairs(pairs) => {
                        pairs.iter().map(|[i, j]| local[i * shape[1] + j]).collect()
                    }
                    // The two stored entries of a pair share its gradient.
                    thermograd::Pattern::Full if block.from == block.to => (0..local.len())
                        .map(|k| if k / shape[1] == k % shape[1] { 0.0 } else { 0.5 * local[k] })
                        .collect(),
                    thermograd::Pattern::Full => local,
                };
                let scale = expected.iter().fold(1.0_f64, |scale, value| scale.max(value.abs()));
                assert!(distance(&by_autodiff[index], &expected) < 1e-10 * scale, "{name}, {}", block.name());
            }
            let biases = by_autodiff[topology.blocks.len()..].concat();
            let expected: Vec<f64> = topology
                .free()
                .filter(|group| group.bias)
                .flat_map(|group| {
                    to_f64(rule.bias.clone().slice_dim(1, topology.columns(&group.name).unwrap()))
                })
                .collect();
            let scale = expected.iter().fold(1.0_f64, |scale, value| scale.max(value.abs()));
            assert!(distance(&biases, &expected) < 1e-10 * scale, "{name}, biases");
        }
    }
}

/// Three images of 6 × 6, a third of them ink or less: a cross, an L, a block.
fn pictures() -> Stored {
    let draw = |ink: fn(usize, usize) -> bool| -> Vec<u8> {
        (0..36).map(|k| if ink(k / 6, k % 6) { 255 } else { 0 }).collect()
    };
    let images = vec![
        draw(|row, column| row == column || row + column == 5),
        draw(|row, column| row == 5 || column == 0),
        draw(|row, column| row < 3 && column > 1),
    ];
    Stored { images, labels: vec![0, 1, 2] }
}

fn untrained(noising: Noising, t_f: f64) -> Generator {
    let config = StoredConfig { hidden: 24, ..StoredConfig::default() };
    config.init(36, Schedule::new(5e-3, t_f).unwrap(), noising, &Device::flex()).unwrap()
}

fn coarse() -> Noising {
    Noising { schedule: Schedule::new(5e-3, 2.5).unwrap(), ..Noising::default() }
}

/// At the exact solution the gradient of the expected action, by autodiff, vanishes up to the ridge.
#[test]
fn the_exact_solution_is_a_stationary_point_of_the_expected_action() {
    let (noising, pictures) = (coarse(), pictures());
    let config = StoredConfig { hidden: 24, ..StoredConfig::default() };
    let untrained = config.init(36, Schedule::new(5e-3, 2.5).unwrap(), noising, double()).unwrap();
    let ridge = 1e-9;
    let solved = stored::exact(&untrained, &pictures, ridge).unwrap();
    let gradient = |substrate: &Substrate| -> f64 {
        let table = noising.table(&substrate.topology().groups[0], substrate.kt(), 50).unwrap();
        let tracked = substrate.valid().train();
        // ⟨|F − T|²⟩ with F = −b − Jx and x of independent units: (F(⟨x⟩) − ⟨T⟩)² + Σ_j J_ij² Var x_j, plus
        // constants.
        let eye = Tensor::<2>::eye(60, &Device::flex()).cast(burn::tensor::DType::F64);
        let zero = Tensor::zeros([1, 60], double());
        let coupling = -tracked.potential().steered_force(eye, zero);
        let mut action = Tensor::<1>::zeros([1], double());
        for image in &pictures.images {
            let units: Vec<u8> = image.iter().chain(&image[..24]).copied().collect();
            for moments in &table.moments {
                let row = |value: fn(&noising::Moment) -> f64| {
                    let values: Vec<f64> =
                        units.iter().map(|&pixel| value(&moments[usize::from(pixel)])).collect();
                    Tensor::<2>::from_data(burn::tensor::TensorData::new(values, [1, 60]), double())
                };
                let (mean, variance, target) = (row(|m| m.mean), row(|m| m.variance), row(|m| m.target));
                let force = tracked.potential().steered_force(mean, tracked.field(&[]).unwrap());
                let spread = variance.matmul(coupling.clone() * coupling.clone());
                action = action + ((force - target).square() + spread).sum();
            }
        }
        let gradients = GradientsParams::from_grads(action.backward(), &tracked);
        let ids = burn::module::list_param_ids(&tracked);
        let square = |id| to_f64(gradients.get::<2>(id).unwrap()).iter().map(|g| g * g).sum::<f64>();
        ids.into_iter().map(square).sum::<f64>().sqrt()
    };
    let (at_zero, at_solution) = (gradient(&untrained.substrate), gradient(&solved));
    println!("gradient of the expected action: {at_zero:.3e} untrained, {at_solution:.3e} solved");
    // The equations are solved to 1e-5 of their right-hand side, which is the gradient without couplings.
    assert!(at_solution < 3e-5 * at_zero);
}

fn correlation(a: &[f32], b: &[u8]) -> f64 {
    let examples = Examples::new(6, 6, b.to_vec(), vec![0]).unwrap();
    metrics::nearest(a, &examples, Shards::whole())[0].correlation
}

/// Draws images, and returns the fraction recognised as stored ones, and which of these occur.
fn recalled(generator: &Generator, count: usize, shards: Shards) -> (Vec<f32>, f64, [usize; 3], Estimate) {
    let request =
        Request { count, labels: None, label_strength: 1.0, hidden: HiddenUnits::Langevin, accounts: 0 };
    let samples = generator.sample(&request, shards, Key::new(125), |_| {}).unwrap();
    let (mut known, mut counts, stored) = (0, [0; 3], pictures().images);
    for image in samples.force.chunks(36) {
        let best = stored.iter().map(|stored| correlation(image, stored)).enumerate();
        let (index, best) = best.max_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
        if best > 0.7 {
            known += 1;
            counts[index] += 1;
        }
    }
    (samples.raw, known as f64 / count as f64, counts, Estimate::of(&samples.heat))
}

#[test]
fn a_small_computer_keeps_three_images_and_finds_them_in_noise() {
    let untrained = untrained(coarse(), 10.0);
    let solved = untrained.with_substrate(stored::exact(&untrained, &pictures(), 1e-4).unwrap());
    let (_, nothing, ..) = recalled(&untrained, 64, Shards::new(16));
    let (raw, known, counts, heat) = recalled(&solved.amplified(1.15).unwrap(), 64, Shards::new(16));
    println!("recognised {nothing} untrained, {known} solved, {counts:?}, heat {:.1} kT", heat.mean);
    // About half of them are recognised at this size; the rest are mixtures and negatives. With a probability of a
    // half, 64 draws are below a fifth only once in a million.
    assert!(nothing < 0.05 && known > 0.2);
    assert!(counts.iter().all(|&count| count > 0), "{counts:?}");
    assert!(heat.mean > 0.0);
    // The number of threads does not change the result.
    let (same, ..) = recalled(&solved.amplified(1.15).unwrap(), 64, Shards { size: 16, threads: 5 });
    assert!(raw == same);
}

/// Checks not only the direction of the exact solution but its length: along its multiples, the reversed action of
/// simulated noising trajectories is a parabola with its minimum at one.
#[test]
fn no_multiple_of_the_exact_solution_makes_noising_trajectories_likelier_backwards() {
    let noising = Noising { schedule: Schedule::new(2e-3, 2.5).unwrap(), ..Noising::default() };
    let (untrained, pictures) = (untrained(noising, 2.5), pictures());
    let solved = untrained.with_substrate(stored::exact(&untrained, &pictures, 1e-9).unwrap());
    // Each image equally often, on the visible units and again, from its first pixel, on the hidden ones.
    let (units, each) = (60, 400);
    let pixels: Vec<u8> = (0..3 * each)
        .flat_map(|row| {
            let image = &pictures.images[row % 3];
            (0..units).map(move |unit| image[unit % 36])
        })
        .collect();
    let scaled = [0.0, 1.0, 2.0].map(|gain| solved.amplified(gain).unwrap().substrate);
    let judges = scaled.each_ref().map(|s| s.step_action(2e-3, Direction::Reverse).unwrap());
    let mut actions = [0; 3].map(|_| vec![0.0; 3 * each]);
    noising
        .fall(&untrained.substrate, &pixels, Key::new(136), |step| {
            for ((judge, substrate), sums) in judges.iter().zip(&scaled).zip(&mut actions) {
                let field = substrate.field(&[]).unwrap();
                let action = to_f64(judge.of(step.before.clone(), step.after.clone(), field));
                sums.iter_mut().zip(action).for_each(|(sum, action)| *sum += action);
            }
        })
        .unwrap();
    // A(s) = A(0) − bs + cs², whose vertex s* is b/2c, with the error of b − 2cs* over 2c.
    let [zero, one, two] = actions;
    let both = |row: usize| {
        let c = 0.5 * (two[row] - 2.0 * one[row] + zero[row]);
        (zero[row] - one[row] + c, c)
    };
    let (b, c): (Vec<f64>, Vec<f64>) = (0..3 * each).map(both).unzip();
    let (slope, bend) = (Estimate::of(&b).mean, Estimate::of(&c).mean);
    let vertex = slope / (2.0 * bend);
    let rest: Vec<f64> = b.iter().zip(&c).map(|(b, c)| b - 2.0 * c * vertex).collect();
    let error = Estimate::of(&rest).standard_error() / (2.0 * bend);
    println!("the likeliest multiple of the exact solution: {vertex:.4} ± {error:.4}");
    // The tolerance is 4.9 standard errors, plus half a per cent for Δt = 2e-3 and 50 time bins.
    assert!((vertex - 1.0).abs() < 4.9 * error + 0.005);
}

/// Both descents approach the exact solution: the action falls, and the couplings turn towards the exact ones.
#[test]
fn batch_and_online_descent_go_where_the_exact_solution_is() {
    let (untrained, pictures) = (untrained(coarse(), 2.5), pictures());
    let solved = stored::exact(&untrained, &pictures, 1e-4).unwrap();
    let direction = |substrate: &Substrate| to_f64(substrate.coupling(0));
    let cosine = |a: &[f64], b: &[f64]| {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    };
    for rule in [Rule::Batch, Rule::Online] {
        let descent = Descent { cycles: 40, rate: 4.0 };
        let mut generator = untrained.clone();
        let mut actions = Vec::new();
        for cycle in 0..descent.cycles {
            let (substrate, action) =
                descent.cycle(&generator, &pictures, rule, cycle, Key::new(126)).unwrap();
            generator = generator.with_substrate(substrate);
            actions.push(action);
        }
        let alike = cosine(&direction(&generator.substrate), &direction(&solved));
        println!("{rule:?}: action {:.4} to {:.4}, cosine {alike:.3}", actions[0], actions[39]);
        assert!(actions[39] < actions[0] && alike > 0.9, "{rule:?}: {alike}");
    }
}

/// Two classes of noisy stripes, 6 × 6.
fn stripes() -> Examples {
    use rand::RngExt;
    let mut rng = Key::new(127).rng();
    let count = 600;
    let mut pixels = Vec::new();
    for index in 0..count {
        let shift = rng.random_range(0..2);
        for k in 0..36 {
            let line = if index % 2 == 0 { k / 6 } else { k % 6 };
            let ink = if (line + shift) % 3 == 0 { 235 } else { 15 };
            pixels.push((ink + rng.random_range(0..20)) as u8);
        }
    }
    Examples::new(6, 6, pixels, (0..count).map(|index| (index % 2) as u8).collect()).unwrap()
}

fn trained(config: &ClassesConfig, noising: Noising, examples: &Examples, threads: usize) -> Generator {
    let denoiser = config.init([1, 6, 6], 2, Key::new(128), &Device::flex()).unwrap();
    let training = config.training(&denoiser, noising, examples).unwrap();
    let fit = Fit::new(training, denoiser, Shards { size: 32, threads }, Key::new(129));
    run(fit).generator(noising, 5e-3).unwrap()
}

#[test]
fn a_small_computer_draws_the_class_it_is_asked_for() {
    let (noising, examples) = (coarse(), stripes());
    let recipe = Recipe { epochs: 60, batch: 64, ..ClassesConfig::default().recipe };
    let config = ClassesConfig {
        hidden: 32,
        hidden_mobility: 10.0,
        bins: 20,
        knots: 6,
        recipe,
        ..ClassesConfig::default()
    };
    let generator = trained(&config, noising, &examples, 2);
    let labels: Vec<usize> = (0..60).map(|k| k % 2).collect();
    for hidden in [HiddenUnits::Langevin, HiddenUnits::Adiabatic] {
        let request =
            Request { count: 60, labels: Some(labels.clone()), label_strength: 1.5, hidden, accounts: 60 };
        let samples = generator.sample(&request, Shards::new(16), Key::new(130), |_| {}).unwrap();
        let nearest = metrics::nearest(&samples.force, &examples, Shards::new(16));
        let right =
            nearest.iter().zip(&labels).filter(|(near, label)| examples.label(near.index) == **label).count();
        let known = nearest.iter().filter(|near| near.correlation > metrics::RECOGNISED).count();
        println!(
            "{hidden:?}: {right} of 60 of the class asked, {known} recognised, heat {:?}",
            Estimate::of(&samples.heat).mean
        );
        assert!(right >= 54 && known >= 54, "{hidden:?}");
        assert_eq!(samples.heat.len(), if hidden == HiddenUnits::Langevin { 60 } else { 0 });
    }

    // The export draws the same images.
    let bytes = generator.couplings().encode().unwrap();
    let read = Couplings::decode(&bytes).unwrap();
    let again = Generator::from_couplings(&read, noising, &Device::flex()).unwrap();
    assert_eq!((again.course.clone(), again.classes()), (generator.course.clone(), Some(2)));
    let request = Request {
        count: 4,
        labels: Some(vec![0, 1, 0, 1]),
        label_strength: 1.5,
        hidden: HiddenUnits::Langevin,
        accounts: 0,
    };
    let draw =
        |generator: &Generator| generator.sample(&request, Shards::new(4), Key::new(131), |_| {}).unwrap();
    assert_eq!(draw(&again).raw, draw(&generator).raw);

    // One thread or many give the same bits.
    let alone = trained(&config, noising, &examples, 1);
    assert!(alone.couplings().encode().unwrap() == bytes);
}

/// Every image starts from its own noise, whichever part of the request it is drawn in.
#[test]
fn every_image_starts_from_its_own_noise() {
    let generator = untrained(coarse(), 0.005);
    let request =
        Request { count: 8, labels: None, label_strength: 1.0, hidden: HiddenUnits::Langevin, accounts: 0 };
    let starts = |rows: std::ops::Range<usize>| {
        let mut start = Vec::new();
        let see =
            |step: &thermograd::Step, _: Option<&thermograd::Ledger>| start = to_f64(step.before.clone());
        generator.draw(&request, rows, Key::new(135), see).unwrap();
        start
    };
    let whole = starts(0..8);
    assert_eq!(whole[4 * 60..], starts(4..8));
    let rows: Vec<&[f64]> = whole.chunks(60).collect();
    assert!((0..8).all(|a| (0..a).all(|b| rows[a] != rows[b])));
}

#[test]
fn requests_that_cannot_be_met_are_refused() {
    let stored = untrained(coarse(), 1.0);
    let config = ClassesConfig { hidden: 8, ..ClassesConfig::default() };
    let classes =
        config.init([1, 6, 6], 3, Key::new(132), &Device::flex()).unwrap().generator(coarse(), 5e-3).unwrap();
    let request =
        Request { count: 2, labels: None, label_strength: 1.0, hidden: HiddenUnits::Langevin, accounts: 0 };
    let refused = |generator: &Generator, request: &Request, part: &str| {
        let error = generator.sample(request, Shards::new(4), Key::new(133), |_| {}).unwrap_err();
        assert!(matches!(error, Error::Request(_)), "{error:?}");
        assert!(error.to_string().contains(part), "{error}");
    };
    let labelled = |labels: Vec<usize>| Request { labels: Some(labels), ..request.clone() };
    refused(&stored, &labelled(vec![0, 1]), "no label units");
    refused(&classes, &request, "3 classes; choose one");
    refused(&classes, &labelled(vec![0, 3]), "class 3");
    refused(&classes, &labelled(vec![0]), "1 labels for 2 images");
    refused(&stored, &Request { count: 0, ..request.clone() }, "no image");
    let fast = Request { hidden: HiddenUnits::Adiabatic, ..request };
    refused(&stored, &fast, "to visible units alone");

    let choose = |digits: &[usize], each| Stored::choose(&stripes(), digits, each).unwrap_err().to_string();
    assert!(choose(&[7], 1).contains("0 images of digit 7"));
    assert!(choose(&[0, 0], 1).contains("twice"));
    assert!(choose(&[], 1).contains("at least one digit"));
    assert!(choose(&[0], 301).contains("301 are requested"));
    let unstable = Generator { schedule: Schedule::new(0.9, 1.8).unwrap(), ..stored };
    let request =
        Request { count: 1, labels: None, label_strength: 1.0, hidden: HiddenUnits::Langevin, accounts: 0 };
    let error = unstable.sample(&request, Shards::new(4), Key::new(134), |_| {}).unwrap_err();
    assert!(matches!(error, Error::Physics(thermograd::Error::StepTooLarge { .. })), "{error:?}");
}
