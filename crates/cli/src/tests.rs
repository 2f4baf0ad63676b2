//! The command line as its users meet it.

use clap::CommandFactory;

use super::*;

/// Runs a command line and returns its status, its results and its failures.
fn tokenvault(arguments: &[&str]) -> (ExitCode, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let arguments = ["tokenvault"].iter().chain(arguments);
    let status = run(arguments, &mut Console::plain(&mut out, &mut err));
    (status, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

/// `ExitCode` has no equality.
fn status(code: ExitCode) -> String {
    format!("{code:?}")
}

#[test]
fn the_description_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn help_lists_every_command_with_a_line_about_it() {
    let help = Cli::command().render_long_help().to_string();
    for (command, about) in [
        ("serve", "Run the vault"),
        ("check-config", "Check the configuration and every file it names"),
        ("doctor", "Examine the host, the files, Redis and Keycloak for hazards"),
        ("migrate", "Move the store to the schema this version writes"),
        ("keygen", "Print a fresh key for the keyring"),
        ("admin", "Look after a running vault"),
        ("healthcheck", "Ask a running vault whether it is ready"),
        ("completions", "Print a completion script for a shell"),
        ("man", "Print the manual page, or write all of them into a directory"),
        #[cfg(feature = "demo")]
        ("demo", "Show what the vault is for, with everything embedded"),
        #[cfg(feature = "demo")]
        ("dev", "Run a vault to develop modules against, with everything embedded"),
    ] {
        let line = help.lines().find(|line| line.trim_start().starts_with(&format!("{command} ")));
        assert!(line.is_some_and(|line| line.ends_with(about)), "{command} in:\n{help}");
    }
}

#[test]
fn every_option_of_every_command_is_explained() {
    for command in Cli::command().get_subcommands() {
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
        }
        assert!(command.get_long_about().is_some() || command.get_about().is_some(), "{}", command.get_name());
    }
}

#[test]
fn wrong_usage_has_a_status_of_its_own() {
    for arguments in [&["no-such-command"][..], &["keygen", "--id", "a b"], &["completions", "csh"], &[]] {
        assert_eq!(status(tokenvault(arguments).0), status(ExitCode::from(2)), "{arguments:?}");
    }
    let (code, out, err) = tokenvault(&["--version"]);
    assert_eq!((status(code), err.as_str()), (status(ExitCode::SUCCESS), ""));
    assert_eq!(out, format!("tokenvault {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn there_is_a_page_for_every_command_and_one_for_the_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let (code, ..) = tokenvault(&["man", "--dir", dir.path().to_str().unwrap()]);
    assert_eq!(status(code), status(ExitCode::SUCCESS));
    for page in ["tokenvault.1", "tokenvault-serve.1", "tokenvault-admin-jobs-list.1", "tokenvault.toml.5"] {
        assert!(dir.path().join(page).exists(), "{page}");
    }
    for (asked, title) in [
        (&["man"][..], ".TH \"tokenvault\" 1 \"\" \"tokenvault "),
        (&["man", "serve"], ".TH \"tokenvault-serve\" 1 \"\" \"tokenvault "),
        (&["man", "admin-jobs-list"], ".TH \"tokenvault-admin-jobs-list\" 1 \"\" \"tokenvault "),
        (&["man", "tokenvault.toml"], ".TH \"tokenvault.toml\" 5 \"\" \"tokenvault "),
    ] {
        let (code, page, _) = tokenvault(asked);
        assert_eq!(status(code), status(ExitCode::SUCCESS), "{asked:?}");
        assert!(page.contains(title), "{asked:?}: {page}");
    }
    let (code, out, err) = tokenvault(&["man", "no-such-page"]);
    assert_eq!((status(code), out.as_str()), (status(ExitCode::from(2)), ""));
    assert!(err.contains("tokenvault-check-config") && err.contains("tokenvault.toml"), "{err}");
}

#[test]
fn a_manual_page_has_the_sections_that_readers_look_for_and_no_backticks() {
    let dir = tempfile::tempdir().unwrap();
    tokenvault(&["man", "--dir", dir.path().to_str().unwrap()]);
    let mut pages = 0;
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let file = entry.unwrap().path();
        let (name, page) = (file.display(), std::fs::read_to_string(&file).unwrap());
        pages += 1;
        assert!(!page.contains('`') && !page.contains('~'), "{name}: {page}");
        let sections: &[&str] = match file.extension().and_then(|extension| extension.to_str()) {
            Some("5") => &["NAME", "DESCRIPTION", "SECTIONS", "FILES", "SEE ALSO"],
            _ => &["NAME", "SYNOPSIS", "DESCRIPTION", "ENVIRONMENT", "EXIT STATUS", "SEE ALSO"],
        };
        for section in sections {
            let heading = [format!("\n.SH {section}\n"), format!("\n.SH \"{section}\"\n")];
            assert!(heading.iter().any(|heading| page.contains(heading)), "{name} has no {section}: {page}");
        }
        let configured = page.contains("\\-\\-config");
        assert!(!configured || page.contains("\n.SH FILES\n"), "{name} names no files");
        assert!(!configured || page.contains("TOKENVAULT_SECTION__KEY"), "{name} does not say how keys are overridden");
        assert!(!page.contains(".SH \"EXIT STATUS\"\n.SH"), "{name} says nothing of its exit status");
    }
    assert!(pages > 25, "{pages} pages");
}

#[test]
fn there_is_a_completion_script_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (_, script, _) = tokenvault(&["completions", shell]);
        assert!(script.contains("healthcheck"), "{shell}");
    }
}

