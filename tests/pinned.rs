//! Literal values of every kind of seeded output, which refactoring must not change.
//!
//! Noise is pinned to the bit. Results of matrix products are pinned up to rounding, because processors add in
//! different orders: to 1e-10 in double precision, and in single precision to the tolerance given with each number. A
//! change that moves one of these numbers is *value-breaking* and must be listed so in the changelog.

use std::ops::ControlFlow;

use burn::tensor::{Device, Tensor};
use thermograd::{
    Control, Direction, Group, Hardware, Imperfection, Key, Ledger, Moments, Protocol, Ridge, Scale,
    Schedule, Shards, SubstrateConfig, Topology, to_f64,
};
use thermograd_datasets::strokes;
use thermograd_models::generator::stored;
use thermograd_models::{
    ClassesConfig, Classifier, ClassifierConfig, Error, Examples, Fit, Generator, HiddenUnits, Noising,
    Pathwise, Recipe, Request, Stored, StoredConfig,
};

use crate::common::{double, networks, normals, random, run};

/// Compares values with the pinned ones, and prints the new ones if they differ.
fn pinned(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    let apart = |(a, b): (&f64, &f64)| (a - b).abs() / b.abs().max(1.0);
    let worst = found.iter().zip(expected).map(apart).fold(0.0, f64::max);
    assert!(
        found.len() == expected.len() && worst <= tolerance,
        "{what}: {worst:.1e} off, {tolerance:.0e} allowed; found {found:?}"
    );
}

/// A few of many values, and the sum of the squares of all.
fn digest(values: &[f64]) -> Vec<f64> {
    let step = (values.len() / 4).max(1);
    let few = values.iter().step_by(step).take(4).copied();
    few.chain([values.iter().map(|v| v * v).sum()]).collect()
}

#[test]
fn noise_keeps_its_bits() {
    let key = Key::new(7).fork("pinned").at(3);
    let bits: Vec<u32> = key.skip(5).normals(2, 2, 5).into_iter().map(f32::to_bits).collect();
    assert_eq!(bits, NOISE, "{bits:?}");
    assert_eq!(key.permutation(12), PERMUTATION);
    let row: Vec<u32> = key.row(9).normals(0, 1, 2).into_iter().map(f32::to_bits).collect();
    assert_eq!(row, ROW, "{row:?}");
}

/// One trajectory of every kind of network, its heat, and its action in both directions; the limits of their
/// steps.
#[test]
fn trajectories_of_every_network_are_what_they_were() {
    for ((name, topology), expected) in networks().into_iter().zip(TRAJECTORIES) {
        let (substrate, clamped) = random(&topology, 0.6, 2, Key::new(301));
        let field = substrate.field(&clamped).unwrap();
        let x0 = normals(2, substrate.free_units(), 0.5, Key::new(302));
        let schedule = Schedule::new(2e-3, 0.2).unwrap();
        let run = substrate.trajectory(x0, field.clone(), schedule, 1, Key::new(303)).unwrap();
        let mut found = digest(&to_f64(run.last()));
        found.push(to_f64(substrate.path_heat(&run, field.clone()))[0]);
        for direction in [Direction::Forward, Direction::Reverse] {
            found.push(to_f64(substrate.action(&run, field.clone(), direction).unwrap())[1]);
        }
        pinned(name, &found, &expected, 1e-9);
    }
    let limits =
        networks().into_iter().map(|(_, topology)| random(&topology, 0.6, 2, Key::new(301)).0.step_limit());
    pinned("limits of the step", &limits.take(5).collect::<Vec<_>>(), &LIMITS, 1e-9);
}

