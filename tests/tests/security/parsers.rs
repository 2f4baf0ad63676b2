//! The fuzz targets' functions, called with their seeds and with what proptest makes of those: what a night of fuzzing holds
//! against the parsers, in seconds. See docs/testing.md.
#![allow(clippy::disallowed_methods, reason = "the seeds are files")]

#[path = "../../../fuzz/src/parsers.rs"]
#[allow(missing_docs, unreachable_pub, reason = "it is the fuzz crate's")]
mod targets;

use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// The seeds of a target; there must be some.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target);
    let mut files: Vec<_> =
        dir.read_dir().expect("a directory of seeds").map(|entry| entry.expect("a seed").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{target} has no seeds");
    files.iter().map(|file| std::fs::read(file).expect("a seed")).collect()
}

/// Some bytes of a seed replaced, taken out, put in or repeated.
fn changed(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), 0..4_u8, vec(any::<u8>(), 1..6));
    (prop::sample::select(seeds), vec(change, 1..5)).prop_map(|(mut bytes, changes)| {
        for (at, kind, new) in changes {
            let at = at.index(bytes.len() + 1);
            let end = (at + new.len()).min(bytes.len());
            match kind {
                0 => drop(bytes.splice(at..end, new)),
                1 => drop(bytes.drain(at..end)),
                2 => drop(bytes.splice(at..at, new)),
                _ => {
                    let part = bytes[at..end].to_vec();
                    bytes.splice(at..at, part.repeat(3));
                }
            }
        }
        bytes
    })
}

#[test]
fn no_parser_stumbles_over_a_seed_or_a_changed_one() {
    for (target, parse) in targets::TARGETS {
        let seeds = seeds(target);
        for seed in &seeds {
            parse(seed);
        }
        let mut runner = TestRunner::new(Config { cases: 150, failure_persistence: None, ..Config::default() });
        let outcome = runner.run(&changed(seeds), |bytes| {
            parse(&bytes);
            Ok(())
        });
        assert!(outcome.is_ok(), "{target}: {outcome:?}");
    }
}

#[test]
fn the_seeds_of_records_are_records() {
    for seed in seeds("stored_record") {
        let read = tokenvault_core::record::decode(&targets::fields(&seed));
        assert!(read.is_ok(), "{read:?} of {}", String::from_utf8_lossy(&seed));
    }
}

#[test]
fn every_target_has_a_program_that_calls_it() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).expect("the fuzz crate's manifest");
    for (target, _) in targets::TARGETS {
        let program = std::fs::read_to_string(fuzz.join(format!("fuzz_targets/{target}.rs"))).expect("a program");
        assert!(program.contains(&format!("tokenvault_fuzz::{target}(data)")), "{target}");
        assert!(manifest.contains(&format!("name = \"{target}\"")), "{target}");
    }
    assert_eq!(fuzz.join("fuzz_targets").read_dir().expect("the programs").count(), targets::TARGETS.len());
}
