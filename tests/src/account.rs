//! How the programs that try the vault end: with their account in a line, and a status that says whether it kept its promises.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line speaks through its two streams")]

use std::process::ExitCode;

use crate::harness::Result;

/// The account, and whether the promises were kept: the status is 0, or 1 where one was broken, or 2 where it came to nothing.
pub fn give(outcome: Result<(String, bool)>) -> ExitCode {
    match outcome {
        Ok((line, kept)) => {
            println!("{line}");
            ExitCode::from(u8::from(!kept))
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}
