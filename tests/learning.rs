//! Small seeded training runs: they learn, they can be resumed, and they do not depend on the number of threads.

use std::ops::ControlFlow;

use burn::module::Module;
use burn::tensor::Device;
use thermograd::{Direction, Key, Ridge, Shards, Substrate, to_f64};
use thermograd_datasets::{Images, strokes};
use thermograd_models::training::fit::backward;
use thermograd_models::training::network::cross_entropy;
use thermograd_models::{
    ClassesConfig, Classifier, ClassifierConfig, DiffusionConfig, Error, Examples, Fit, Guide, Judge,
    JudgeConfig, Lesson, Likelihood, Noising, Parameters, Part, Pathwise, Recipe, Teacher, TeacherConfig,
    Training, exact, ranking,
};

use crate::common::{pathwise, run, skipped, taught};

const SHARDS: Shards = Shards { size: 64, threads: 2 };

fn examples(images: Images) -> Examples {
    Examples::new(images.width, images.height, images.pixels, images.labels).unwrap()
}

struct Small {
    train: Examples,
    test: Examples,
    teacher: Teacher,
    classifier: Classifier,
}

/// 8,000 drawn digits, a teacher of them and an untrained computer with 24 hidden units.
fn small() -> Small {
    let (train, test) = (examples(strokes::draw(5, 0..8000)), examples(strokes::draw(5, 8000..9000)));
    let normalisation = train.normalisation();
    let device = Device::flex();
    let mut config = TeacherConfig::default();
    config.recipe.epochs = 12;
    config.recipe.learning_rate = 2e-3;
    let teacher = taught(&train, 24, config, SHARDS, Key::new(80));
    let classifier = ClassifierConfig::new(784, 24, 10).init(normalisation, &device).unwrap();
    Small { train, test, teacher, classifier }
}

fn accuracy(classifier: &Classifier, examples: &Examples) -> f64 {
    classifier.evaluate(examples, 1, SHARDS, Key::new(81), |_| {}).unwrap().top1_single.mean
}

fn parameters(substrate: &Substrate) -> Vec<f64> {
    let blocks = 0..substrate.topology().blocks.len();
    let couplings = blocks.flat_map(|block| to_f64(substrate.coupling(block).inner()));
    couplings.chain(to_f64(substrate.bias().inner())).collect()
}

#[test]
fn each_trainer_learns_and_the_last_does_best() {
    let small = small();
    let guide = Guide { beta: 100.0, ..Guide::default() };
    let (teacher, train) = (&small.teacher, &small.train);
    let lesson = Lesson { teacher, guide };
    let reached = teacher.accuracy(&small.test, &small.classifier.normalisation, SHARDS);
    let untrained = accuracy(&small.classifier, &small.test);

    let solve =
        |shards| exact(&small.classifier, lesson, train, Ridge::default(), shards, Key::new(82), |_| {});
    let solved = solve(SHARDS).unwrap();
    let solved = small.classifier.with_substrate(solved);

    let mut likelihood = Likelihood::default();
    likelihood.recipe.epochs = 10;
    let training = likelihood.training(&small.classifier, lesson, train).unwrap();
    let fit = Fit::new(training, small.classifier.substrate.clone(), SHARDS, Key::new(83));
    let descended = small.classifier.with_substrate(run(fit));

    let trainer = Pathwise {
        recipe: Recipe { epochs: 6, warm_up: 20, ..Pathwise::default().recipe },
        ..Pathwise::default()
    };
    let tuned = pathwise(&solved, train, &trainer, SHARDS, Key::new(84));

    let scores = [&descended, &solved, &tuned].map(|classifier| accuracy(classifier, &small.test));
    println!("teacher {reached}, untrained {untrained}, likelihood, exact, pathwise {scores:?}");
    // Binomial standard errors on 1,000 images are about 1 %.
    assert!(reached > 0.87);
    assert!(untrained < 0.2);
    assert!(scores[0] > 0.75 && scores[1] > 0.75 && scores[2] > 0.84, "{scores:?}");
    assert!(scores[2] > scores[1] + 0.02, "{scores:?}");

    // The closed form has a lower action than descent reaches, and descent comes close to it.
    let action = |classifier: &Classifier| {
        let substrate = classifier.substrate.valid();
        let indices: Vec<usize> = (0..500).collect();
        let inputs = train.clamped(&indices, &classifier.normalisation, None, substrate.options());
        let twin = guide.twin(&substrate).unwrap();
        let targets = teacher.valid().targets(inputs.clone());
        let (before, after) = guide.steps(&twin, targets, classifier.schedule, Key::new(85)).unwrap();
        let times = before.dims()[0] / indices.len();
        let field = substrate.field(&[inputs]).unwrap().repeat_dim(0, times);
        let action = substrate.step_action(classifier.schedule.dt, Direction::Forward).unwrap();
        to_f64(action.of(before, after, field).mean())[0]
    };
    let actions = [&small.classifier, &descended, &solved].map(action);
    println!("mean action of a step: untrained, likelihood, exact {actions:?}");
    assert!(actions[2] < actions[1] && actions[1] < 0.5 * actions[0], "{actions:?}");
}