/// A computer in single precision with a product large enough to be stored transposed.
#[test]
fn a_large_network_runs_as_it_did() {
    let groups = [Group::free("visible", 700).unbiased(), Group::free("hidden", 400)];
    let mut topology = Topology::all_to_all(groups);
    topology.blocks.retain(|block| block.to == "hidden");
    let config = SubstrateConfig::new(topology).with_kt(0.1);
    let substrate = config.init(&Device::flex()).unwrap().randomised(1.0, Key::new(304));
    let x0 = Tensor::zeros([3, 1100], &Device::flex());
    let field = substrate.field(&[]).unwrap();
    let x = substrate.forward(x0, field, Schedule { dt: 1e-3, steps: 20 }, Key::new(305));
    pinned("large", &digest(&to_f64(x)), &LARGE, 1e-4);
}

/// The state, the ledger and the action with moving field, gain and wells.
#[test]
fn a_driven_computer_keeps_its_books() {
    let (name, topology) = &networks()[0];
    let (substrate, clamped) = random(topology, 0.7, 3, Key::new(306));
    let units = substrate.free_units();
    let field = substrate.field(&clamped).unwrap();
    let knot = |k: u64| Control {
        field: field.clone() + normals(3, units, 1.0, Key::new(307).at(k)),
        gain: Some(normals(1, units, 0.3, Key::new(308).at(k)) + 1.0),
        well: Some(normals(1, units, 0.3, Key::new(309).at(k))),
        ..field.clone().into()
    };
    let protocol = Protocol::new(vec![0.0, 0.1, 0.3], (0..3).map(knot).collect()).unwrap();
    let mut ledger = Ledger::new(&substrate, protocol.clone(), 1e-3);
    let x0 = normals(3, units, 0.5, Key::new(310));
    let schedule = Schedule::new(1e-3, 0.3).unwrap();
    let mut states = vec![x0.clone()];
    let see = |step: &thermograd::Step| {
        ledger.observe(step);
        states.push(step.after.clone());
    };
    let x = substrate.simulate(x0, protocol.clone(), schedule, Key::new(311), see).unwrap();
    let run = thermograd::Trajectory { states: Tensor::stack(states, 0), interval: 1e-3 };
    let mut found = digest(&to_f64(x));
    found.extend(to_f64(ledger.heat().unwrap()));
    found.extend(to_f64(ledger.work().unwrap()));
    found.extend(to_f64(substrate.entropy_production(&run, protocol).unwrap()));
    pinned(name, &found, &DRIVEN, 1e-9);
}

#[test]
fn the_exact_optimum_is_where_it_was() {
    for ((name, topology), expected) in networks().into_iter().zip(OPTIMA) {
        let (substrate, clamped) = random(&topology, 0.6, 40, Key::new(312));
        let batch = if clamped.is_empty() { 1 } else { 40 };
        let x0 = normals(batch, substrate.free_units(), 0.5, Key::new(313));
        let field = substrate.field(&clamped).unwrap();
        let schedule = Schedule { dt: 1e-2, steps: 60 };
        let run = substrate.trajectory(x0, field, schedule, 1, Key::new(314)).unwrap();
        let (before, after) = run.steps();
        let untrained = substrate.config().init(double()).unwrap();
        let mut moments = Moments::new(&untrained);
        moments.add(&untrained, &clamped, before, after, schedule.dt).unwrap();
        let solved = moments.optimum(&untrained, Ridge::default()).unwrap();
        let blocks = 0..topology.blocks.len();
        let mut found = digest(&blocks.flat_map(|b| solved.pair_couplings(b)).collect::<Vec<_>>());
        found.extend(digest(&to_f64(solved.bias())));
        pinned(name, &found, &expected, 1e-7);
    }
}

fn digits() -> Examples {
    let images = strokes::draw(11, 0..640);
    Examples::new(images.width, images.height, images.pixels, images.labels).unwrap()
}

fn untrained(examples: &Examples) -> Classifier {
    let config = ClassifierConfig::new(784, 12, 10);
    let classifier = config.init(examples.normalisation(), &Device::flex()).unwrap();
    classifier.with_substrate(classifier.substrate.clone().randomised(1.0, Key::new(315)))
}

