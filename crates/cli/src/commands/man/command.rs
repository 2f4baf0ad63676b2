//! The pages of the commands: what clap knows of each, and the sections that a reader of manual pages looks for.

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::Roff;

use super::page::ManualPage;
use super::text;
use super::topics::CommandInputs;

/// The whole command's page, and one for each command below it.
pub(super) fn pages(line: Command) -> Vec<ManualPage> {
    let mut whole = line.disable_help_subcommand(true);
    whole.build();
    let mut pages = Vec::new();
    gather(&whole, &[], &mut pages);
    pages
}

fn gather(command: &Command, above: &[&Command], pages: &mut Vec<ManualPage>) {
    pages.push(page(command, above));
    let above = [above, &[command]].concat();
    for below in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        gather(below, &above, pages);
    }
}

/// As its page is called.
fn name(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

fn page(command: &Command, above: &[&Command]) -> ManualPage {
    let man = Man::new(command.clone());
    let mut clap = Vec::new();
    let rendered = (|| {
        man.render_name_section(&mut clap)?;
        man.render_synopsis_section(&mut clap)?;
        man.render_description_section(&mut clap)?;
        man.render_options_section(&mut clap)?;
        if command.has_subcommands() { man.render_subcommands_section(&mut clap) } else { Ok(()) }
    })();
    rendered.expect("a vector takes what is written to it");
    let mut roff = Roff::new();
    let reads = reads(command);
    let files = reads.files();
    if !files.is_empty() {
        text::terms(roff.control("SH", ["FILES"]), files);
    }
    text::terms(roff.control("SH", ["ENVIRONMENT"]), reads.variables());
    text::terms(roff.control("SH", ["EXIT STATUS"]), statuses(command, above));
    roff.control("SH", ["SEE ALSO"]).text(text::prose(&see_also(command, above, &reads)));
    let parts = String::from_utf8_lossy(&clap).into_owned() + &roff.render();
    let name = name(command).to_owned();
    ManualPage { roff: text::page(&name, "1", &parts), name, section: "1" }
}

/// Those of a command and of all below it: the page of a group is read for all of them.
fn reads(command: &Command) -> CommandInputs {
    let has = |name: &str| command.get_arguments().any(|argument| argument.get_long() == Some(name));
    let own = CommandInputs {
        configuration: has("config"),
        profiles: has("profile-file"),
        password: has("keycloak-admin-password-file"),
    };
    command.get_subcommands().map(reads).fold(own, |all, below| CommandInputs {
        configuration: all.configuration || below.configuration,
        profiles: all.profiles || below.profiles,
        password: all.password || below.password,
    })
}

/// What the exit status means, as the nearest description says it: "Exit status: 0 done, 1 failed."
fn statuses(command: &Command, above: &[&Command]) -> Vec<(String, String)> {
    let mut nearest = [command].into_iter().chain(above.iter().rev().copied());
    let told = nearest.find_map(Command::get_after_help).map(ToString::to_string).unwrap_or_default();
    let (_, list) = told.split_once(STATUS).unwrap_or_default();
    let each = list.trim_end_matches('.').split(", ").filter_map(|each| each.split_once(' '));
    each.map(|(status, meaning)| (status.to_owned(), meaning.to_owned())).collect()
}

const STATUS: &str = "Exit status: ";

fn see_also(command: &Command, above: &[&Command], reads: &CommandInputs) -> String {
    let mut pages: Vec<String> = above.iter().map(|above| format!("`{}`(1)", name(above))).collect();
    pages.extend(command.get_subcommands().map(|below| format!("`{}`(1)", name(below))));
    if reads.configuration {
        pages.push("`tokenvault.toml`(5)".to_owned());
    }
    pages.push(concat!("`", env!("CARGO_PKG_REPOSITORY"), "`").to_owned());
    pages.join(", ")
}