#[test]
fn a_heat_price_lowers_the_heat() {
    let small = small();
    let lesson = Lesson { teacher: &small.teacher, guide: Guide::default() };
    let solved =
        exact(&small.classifier, lesson, &small.train, Ridge::default(), SHARDS, Key::new(82), |_| {});
    let solved = small.classifier.with_substrate(solved.unwrap());
    let heat = |heat_price: f64| {
        let trainer = Pathwise {
            recipe: Recipe { epochs: 4, warm_up: 20, ..Pathwise::default().recipe },
            heat_price,
            ..Pathwise::default()
        };
        let trained = pathwise(&solved, &small.train, &trainer, SHARDS, Key::new(86));
        let result = trained.evaluate(&small.test, 1, SHARDS, Key::new(87), |_| {}).unwrap();
        println!("price {heat_price}: {:.0} kT, {:.3}", result.heat.mean, result.top1_single.mean);
        result.heat.mean
    };
    assert!(heat(1e-3) < 0.6 * heat(0.0));
}

/// Threads share the work, and shards keep the order of sums.
#[test]
fn the_number_of_threads_does_not_show() {
    let small = small();
    let train = |threads: usize| {
        let shards = Shards { threads, ..SHARDS };
        let lesson = Lesson { teacher: &small.teacher, guide: Guide::default() };
        let solved =
            exact(&small.classifier, lesson, &small.train, Ridge::default(), shards, Key::new(1), |_| {});
        let solved = small.classifier.with_substrate(solved.unwrap());
        let trainer = Pathwise {
            recipe: Recipe { epochs: 1, ..Pathwise::default().recipe },
            augment: true,
            ..Pathwise::default()
        };
        let trained = pathwise(&solved, &small.train, &trainer, shards, Key::new(2));
        let result = trained.evaluate(&small.test, 2, shards, Key::new(3), |_| {}).unwrap();
        (parameters(&trained.substrate), result)
    };
    let (one, two) = (train(1), train(3));
    assert!(one.0 == two.0 && one.1 == two.1);
}

