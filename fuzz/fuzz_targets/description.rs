//! Reads any bytes as a description: lexer, directives, parameters, syntax, and what is told.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use streamer_gst::description::Description;

fuzz_target!(|text: &str| {
    // A directory that is not there: whatever is included or shown is missing.
    match Description::parse(Path::new("/nonexistent/fuzz.launch"), text) {
        Ok(description) => {
            assert!(!description.outputs().is_empty());
            assert_eq!(description.arguments().len(), description.words.len());
        }
        Err(faults) => {
            assert!(faults.first().is_some());
            for diagnostic in &faults.diagnostics {
                assert!(diagnostic.to_string().len() <= 240);
                assert!(!diagnostic.render(false).is_empty());
            }
        }
    }
});
