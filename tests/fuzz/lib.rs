//! Every decoder of untrusted bytes, by name, for `fuzz.sh` and for replaying the corpus.

use thermograd::Format;
use thermograd_datasets::idx;

/// Names of all decoders, which are also the folders of the corpus.
pub fn names() -> Vec<&'static str> {
    Format::ALL.iter().map(|(_, name, _)| *name).chain(["idx"]).collect()
}

/// Decodes, and checks that what was accepted is sound.
///
/// # Panics
/// When the decoder panics, when it accepts something that does not survive a round trip, or when there is no such
/// decoder.
pub fn decode(name: &str, bytes: &[u8]) {
    if name == "idx" {
        let _ = idx::decode(bytes, 3, "images");
        let _ = idx::decode(bytes, 1, "labels");
        return;
    }
    let found = Format::ALL.iter().find(|(_, own, _)| *own == name);
    let (format, ..) = *found.unwrap_or_else(|| panic!("no decoder `{name}`: {}", names().join(" ")));
    if let Ok(couplings) = format.decode(bytes) {
        couplings.validate().expect("what is accepted is valid");
        let native = couplings.encode().expect("what is valid can be written");
        let again = thermograd::Couplings::decode(&native).expect("and read again");
        assert!(again == couplings, "it comes back another");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files that reach deep into each decoder, some of them found by the fuzzer.
    #[test]
    fn the_corpus_is_decoded_or_refused() {
        for name in names() {
            let folder = format!("{}/corpus/{name}", env!("CARGO_MANIFEST_DIR"));
            let files: Vec<_> =
                std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
            assert!(!files.is_empty());
            files.iter().for_each(|file| decode(name, &std::fs::read(file).unwrap()));
        }
    }
}
