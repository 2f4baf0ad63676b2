//! Promotes a key and seals every record anew while jobs are read and renewed; ends with one line of JSON.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line speaks through its two streams")]

use std::process::ExitCode;

use clap::Parser;

/// Key promotion and re-sealing on a real Redis, under read load, with one replica killed in the middle of it.
#[derive(Debug, Parser)]
#[command(name = "reseal")]
struct Arguments {
    /// How many records there are.
    #[arg(long, default_value_t = 100_000)]
    records: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(tokenvault_tests::reseal::run(arguments.records, |step| eprintln!("{step}"))) {
        Ok(report) => {
            println!("{}", serde_json::to_string(&report).expect("counts serialize"));
            if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}
