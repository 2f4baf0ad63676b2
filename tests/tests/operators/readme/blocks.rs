//! Every command on a page, in a block of shell or quoted in a sentence, is one that exists: a program that is known here, with
//! its script, its options, its route or its target.
//!
//! Blocks that a test runs are left to that test. The arguments of `tokenvault` are looked at in [`super::commands`].

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::root;
use tokenvault_tests::harness::vault::tokenvault;

use super::commands::pages;

/// Programs of others, each with the words that may follow it first; without any, it may be followed by whatever there is.
const PROGRAMS: &[(&str, &[&str])] = &[
    ("$KEYCLOAK_HOME/bin/kc.sh", &["start-dev"]),
    ("cat", &[]),
    ("chmod", &[]),
    ("chown", &[]),
    ("chronyc", &["tracking"]),
    ("cut", &[]),
    ("df", &[]),
    ("docker", &["build", "compose", "load", "push", "run"]),
    ("grep", &[]),
    ("head", &[]),
    ("helm", &["get", "install", "rollback", "upgrade"]),
    ("install", &[]),
    ("journalctl", &[]),
    ("jq", &[]),
    ("kubectl", &["create", "describe", "exec", "get", "logs", "port-forward", "rollout"]),
    ("ls", &[]),
    ("man", &[]),
    ("mkdir", &[]),
    ("openssl", &["crl", "dgst", "rand", "verify", "x509"]),
    ("printf", &[]),
    ("prometheus", &[]),
    ("promtool", &["check", "test"]),
    ("rm", &[]),
    ("sort", &[]),
    ("systemctl", &["cat", "daemon-reload", "enable", "reload", "restart", "status", "stop"]),
    ("systemd-analyze", &["security"]),
    ("tail", &[]),
    ("timedatectl", &[]),
    ("uniq", &[]),
    ("useradd", &[]),
];

/// What `redis-cli` is asked for.
const REDIS: &[&str] = &[
    "bgsave",
    "config",
    "failover",
    "flushdb",
    "hgetall",
    "info",
    "lastsave",
    "memory",
    "replicaof",
    "role",
    "slowlog",
];

/// The workspace's programs for long proofs.
const PROOFS: &[(&str, &str)] = &[
    ("chaos", env!("CARGO_BIN_EXE_chaos")),
    ("explore", env!("CARGO_BIN_EXE_explore")),
    ("reseal", env!("CARGO_BIN_EXE_reseal")),
    ("rollout", env!("CARGO_BIN_EXE_rollout")),
    ("siege", env!("CARGO_BIN_EXE_siege")),
    ("bench", env!("CARGO_BIN_EXE_bench")),
    ("scale", env!("CARGO_BIN_EXE_scale")),
    ("simulate", env!("CARGO_BIN_EXE_simulate")),
];

/// How a text that is quoted in a sentence begins where it is a command. `tokenvault` has a test of its own.
const QUOTED: &[&str] = &[
    "cargo ",
    "curl ",
    "deploy/",
    "docker ",
    "helm ",
    "journalctl ",
    "kubectl ",
    "promtool ",
    "redis-cli ",
    "sudo ",
    "tests/",
    "./test ",
];

/// Words that a shell reads before a command, and commands that run another.
const BEFORE: &[&str] = &["do", "else", "then", "while", "until", "if", "!", "{", "nice"];

/// What stands before a block that a test runs: [`super::operator`] and [`super::example`].
const RUN: &[&str] = &["<!-- operator: ", "<!-- module: "];

/// A command: its words without quotes.
type Words = Vec<String>;

