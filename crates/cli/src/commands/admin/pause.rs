//! `tokenvault admin pause`, `tokenvault admin resume`

use std::time::Duration;

use serde_json::json;

use super::answer::text;
use super::confirm::ConfirmArgs;
use super::context::CommandContext;
use crate::failure::Failure;
use crate::terminal::times::span;

/// Stop renewal for a while
///
/// For work on the identity provider. Reads, registrations and releases go on; a token that expires meanwhile is not
/// replaced, so keep it shorter than half of an access token's life where you can. Ends by itself. Asks first.
#[derive(Debug, clap::Args)]
pub(super) struct PauseArgs {
    /// For how long: seconds, or with a unit such as 90s, 10m, 2h; at most a day
    #[arg(long = "for", value_name = "TIME", value_parser = seconds)]
    time: u64,
    /// Why, for the others who look
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    confirm: ConfirmArgs,
}

/// Go on with renewal
#[derive(Debug, clap::Args)]
pub(super) struct ResumeArgs;

fn seconds(text: &str) -> Result<u64, String> {
    let (digits, unit) = text.split_at(text.trim_end_matches(|c: char| c.is_ascii_alphabetic()).len());
    let factor = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err("the units are s, m and h".to_owned()),
    };
    let number: u64 = digits.parse().map_err(|_| "it is a whole number, and perhaps a unit".to_owned())?;
    let seconds = number.saturating_mul(factor);
    if (1..=86_400).contains(&seconds) { Ok(seconds) } else { Err("it is from one second to one day".to_owned()) }
}

pub(super) async fn pause(args: &PauseArgs, context: &mut CommandContext<'_, '_>) -> Result<(), Failure> {
    let time = Duration::from_secs(args.time);
    if args.confirm.dry_run {
        let body = json!({"dry_run": true, "seconds": args.time, "reason": args.reason});
        return if context.is_json() {
            context.print_json(&body)
        } else {
            let time = if context.times().is_for_person() { span(time) } else { format!("{} s", args.time) };
            context.print_line(format!("renewal would pause for {time}"))
        };
    }
    args.confirm.ask(&format!("Stop all renewal for {}?", span(time)), context.console)?;
    let body = json!({"seconds": args.time, "reason": args.reason});
    let pause = context.client.post(&["pause"], Some(&body)).await?;
    if context.is_json() {
        return context.print_json(&pause);
    }
    let until = context.times().with_now_from(&pause, "since").full(&pause, "until");
    context.print_line(format!("renewal is paused until {until} by {}: {}", text(&pause, "by"), text(&pause, "reason")))
}

pub(super) async fn resume(_: &ResumeArgs, context: &mut CommandContext<'_, '_>) -> Result<(), Failure> {
    let answer = context.client.post(&["resume"], None).await?;
    if context.is_json() {
        return context.print_json(&answer);
    }
    context.print_line(if answer["resumed"] == true { "renewal goes on" } else { "renewal was not paused" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_seconds_or_has_a_unit() {
        for (text, expected) in [("90", 90), ("90s", 90), ("10m", 600), ("2h", 7200), ("24h", 86_400)] {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
        for text in ["", "0", "25h", "1d", "m", "-5", "1.5h", "99999999999999999999h"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