/// Ten steps of pathwise training with shifted images and a price on heat; then an evaluation.
#[test]
fn ten_steps_of_a_pathwise_training_go_where_they_went() {
    let examples = digits();
    let start = untrained(&examples);
    let recipe = Recipe { epochs: 1, batch: 64, warm_up: 3, ..Pathwise::default().recipe };
    let pathwise = Pathwise { recipe, augment: true, heat_price: 1e-4, ..Pathwise::default() };
    let shards = Shards { size: 64, threads: 2 };
    let mut losses = Vec::new();
    let training = pathwise.training(&start, &examples).unwrap();
    let mut fit = Fit::new(training, start.substrate.clone(), shards, Key::new(316));
    let done = fit.run(|_, progress| {
        losses.push(progress.loss);
        Ok::<_, Error>(ControlFlow::Continue(()))
    });
    assert!(done.unwrap().is_continue() && losses.len() == 10);
    pinned("mean losses", &losses, &LOSSES, 2e-3);
    let trained = start.with_substrate(fit.finish());
    let result = trained.evaluate(&examples.first(128), 2, shards, Key::new(317), |_| {}).unwrap();
    let found = [result.heat.mean, result.heat.sd, result.read_outs[10].heat];
    pinned("heat", &found, &HEAT, 5e-3);
    // An image on the boundary between two classes may change sides.
    assert!((result.top1_single.mean - TOP1).abs() < 2.5 / 128.0, "{}", result.top1_single.mean);
}

/// A device with several imperfections at once, including couplings of finite bandwidth.
#[test]
fn a_device_is_as_imperfect_as_it_was() {
    let (name, topology) = &networks()[0];
    let (substrate, clamped) = random(topology, 0.5, 3, Key::new(318));
    let device = [
        Imperfection::Quantised { bits: 4, scale: Scale::Unit },
        Imperfection::Mismatch { sd: 0.1 },
        Imperfection::FanIn { limit: 6 },
        Imperfection::Temperature { factor: 1.2 },
        Imperfection::Wells { j2: 0.9, j4: 1.1 },
        Imperfection::Bandwidth { rate: 20.0 },
    ];
    let ideal = Hardware::ideal(substrate);
    let device = device.into_iter().fold(ideal, |d, i| d.with(i, Key::new(319)).unwrap());
    let x0 = normals(3, device.substrate.free_units(), 0.5, Key::new(320));
    let field = device.substrate.field(&clamped).unwrap();
    let x = device.simulate(x0, field, Schedule { dt: 1e-3, steps: 200 }, Key::new(321), |_| {}).unwrap();
    pinned(name, &to_f64(x), &DEVICE, 1e-9);
}

fn noising() -> Noising {
    Noising { schedule: Schedule::new(5e-3, 1.0).unwrap(), ..Noising::default() }
}

fn draw(generator: &Generator, labels: Option<Vec<usize>>, hidden: HiddenUnits) -> Vec<f64> {
    let request = Request { count: 8, labels, label_strength: 1.5, hidden, accounts: 8 };
    let samples = generator.sample(&request, Shards::new(4), Key::new(322), |_| {}).unwrap();
    let wide = |values: &[f32]| digest(&values.iter().map(|&v| f64::from(v)).collect::<Vec<_>>());
    let mut found = wide(&samples.raw);
    found.extend(wide(&samples.force));
    found.extend(samples.heat.iter().take(2));
    found.extend(samples.work.iter().take(2));
    found
}

/// Stores two images in the couplings of a small computer, and draws eight images from it.
#[test]
fn eight_images_from_noise_are_what_they_were() {
    let picture =
        |ink: fn(usize) -> bool| -> Vec<u8> { (0..36).map(|k| if ink(k) { 255 } else { 0 }).collect() };
    let images = vec![picture(|k| k % 6 == k / 6), picture(|k| k % 6 < 2)];
    let config = StoredConfig { hidden: 24, ..StoredConfig::default() };
    let untrained = config.init(36, Schedule::new(5e-3, 1.0).unwrap(), noising(), &Device::flex()).unwrap();
    let stored = Stored { images, labels: vec![0, 1] };
    let solved = untrained.with_substrate(stored::exact(&untrained, &stored, 1e-4).unwrap());
    let found = draw(&solved.amplified(1.1).unwrap(), None, HiddenUnits::Langevin);
    pinned("stored", &found, &STORED, 2e-3);
}