/// The commands of a text of shell, each with its words.
fn commands(text: &str) -> Vec<Words> {
    let (mut found, mut words, mut word) = (Vec::new(), Words::new(), String::new());
    let (mut quote, mut letters) = (None, text.chars().peekable());
    while let Some(c) = letters.next() {
        match (quote, c) {
            (Some(open), c) if open == c => quote = None,
            (Some('"'), '\\') => word.extend(letters.next()),
            (None, '\'' | '"') => quote = Some(c),
            (None, '\\') => drop(letters.next()),
            (None, '#') if word.is_empty() => while letters.next_if(|c| *c != '\n').is_some() {},
            (None, ' ' | '\t') => end(&mut word, &mut words),
            (None, '\n' | ';' | '|' | '&' | '(' | ')') => {
                end(&mut word, &mut words);
                found.push(std::mem::take(&mut words));
            }
            (_, c) => word.push(c),
        }
    }
    end(&mut word, &mut words);
    found.push(words);
    found.into_iter().map(command).filter(|words| !words.is_empty()).collect()
}

fn end(word: &mut String, words: &mut Words) {
    if !word.is_empty() {
        words.push(std::mem::take(word));
    }
}

/// A command without what stands before it: assignments, `sudo -u NAME`, `timeout SECONDS`.
fn command(words: Words) -> Words {
    let mut words = words.into_iter().peekable();
    loop {
        let Some(first) = words.peek() else { return Words::new() };
        let assigns =
            first.split_once('=').is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'));
        match first.as_str() {
            "sudo" => {
                words.next();
                if words.next_if(|word| word == "-u").is_some() {
                    words.next();
                }
            }
            "timeout" => drop(words.by_ref().take(2).count()),
            "." | "}" | "done" | "fi" | "export" | "umask" | "cd" | "for" => return Words::new(),
            before if assigns || BEFORE.contains(&before) => drop(words.next()),
            _ => return words.collect(),
        }
    }
}

/// What a page quotes in its sentences and is meant as a command with something after it.
fn quoted(text: &str) -> Vec<String> {
    let mut fenced = false;
    let sentences = text.lines().filter(|line| {
        fenced ^= line.trim_start().starts_with("```");
        !fenced
    });
    let quoted = sentences.flat_map(|line| line.split('`').skip(1).step_by(2));
    // A pipe is written `\|` in a table, and `…` leaves something out.
    let commands = quoted.filter(|text| text.contains(' ') && !text.contains("/…"));
    let commands = commands.filter(|text| QUOTED.iter().any(|begin| text.starts_with(begin)));
    commands.map(|text| text.replace("\\|", "|").replace('…', "")).collect()
}

/// Where a line of a page stands.
enum Place {
    Sentences,
    /// A block that is no shell, or that a test runs.
    Skipped,
    /// A fenced block of shell, or an indented one.
    Shell(String),
    Indented(String),
}

/// The blocks of shell of a page that no test runs: fenced ones, and those that are indented.
fn blocks(text: &str) -> Vec<String> {
    let (mut found, mut place, mut before) = (Vec::new(), Place::Sentences, "");
    for line in text.lines().chain([""]) {
        let (fence, indented) = (line.trim_start().starts_with("```"), line.starts_with("    "));
        place = match place {
            Place::Sentences if fence => {
                let shell = ["```sh", "```console"].contains(&line.trim());
                let run = RUN.iter().any(|mark| before.starts_with(mark));
                if shell && !run { Place::Shell(String::new()) } else { Place::Skipped }
            }
            Place::Sentences if indented && before.is_empty() => Place::Indented(format!("{line}\n")),
            Place::Skipped if fence => Place::Sentences,
            Place::Shell(block) if fence => {
                found.push(block);
                Place::Sentences
            }
            Place::Indented(block) if !indented => {
                found.push(block);
                Place::Sentences
            }
            Place::Shell(block) => Place::Shell(format!("{block}{line}\n")),
            Place::Indented(block) => Place::Indented(format!("{block}{line}\n")),
            unchanged => unchanged,
        };
        before = line;
    }
    found
}

/// What a file holds; nothing where there is none.
fn held(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_default()
}

