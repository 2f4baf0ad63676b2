//! The question before a command that changes many jobs, and the options that answer it.

use std::io::{BufRead, IsTerminal, Write};

use crate::console::Console;
use crate::failure::Failure;

#[derive(Debug, Default, clap::Args)]
pub(super) struct ConfirmArgs {
    /// Do it without asking
    #[arg(long, conflicts_with = "dry_run")]
    yes: bool,
    /// Only show what would be done
    #[arg(long)]
    pub(super) dry_run: bool,
}

impl ConfirmArgs {
    /// Asks on the terminal until the answer is yes or no; `--yes` answers it beforehand. The end of the input is a no.
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
        answered(&console.err_style.wrap(&format!("{question} [yes/no]"), 2), &mut stdin.lock(), console.err)
    }
}

fn answered(question: &str, input: &mut dyn BufRead, err: &mut dyn Write) -> Result<(), Failure> {
    loop {
        write!(err, "{question} ")?;
        err.flush()?;
        let mut answer = String::new();
        let ended = input.read_line(&mut answer)? == 0;
        match answer.trim().to_lowercase().as_str() {
            "y" | "yes" => return Ok(()),
            "" if ended => {
                // The cursor is still on the question's line.
                writeln!(err)?;
                return Err(nothing());
            }
            "n" | "no" | "" => return Err(nothing()),
            _ => writeln!(err, "Answer yes or no.")?,
        }
    }
}

fn nothing() -> Failure {
    Failure::new("nothing was done")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(answers: &str) -> (bool, String) {
        let mut asked = Vec::new();
        let answered = answered("Revoke 3 jobs? [yes/no]", &mut answers.as_bytes(), &mut asked);
        (answered.is_ok(), String::from_utf8(asked).unwrap())
    }

    #[test]
    fn a_yes_is_a_yes_however_it_is_spelt_and_no_answer_is_a_no() {
        for answer in ["yes\n", "y\n", "YES\n", "Y\n", " Yes \r\n", "y"] {
            assert_eq!(ask(answer), (true, "Revoke 3 jobs? [yes/no] ".to_owned()), "{answer:?}");
        }
        for answer in ["no\n", "n\n", "NO\n", "N\n", "\n"] {
            assert_eq!(ask(answer), (false, "Revoke 3 jobs? [yes/no] ".to_owned()), "{answer:?}");
        }
        assert_eq!(ask(""), (false, "Revoke 3 jobs? [yes/no] \n".to_owned()));
    }

    #[test]
    fn what_is_neither_is_asked_again() {
        let (confirm, asked) = ask("yess\nsure\ny\n");
        assert!(confirm);
        assert_eq!(asked.matches("Revoke 3 jobs? [yes/no] ").count(), 3, "{asked}");
        assert_eq!(asked.matches("Answer yes or no.").count(), 2, "{asked}");
        assert!(!ask("yess\n").0, "nothing follows");
    }
}