#[test]
fn keygen_prints_what_can_be_redirected_into_a_keyring() {
    let dir = tempfile::tempdir().unwrap();
    let (_, first, _) = tokenvault(&["keygen", "--primary", "--id", "k1"]);
    let (_, second, _) = tokenvault(&["keygen"]);
    std::fs::write(dir.path().join("keyring.toml"), first + &second).unwrap();

    let keyring = tokenvault_server::config::load_keyring(&dir.path().join("keyring.toml")).unwrap();

    assert_eq!(keyring.primary(), "k1");
    assert_eq!(keyring.ids().count(), 2);
}

#[test]
fn keygen_writes_a_new_file_for_its_owner_alone_and_never_over_another() {
    use std::os::unix::fs::PermissionsExt;

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keyring.toml");
    let output = file.to_str().unwrap();
    let (code, out, _) = tokenvault(&["keygen", "--primary", "--id", "k1", "--output", output]);
    assert_eq!(status(code), status(ExitCode::SUCCESS));
    assert_eq!(out, format!("{output}: made, with the key k1\n"));
    assert_eq!(tokenvault_server::config::load_keyring(&file).unwrap().primary(), "k1");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let first = std::fs::read_to_string(&file).unwrap();

    let (code, out, err) = tokenvault(&["keygen", "--primary", "--output", output]);

    assert_eq!((status(code), out.as_str()), (status(ExitCode::FAILURE), ""));
    assert!(err.contains(output) && err.contains("is there already"), "{err}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), first);
}

mod healthcheck {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// Answers one request and returns its head.
    fn answer_once(answer: &'static str) -> (String, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 1024];
            let length = stream.read(&mut head).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&head[..length]).into_owned()
        });
        (url, served)
    }

    #[test]
    fn a_vault_that_is_ready_passes() {
        let (url, served) = answer_once("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
        let (code, out, _) = tokenvault(&["healthcheck", "--url", &url]);
        assert_eq!((status(code), out.as_str()), (status(ExitCode::SUCCESS), "ready\n"));
        assert!(served.join().unwrap().starts_with("GET /readyz HTTP/1.1"));
    }

    #[test]
    fn a_vault_that_is_not_ready_fails_and_tells_why() {
        let answer = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 14\r\n\r\n{\"store\":\"no\"}";
        let (url, _) = answer_once(answer);
        let (code, _, err) = tokenvault(&["healthcheck", "--url", &url]);
        assert_eq!(status(code), status(ExitCode::from(1)));
        assert!(err.contains("not ready (503 Service Unavailable): {\"store\":\"no\"}"), "{err}");
    }

    #[test]
    fn a_vault_that_is_not_there_fails() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let (code, _, err) = tokenvault(&["healthcheck", "--url", &url]);
        assert_eq!(status(code), status(ExitCode::from(1)));
        assert!(err.contains("cannot ask 127.0.0.1:"), "{err}");
    }

    #[test]
    fn a_vault_that_does_not_answer_fails_in_time() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (code, _, err) = tokenvault(&["healthcheck", "--url", &url, "--timeout", "1"]);
        assert_eq!(status(code), status(ExitCode::from(1)));
        assert!(err.contains("did not answer within 1 s"), "{err}");
    }
}

mod check_config {
    use std::path::Path;

    use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use tempfile::TempDir;

    use super::*;