/// Two steps of training on classes, and eight images under its protocol, with hidden units simulated and at their
/// mean.
#[test]
fn images_of_classes_are_what_they_were() {
    let pixels = (0..64 * 36).map(|k| if (k / 36 + k % 6) % 2 == 0 { 240 } else { 10 }).collect();
    let examples = Examples::new(6, 6, pixels, (0..64).map(|k| (k % 2) as u8).collect()).unwrap();
    let recipe = Recipe { epochs: 1, batch: 32, warm_up: 0, ..ClassesConfig::default().recipe };
    let config = ClassesConfig {
        hidden: 16,
        hidden_mobility: 5.0,
        bins: 10,
        knots: 4,
        guidance: 0.0,
        weighted: false,
        corrected: false,
        unit_gains: false,
        recipe,
        ..ClassesConfig::default()
    };
    let denoiser = config.init([1, 6, 6], 2, Key::new(323), &Device::flex()).unwrap();
    let training = config.training(&denoiser, noising(), &examples).unwrap();
    let fit = Fit::new(training, denoiser, Shards { size: 32, threads: 1 }, Key::new(324));
    let generator = run(fit).generator(noising(), 5e-3).unwrap();
    let labels: Vec<usize> = (0..8).map(|k| k % 2).collect();
    for (hidden, expected) in [(HiddenUnits::Langevin, &CLASSES[..]), (HiddenUnits::Adiabatic, &ADIABATIC)] {
        let found = draw(&generator, Some(labels.clone()), hidden);
        pinned(&format!("{hidden:?}"), &found, expected, 2e-3);
    }
}

const NOISE: [u32; 10] = [
    1065680710, 1068158258, 3206806232, 3215049306, 3213340611, 1044025121, 1056376577, 1064527467,
    1058905218, 1049465284,
];
const PERMUTATION: [usize; 12] = [8, 10, 6, 11, 4, 5, 7, 0, 3, 9, 2, 1];
const ROW: [u32; 2] = [1061125672, 1070576962];
const TRAJECTORIES: [[f64; 8]; 5] = [
    [
        0.23062762623964886,
        0.14810351944731986,
        -0.37429391273303525,
        0.9887474717820307,
        4.161824682616938,
        -0.31022492596790296,
        337.347178962458,
        334.160065084066,
    ],
    [
        0.27205305975029864,
        0.2564058115970096,
        -0.4400131043153271,
        1.1225942703179874,
        4.554196837064079,
        -1.2781303224568616,
        337.347178962458,
        334.9405048635927,
    ],
    [
        0.27311580130751967,
        0.24938414486205793,
        -0.47962936001494494,
        1.1243233401386434,
        4.528311435624247,
        -1.2421335783292184,
        337.34717896245786,
        334.90060396472205,
    ],
    [
        -0.04493705336178884,
        0.2686188037955022,
        -0.4405842205488867,
        0.8227250826345547,
        2.5544550133760215,
        -0.6578342649197056,
        337.3471756484856,
        340.53358523318536,
    ],
    [
        -0.10627150617931452,
        -0.3656803818755201,
        0.13086143753010987,
        0.12276737169387286,
        4.780905056183868,
        -1.2684428551470968,
        593.1603306861987,
        596.4665097984639,
    ],
];
const LIMITS: [f64; 5] =
    [0.1526629028883342, 0.16636397486910198, 0.16632569643062795, 0.3525794136047772, 0.29426680986498416];
const LARGE: [f64; 5] =
    [0.04959983378648758, 0.04687239229679108, 0.06079106032848358, 0.03878170624375343, 12.535365231340203];
