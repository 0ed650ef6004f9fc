//! Files of couplings in every format: round trips, files of other programs, and broken files.

use std::collections::BTreeMap;
use std::path::PathBuf;

use burn::tensor::{Device, Tensor};
use thermograd::export::ising::WELLS;
use thermograd::export::schema::NO_SPINS;
use thermograd::{
    Block, Couplings, Course, Description, Error, Format, Group, Ising, Key, Normalisation, Pattern, Problem,
    Sampling, Schedule, SubstrateConfig, Topology, to_f64,
};

use crate::common::{networks, random};

/// Couplings of every kind of network, including one whose control parameters move.
pub fn exported() -> Vec<(String, Couplings)> {
    let schedule = Schedule { dt: 1e-3, steps: 200 };
    let normalisation = Normalisation { offset: 0.1, scale: 0.3, norm: Some(48.9) };
    let of = |(name, topology): (&str, Topology)| {
        let (substrate, _) = random(&topology, 0.5, 1, Key::new(71));
        (name.replace(' ', "-"), Couplings::of(&substrate, schedule, Some(normalisation)))
    };
    let mut all: Vec<_> = networks().into_iter().map(of).collect();
    all.push(("course".into(), moving()));
    let mut annealed = moving();
    annealed.description.course.as_mut().unwrap().kt = Some(vec![2.0, 0.1]);
    all.push(("annealed".into(), annealed));
    all
}

fn moving() -> Couplings {
    let groups = vec![Group::clamped("clock", 2), Group::free("visible", 3)];
    let topology = Topology { groups, blocks: vec![Block::full("clock", "visible")] };
    let substrate =
        SubstrateConfig::new(topology).init(&Device::flex()).unwrap().randomised(1.0, Key::new(74));
    let course = Course {
        times: vec![0.0, 1.0],
        gains: BTreeMap::from([("visible".into(), vec![1.0, 2.0])]),
        wells: BTreeMap::from([("visible".into(), vec![0.5; 6])]),
        kt: None,
    };
    Couplings::of(&substrate, Schedule::new(0.01, 1.0).unwrap(), None).with_course(Some(course)).from_noise()
}

/// Visible units with a gain each at every knot, and hidden ones with one for all of them.
fn unit_gains() -> Couplings {
    let groups = vec![Group::clamped("clock", 2), Group::free("visible", 3), Group::free("hidden", 2)];
    let blocks = vec![Block::full("clock", "visible"), Block::full("visible", "hidden")];
    let config = SubstrateConfig::new(Topology { groups, blocks });
    let device = Device::flex();
    let eighths = |from: i32, shape: [i32; 2]| {
        let values: Vec<f32> = (from..from + shape[0] * shape[1]).map(|k| k as f32 / 8.0).collect();
        Tensor::<1>::from_data(&values[..], &device).reshape(shape)
    };
    let substrate = config.init(&device).unwrap().with_coupling(0, eighths(1, [2, 3])).unwrap();
    let substrate = substrate.with_coupling(1, eighths(-2, [3, 2])).unwrap();
    let gains = [("visible", vec![0.25, 1.0, -0.5, 0.1_f32.into(), 2.0, 0.75]), ("hidden", vec![1.0, 0.5])];
    let course = Course {
        times: vec![0.0, 1.0],
        gains: gains.map(|(name, gains)| (name.into(), gains)).into(),
        ..Course::default()
    };
    Couplings::of(&substrate, Schedule::new(0.01, 1.0).unwrap(), None).with_course(Some(course)).from_noise()
}

/// The published classifier with few hidden units, and couplings that encode their position.
fn classifier() -> Couplings {
    let description = thermograd::export::formats::parameters::published(3);
    let mut values = Vec::new();
    for (k, (name, shape)) in description.tensors().unwrap().into_iter().enumerate() {
        let n = shape[0];
        let value = |place: usize| 10.0 * k as f32 + place as f32 / 16384.0;
        let own: Vec<f32> = (0..shape.iter().product::<usize>()).map(value).collect();
        let within = name == "J.hidden-hidden" || name == "J.output-output";
        let symmetric = |place: usize| {
            let (i, j) = (place / n, place % n);
            if i == j { 0.0 } else { own[i.max(j) * n + i.min(j)] }
        };
        values.push((name, if within { (0..n * n).map(symmetric).collect() } else { own }));
    }
    Couplings::new(description, values.iter().map(|(name, values)| (name.as_str(), values.clone()))).unwrap()
}

/// A spin model with tenths and quarters as values.
fn spins() -> Ising {
    let couplings = vec![([0, 1], -0.25), ([0, 3], 1.5), ([1, 2], 0.1_f32.into()), ([2, 4], -3.0)];
    Ising { fields: vec![0.5, 0.0, (-0.7_f32).into(), 2.0, 0.0], couplings, offset: 0.0 }
}

