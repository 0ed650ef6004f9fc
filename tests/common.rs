//! Networks and helpers that several test files share.

use std::ops::ControlFlow;
use std::sync::OnceLock;

use burn::module::Module;
use burn::tensor::{DType, Device, Tensor, TensorCreationOptions, TensorData};
use thermograd::{Block, Group, Key, Pattern, PerUnit, Ridge, Shards, Substrate, SubstrateConfig, Topology};
use thermograd_datasets::{Images, strokes};
use thermograd_models::{
    Classifier, ClassifierConfig, Error, Examples, Fit, Guide, Lesson, Pathwise, Recipe, Teacher,
    TeacherConfig, exact,
};

/// f64 on the CPU.
pub fn double() -> TensorCreationOptions {
    TensorCreationOptions::new(Device::flex()).with_dtype(DType::F64)
}

/// Random normals in f64.
pub fn normals(rows: usize, columns: usize, scale: f64, key: Key) -> Tensor<2> {
    let values: Vec<f64> = key.normals(0, rows, columns).iter().map(|&v| scale * f64::from(v)).collect();
    Tensor::from_data(TensorData::new(values, [rows, columns]), double())
}

/// Networks of every kind: all-to-all, layered, sparse, with a gap between sources, bistable, with unequal
/// mobilities, and with units that all differ.
pub fn networks() -> Vec<(&'static str, Topology)> {
    let groups = || {
        [
            Group::clamped("input", 5),
            Group::free("hidden", 4).wells(-0.5, 0.7).mobility(3.0),
            Group::free("output", 3).wells(0.8, 0.0),
        ]
    };
    let mut sparse = Topology::layered(groups());
    sparse.blocks.push(Block {
        from: "output".into(),
        to: "output".into(),
        pattern: Pattern::Pairs(vec![[0, 1], [2, 1]]),
    });
    let mut gap = Topology::layered([
        Group::free("a", 2),
        Group::free("b", 3).unbiased().mobility(0.5),
        Group::free("c", 2).wells(0.0, 0.4),
    ]);
    gap.blocks = vec![Block::full("c", "a"), Block::full("b", "b")];
    let mut apart = Topology::all_to_all([
        Group::clamped("input", 2),
        Group::free("mixed", 3)
            .wells(vec![-0.5, 1.0, 0.3], vec![0.7, 0.0, 1.0])
            .mobility(vec![3.0, 0.5, 1.0]),
        Group::free("sparse", 2).wells(1.0, vec![0.2, 0.4]),
    ]);
    apart.blocks.retain(|block| block.name() != "sparse-sparse");
    vec![
        ("all to all", Topology::all_to_all(groups())),
        ("layered", Topology::layered(groups())),
        ("sparse", sparse),
        ("gap", gap),
        ("grid", Topology::grid(Group::free("cell", 12), 4, 3, true).unwrap()),
        ("apart", apart),
    ]
}

/// A random computer in f64, and the clamped values of `batch` images.
pub fn random(topology: &Topology, kt: f64, batch: usize, key: Key) -> (Substrate, Vec<Tensor<2>>) {
    let config = SubstrateConfig::new(topology.clone()).with_kt(kt);
    let mut substrate = config.init(double()).unwrap().randomised(1.0, key);
    let bias = normals(1, substrate.free_units(), 0.5, key.fork("bias"));
    substrate = substrate.with_bias(bias).unwrap();
    let clamped = topology.clamped().map(|group| normals(batch, group.units, 1.0, key.fork(&group.name)));
    (substrate, clamped.collect())
}

/// A constant of every free unit, in order.
pub fn per_unit(topology: &Topology, constant: fn(&Group) -> &PerUnit) -> Vec<f64> {
    topology.free().flat_map(|g| (0..g.units).map(move |unit| constant(g).at(unit))).collect()
}

/// The largest difference between two lists.
pub fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// A computer with 16 hidden units that was trained on drawn digits, those digits, and others.
pub struct Reader {
    pub classifier: Classifier,
    pub train: Examples,
    pub test: Examples,
}

/// Trained once for all tests.
pub fn reader() -> &'static Reader {
    static READER: OnceLock<Reader> = OnceLock::new();
    READER.get_or_init(|| {
        let examples = |images: Images| {
            Examples::new(images.width, images.height, images.pixels, images.labels).unwrap()
        };
        let (train, test) = (examples(strokes::draw(7, 0..6000)), examples(strokes::draw(7, 6000..7000)));
        let normalisation = train.normalisation();
        let (device, shards) = (Device::flex(), Shards { size: 64, threads: 2 });
        let mut config = TeacherConfig::default();
        (config.recipe.epochs, config.recipe.learning_rate) = (10, 2e-3);
        let teacher = taught(&train, 16, config, shards, Key::new(180));
        let untrained = ClassifierConfig::new(784, 16, 10).init(normalisation, &device).unwrap();
        let lesson = Lesson { teacher: &teacher, guide: Guide { beta: 100.0, ..Guide::default() } };
        let solved =
            exact(&untrained, lesson, &train, Ridge::default(), shards, Key::new(181), |_| {}).unwrap();
        let solved = untrained.with_substrate(solved);
        let recipe = Recipe { epochs: 8, warm_up: 20, ..Pathwise::default().recipe };
        let trainer = Pathwise { recipe, ..Pathwise::default() };
        let classifier = pathwise(&solved, &train, &trainer, shards, Key::new(182));
        Reader { classifier, train, test }
    })
}