/// The random numbers of an example (shifts, noise, times, dropped classes) are the same in any shard, so results
/// with different shard sizes differ only by rounding.
#[test]
fn the_size_of_shards_does_not_show() {
    fn losses<M: Module + Sync>(training: Training<M>, model: M, size: usize) -> Vec<f64> {
        let mut losses = Vec::new();
        let mut fit = Fit::new(training, model, Shards { size, threads: 2 }, Key::new(93));
        let stopped = fit.run(|_, progress| {
            losses.push(progress.loss);
            let done = progress.step == 3;
            Ok::<_, Error>(if done { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        });
        assert!(stopped.unwrap().is_break());
        losses
    }
    let (train, device) = (examples(strokes::draw(6, 0..256)), Device::flex());
    let recipe = Recipe { epochs: 2, batch: 64, learning_rate: 1e-3, ..Recipe::default() };

    let classifier = ClassifierConfig::new(784, 12, 10).init(train.normalisation(), &device).unwrap();
    let start = classifier.with_substrate(classifier.substrate.clone().randomised(0.3, Key::new(90)));
    let mismatch = vec![thermograd::Imperfection::Mismatch { sd: 0.2 }];
    let hardy = Pathwise { recipe, hardware: mismatch, ..Pathwise::default() };
    let hardy = |size| losses(hardy.training(&start, &train).unwrap(), start.substrate.clone(), size);
    let pathwise = Pathwise { recipe, augment: true, ..Pathwise::default() };
    let pathwise = |size| losses(pathwise.training(&start, &train).unwrap(), start.substrate.clone(), size);

    let classes = ClassesConfig { hidden: 16, bins: 10, recipe, ..ClassesConfig::default() };
    let denoiser = classes.init([1, 28, 28], 10, Key::new(94), &device).unwrap();
    let classes = |size| {
        let training = classes.training(&denoiser, Noising::default(), &train).unwrap();
        losses(training, denoiser.clone(), size)
    };

    let diffusion = DiffusionConfig { hidden: 16, drop: 0.3, steps: 10, recipe };
    let network = diffusion.init(784, 10, Key::new(95), &device);
    let diffusion = |size| losses(diffusion.training(&train), network.clone(), size);

    let judge = JudgeConfig { recipe, ..JudgeConfig::default() };
    let untrained = Judge::new(28, 28, 10, Key::new(96), &device);
    let judge = |size| losses(judge.training(&train), untrained.clone(), size);

    let check = |name: &str, training: &dyn Fn(usize) -> Vec<f64>| {
        let whole = training(usize::MAX);
        for size in [5, 16, 32] {
            let apart =
                training(size).iter().zip(&whole).map(|(a, b)| (a / b - 1.0).abs()).fold(0.0, f64::max);
            println!("{name}, shards of {size}: losses {apart:.1e} from those of one");
            assert!(apart < 1e-5, "{name}, {size}: {apart:e}");
        }
    };
    check("pathwise", &pathwise);
    check("pathwise on specimens", &hardy);
    check("classes", &classes);
    check("diffusion", &diffusion);
    check("judge", &judge);
}

#[test]
fn a_resumed_training_is_the_uninterrupted_one() {
    let train = examples(strokes::draw(6, 0..600));
    let classifier = ClassifierConfig::new(784, 12, 10).init(train.normalisation(), &Device::flex()).unwrap();
    let start = classifier.with_substrate(classifier.substrate.clone().randomised(0.3, Key::new(90)));
    let trainer = Pathwise {
        recipe: Recipe { epochs: 3, batch: 100, ..Pathwise::default().recipe },
        augment: true,
        ..Pathwise::default()
    };
    let training = || trainer.training(&start, &train).unwrap();
    let new = || Fit::new(training(), start.substrate.clone(), SHARDS, Key::new(91));
    // Parameters at the end, and the loss of every pass, which is logged.
    let watched = |mut fit: Fit<Substrate>| {
        let mut losses = Vec::new();
        let outcome = fit.run(|_, progress| {
            losses.extend(progress.ends_epoch().then_some((progress.step, progress.loss)));
            Ok::<_, Error>(ControlFlow::Continue(()))
        });
        assert!(outcome.unwrap().is_continue());
        (parameters(&fit.finish()), losses)
    };
    let (whole, losses) = watched(new());
    assert_eq!(losses.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [6, 12, 18]);
    for stop in [1, 6, 11] {
        let mut first = new();
        let halted = first.run(|_, progress| {
            let done = progress.step == stop;
            Ok::<_, Error>(if done { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        });
        assert!(halted.unwrap().is_break());
        let bytes = first.checkpoint().unwrap();
        for length in [0, 20, bytes.len() / 2, bytes.len() - 1] {
            assert!(matches!(new().resume(&bytes[..length]), Err(Error::Checkpoint(_))));
        }
        let second = new().resume(&bytes).unwrap();
        assert_eq!(second.steps_done(), stop);
        let (resumed, later) = watched(second);
        assert!(resumed == whole, "stopped at step {stop}");
        assert_eq!(later, losses[stop / 6..], "stopped at step {stop}");
    }
}

/// Ctrl-C is noticed where progress is reported, so that happens within the trajectories of a chunk of images too.
#[test]
fn an_evaluation_of_many_trajectories_reports_its_progress_often() {
    let test = examples(strokes::draw(6, 0..40));
    let mut config = ClassifierConfig::new(784, 2, 10);
    config.schedule.steps = 5;
    let classifier = config.init(test.normalisation(), &Device::flex()).unwrap();
    let evaluated = |threads| {
        let (mut told, shards) = (Vec::new(), Shards { size: 16, threads });
        let result =
            classifier.evaluate(&test, 1000, shards, Key::new(92), |fraction| told.push(fraction)).unwrap();
        (result, told)
    };
    let (result, told) = evaluated(2);
    assert!(told.len() >= 4, "{told:?}");
    assert!(told.is_sorted() && told.iter().all(|fraction| (0.0..=1.0).contains(fraction)), "{told:?}");
    assert_eq!(told.last(), Some(&1.0));
    assert_eq!((result.images, result.trajectories), (40, 1000));
    assert_eq!(result.confusion.iter().flatten().sum::<usize>(), 40_000);
    let (other, _) = evaluated(1);
    assert!(other == result);
}

#[test]
fn a_teacher_comes_back_as_it_was() {
    let device = Device::flex();
    let teacher = |seed| Teacher::new(TeacherConfig::default(), [9, 5, 10], Key::new(seed), &device);
    let bytes = teacher(1).encode().unwrap();
    let input = burn::tensor::Tensor::ones([2, 9], &device);
    let outputs = |teacher: &Teacher| to_f64(teacher.targets(input.clone()));
    let copy = teacher(2).decode(&bytes).unwrap();
    assert_eq!(outputs(&copy), outputs(&teacher(1)));
    assert_ne!(outputs(&teacher(2)), outputs(&teacher(1)));
    assert!(teacher(2).decode(&bytes[..bytes.len() / 2]).is_err());
    let other = Teacher::new(TeacherConfig::default(), [9, 6, 10], Key::new(1), &device);
    assert!(other.decode(&bytes).is_err());
}

/// The drawn digits are a non-trivial task: a small network solves it, but no linear classifier does.
#[test]
fn strokes_need_more_than_a_linear_classifier() {
    let split = strokes::split(0);
    let (train, test) = (examples(split.train), examples(split.test));
    let normalisation = train.normalisation();
    let device = Device::flex();

    let shards = Shards { size: 128, threads: 2 };
    let network = taught(&train, 64, TeacherConfig::default(), shards, Key::new(80));
    let network = network.accuracy(&test, &normalisation, shards);

    let recipe = Recipe {
        epochs: 15,
        batch: 128,
        learning_rate: 3e-3,
        warm_up: 0,
        final_fraction: 0.0,
        weight_decay: 1e-3,
    };
    let linear =
        burn::nn::LinearConfig::new(784, 10).with_initializer(burn::module::Initializer::Zeros).init(&device);
    let gradient = |model: &burn::nn::Linear, Part { indices, batch, .. }: Part| {
        let logits = model.forward(train.clamped(indices, &normalisation, None, &device));
        let loss = cross_entropy(logits, train.one_hot(indices, 10, &device));
        Ok(backward(loss / batch as f64, model))
    };
    let training = Training::new("linear", recipe, train.len(), gradient);
    let linear = run(Fit::new(training, linear, shards, Key::new(1)));
    let indices: Vec<usize> = (0..test.len()).collect();
    let logits = to_f64(linear.forward(test.clamped(&indices, &normalisation, None, &device)));
    let best = logits.chunks(10).map(|row| ranking(row)[0]);
    let right = best.enumerate().filter(|&(index, best)| test.label(index) == best).count();
    let linear = right as f64 / test.len() as f64;
    println!("linear {linear:.4}, network {network:.4}");
    assert!(linear < 0.93 && network > 0.97, "linear {linear}, network {network}");
}

/// Real digits, if `THERMOGRAD_DATA` names their folder: training on 10,000 of them takes seconds.
#[test]
fn mnist_is_learnt_where_there_is_mnist() {
    let Some(folder) = std::env::var_os("THERMOGRAD_DATA") else {
        skipped("THERMOGRAD_DATA is not set to a folder");
        return;
    };
    let split = thermograd_datasets::mnist::load(std::path::Path::new(&folder)).unwrap();
    let (train, held_out) = split.train.first(12_000).hold_out(2000);
    let (train, held_out) = (examples(train), examples(held_out));
    let normalisation = train.normalisation();
    let device = Device::flex();
    let shards = Shards { size: 128, threads: 2 };
    let teacher = taught(&train, 64, TeacherConfig::default(), shards, Key::new(80));
    let classifier = ClassifierConfig::new(784, 64, 10).init(normalisation, &device).unwrap();
    let lesson = Lesson { teacher: &teacher, guide: Guide { beta: 150.0, ..Guide::default() } };
    let solved = exact(&classifier, lesson, &train, Ridge::default(), shards, Key::new(0), |_| {}).unwrap();
    let solved = accuracy(&classifier.with_substrate(solved), &held_out);
    println!("teacher {:.4}, exact {solved:.4}", teacher.accuracy(&held_out, &normalisation, shards));
    assert!(solved > 0.90);
}
