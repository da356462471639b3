//! Throws bytes at [`fuzz::configuration`]; see there what must hold.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::configuration(bytes));