/// Trains to the end.
pub fn run<M: Module + Sync>(mut fit: Fit<M>) -> M {
    let outcome = fit.run(|_, _| Ok::<_, Error>(ControlFlow::Continue(())));
    assert!(outcome.unwrap().is_continue());
    fit.finish()
}

/// A trained teacher of ten digits.
pub fn taught(train: &Examples, hidden: usize, config: TeacherConfig, shards: Shards, key: Key) -> Teacher {
    let teacher = Teacher::new(config, [784, hidden, 10], key, &Device::flex());
    run(Fit::new(config.training(train, train.normalisation()), teacher, shards, key))
}

/// The probabilities that, of independent runs with the given success probabilities, at most `count` and at least
/// `count` succeed.
pub fn tails(chances: &[f64], successes: usize) -> (f64, f64) {
    let mut law = vec![1.0];
    for chance in chances {
        let stay = law.iter().map(|p| p * (1.0 - chance)).chain([0.0]);
        law = stay.zip([0.0].into_iter().chain(law.iter().map(|p| p * chance))).map(|(a, b)| a + b).collect();
    }
    (law[..=successes].iter().sum(), law[successes..].iter().sum())
}

/// A classifier trained further with pathwise gradients.
pub fn pathwise(
    start: &Classifier,
    train: &Examples,
    trainer: &Pathwise,
    shards: Shards,
    key: Key,
) -> Classifier {
    let training = trainer.training(start, train).unwrap();
    start.with_substrate(run(Fit::new(training, start.substrate.clone(), shards, key)))
}

/// Reports that a test, or a part of one, was skipped. This bypasses the capture of test output, so that skips are
/// visible and counted.
pub fn skipped(why: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

/// Whether a program is installed; if the environment requires it, its absence fails the test.
pub fn has(program: &str, works: bool) -> bool {
    let required = std::env::var("THERMOGRAD_REQUIRE_TOOLS").unwrap_or_default();
    assert!(works || !required.split(',').any(|tool| tool == program), "{program} is required and not found");
    if !works {
        skipped(&format!("{program} is not installed"));
    }
    works
}

/// Whether ngspice is installed.
pub fn ngspice() -> bool {
    has(
        "ngspice",
        std::process::Command::new("ngspice")
            .arg("--version")
            .output()
            .is_ok_and(|output| output.status.success()),
    )
}

/// Chi-squared of counts, in standard deviations of its normal approximation (cells of fewer than ten are put together),
/// by Wilson and Hilferty, Proc. Natl. Acad. Sci. 17, 684 (1931).
pub fn chi_squared(counts: &[usize], probabilities: &[f64]) -> f64 {
    let total = counts.iter().sum::<usize>() as f64;
    let (mut sum, mut cells, mut rest) = (0.0, 0, (0.0, 0.0));
    for (&count, &p) in counts.iter().zip(probabilities) {
        if p * total < 10.0 {
            rest = (rest.0 + count as f64, rest.1 + p * total);
        } else {
            sum += (count as f64 - p * total).powi(2) / (p * total);
            cells += 1;
        }
    }
    if rest.1 > 0.0 {
        sum += (rest.0 - rest.1).powi(2) / rest.1;
        cells += 1;
    }
    let k = f64::from(cells - 1);
    ((sum / k).cbrt() - (1.0 - 2.0 / (9.0 * k))) / (2.0 / (9.0 * k)).sqrt()
}

/// How many standard deviations a normal number stays within, but for a chance `p` (either side, small).
pub fn deviations(p: f64) -> f64 {
    // The tail by Laplace's continued fraction.
    let tail = |z: f64| {
        let fraction = (1..=60).rev().fold(z, |below, k| z + f64::from(k) / below);
        2.0 * (-z * z / 2.0).exp() / (std::f64::consts::TAU.sqrt() * fraction)
    };
    let (mut low, mut high) = (1.0, 40.0);
    for _ in 0..100 {
        let middle = (low + high) / 2.0;
        if tail(middle) > p { low = middle } else { high = middle }
    }
    low
}

#[test]
fn deviations_are_those_of_tables() {
    for (p, z) in [(0.0455, 2.0), (2.7e-3, 3.0), (6.334e-5, 4.0), (1e-6, 4.8916)] {
        assert!((deviations(p) - z).abs() < 1e-3, "{p}: {}", deviations(p));
    }
}