fn golden() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("tests/golden")
}

#[test]
fn everything_comes_back_from_the_formats_that_hold_everything() {
    let mut named = exported();
    named.push(("classifier".into(), classifier()));
    named.push(("spins".into(), spins().couplings().unwrap()));
    named.push(("gains of units".into(), unit_gains()));
    // Names with special characters for a table, and a block without pairs.
    let groups = [Group::clamped("a, \"b\"", 2), Group::free("line\nbreak", 3), Group::free("#", 1)];
    let mut odd = Topology::layered(groups);
    odd.blocks[1].pattern = Pattern::Pairs(Vec::new());
    let (odd, _) = random(&odd, 1.0, 1, Key::new(75));
    named.push(("odd".into(), Couplings::of(&odd, Schedule { dt: 1e-3, steps: 2 }, None)));
    for (name, couplings) in named {
        for format in [Format::Safetensors, Format::Npz, Format::Csv] {
            let bytes = format.encode(&couplings).unwrap();
            assert_eq!(bytes, format.encode(&couplings).unwrap(), "{format} of {name} is not the same twice");
            let read = format.decode(&bytes).unwrap_or_else(|error| panic!("{format} of {name}: {error}"));
            assert!(read == couplings, "{format} of {name}");
        }
    }
}

#[test]
fn sparse_couplings_take_a_place_each_and_no_more() {
    let topology = Topology::grid(Group::free("cell", 900), 30, 30, true).unwrap();
    let (substrate, _) = random(&topology, 1.0, 1, Key::new(76));
    let bytes = Couplings::of(&substrate, Schedule { dt: 1e-3, steps: 2 }, None).encode().unwrap();
    // 1800 couplings of 4 bytes with two 4-byte units each, 900 biases; a matrix would take 3.2 MB.
    let needed = 1800 * 12 + 900 * 4;
    assert!(bytes.len() < needed + 4096, "{} bytes for {needed}", bytes.len());
}

#[test]
fn spin_models_come_back_from_their_formats() {
    let full = Ising { offset: -1.75, ..spins() };
    let graph = Ising { fields: vec![0.0; 5], ..spins() };
    for (format, model) in [
        (Format::BqmJson, &full),
        (Format::BqmCoo, &spins()),
        (Format::Gset, &graph),
        (Format::Qubo, &Ising { couplings: vec![([0, 1], -0.25), ([2, 4], 1.5)], ..graph.clone() }),
    ] {
        let couplings = model.couplings().unwrap();
        let read = format.decode(&format.encode(&couplings).unwrap()).unwrap();
        assert_eq!(read, couplings, "{format}");
    }
    for (format, model) in [(Format::BqmCoo, &full), (Format::Gset, &full), (Format::Gset, &spins())] {
        let error = format.encode(&model.couplings().unwrap()).unwrap_err().to_string();
        assert!(error.contains("BQM JSON can"), "{error}");
    }
    let error = Format::Gset.encode(&classifier()).unwrap_err().to_string();
    assert!(error.contains("group `input` is clamped"), "{error}");
}

/// All energies of a quadratic form over zeros and ones, from its text and from the model read from that text.
#[test]
fn a_quadratic_form_keeps_its_energies() {
    let text = "c a comment\np qubo 0 3 2 2\n0 0 1.5\n2 2 -4\n0 1 2\n1 2 -0.5\n";
    let model = Ising::of(&Format::Qubo.decode(text.as_bytes()).unwrap()).unwrap();
    for state in 0..8_u32 {
        let z = |i: u32| f64::from(state >> i & 1);
        let energy = 1.5 * z(0) - 4.0 * z(2) + 2.0 * z(0) * z(1) - 0.5 * z(1) * z(2);
        let spins: Vec<i8> = (0..3).map(|i| if state >> i & 1 == 1 { 1 } else { -1 }).collect();
        assert_eq!(model.energy(&spins), energy);
    }
}

/// Files written by dimod 0.12.23, of the models given here.
#[test]
fn dimod_is_understood() {
    let read = |name: &str| {
        let bytes = std::fs::read(golden().join(name)).unwrap();
        Ising::of(&Format::of_name(name).unwrap().decode(&bytes).unwrap()).unwrap()
    };
    let spin =
        Ising { fields: vec![0.5, -1.25, 0.0], couplings: vec![([0, 1], -1.0), ([1, 2], 0.75)], offset: 2.5 };
    assert_eq!(read("dimod-spin.json"), spin);
    let (linear, quadratic) = ([1.0, -2.0, 0.5], [([0, 1], 4.0), ([1, 2], -1.5)]);
    assert_eq!(read("dimod-binary.json"), Ising::from_binary(&linear, &quadratic, -0.25));
    assert_eq!(read("dimod-binary.coo"), Ising::from_binary(&linear, &quadratic, 0.0));
}

