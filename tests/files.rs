//! Data files and exported couplings, valid and broken.

use std::io::Write;
use std::path::Path;

use burn::tensor::Device;
use flate2::Compression;
use flate2::write::GzEncoder;
use thermograd::export::schema::VERSION;
use thermograd::{Couplings, Error, Key, Problem, Schedule, SubstrateConfig, to_f64};
use thermograd_datasets::idx::{self, IdxProblem};
use thermograd_datasets::mnist;
use thermograd_experiments::workbench::run;

use crate::common::networks;

fn idx_bytes(magic: u32, dimensions: &[u32], values: &[u8]) -> Vec<u8> {
    let header = std::iter::once(&magic).chain(dimensions).flat_map(|word| word.to_be_bytes());
    header.chain(values.iter().copied()).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Three images of 2 × 2 and their labels, the training files gzipped.
fn write_mnist(folder: &Path) {
    let images = idx_bytes(0x803, &[3, 2, 2], &(0..12).collect::<Vec<u8>>());
    let labels = idx_bytes(0x801, &[3], &[1, 0, 9]);
    std::fs::write(folder.join("train-images-idx3-ubyte.gz"), gzip(&images)).unwrap();
    std::fs::write(folder.join("train-labels-idx1-ubyte.gz"), gzip(&labels)).unwrap();
    std::fs::write(folder.join("t10k-images-idx3-ubyte"), images).unwrap();
    std::fs::write(folder.join("t10k-labels-idx1-ubyte"), labels).unwrap();
}

#[test]
fn mnist_files_are_read_plain_and_gzipped() {
    let folder = tempfile::tempdir().unwrap();
    write_mnist(folder.path());
    let split = mnist::load(folder.path()).unwrap();
    assert_eq!(split.train, split.test);
    assert_eq!(split.train.len(), 3);
    let image = split.train.get(2);
    assert_eq!((image.pixels, image.label), (vec![8, 9, 10, 11], 9));
}

#[test]
fn broken_data_files_name_file_byte_and_expectation() {
    let refused = |name: &str, bytes: Option<&[u8]>, parts: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        write_mnist(folder.path());
        let path = folder.path().join(name);
        match bytes {
            Some(bytes) => std::fs::write(&path, bytes).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let message = mnist::load(folder.path()).unwrap_err().to_string();
        for part in parts.iter().chain([&name]) {
            assert!(message.contains(part), "`{message}` does not say `{part}`");
        }
    };
    let (images, labels) = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte");
    let good = idx_bytes(0x803, &[3, 2, 2], &[0; 12]);
    refused(images, None, &["No such file"]);
    refused(images, Some(&good[..20]), &["ends at byte 20", "expected 28"]);
    refused(images, Some(&good[..9]), &["ends at byte 9", "expected 16"]);
    refused(images, Some(&[&good[..], &[1]].concat()), &["expected the values to end at byte 28"]);
    refused(
        images,
        Some(&idx_bytes(0x801, &[3], &[1, 2, 3])),
        &["0x00000801 at byte 0", "expected 0x00000803"],
    );
    refused(images, Some(&idx_bytes(0x803, &[u32::MAX; 3], &[])), &["dimension 0 at byte 4"]);
    refused(images, Some(&idx_bytes(0x803, &[3, 0, 2], &[])), &["dimension 1 at byte 8 is 0"]);
    // Images with the same number of pixels but different shapes.
    refused(
        images,
        Some(&idx_bytes(0x803, &[3, 1, 4], &[0; 12])),
        &["dimension 1 at byte 8 is 1", "expected 2"],
    );
    refused(images, Some(&idx_bytes(0x803, &[3, 2, 1], &[0; 6])), &["dimension 2 at byte 12 is 1"]);
    // A small file that unpacks to a large one.
    let blank = gzip(&idx_bytes(0x803, &[300_000, 30, 30], &[0; 1000]));
    refused(
        "train-images-idx3-ubyte.gz",
        Some(&blank),
        &["dimension 2 at byte 12", "in a file of this size"],
    );
    refused(labels, Some(&idx_bytes(0x801, &[2], &[1, 2])), &["byte 4 is 2", "expected 3"]);
    refused(labels, Some(&idx_bytes(0x801, &[3], &[1, 10, 2])), &["label 10 at byte 9", "below 10"]);
    refused("train-labels-idx1-ubyte.gz", Some(&gzip(&good)[..15]), &["train-labels"]);
    refused("train-images-idx3-ubyte.gz", Some(b"not gzip"), &["train-images"]);
}

#[test]
fn a_promise_of_many_values_takes_no_memory() {
    let bytes = idx_bytes(0x801, &[1_000_000_000], &[1, 2, 3]);
    let problem = idx::decode(&bytes[..], 1, "labels").unwrap_err();
    assert!(matches!(problem, IdxProblem::Truncated { found: 11, expected: 1_000_000_008 }), "{problem}");
}

fn exported() -> Vec<Couplings> {
    crate::formats::exported()
        .into_iter()
        .map(|(_, couplings)| couplings)
        .filter(|c| c.course().is_none())
        .collect()
}

#[test]
fn couplings_come_back_as_they_were() {
    for couplings in exported() {
        let decoded = Couplings::decode(&couplings.encode().unwrap()).unwrap();
        assert_eq!(decoded, couplings);
        let substrate = decoded.substrate(&Device::flex()).unwrap();
        assert_eq!(
            Couplings::of(&substrate, decoded.description.schedule, decoded.description.normalisation),
            couplings
        );
        let text = couplings.describe();
        for key in
            ["energy", "each pair of units is counted once", "j2", "j4", "kt", "mobility", "dt", "version"]
        {
            assert!(text.contains(key), "{text} lacks {key}");
        }
    }
}

/// Every truncation and a flip in every byte of the header: an error or a valid value, never a panic.
#[test]
fn broken_couplings_are_errors() {
    let bytes = exported()[2].encode().unwrap();
    for length in 0..bytes.len() {
        assert!(Couplings::decode(&bytes[..length]).is_err(), "accepted {length} of {} bytes", bytes.len());
    }
    for place in 0..bytes.len() {
        for flip in [1, 0x20, 0x80] {
            let mut broken = bytes.clone();
            broken[place] ^= flip;
            if let Ok(couplings) = Couplings::decode(&broken) {
                couplings.substrate(&Device::flex()).unwrap();
            }
        }
    }
}

#[test]
fn wrong_couplings_say_what_is_wrong() {
    let good = exported().remove(0);
    let refused = |change: &dyn Fn(&mut Couplings), part: &str| {
        let mut bad = good.clone();
        change(&mut bad);
        let message = bad.validate().unwrap_err().to_string();
        assert!(message.contains(part), "`{message}` does not say `{part}`");
        assert!(bad.encode().is_err());
    };
    refused(&|c| drop(c.tensors.remove("b.hidden")), "`b.hidden` is missing");
    refused(&|c| drop(c.tensors.insert("b.input".into(), (vec![5], vec![0.0; 5]))), "`b.input` is not part");
    refused(&|c| c.tensors.get_mut("J.input-hidden").unwrap().0 = vec![4, 5], "expected [5, 4]");
    refused(&|c| c.tensors.get_mut("b.output").unwrap().1[2] = f32::NAN, "value 2 is NaN");
    refused(&|c| c.tensors.get_mut("J.hidden-hidden").unwrap().1[1] += 1.0, "symmetric");
    refused(&|c| c.description.substrate.topology.groups[1].j4 = (-1.0).into(), "does not confine");

    let mut newer = good.encode().unwrap();
    let place = newer.windows(12).position(|word| word == b"version\\\": 3").unwrap();
    newer[place + 11] = b'9';
    let error = Couplings::decode(&newer).unwrap_err();
    assert!(matches!(&error, Error::Couplings(Problem::Version { found: 9, newest: VERSION })), "{error}");
    let foreign = safetensors_without_metadata();
    assert!(Couplings::decode(&foreign).unwrap_err().to_string().contains("metadata"));
}

/// A header of eight bytes and an empty object.
fn safetensors_without_metadata() -> Vec<u8> {
    let mut bytes = 2_u64.to_le_bytes().to_vec();
    bytes.extend(b"{}");
    bytes
}

#[test]
fn a_decoded_computer_computes_the_same() {
    let (_, topology) = &networks()[0];
    let config = SubstrateConfig::new(topology.clone());
    let substrate = config.init(&Device::flex()).unwrap().randomised(1.0, Key::new(72));
    let schedule = Schedule { dt: 1e-3, steps: 20 };
    let copy = Couplings::decode(&Couplings::of(&substrate, schedule, None).encode().unwrap()).unwrap();
    let copy = copy.substrate(&Device::flex()).unwrap();
    let image = burn::tensor::Tensor::ones([2, 5], &Device::flex());
    let x0 = burn::tensor::Tensor::zeros([2, 7], &Device::flex());
    let run = |substrate: &thermograd::Substrate| {
        let field = substrate.field(std::slice::from_ref(&image)).unwrap();
        to_f64(substrate.forward(x0.clone(), field, schedule, Key::new(73)))
    };
    assert_eq!(run(&substrate), run(&copy));
}

/// A classifier starts at rest in a constant field; couplings that say otherwise are refused.
#[test]
fn what_a_classifier_cannot_be_is_refused() {
    use thermograd::{Course, Normalisation, Start};
    use thermograd_models::{Classifier, ClassifierConfig};
    let normalisation = Normalisation { offset: 0.1, scale: 0.3, norm: None };
    let good = ClassifierConfig::new(4, 3, 2).init(normalisation, &Device::flex()).unwrap().couplings();
    Classifier::from_couplings(&good, &Device::flex()).unwrap();
    let refused = |change: &dyn Fn(&mut Couplings), part: &str| {
        let mut bad = good.clone();
        change(&mut bad);
        let error = Classifier::from_couplings(&bad, &Device::flex()).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    refused(&|bad| bad.description.start = Start::Noise, "start from noise");
    refused(&|bad| bad.description.normalisation = None, "no input normalisation");
    let kt = Course { times: vec![0.0, 0.2], kt: Some(vec![50.0, 0.01]), ..Course::default() };
    refused(&|bad| bad.description.course = Some(kt.clone()), "control parameters move");
}

/// Energies that overflow are an error and not an endless search.
#[test]
fn a_temperature_beyond_all_numbers_is_refused() {
    let topology = thermograd::Topology::all_to_all([thermograd::Group::free("unit", 2)]);
    let hot = SubstrateConfig::new(topology).with_kt(1e308).init(&Device::flex()).unwrap();
    let error = hot.uncoupled_equilibrium(1, Key::new(1)).unwrap_err().to_string();
    assert!(error.contains("kT = 1e308") || error.contains("kT = 1000000"), "{error}");
}

#[test]
fn files_are_replaced_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/file");
    run::write(&path, b"one").unwrap();
    run::write(&path, b"two").unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"two");
    let left: Vec<_> = std::fs::read_dir(path.parent().unwrap()).unwrap().collect();
    assert_eq!(left.len(), 1, "nothing temporary is left");
    // A path that cannot be written is an error and changes nothing else.
    assert!(run::write(&path.join("below a file"), b"x").is_err());
    assert_eq!(std::fs::read(&path).unwrap(), b"two");
}