/// Whether both APIs or the management listener have a route, with the parameters that its query names.
fn is_route(method: &str, path: &str) -> bool {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    if ["/healthz", "/readyz", "/metrics", "/admin/health", "/openapi.json"].contains(&path) {
        return method == "GET";
    }
    let matches = |route: &str| {
        let (route, path): (Vec<&str>, Vec<&str>) = (route.split('/').collect(), path.split('/').collect());
        route.len() == path.len() && route.iter().zip(&path).all(|(part, given)| part == given || part.starts_with('{'))
    };
    let documents = ["openapi.json", "admin-openapi.json"].map(|file| held(&format!("docs/reference/{file}")));
    documents.iter().filter_map(|text| serde_json::from_str::<Value>(text).ok()).any(|document| {
        let routes = document["paths"].as_object().into_iter().flatten();
        routes.filter(|(route, _)| matches(route)).any(|(_, route)| {
            let operation = &route[method.to_lowercase()];
            let known: BTreeSet<&str> = operation["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|one| one["name"].as_str())
                .collect();
            let asked =
                query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split('=').next().unwrap_or(pair));
            operation.is_object() && asked.into_iter().all(|name| known.contains(name))
        })
    })
}

/// A call over HTTP: one of the vault's routes, or an address of Keycloak's or Prometheus'.
fn is_call(words: &[String]) -> bool {
    let after = |option: &str| words.iter().skip_while(|word| *word != option).nth(1).map(String::as_str);
    let method = after("-X").unwrap_or("GET");
    let urls: Vec<&String> = words
        .iter()
        .filter(|word| word.contains("://") || word.starts_with("$VAULT") || word.starts_with("$ADMIN/"))
        .collect();
    let known = |url: &&String| {
        let rest = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
        let (_, path) = rest.split_once('/').unwrap_or((rest, ""));
        is_route(method, &format!("/{path}")) || path.starts_with("realms/") || path.starts_with("api/v1/")
    };
    let elsewhere = words.iter().any(|word| word.starts_with("$KEYCLOAK/realms/"));
    elsewhere || (!urls.is_empty() && urls.iter().all(known))
}

/// A call of cargo: what it names is in the workspace.
fn is_cargo(words: &[String]) -> Result<bool> {
    let own = words.iter().position(|word| word == "--");
    let (cargo, program) = own.map_or((words, &[][..]), |at| (&words[..at], &words[at + 1..]));
    let named = |option: &str| cargo.iter().skip_while(|word| *word != option).nth(1);
    let manifest = |folder: &str| held(&format!("{folder}/Cargo.toml"));
    let packages =
        ["cli", "core", "keycloak", "keycloak-double", "redis", "server", "vault"].map(|name| format!("crates/{name}"));
    let is_package = |name: &String| {
        packages
            .iter()
            .map(String::as_str)
            .chain(["tests"])
            .any(|folder| manifest(folder).contains(&format!("name = \"{name}\"")))
    };
    let is_test = |name: &String| {
        ["tests/tests/NAME.rs", "tests/tests/NAME/main.rs"]
            .iter()
            .any(|file| root().join(file.replace("NAME", name)).is_file())
    };
    let known = named("-p").is_none_or(is_package)
        && named("--test").is_none_or(is_test)
        && named("--features").is_none_or(|name| manifest("crates/cli").contains(&format!("\n{name} = [")))
        && named("--path").is_none_or(|path| root().join(path).join("Cargo.toml").is_file())
        && named("--profile").is_none_or(|name| held("Cargo.toml").contains(&format!("[profile.{name}]")));
    if !known || words.get(1).is_none_or(|command| command != "run") {
        return Ok(known);
    }
    // Looked at word by word until `--help` ends it, so that nothing is done.
    let asked: Vec<&str> = program.iter().map(String::as_str).chain(["--help"]).collect();
    let Some(name) = named("--bin") else { return Ok(tokenvault(&asked)?.status.success()) };
    let proof = PROOFS.iter().find(|(known, _)| known == name);
    Ok(proof
        .is_some_and(|(_, file)| Command::new(file).args(asked).output().is_ok_and(|output| output.status.success())))
}

/// A script of the repository: it is there, and knows each of its options.
fn is_script(words: &[String]) -> bool {
    let script = held(words[0].trim_start_matches("./"));
    // What stands after `once.sh FILE` is another command with options of its own.
    let own = if words[0].ends_with("/once.sh") { &words[..1] } else { words };
    let mut options = own.iter().filter(|word| word.starts_with("--"));
    !script.is_empty() && options.all(|option| script.contains(option.as_str()))
}