#[test]
fn a_graph_is_recognised_whatever_its_extension() {
    let text = "3 2\n1 2 1\n2 3 -1\n";
    let as_text = Format::of_name("G1.txt").unwrap().decode(text.as_bytes()).unwrap();
    assert_eq!(as_text, Format::Gset.decode(text.as_bytes()).unwrap());
    let model = Ising::of(&as_text).unwrap();
    assert_eq!(model.couplings, [([0, 1], 1.0), ([1, 2], -1.0)]);
    // The best cut of this graph separates 1 from 2 but not 2 from 3: (Σw − E)/2 = 1.
    assert_eq!((0.0 - model.energy(&[1, -1, -1])) / 2.0, 1.0);
    if let Some(folder) = std::env::var_os("THERMOGRAD_DATA") {
        let path = PathBuf::from(folder).parent().unwrap().join("gset/G1.txt");
        if let Ok(bytes) = std::fs::read(&path) {
            let model = Ising::of(&Format::Parameters.decode(&bytes).unwrap()).unwrap();
            assert_eq!((model.fields.len(), model.couplings.len()), (800, 19_176));
        }
    }
}

/// Every number of a parameter file is where the published order puts it.
#[test]
fn a_parameter_file_has_the_published_order() {
    let (couplings, hidden) = (classifier(), 3);
    let bytes = Format::Parameters.encode(&couplings).unwrap();
    let numbers: Vec<f32> =
        std::str::from_utf8(&bytes).unwrap().split_whitespace().map(|word| word.parse().unwrap()).collect();
    let mut place = 0;
    let mut next = || {
        place += 1;
        numbers[place - 1]
    };
    let at = |name: &str, i: usize, columns: usize, j: usize| couplings.tensors[name].1[i * columns + j];
    (0..784).for_each(|_| assert_eq!([next(), next()], [0.0; 2])); // input i with its left and its lower neighbour
    for i in 0..784 {
        (0..hidden).for_each(|j| assert_eq!(next(), at("J.input-hidden", i, hidden, j)));
    }
    for i in 0..hidden {
        (0..i).for_each(|j| assert_eq!(next(), at("J.hidden-hidden", i, hidden, j)));
    }
    for i in 0..hidden {
        (0..10).for_each(|j| assert_eq!(next(), at("J.hidden-output", i, 10, j)));
    }
    for i in 0..10 {
        (0..i).for_each(|j| assert_eq!(next(), at("J.output-output", i, 10, j)));
    }
    for i in 0..784 {
        (0..10).for_each(|j| assert_eq!(next(), at("J.input-output", i, 10, j)));
    }
    (0..784).for_each(|_| assert_eq!(next(), 0.0));
    (0..hidden).for_each(|i| assert_eq!(next(), at("b.hidden", 0, 0, i)));
    (0..10).for_each(|i| assert_eq!(next(), at("b.output", 0, 0, i)));
    assert_eq!(place, numbers.len());
    assert_eq!(Format::Parameters.decode(&bytes).unwrap(), couplings);
    let mut warm = couplings.clone();
    warm.description.substrate.kt = 2.0;
    assert!(Format::Parameters.encode(&warm).unwrap_err().to_string().contains("kT"));
    // Bonds among inputs and biases of inputs that another program may write have no effect.
    let other = format!("7 {}", std::str::from_utf8(&bytes).unwrap().split_once('\n').unwrap().1);
    assert_eq!(Format::Parameters.decode(other.as_bytes()).unwrap(), couplings);
}

/// Files of every version of the format keep their meaning, and the newest version is the one that is written.
#[test]
fn golden_files_keep_loading() {
    for (name, couplings) in exported() {
        // Units that differ and courses of kT came with version 3.
        let first = if ["apart", "annealed"].contains(&name.as_str()) { 3 } else { 1 };
        for version in first..=NO_SPINS {
            for format in if version == 1 { &["safetensors"][..] } else { &["safetensors", "npz", "csv"] } {
                let file = format!("v{version}-{name}.{format}");
                let bytes = std::fs::read(golden().join(&file)).unwrap();
                let format = Format::of_name(&file).unwrap();
                assert_eq!(format.decode(&bytes).unwrap(), couplings, "{file}");
                // Archives are compressed, and the bytes depend on the compressor.
                if version == NO_SPINS && format != Format::Npz {
                    assert!(format.encode(&couplings).unwrap() == bytes, "{file} would be written otherwise");
                }
            }
        }
    }
}

