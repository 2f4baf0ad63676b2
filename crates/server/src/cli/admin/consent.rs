//! Whether something that touches many is really meant.

use std::io::{BufRead, IsTerminal, Write};

use super::super::{Console, Failure};

#[derive(Debug, Default, clap::Args)]
pub(super) struct Consent {
    /// Do it without asking
    #[arg(long, conflicts_with = "dry_run")]
    yes: bool,
    /// Only show what would be done
    #[arg(long)]
    pub(super) dry_run: bool,
}

impl Consent {
    /// Asks on the terminal unless the answer was given with the command. Whatever is not `yes` is a no.
    pub(super) fn ask(&self, question: &str, console: &mut Console<'_>) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            let text =
                format!("{question} Nobody is here to be asked: give --yes, or --dry-run to see what would be done");
            return Err(Failure::usage(text));
        }
        answered(question, &mut stdin.lock(), console.err)
    }
}

fn answered(question: &str, input: &mut dyn BufRead, err: &mut dyn Write) -> Result<(), Failure> {
    write!(err, "{question} [yes/no] ")?;
    err.flush()?;
    let mut answer = String::new();
    input.read_line(&mut answer)?;
    if answer.trim() == "yes" { Ok(()) } else { Err(Failure::new("nothing was done")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_a_yes() {
        for (answer, consent) in [("yes\n", true), ("y\n", false), ("no\n", false), ("", false), ("YES\n", false)] {
            let mut asked = Vec::new();
            let answered = answered("Revoke 3 jobs?", &mut answer.as_bytes(), &mut asked);
            assert_eq!(answered.is_ok(), consent, "{answer:?}");
            assert_eq!(String::from_utf8(asked).unwrap(), "Revoke 3 jobs? [yes/no] ");
        }
    }
}