const DRIVEN: [f64; 14] = [
    -0.6817787061365778,
    -0.14851736690504969,
    0.7389684830741259,
    -0.9397302604544369,
    11.97397416618607,
    1.1839934373925893,
    0.1739755634025748,
    6.075473187120669,
    -0.7060733470748123,
    2.6309941546232736,
    3.096223906935098,
    1.7142431928150472,
    0.22171389406935305,
    8.625138000935067,
];
const OPTIMA: [[f64; 10]; 5] = [
    [
        -0.42625441880560083,
        -0.20783196248450664,
        0.01603469048770481,
        -0.03230687207030824,
        4.157473903093488,
        0.9588239477367265,
        0.8528227600654431,
        -0.17200643465243398,
        0.21379396806819553,
        3.4449260378425945,
    ],
    [
        -0.4347705119762834,
        0.21398441520562453,
        -0.06540522565342087,
        -0.10728176492292855,
        3.366775042948102,
        0.851884322486297,
        0.8385790913367754,
        -0.08478619537347412,
        0.29260821255533265,
        2.8913863078729745,
    ],
    [
        -0.4363099684837376,
        0.2162188830129702,
        -0.06394877869070326,
        -0.09095648268611303,
        3.5478550555269144,
        0.858370582301233,
        0.8354117488858451,
        -0.08398023765553989,
        0.2890904096711244,
        2.9929054873177874,
    ],
    [
        -2.435643566264568,
        -0.9164030724328232,
        0.8276951573002606,
        0.36106151829610855,
        41.82994905968965,
        3.366755862844955,
        0.1882950313777858,
        0.0,
        0.0,
        20.429937558123942,
    ],
    [
        0.8677530684299453,
        2.8192888263092084,
        -0.5727923206787323,
        1.712721276778277,
        195.25932626834975,
        1.7536220617030422,
        3.948947712282117,
        3.9461010699427597,
        1.383833655877225,
        77.56677158254679,
    ],
];
const LOSSES: [f64; 10] = [
    3.161628246307373,
    3.0339030027389526,
    3.004574696222941,
    2.9736490845680237,
    2.8895858764648437,
    2.75958522160848,
    2.710850409099034,
    2.657959669828415,
    2.6006072097354465,
    2.550145411491394,
];
const HEAT: [f64; 3] = [40.24195966869593, 13.340011691069716, 21.947180829010904];
const TOP1: f64 = 0.36328125;
const DEVICE: [f64; 21] = [
    0.1511339236078346,
    0.7090659221082475,
    -1.0498000907962604,
    -0.6564772957218848,
    -0.4180205464386176,
    0.028642104684297235,
    -0.0629691536856837,
    -0.6105855761987696,
    0.5645307146723247,
    -0.4876118886083545,
    -0.522687475946653,
    -0.7022854739817098,
    0.14337397017889833,
    0.14052903672477357,
    0.5870523897695649,
    -0.11570799079552785,
    0.7057935785727201,
    -0.663298594836755,
    0.8534113740632061,
    0.027823053742793244,
    0.989775651142997,
];
const STORED: [f64; 14] = [
    0.7716899514198303,
    0.4093666970729828,
    0.3847492039203644,
    1.26616370677948,
    123.19773979921143,
    0.5062777400016785,
    0.672285795211792,
    0.01840265840291977,
    0.7023522853851318,
    154.93307761845244,
    6.509071588516235,
    82.79995918273926,
    0.0,
    0.0,
];
const CLASSES: [f64; 14] = [
    0.47460031509399414,
    -0.15727387368679047,
    0.4346235692501068,
    0.7576496601104736,
    37.228396246321296,
    0.10913172364234924,
    -0.06872406601905823,
    0.04079633951187134,
    0.016957217827439308,
    0.6847693690850661,
    -16.432666778564453,
    -2.0783281326293945,
    0.15144556760787964,
    -0.2095651626586914,
];
const ADIABATIC: [f64; 10] = [
    0.08300649374723434,
    0.2453460693359375,
    0.10736580938100815,
    0.04693104326725006,
    38.36302255833631,
    0.01892813853919506,
    0.02227679267525673,
    0.013765256851911545,
    0.026939641684293747,
    0.09884265531530118,
];