/// Spins that read an image of three pixels, with a temperature for each layer.
fn sampled() -> Couplings {
    let spins = |name, units| Group::free(name, units).wells(WELLS.0, WELLS.1);
    let topology = Topology::layered([Group::clamped("input", 3), spins("hidden1", 4), spins("output", 2)]);
    let (substrate, _) = random(&topology, 1.0, 1, Key::new(77));
    let schedule = Schedule { dt: 1e-3, steps: 10_000 };
    let normalisation = Normalisation { offset: 0.5, scale: 0.25, norm: None };
    let mut couplings = Couplings::of(&substrate, schedule, Some(normalisation));
    couplings.description.sampling = Some(Sampling {
        betas: BTreeMap::from([("hidden1".into(), 1.0), ("output".into(), 2.5)]),
        output: "output".into(),
        classes: 2,
        burn_in: 7,
        sweeps: 100,
    });
    couplings
}

/// Files of spins, and of units with gains of their own, keep their meaning.
#[test]
fn golden_files_of_later_versions_keep_loading() {
    for (name, couplings) in [("v4-spins", sampled()), ("v5-gains", unit_gains())] {
        for format in ["safetensors", "npz", "csv"] {
            let file = format!("{name}.{format}");
            let bytes = std::fs::read(golden().join(&file)).unwrap();
            let format = Format::of_name(&file).unwrap();
            assert_eq!(format.decode(&bytes).unwrap(), couplings, "{file}");
            if format != Format::Npz {
                assert!(format.encode(&couplings).unwrap() == bytes, "{file} would be written otherwise");
            }
        }
    }
    let older = std::fs::read_to_string(golden().join("v5-gains.csv"))
        .unwrap()
        .replace("\"version\":5", "\"version\":3");
    let error = Format::Csv.decode(older.as_bytes()).unwrap_err().to_string();
    assert!(error.contains("version 3 knows no gains of single units"), "{error}");
    let inline = older.replace("\"visible\":[]", "\"visible\":[1.0,1.0,1.0,1.0,1.0,1.0]");
    let error = Format::Csv.decode(inline.as_bytes()).unwrap_err().to_string();
    assert!(error.contains("6 gains of `visible` for 2 knots"), "{error}");
}

/// The force of couplings on a unit is by its own gain and its partner's: −Σ_j s_i J_ij s_j x_j.
#[test]
fn gains_of_units_multiply_their_couplings() {
    let couplings = unit_gains();
    let (substrate, course) = (couplings.substrate(&Device::flex()).unwrap(), couplings.course().unwrap());
    let clamped = Tensor::<2>::zeros([1, 1], &Device::flex());
    let protocol = substrate.protocol(&course, &[clamped]).unwrap();
    let x = [0.5, -1.0, 2.0, 0.25, -0.75];
    let state = Tensor::<2>::from_data([x.map(|x| x as f32)], &Device::flex());
    let pairs = couplings.pairs(&substrate.topology().blocks[1]).collect::<Vec<_>>();
    for (time, gains) in [
        (0.0, [0.25, 1.0, -0.5, 1.0, 1.0]),
        (1.0, [0.1, 2.0, 0.75, 0.5, 0.5]),
        (0.5, [0.175, 1.5, 0.125, 0.75, 0.75]),
    ] {
        let force = to_f64(substrate.potential().steered_force(state.clone(), protocol.at(time)));
        let mut expected: Vec<f64> = to_f64(substrate.bias()).iter().map(|b| -b).collect();
        for &([i, j], value) in &pairs {
            let (i, j, both) = (i, 3 + j, f64::from(value) * gains[i] * gains[3 + j]);
            expected[i] -= both * x[j];
            expected[j] -= both * x[i];
        }
        for (force, expected) in force.iter().zip(&expected) {
            assert!((force - expected).abs() < 1e-5, "{time}: {force} instead of {expected}");
        }
    }
}