/// Whether a command is one that its program knows.
fn is_known(words: &[String]) -> Result<bool> {
    let first = words[0].as_str();
    Ok(match first {
        "tokenvault" => true,
        // The pages' own functions: curl with a module's certificate, and `tokenvault admin` with an operator's. Where the first is
        // defined, it has no address yet.
        "module" if words.len() == 1 => true,
        "curl" if words.iter().any(|word| word.starts_with("$@") || word.starts_with("${@")) => true,
        "module" | "curl" => is_call(words),
        "admin" => {
            let asked: Vec<&str> = words.iter().map(String::as_str).chain(["--help"]).collect();
            tokenvault(&asked)?.status.success()
        }
        "cargo" => is_cargo(words)?,
        "redis-cli" => words
            .iter()
            .any(|word| REDIS.contains(&word.as_str()) || ["--scan", "--latency-history"].contains(&word.as_str())),
        script if script.starts_with("deploy/") || script.starts_with("./") || script.starts_with("tests/") => {
            is_script(words)
        }
        program => PROGRAMS.iter().any(|(name, follow)| {
            *name == program && (follow.is_empty() || words.iter().skip(1).any(|word| follow.contains(&word.as_str())))
        }),
    })
}

/// How many commands a page gives, and those of them that are not known.
fn unknown(page: &Path) -> Result<(usize, Vec<String>)> {
    let (mut tried, mut wrong) = (0, Vec::new());
    let text = fs::read_to_string(page)?;
    for block in blocks(&text).iter().chain(&quoted(&text)) {
        for words in commands(block) {
            tried += 1;
            if !is_known(&words)? {
                wrong.push(format!("{}: {}", page.display(), words.join(" ")));
            }
        }
    }
    Ok((tried, wrong))
}

#[test]
fn every_command_on_a_page_is_one_that_its_program_knows() -> Result<()> {
    let (mut tried, mut wrong) = (0, Vec::new());
    for page in pages()? {
        let (more, unknown) = unknown(&page)?;
        tried += more;
        wrong.extend(unknown);
    }
    assert!(tried > 100, "{tried} commands");
    assert!(wrong.is_empty(), "not known: {wrong:#?}");
    Ok(())
}

#[test]
fn a_command_is_known_by_its_route_its_target_or_its_options() -> Result<()> {
    for (line, known) in [
        ("curl -s http://127.0.0.1:9080/readyz | jq .", true),
        ("curl -s http://127.0.0.1:9080/ready", false),
        ("curl -X PUT \"$VAULT/tokens/$JOB\" -d \"{}\"", true),
        ("curl -X POST \"$VAULT/tokens/$JOB\"", false),
        ("module \"$VAULT/tokens/$JOB?min_ttl=30&wait=5\"", true),
        ("module \"$VAULT/tokens/$JOB?ttl=30\"", false),
        ("cargo run --release -- demo --at-ttl 5", true),
        ("cargo run --release -- demonstrate", false),
        ("cargo run --release -p tokenvault-tests --bin chaos -- --seconds 600 --fault kill", true),
        ("cargo run --release -p tokenvault-tests --bin chaos -- --minutes 10", false),
        ("cargo test -p tokenvault-core policy", true),
        ("cargo test -p tokenvault-heart policy", false),
        ("deploy/certificates.sh --renew DIR server localhost", true),
        ("deploy/certificates.sh --replace DIR server localhost", false),
        ("sudo -u tokenvault tokenvault doctor # as the vault's user", true),
        ("timeout 15 redis-cli -u \"$REDIS\" --latency-history -i 5", true),
        ("REDISCLI_AUTH=x redis-cli -u \"$REDIS\" explode", false),
        ("umount /", false),
    ] {
        let all = commands(line).iter().map(|words| is_known(words)).collect::<Result<Vec<_>>>()?;
        assert_eq!(all.iter().all(|one| *one), known, "{line}");
    }
    Ok(())
}
