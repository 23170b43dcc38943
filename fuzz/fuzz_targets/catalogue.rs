#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| etcd_rescue::fuzzing::fuzz_catalogue(data));