/// With its inputs held at an image, a network is a spin model of the others: its energies are those of all of them, up to
/// a constant, and how it is sampled goes with it where a format can say so.
#[test]
fn spins_under_a_held_image_are_a_spin_model() {
    let (couplings, image) = (sampled(), [0.3_f32, -1.0, 2.0]);
    let substrate = couplings.substrate(&Device::flex()).unwrap();
    let field = to_f64(substrate.field(&[Tensor::<2>::from_data([image], &Device::flex())]).unwrap());
    let field: Vec<f32> = field.into_iter().map(|h| h as f32).collect();
    let held = couplings.held(&field).unwrap();
    let at = |name: &str, i: usize, columns: usize, j: usize| {
        f64::from(couplings.tensors[name].1[i * columns + j])
    };
    let bytes = Format::BqmJson.encode(&held).unwrap();
    let model = Ising::of(&Format::BqmJson.decode(&bytes).unwrap()).unwrap();
    for state in 0..64_u32 {
        let spins: Vec<i8> = (0..6).map(|i| if state >> i & 1 == 1 { 1 } else { -1 }).collect();
        let s = |i: usize| f64::from(spins[i]);
        let mut energy = 0.0;
        for j in 0..4 {
            energy += s(j) * at("b.hidden1", 0, 0, j);
            energy +=
                (0..3).map(|i| f64::from(image[i]) * at("J.input-hidden1", i, 4, j) * s(j)).sum::<f64>();
            energy += (0..2).map(|k| s(j) * at("J.hidden1-output", j, 2, k) * s(4 + k)).sum::<f64>();
        }
        energy += (0..2).map(|k| s(4 + k) * at("b.output", 0, 0, k)).sum::<f64>();
        assert!((model.energy(&spins) - energy).abs() < 1e-5, "{state}: {energy}");
    }
    let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let info = &json["info"]["sampling"];
    assert_eq!(info["groups"]["output"], serde_json::json!({ "beta": 2.5, "units": [4, 5] }));
    assert!(info["realisation"].as_str().unwrap().contains("out of equilibrium"), "{info}");
    // Groups and temperatures come back; couplings of nothing do not.
    let read = Format::BqmJson.decode(&bytes).unwrap();
    assert_eq!(read.description.sampling, held.description.sampling);
    assert_eq!(Ising::of(&read).unwrap(), model);
    assert_eq!(read.dense("hidden1", "output"), held.dense("hidden1", "output"));
    assert_eq!(Format::BqmJson.encode(&read).unwrap(), bytes);
    for (group, units) in [("hidden1", [1, 3]), ("output", [4, 6]), ("output", [3, 5]), ("output", [5, 4])] {
        let mut json = json.clone();
        json["info"]["sampling"]["groups"][group]["units"] = serde_json::json!(units);
        let error = Format::BqmJson.decode(json.to_string().as_bytes()).unwrap_err().to_string();
        assert!(error.contains("groups follow each other") || error.contains("the groups hold"), "{error}");
    }
    let mut other = json.clone();
    other["info"]["sampling"]["realisation"] = serde_json::json!("one temperature, in equilibrium");
    let error = Format::BqmJson.decode(other.to_string().as_bytes()).unwrap_err().to_string();
    assert!(error.contains("the betas are of `a temperature for each group, out of equilibrium`"), "{error}");
    let mut json = json.clone();
    json["info"]["sampling"]["groups"]["output"]["beta"] = serde_json::json!(-2.0);
    assert!(Format::BqmJson.decode(json.to_string().as_bytes()).is_err());
    json["info"]["sampling"] = serde_json::json!("often");
    let error = Format::BqmJson.decode(json.to_string().as_bytes()).unwrap_err().to_string();
    assert!(error.contains("info.sampling"), "{error}");
    // Rows have no place for temperatures.
    let error = Format::BqmCoo.encode(&held).unwrap_err().to_string();
    assert!(error.contains("beta = 2.5"), "{error}");
    let mut cool = held.clone();
    cool.description.sampling.as_mut().unwrap().betas.insert("output".into(), 1.0);
    let read = Format::BqmCoo.decode(&Format::BqmCoo.encode(&cool).unwrap()).unwrap();
    assert_eq!(Ising::of(&read).unwrap(), Ising::of(&held).unwrap());
    // Others are refused.
    assert!(couplings.held(&field[1..]).unwrap_err().to_string().contains('5'));
    assert!(moving().held(&[0.0; 3]).unwrap_err().to_string().contains("move in time"));
}

fn refused(format: Format, bytes: &[u8], part: &str) {
    let message = format.decode(bytes).unwrap_err().to_string();
    assert!(message.contains(part), "{format}: `{message}` does not say `{part}`");
}

/// A safetensors file with this header, followed by zeros.
fn safetensors(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(vec![0; data]);
    bytes
}

