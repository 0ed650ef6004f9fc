//! The fuzzer of the decoder that `THERMOGRAD_FUZZ` names.

#![no_main]

use std::sync::OnceLock;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    static NAME: OnceLock<String> = OnceLock::new();
    let name =
        NAME.get_or_init(|| std::env::var("THERMOGRAD_FUZZ").expect("THERMOGRAD_FUZZ names a decoder"));
    thermograd_fuzz::decode(name, bytes);
});
