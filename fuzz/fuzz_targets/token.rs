#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| cognito_lookup::fuzzing::run("token", input));