#[test]
fn hostile_headers_are_errors() {
    let native = |header: &str, part: &str| refused(Format::Safetensors, &safetensors(header, 16), part);
    let tensor = r#""J.a-b":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}"#;
    native(&format!("{{{tensor},{tensor}}}"), "twice");
    native(&format!("{{{tensor}}}"), "metadata entry");
    native(
        r#"{"J.a-b":{"dtype":"F32","shape":[2,2],"data_offsets":[0,99999999999]}}"#,
        "not a safetensors file",
    );
    native(
        r#"{"x":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,16]}}"#,
        "not a safetensors file",
    );
    native(&"[".repeat(100_000), "not a safetensors file");
    refused(Format::Safetensors, &u64::MAX.to_le_bytes(), "not a safetensors file");
    refused(Format::Safetensors, &[0xff; 7], "not a safetensors file");

    // Descriptions that are nested too deeply, have a key twice, are too new, too large or empty.
    let described = |text: &str| {
        let text = serde_json::to_string(text).unwrap();
        safetensors(&format!(r#"{{"__metadata__":{{"thermograd":{text}}}}}"#), 0)
    };
    let good = exported()[0].1.description.to_json();
    let changed = |from: &str, to: &str, part: &str| {
        assert!(good.contains(from), "{good}");
        refused(Format::Safetensors, &described(&good.replacen(from, to, 1)), part);
    };
    refused(Format::Safetensors, &described(&"[".repeat(100_000)), "recursion limit");
    refused(Format::Safetensors, &described("{}"), "no version");
    changed("\"version\":3", "\"version\":6", "newer than 5");
    changed("\"version\":3", "\"version\":0", "version 0");
    changed("\"version\":3", "\"version\":3,\"version\":3", "`version` occurs twice");
    changed("\"start\":\"rest\",", "", "missing field `start`");
    changed("\"start\":\"rest\"", "\"start\":\"moon\"", "moon");
    changed("\"mobility\":3.0", "\"mobility\":[3.0,1.0]", "4 units and 2 values of mobility");
    changed("\"units\":5", "\"units\":999999999999", "at most 16777216");
    changed("\"units\":5", "\"units\":0", "no units");
    changed("\"j4\":0.7", "\"j4\":-0.7", "does not confine");
    changed("\"kt\":0.5", "\"kt\":-1", "kT");
    changed("\"dt\":0.001", "\"dt\":0", "time step");
    changed("\"steps\":200", "\"steps\":0", "final time");
    changed("\"scale\":0.3", "\"scale\":0", "normalisation");
    changed("\"kt\":", "\"colour\":1,\"kt\":", "colour");
    let many: Vec<Group> = (0..2000).map(|k| Group::free(&format!("g{k}"), 1)).collect();
    let config = SubstrateConfig::new(Topology { groups: many, blocks: vec![] });
    let description = Description::of(config, Schedule { dt: 1e-3, steps: 2 }, None);
    refused(Format::Safetensors, &described(&description.to_json()), "at most 1024");
}

#[test]
fn broken_tables_and_texts_say_where() {
    let table = String::from_utf8(Format::Csv.encode(&exported()[0].1).unwrap()).unwrap();
    let changed = |from: &str, to: &str, part: &str| {
        assert!(table.contains(from), "{table}");
        refused(Format::Csv, table.replacen(from, to, 1).as_bytes(), part);
    };
    let row = table.lines().find(|line| line.starts_with("J,input,0,hidden,1,")).unwrap();
    changed(row, "", "`J.input-hidden` has shape [19], expected [20]");
    changed(row, &format!("{row}\n{row}"), "`J.input-hidden` has shape [21]");
    changed(row, "J,input,0,hidden,0,1", "`J.input-hidden [0, 0]` occurs twice");
    changed(row, "J,input,0,hidden,4,1", "[0, 4]");
    changed(row, "J,input,0,hidden,1,NaN", "is NaN");
    changed(row, "J,input,0,hidden,1,one", "line 4: `one` is no f32");
    changed(row, "J,nobody,0,hidden,1,1", "[19]");
    changed(row, "X,input,0,hidden,1,1", "no kind `X`");
    changed("kind,from", "kinds,from", "its columns are");
    refused(Format::Csv, b"kind,from,i,to,j,value\n", "# thermograd");
    refused(Format::Csv, &[0xff, 0xfe], "not text");

    refused(Format::Gset, b"", "empty");
    refused(Format::Gset, b"3\n", "spins edges");
    refused(Format::Gset, b"3 1\n0 1 1\n", "line 2: there is no unit 0");
    refused(Format::Gset, b"3 1\n1 4 1\n", "line 2: there is no unit 4: units are 1 to 3");
    refused(Format::Gset, b"3 1\n1 1 1\n", "line 2: unit 1 is coupled to itself");
    refused(Format::Gset, b"3 2\n1 2 1\n2 1 1\n", "line 3: units 2 and 1 are in line 2 already");
    refused(Format::Gset, b"3 2\n1 2 1\n", "has shape [1], expected [2]");
    refused(Format::Gset, b"3 1\n1 2 1e99\n", "not finite");
    refused(Format::Gset, b"99999999999 1\n1 2 1\n", "at most");
    refused(Format::BqmCoo, b"0 1 1\n", "vartype");
    refused(Format::BqmCoo, b"0 1 1\n", "vartype_header=True");
    refused(Format::BqmJson, b"DIMODBQM\x02\x00rest", "to_serializable");
    refused(Format::BqmCoo, b"# vartype=QUARK\n0 1 1\n", "QUARK");
    refused(Format::BqmCoo, b"# vartype=SPIN\n0 99999999999 1\n", "no unit 99999999999");
    refused(Format::BqmCoo, b"# vartype=SPIN\n0 0 1\n0 0 1\n", "line 3: units 0 and 0 are in line 2 already");
    refused(Format::Qubo, b"0 1 1\n", "p qubo");
    refused(Format::Qubo, b"p qubo 0 2 2\n", "expected `p qubo");
    refused(Format::Qubo, b"p qubo 0 2 2 1\n0 5 1\n", "line 2: there is no unit 5: units are 0 to 1");
    refused(Format::BqmJson, b"{\"a\":1,\"a\":2}", "`a` occurs twice");
    refused(Format::BqmJson, classifier().describe().as_bytes(), "in the file next to it");
    let bqm = std::fs::read_to_string(golden().join("dimod-spin.json")).unwrap();
    let bqm_with = |from: &str, to: &str, part: &str| {
        assert!(bqm.contains(from));
        refused(Format::BqmJson, bqm.replacen(from, to, 1).as_bytes(), part);
    };
    bqm_with("\"quadratic_head\": [0, 1]", "\"quadratic_head\": [0]", "were found");
    bqm_with("\"quadratic_head\": [0, 1]", "\"quadratic_head\": [0, 7]", "units 7 and 2 of 3");
    bqm_with("\"use_bytes\": false", "\"use_bytes\": true", "use_bytes=False");
    refused(Format::Parameters, b"1 2 3", "3 numbers");
    refused(Format::Parameters, b"1 2\n3 x", "line 2: `x`");
    assert!(Format::of_name("couplings").unwrap_err().to_string().contains(".safetensors"));
}

#[test]
fn broken_arrays_are_errors() {
    let couplings = &exported()[2].1;
    let bytes = Format::Npz.encode(couplings).unwrap();
    for length in 0..bytes.len() {
        assert!(Format::Npz.decode(&bytes[..length]).is_err(), "accepted {length} of {} bytes", bytes.len());
    }
    for place in 0..bytes.len() {
        let mut broken = bytes.clone();
        broken[place] ^= 0x20;
        if let Ok(couplings) = Format::Npz.decode(&broken) {
            couplings.validate().unwrap();
        }
    }
    // Two kilobytes that unpack to two gigabytes, and a header that declares more than there is.
    let zip = |name: &str, bytes: &mut dyn std::io::Read| {
        let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        let options = zip::write::SimpleFileOptions::default().large_file(true);
        archive.start_file(name, options).unwrap();
        std::io::copy(bytes, &mut archive).unwrap();
        archive.finish().unwrap().into_inner()
    };
    let bomb = zip("J.a-b.npy", &mut std::io::Read::take(std::io::repeat(0), 1_100_000_000));
    assert!(bomb.len() < 10_000_000);
    refused(Format::Npz, &bomb, "unpacked from an npz file of this size");
    let npy = |header: &str| {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        zip("J.a-b.npy", &mut &bytes[..])
    };
    refused(
        Format::Npz,
        &npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4000000000, 4000000000), }\n"),
        "0 bytes of values",
    );
    refused(Format::Npz, &npy("{'descr': '<f4', 'fortran_order': True, 'shape': (0,), }\n"), "Fortran");
    refused(Format::Npz, &npy("{'descr': '<c8', 'fortran_order': False, 'shape': (0,), }\n"), "<c8");
    refused(Format::Npz, &npy(&"(".repeat(510)), "NumPy array");
    refused(Format::Npz, &npy(&"(".repeat(5000)), "up to 512 bytes");
    refused(Format::Npz, &zip("notes.txt", &mut &b"hello"[..]), "notes.txt");
    refused(Format::Npz, &zip("x.npy", &mut &b""[..]), "NumPy array");
}