    const CONFIG: &str = r#"
[server]
cert_file = "server.pem"
key_file = "server.key"
client_ca_file = "ca.pem"
[redis]
url = "redis://localhost:6379"
[keyring]
file = "keyring.toml"
[policy]
file = "policy.toml"
[keycloak]
issuer = "https://kc.example.org/realms/{tenant}"
client_id = "tokenvault"
client_secret_file = "{tenant}-secret"
accepted_clients = ["ui"]
[tenants.diku]
"#;

    const POLICY: &str = "[[module]]\nname = 'mod-a'\ncn = 'mod-a'\ntenants = ['diku']\nread = true\n";

    /// A directory with everything a vault reads, valid until the year 4096 unless said otherwise.
    fn sound(until: Option<i32>) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut server = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        if let Some(year) = until {
            server.not_after = rcgen::date_time_ymd(year, 1, 1);
        }
        write("ca.pem", &authority.pem());
        write("server.pem", &server.signed_by(&key, &authority).unwrap().pem());
        write("server.key", &key.serialize_pem());
        write("keyring.toml", &tokenvault(&["keygen", "--primary", "--id", "k1"]).1);
        write("policy.toml", POLICY);
        write("diku-secret", "s3cret-canary\n");
        write("tokenvault.toml", CONFIG);
        dir
    }

    fn check(dir: &Path) -> (String, String, String) {
        let (code, out, err) = tokenvault(&["check-config", "--config", dir.join("tokenvault.toml").to_str().unwrap()]);
        assert!(!out.contains("canary") && !err.contains("canary"), "a secret was printed:\n{out}{err}");
        (status(code), out, err)
    }

    #[test]
    fn a_sound_configuration_passes_with_what_was_found() {
        let (code, out, err) = check(sound(None).path());
        assert_eq!((code, err.as_str()), (status(ExitCode::SUCCESS), ""), "{out}");
        for fact in [
            "tenant diku: https://kc.example.org/realms/diku as tokenvault, proven by a secret",
            "keyring: k1 seals, of k1",
            "policy: 1 certificates may call",
            "impersonate: nobody may",
            "server.cert_file: ",
        ] {
            assert!(out.lines().any(|line| line.starts_with(&format!("ok       {fact}"))), "{fact} is not in:\n{out}");
        }
    }

    #[test]
    fn each_broken_file_is_named_with_what_to_do() {
        for (file, text, place, remedy) in [
            ("keyring.toml", "primary = 'k9'\n[keys]\n", "keyring.toml", "`tokenvault keygen`"),
            ("policy.toml", "[[module]]\nname = 'mod-a'\n", "policy.toml", "deploy/policy.toml"),
            ("diku-secret", "\n", "diku-secret", "correct it there"),
            ("server.key", "nothing", "server", "PEM files"),
            ("ca.pem", "nothing", "server", "PEM files"),
        ] {
            let dir = sound(None);
            std::fs::write(dir.path().join(file), text).unwrap();
            let (code, out, _) = check(dir.path());
            let named = out.lines().find(|line| line.starts_with("problem ") && line.contains(place));
            assert_eq!(code, status(ExitCode::from(1)), "{file}:\n{out}");
            assert!(named.is_some_and(|line| line.contains(remedy)), "{file}:\n{out}");
        }
    }

    /// The sound configuration with tenants in a file of their own beside `diku`.
    fn with_tenants(tenants: &str, policy: &str) -> TempDir {
        let dir = sound(None);
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("tokenvault.toml", &CONFIG.replace("[keycloak]", "[keycloak]\ntenants_file = 'tenants.toml'"));
        write("tenants.toml", tenants);
        write("lib-secret", "s3cret-canary");
        write("policy.toml", policy);
        dir
    }

    #[test]
    fn who_may_impersonate_where_is_listed() {
        let module = |name: &str, tenants: &str, register: &str| {
            format!("[[module]]\nname = '{name}'\ncn = '{name}'\ntenants = {tenants}\nregister = {register}\n")
        };
        let policy = [
            module("mod-all", "['*']", "['exchange', 'impersonate']"),
            module("mod-lib", "['lib', 'diku']", "['impersonate']"),
            module("mod-only", "['lib']", "['impersonate']"),
            module("mod-quiet", "['*']", "['exchange']"),
            module("mod-soon", "['uni-*']", "['impersonate']"),
        ];
        let dir = with_tenants("[tenants.lib]\nacquisitions = ['exchange']", &policy.concat());

        let (code, out, _) = check(dir.path());

        assert_eq!(code, status(ExitCode::SUCCESS), "{out}");
        let told: Vec<_> = out.lines().filter_map(|line| line.strip_prefix("ok       impersonate: ")).collect();
        assert_eq!(
            told,
            [
                "mod-all may in diku, and in those to come that * covers",
                "mod-lib may in diku",
                "mod-only may in no tenant there is",
                "mod-soon may in no tenant there is, and in those to come that uni-* covers",
            ]
        );
        let note = "note     policy: `uni-*` of mod-soon covers no tenant that is configured yet";
        assert!(out.lines().any(|line| line == note), "{out}");
    }

    #[test]
    fn the_tenants_file_and_the_policy_are_checked_together() {
        let policy = POLICY.replace("['diku']", "['diku', 'lib']");
        let (code, out, _) = check(with_tenants("[tenants.lib]", &policy).path());
        assert_eq!(code, status(ExitCode::SUCCESS), "{out}");
        assert!(out.contains("ok       tenant lib: ") && out.contains("ok       tenants: 2; "), "{out}");

        for (tenants, problem, remedy) in [
            (
                "",
                "names the tenant lib (for mod-a), which is not configured: add [tenants.lib] to ",
                "out of the policy",
            ),
            ("[tenants.lib]\nisuer = 'x'", "tenants.lib.isuer: unknown key", "deploy/tokenvault.toml"),
            ("[tenants.diku]", "tenants.diku: stands in ", "deploy/tokenvault.toml"),
            ("[tenants.lib]\nclient_secret_file = 'none'", "none: cannot be read", "give the file this name"),
            (
                "[tenants.lib]\nca_file = 'lib-secret'",
                "lib-secret: the bundle of certificate authorities cannot be read (tenant lib)",
                "",
            ),
        ] {
            let (code, out, _) = check(with_tenants(tenants, &policy).path());
            let named = out.lines().find(|line| line.starts_with("problem ") && line.contains(problem));
            assert_eq!(code, status(ExitCode::from(1)), "{tenants}:\n{out}");
            assert!(named.is_some_and(|line| line.contains(remedy)), "{tenants}:\n{out}");
        }
    }

    #[test]
    fn tenants_of_one_realm_are_noted() {
        let (code, out, _) =
            check(with_tenants("[tenants.lib]\nissuer = 'https://kc.example.org/realms/diku'", POLICY).path());
        assert_eq!(code, status(ExitCode::SUCCESS), "{out}");
        assert!(out.lines().any(|line| line.starts_with("note     tenants: diku, lib have one issuer")), "{out}");
    }

    #[test]
    fn what_serve_opens_at_its_start_is_looked_at_as_well() {
        let dir = sound(None);
        for (section, problem) in [
            (
                "[telemetry]\notlp_endpoint = 'http://127.0.0.1:4318'\notlp_headers_file = 'none'",
                "telemetry.otlp_headers_file: ",
            ),
            (
                "[telemetry]\notlp_endpoint = 'http://127.0.0.1:4318'\notlp_headers_file = 'diku-secret'",
                "telemetry.otlp_headers_file: ",
            ),
            ("[audit]\nfile = 'none/audit.log'\nhash_key_file = 'hash'", "audit.file: "),
        ] {
            std::fs::write(dir.path().join("hash"), "x".repeat(32)).unwrap();
            std::fs::write(dir.path().join("tokenvault.toml"), format!("{CONFIG}{section}\n")).unwrap();
            let (code, out, _) = check(dir.path());
            assert_eq!(code, status(ExitCode::from(1)), "{section}:\n{out}");
            assert!(out.lines().any(|line| line.starts_with(&format!("problem  {problem}"))), "{section}:\n{out}");
        }
    }

    #[test]
    fn what_is_wrong_in_the_admin_policy_comes_with_the_sample_of_that_one() {
        let dir = sound(None);
        let admin = "[admin]\ncert_file = 'server.pem'\nkey_file = 'server.key'\nclient_ca_file = 'ca.pem'\npolicy_file = 'operators.toml'\n";
        std::fs::write(dir.path().join("tokenvault.toml"), format!("{CONFIG}{admin}")).unwrap();
        std::fs::write(dir.path().join("operators.toml"), "[[operator]]\nname = 'o'\ncn = 'o'\nrole = 'king'\n")
            .unwrap();

        let (code, out, _) = check(dir.path());

        let named =
            out.lines().find(|line| line.starts_with("problem  admin policy ") && line.contains("operators.toml"));
        assert_eq!(code, status(ExitCode::from(1)), "{out}");
        assert!(named.is_some_and(|line| line.contains("deploy/admin-policy.toml")), "{out}");
    }

    #[test]
    fn the_identity_providers_listener_is_checked_where_it_is_there() {
        let dir = sound(None);
        let add = |idp: &str| {
            std::fs::write(dir.path().join("tokenvault.toml"), format!("{CONFIG}[idp]\n{idp}\n")).unwrap();
        };
        add("cert_file = 'server.pem'\nkey_file = 'server.key'");
        let (code, out, _) = check(dir.path());
        assert_eq!(code, status(ExitCode::SUCCESS), "{out}");
        assert!(out.contains("ok       idp.cert_file: "), "{out}");

        for (idp, problem) in [
            ("cert_file = 'none.pem'\nkey_file = 'none.key'", "idp.key_file: "),
            ("cert_file = 'ca.pem'\nkey_file = 'server.key'", "problem  idp: "),
            (
                "cert_file = 'server.pem'\nkey_file = 'server.key'\nlisten = '127.0.0.1:9080'",
                "idp.listen: is the address",
            ),
        ] {
            add(idp);
            let (code, out, _) = check(dir.path());
            assert_eq!(code, status(ExitCode::from(1)), "{out}");
            assert!(out.contains(problem), "{problem} is not in:\n{out}");
        }
    }

    #[test]
    fn a_certificate_that_has_expired_is_a_problem() {
        let (code, out, _) = check(sound(Some(2020)).path());
        assert_eq!(code, status(ExitCode::from(1)), "{out}");
        assert!(out.contains("expired on 2020-01-01T00:00:00"), "{out}");
    }

    #[test]
    fn the_sample_lacks_nothing_but_the_files_it_names() {
        let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/tokenvault.toml");
        let (_, out, _) = tokenvault(&["check-config", "--config", sample]);
        let problems: Vec<_> = out.lines().filter(|line| line.starts_with("problem ")).collect();
        for file in ["keyring.toml", "client-secret", "server.pem", "server.key", "modules-ca.pem"] {
            assert!(problems.iter().any(|line| line.contains(file)), "{file} is not told of:\n{out}");
        }
        assert!(problems.iter().all(|line| line.contains("cannot be read") || line.contains("No such file")), "{out}");
    }

    #[test]
    fn a_file_that_is_not_there_is_one_problem_with_its_remedy() {
        let (code, out, err) = tokenvault(&["check-config", "--config", "/nowhere/tokenvault.toml"]);
        assert_eq!(status(code), status(ExitCode::from(1)));
        assert!(out.starts_with("problem  the configuration: cannot be read"), "{out}");
        assert!(out.contains("name the file with --config"), "{out}");
        assert_eq!(err, "tokenvault: /nowhere/tokenvault.toml: 1 problem\n");
    }

    #[test]
    fn every_problem_has_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tokenvault.toml");
        std::fs::write(&file, "[server]\nlisen = '0.0.0.0:1'\n[redis]\npool_size = 0\n[tenants.diku]\n").unwrap();

        let (_, out, err) = tokenvault(&["check-config", "--config", file.to_str().unwrap()]);

        let problems: Vec<_> = out.lines().filter(|line| line.starts_with("problem  ")).collect();
        assert_eq!(err, format!("tokenvault: {}: {} problems\n", file.display(), problems.len()));
        let has = |text: &str| problems.iter().any(|line| line.contains(text));
        assert!(has("server.lisen: unknown key; did you mean `listen`?"), "{out}");
        assert!(has("redis.url: is missing: set it, or the variable TOKENVAULT_REDIS__URL"), "{out}");
        assert!(has("keyring.file: is missing"), "{out}");
    }
}

#[cfg(feature = "demo")]
mod demo {
    use super::*;

    #[test]
    fn a_job_that_would_outlive_nothing_is_wrong_usage() {
        let (code, _, err) = tokenvault(&["demo", "--at-ttl", "20", "--duration", "30"]);
        assert_eq!(status(code), status(ExitCode::from(2)));
        assert!(err.contains("--duration must be at least three times --at-ttl"), "{err}");
    }

    #[test]
    fn a_keycloak_is_not_asked_without_a_password() {
        let missing = "/nowhere/password";
        let arguments = ["demo", "--keycloak-url", "http://localhost:1", "--keycloak-admin-password-file", missing];
        let (code, _, err) = tokenvault(&arguments);
        assert_eq!(status(code), status(ExitCode::from(1)));
        assert!(err.contains("/nowhere/password: cannot be read"), "{err}");
    }

    #[test]
    fn credentials_in_a_url_are_refused() {
        let (code, ..) = tokenvault(&["demo", "--keycloak-url", "http://admin:canary@localhost:1"]);
        assert_eq!(status(code), status(ExitCode::from(2)));
    }
}
