//! Throws bytes at [`fuzz::proxy`]; see there what must hold.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::proxy(bytes));