#[test]
fn errors_carry_their_numbers() {
    let mut bytes =
        Format::Gset.encode(&Ising { fields: vec![0.0; 5], ..spins() }.couplings().unwrap()).unwrap();
    bytes.extend(b"1 2");
    let error = Format::Gset.decode(&bytes).unwrap_err();
    assert!(matches!(error, Error::Couplings(Problem::Line { line: 6, .. })), "{error:?}");
}

/// An npz file of these `.npy` files.
fn npz(files: &[(&str, &[u8])]) -> Vec<u8> {
    use std::io::Write;
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in files {
        archive.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// A `.npy` file.
fn npy(header: &str, values: usize) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + values, 0);
    bytes
}

#[test]
fn hostile_archives_are_errors_and_soon() {
    let began = std::time::Instant::now();
    let one = |bytes: &[u8], part: &str| refused(Format::Npz, &npz(&[("x.npy", bytes)]), part);
    let header = |shape: &str| format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}\n");
    one(&npy(&"{".repeat(400), 0), "more than a dictionary");
    one(&npy(&format!("{}'a'{}", "{0:".repeat(60), "}".repeat(60)), 0), "more than a dictionary");
    one(&npy(&"(".repeat(20_000), 0), "up to 512 bytes");
    one(&npy(&header("3,"), 8), "8 bytes of values do not have the shape [3]");
    one(&npy(&header("4611686018427387904, 4"), 16), "do not have the shape");
    one(b"\x93NUMPY", "x");
    // A megabyte that declares, and unpacks to, a gigabyte of zeros.
    one(&npy(&header("50000000,"), 200_000_000), "unpacked from an npz file of this size");

    // One array twice, of which a reader would silently take the last.
    let twice = npz(&[("b.a.npy", &npy(&header("1,"), 4)), ("b.b.npy", &npy(&header("1,"), 4))]);
    let renamed: Vec<usize> =
        (0..twice.len() - 3).filter(|&place| &twice[place..place + 3] == b"b.b").collect();
    let mut same = twice.clone();
    renamed.into_iter().for_each(|place| same[place + 2] = b'a');
    refused(Format::Npz, &same, "lists an array twice");
    refused(Format::Npz, &twice, "no array `description`");
    assert!(began.elapsed().as_secs() < 20);
}