/// For a computer whose control parameters move, anything that is missing or does not fit the knots is refused.
#[test]
fn broken_courses_are_refused() {
    use std::collections::BTreeMap;
    use thermograd::{Block, Course, Group, Topology};
    let groups = vec![Group::clamped("clock", 2), Group::free("visible", 3)];
    let topology = Topology { groups, blocks: vec![Block::full("clock", "visible")] };
    let substrate = SubstrateConfig::new(topology).init(&Device::flex()).unwrap();
    let course = Course {
        times: vec![0.0, 1.0],
        gains: BTreeMap::from([("visible".into(), vec![1.0, 2.0])]),
        wells: BTreeMap::from([("visible".into(), vec![0.5; 6])]),
        kt: None,
    };
    let good =
        Couplings::of(&substrate, Schedule::new(0.01, 1.0).unwrap(), None).with_course(Some(course.clone()));
    let read = Couplings::decode(&good.encode().unwrap()).unwrap();
    assert_eq!((read.course(), &read), (Some(course), &good));

    let refused = |break_it: &dyn Fn(&mut Couplings), part: &str| {
        let mut bad = good.clone();
        break_it(&mut bad);
        let error = bad.encode().unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    let change =
        |change: fn(&mut Course)| move |bad: &mut Couplings| change(bad.description.course.as_mut().unwrap());
    refused(&|bad| drop(bad.tensors.remove("d.visible")), "wells of `visible`");
    refused(&|bad| bad.tensors.get_mut("d.visible").unwrap().1[2] = f32::NAN, "wells of `visible`");
    refused(&|bad| bad.tensors.get_mut("d.visible").unwrap().0 = vec![3, 2], "d.visible");
    let gains = |count: usize| {
        move |course: &mut Course| drop(course.gains.insert("visible".into(), vec![1.0; count]))
    };
    for (count, part) in [(0, "gains of `visible`"), (5, "neither one number nor 3")] {
        let change = gains(count);
        refused(&|bad| change(bad.description.course.as_mut().unwrap()), part);
    }
    refused(&change(|course| course.times = vec![1.0, 0.0]), "does not follow");
    refused(&change(|course| course.times = vec![]), "there are no knots");
    refused(&change(|course| course.times = vec![0.0, 1.0, 2.0]), "3 knots");
    refused(&change(|course| drop(course.gains.insert("clock".into(), vec![1.0, 1.0]))), "clamped");
    refused(&change(|course| drop(course.wells.insert("nobody".into(), vec![]))), "nobody");
}

/// Names and comments of older files are in Latin-1; bytes that are no text are refused with their place.
#[test]
fn latin_1_is_read_and_bytes_that_are_no_text_are_not() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let read = |bytes: &[u8]| {
        std::fs::write(file.path(), bytes).unwrap();
        thermograd_datasets::text::read(file.path(), |text| Ok(text.to_owned()))
    };
    assert_eq!(read(b"COMMENT: Gr\xf6tschel\n1 2\n").unwrap(), "COMMENT: Grötschel\n1 2\n");
    assert_eq!(read("Grötschel".as_bytes()).unwrap(), "Grötschel");
    let error = read(b"1 2\n\xff\x00\x01").unwrap_err().to_string();
    assert!(error.contains("byte 4 is neither"), "{error}");
}