#[test]
fn files_of_others_are_read_or_refused_with_what_to_do() {
    // A table saved by a spreadsheet, with a byte-order mark, Windows line ends and quoted cells.
    let (_, couplings) = &exported()[0];
    let table = String::from_utf8(Format::Csv.encode(couplings).unwrap()).unwrap();
    let (description, rows) = table.split_once('\n').unwrap();
    let saved = format!("\u{feff}{description}\r\n{}", rows.replace('\n', "\r\n").replace("J,", "\"J\","));
    assert_eq!(&Format::Csv.decode(saved.as_bytes()).unwrap(), couplings);
    let cells = format!("\"{}\"\n{rows}", description.replace('"', "\"\""));
    refused(Format::Csv, cells.as_bytes(), "a spreadsheet has changed");
    refused(
        Format::Csv,
        format!("{description}\n{}", rows.replace(',', ";")).as_bytes(),
        "separated by commas",
    );
    refused(Format::Csv, format!("{description}\n{table}").as_bytes(), "`# thermograd` occurs twice");

    // Comments that begin with a keyword, and wrong counts.
    let qubo = |comment: &str, nodes: usize, couplers: usize| {
        format!("c {comment}\np qubo 0 2 {nodes} {couplers}\n0 0 1\n1 1 -2\n0 1 4\n")
    };
    let offset =
        |comment: &str| Format::Qubo.decode(qubo(comment, 2, 1).as_bytes()).unwrap().description.offset;
    let without = offset("nothing");
    for comment in ["offset of the model is not here", "offset", "offsets 3", "offset none"] {
        assert_eq!(offset(comment), without);
    }
    assert_eq!(offset("offset 3"), without + 3.0);
    refused(Format::Qubo, qubo("", 1, 1).as_bytes(), "`the list of nodes` has shape [2], expected [1]");
    refused(Format::Qubo, qubo("", 2, 3).as_bytes(), "`the list of couplers` has shape [1], expected [3]");

    // Models of another kind, and labels that are not one per variable.
    let model = String::from_utf8(Format::BqmJson.encode(&spins().couplings().unwrap()).unwrap()).unwrap();
    let changed = |from: &str, to: &str, part: &str| {
        assert!(model.contains(from), "{model}");
        refused(Format::BqmJson, model.replacen(from, to, 1).as_bytes(), part);
    };
    changed("BinaryQuadraticModel", "DiscreteQuadraticModel", "\"DiscreteQuadraticModel\"");
    changed("\"3.0.0\"", "\"2.0.0\"", "schema \"2.0.0\", expected `BinaryQuadraticModel` of schema 3.0.0");
    changed(
        "    4\n  ],\n  \"variable_type\"",
        "    3\n  ],\n  \"variable_type\"",
        "5 labels, 4 of them different",
    );
    changed("    3,\n    4\n  ],\n  \"variable_type\"", "    3\n  ],\n  \"variable_type\"", "have 4 labels");
    refused(Format::BqmJson, b"{\"hello\": 1}", "its type is null");
}

/// Couplings that compress as well as a malicious file are written in such a way that they can be read.
#[test]
fn untrained_couplings_come_back_whatever_their_number() {
    let groups = [Group::clamped("a", 4000), Group::free("b", 5000).unbiased()];
    let config = SubstrateConfig::new(Topology::layered(groups));
    let description = Description::of(config, Schedule { dt: 1e-3, steps: 2 }, None);
    let couplings = Couplings::new(description, [("J.a-b", vec![0.0; 20_000_000])]).unwrap();
    assert!(Format::Npz.decode(&Format::Npz.encode(&couplings).unwrap()).unwrap() == couplings);
}
