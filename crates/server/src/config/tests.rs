use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use figment::value::Dict;
use tokenvault_core::ids::TenantId;
use tokenvault_core::record::Acquisition;

use super::configuration::SECTIONS;
use super::*;

mod tenants_file;

const MINIMAL: &str = r#"
[server]
cert_file = "tls/server.pem"
key_file = "tls/server.key"
client_ca_file = "tls/ca.pem"
[redis]
url = "redis://localhost:6379"
[keyring]
file = "keyring.toml"
[policy]
file = "/elsewhere/policy.toml"
[keycloak]
issuer = "https://kc/realms/{tenant}"
client_id = "vault"
client_secret_file = "secrets/{tenant}"
accepted_clients = ["ui"]
[tenants.diku]
[tenants.lib]
client_id = "other"
private_key_jwt_file = "lib.pem"
"#;

fn parse(text: &str) -> Result<Config, ConfigError> {
    parse_with(text, &[])
}

fn parse_with(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("/etc/tv/tokenvault.toml"), &Environment::from_variables(variables.iter().copied()))
}

fn refusal(text: &str) -> String {
    parse(text).expect_err("it should be refused").to_string()
}

fn tenant(config: &Config, name: &str) -> Tenant {
    config.tenants[&TenantId::parse(name).unwrap()].clone()
}

#[test]
fn a_minimal_file_is_complete_by_its_defaults() {
    let config = parse(MINIMAL).unwrap();
    assert_eq!(config.server.max_body, 65_536);
    assert_eq!(config.server.default_wait, Duration::from_secs(5));
    assert_eq!(config.management.listen.to_string(), "127.0.0.1:9080");
    assert_eq!(config.renewal, RenewalSection::default());
    assert_eq!(config.admin, None);
    assert_eq!(tenant(&config, "diku").max_proof_age, None);
}

#[test]
fn files_are_relative_to_the_configuration() {
    let config = parse(MINIMAL).unwrap();
    assert_eq!(config.server.cert_file, Path::new("/etc/tv/tls/server.pem"));
    assert_eq!(config.policy.file, Path::new("/elsewhere/policy.toml"));
    assert_eq!(tenant(&config, "diku").credential, Credential::SecretFile("/etc/tv/secrets/diku".into()));
}

#[test]
fn a_tenant_overrides_what_holds_for_all() {
    let config = parse(MINIMAL).unwrap();
    let (diku, lib) = (tenant(&config, "diku"), tenant(&config, "lib"));
    assert_eq!((diku.client_id.as_str(), lib.client_id.as_str()), ("vault", "other"));
    assert_eq!(diku.issuer, "https://kc/realms/diku");
    assert_eq!(diku.base_url, diku.issuer);
    assert_eq!(lib.credential, Credential::PrivateKeyJwtFile("/etc/tv/lib.pem".into()));
}

#[test]
fn variables_override_keys() {
    let config = parse_with(
        MINIMAL,
        &[
            ("TOKENVAULT_SERVER__MAX_WAIT", "12.5"),
            ("TOKENVAULT_TENANTS__DIKU__CLIENT_ID", "from-env"),
            ("TOKENVAULT_SERVER__KEY_FILE", "env.key"),
            ("TOKENVAULT_PORT_8443_TCP", "tcp://10.0.0.1"),
        ],
    )
    .unwrap();
    assert_eq!(config.server.max_wait, Duration::from_millis(12_500));
    assert_eq!(tenant(&config, "diku").client_id.as_str(), "from-env");
    assert_eq!(config.server.key_file, Path::new("/etc/tv/env.key"));
}

#[test]
fn a_wrong_variable_is_named() {
    let error = parse_with(MINIMAL, &[("TOKENVAULT_SERVER__LISEN", "x"), ("TOKENVAULT_REDIS__POOL_SIZE", "many")]);
    let shown = error.unwrap_err().to_string();
    assert!(shown.contains("TOKENVAULT_SERVER__LISEN: unknown key; did you mean `listen`?"), "{shown}");
    assert!(shown.contains("TOKENVAULT_REDIS__POOL_SIZE: expected"), "{shown}");
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let shown = refusal(
        "[server]\nlisten = '0.0.0.0:1'\nshutdown_delay = 301\n[rediss]\n[renewal]\nfraction = 2.0\n[tenants.diku]\nisuer = 'x'\n",
    );
    for expected in [
        "server.cert_file: is missing",
        "server.shutdown_delay: must be from 0 to 300",
        "server.client_ca_file: is missing",
        "rediss: unknown key; did you mean `redis`?",
        "redis.url: is missing",
        "keyring.file: is missing",
        "renewal.fraction: must be from 0.1 to 0.9",
        "tenants.diku.isuer: unknown key; did you mean `issuer`?",
    ] {
        assert!(shown.contains(expected), "{expected} is not in:\n{shown}");
    }
}

#[test]
fn inline_secrets_are_refused_without_repeating_them() {
    let inline = MINIMAL.replace("client_secret_file = \"secrets/{tenant}\"", "client_secret = 'canary'");
    let in_url = MINIMAL.replace("redis://localhost", "redis://:canary@localhost");
    for (text, hint) in [(inline, "`client_secret_file`"), (in_url, "`password_file`")] {
        let shown = refusal(&text);
        assert!(shown.contains(hint) && !shown.contains("canary"), "{shown}");
    }
}

#[test]
fn no_tenant_is_an_error() {
    let text = MINIMAL.split("[tenants.diku]").next().unwrap();
    assert!(refusal(text).contains("tenants: there is none"));
}

#[test]
fn what_cannot_work_together_is_refused() {
    let with = |line: &str| refusal(&MINIMAL.replace("[tenants.diku]", &format!("[tenants.diku]\n{line}")));
    assert!(with("request_timeout = 20").contains("renewal.quarantine: two thirds of it must be longer"));
    assert!(with("provider = 'okapi'").contains("tenants.diku.provider: `okapi` is reserved"));
    assert!(with("accepted_clients = ['vault']").contains("must not contain the vault's own client"));
    assert!(with("client_secret_file = 'a'\nprivate_key_jwt_file = 'b'").contains("not both"));
    assert!(with("max_proof_age = 0").contains("tenants.diku.max_proof_age: must be more than 0"));
    assert!(with("max_job_life = 5").contains("must not be below `default_job_life`"));
    assert!(with("issuer = 'ftp://x'").contains("tenants.diku.issuer: must be an http or https URL"));
}

#[test]
fn an_inherited_mistake_is_shown_where_it_was_made() {
    let shown = refusal(&MINIMAL.replace("https://kc", "kc"));
    assert!(shown.contains("keycloak.issuer (for diku): must be an http or https URL"), "{shown}");
}

#[test]
fn a_syntax_error_names_its_line() {
    assert!(refusal("[server]\nlisten = \n").contains("line 2: is not TOML"), "{}", refusal("[server]\nlisten = \n"));
}

#[test]
fn the_tenants_name_is_filled_in_wherever_a_name_may_depend_on_it() {
    let text = MINIMAL.replace(
        "accepted_clients = [\"ui\"]",
        r#"accepted_clients = ["{tenant}-login-application", "mobile"]
base_url = "http://inside/realms/{tenant}"
ca_file = "ca/{tenant}.pem"
user_id_claim = "{tenant}_user_id"
exchange_scope = "openid {tenant}"
adopt_clients = { "{tenant}-legacy" = "secrets/{tenant}-legacy", plain = "plain" }"#,
    );
    let text = text
        .replace("\"vault\"", "\"{tenant}-vault\"")
        .replace("[tenants.lib]", "[tenants.lib]\nprivate_key_jwt_kid = '{tenant}-1'");

    let config = parse(&text).unwrap();

    let (diku, lib) = (tenant(&config, "diku"), tenant(&config, "lib"));
    let client = |name: &str| tokenvault_core::ids::ClientId::parse(name).unwrap();
    assert_eq!(diku.accepted_clients, [client("diku-login-application"), client("mobile")].into());
    assert_eq!((diku.base_url.as_str(), diku.client_id.as_str()), ("http://inside/realms/diku", "diku-vault"));
    assert_eq!(diku.ca_file.as_deref(), Some(Path::new("/etc/tv/ca/diku.pem")));
    assert_eq!((diku.user_id_claim.as_str(), diku.exchange_scope.as_deref()), ("diku_user_id", Some("openid diku")));
    assert_eq!(diku.adopt_clients[&client("diku-legacy")], Path::new("/etc/tv/secrets/diku-legacy"));
    assert_eq!(
        lib.adopt_clients.keys().map(tokenvault_core::ids::ClientId::as_str).collect::<Vec<_>>(),
        ["lib-legacy", "plain"]
    );
    assert_eq!(lib.private_key_jwt_kid.as_deref(), Some("lib-1"));
}

#[test]
fn an_empty_value_of_a_tenants_own_takes_away_what_is_inherited() {
    let common = "exchange_scope = 'openid'\nadopt_clients = { ui = 'ui.secret' }\naccepted_clients = [\"ui\"]";
    let text = MINIMAL.replace("accepted_clients = [\"ui\"]", common);
    let own = |line: &str| {
        tenant(&parse(&text.replace("[tenants.diku]", &format!("[tenants.diku]\n{line}"))).unwrap(), "diku")
    };

    let inherits = own("");
    assert_eq!((inherits.adopt_clients.len(), inherits.exchange_scope.as_deref()), (1, Some("openid")));
    assert_eq!(own("adopt_clients = { other = 'other.secret' }").adopt_clients.len(), 2);
    assert_eq!(own("adopt_clients = {}").adopt_clients.len(), 0);
    assert_eq!(own("exchange_scope = ''").exchange_scope, None);
}

#[test]
fn an_empty_value_where_something_must_stand_is_refused_by_its_name() {
    let in_diku = |line: &str| refusal(&MINIMAL.replace("[tenants.diku]", &format!("[tenants.diku]\n{line}")));
    for (key, line) in [
        ("client_id", "client_id = ''"),
        ("accepted_clients", "accepted_clients = []"),
        ("default_acquisition", "acquisitions = []"),
        ("user_id_claim", "user_id_claim = ''"),
        ("private_key_jwt_kid", "private_key_jwt_file = 'k'\nprivate_key_jwt_kid = ''"),
        ("issuer", "issuer = ''"),
    ] {
        let shown = in_diku(line);
        assert!(shown.contains(&format!("tenants.diku.{key}: ")), "{line}: {shown}");
    }
    for variable in [
        "TOKENVAULT_TELEMETRY__LOG_LEVEL",
        "TOKENVAULT_TELEMETRY__OTLP_ENDPOINT",
        "TOKENVAULT_REDIS__URL",
        "TOKENVAULT_SERVER__CLIENT_CA_FILE",
        "TOKENVAULT_POLICY__FILE",
        "TOKENVAULT_KEYCLOAK__ACCEPTED_CLIENTS",
    ] {
        let refused = parse_with(MINIMAL, &[(variable, "")]).expect_err("it should be refused").to_string();
        assert!(refused.contains(variable), "{variable}: {refused}");
    }
}

#[test]
fn braces_that_are_left_over_are_told_by_their_key_and_not_repeated() {
    for (key, line) in [
        ("issuer", "issuer = 'https://kc/realms/{tenat}'"),
        ("base_url", "base_url = 'https://kc/{tenat}'"),
        ("client_id", "client_id = '{tenat}'"),
        ("client_secret_file", "client_secret_file = 'secrets/{tenat}'"),
        ("ca_file", "ca_file = 'ca/{Tenant}'"),
        ("private_key_jwt_kid", "private_key_jwt_file = 'k'\nprivate_key_jwt_kid = '{tenant'"),
        ("user_id_claim", "user_id_claim = '{tenat}'"),
        ("accepted_clients", "accepted_clients = ['ui', '{tenat}-ui']"),
        ("exchange_scope", "exchange_scope = 'openid {tenat}'"),
        ("adopt_clients", "adopt_clients = { '{tenat}-x' = 'file' }"),
        ("adopt_clients", "adopt_clients = { x = 'secrets/{tenat}' }"),
    ] {
        let shown = refusal(&MINIMAL.replace("[tenants.diku]", &format!("[tenants.diku]\n{line}")));
        assert!(
            shown.contains(&format!("tenants.diku.{key}: has braces that are not `{{tenant}}`")),
            "{line}: {shown}"
        );
        assert!(!shown.contains("tenat}"), "{shown}");
    }
    let shown = refusal(&MINIMAL.replace("secrets/{tenant}", "secrets/{tenat}"));
    assert!(shown.contains("keycloak.client_secret_file (for diku): has braces"), "{shown}");
    let twice = "adopt_clients = { '{tenant}-x' = 'a', diku-x = 'b' }";
    let shown = refusal(&MINIMAL.replace("[tenants.diku]", &format!("[tenants.diku]\n{twice}")));
    assert!(shown.contains("tenants.diku.adopt_clients: names one client twice"), "{shown}");
    let shown = refusal(&MINIMAL.replace("tls/server.key", "tls/{tenant}.key"));
    assert!(shown.contains("server.key_file: `{tenant}` is filled in under [keycloak]"), "{shown}");
}

#[test]
fn the_tenants_name_is_filled_in_what_variables_say() {
    let config = parse_with(
        MINIMAL,
        &[
            ("TOKENVAULT_KEYCLOAK__ACCEPTED_CLIENTS", "[\"{tenant}-login-application\"]"),
            ("TOKENVAULT_KEYCLOAK__CLIENT_ID", "{tenant}-vault"),
        ],
    );
    let diku = tenant(&config.unwrap(), "diku");
    assert_eq!(diku.accepted_clients.first().unwrap().as_str(), "diku-login-application");
    assert_eq!(diku.client_id.as_str(), "diku-vault");
    let shown = parse_with(MINIMAL, &[("TOKENVAULT_KEYCLOAK__CLIENT_ID", "{tenat}-vault")]).unwrap_err().to_string();
    assert!(shown.contains("TOKENVAULT_KEYCLOAK__CLIENT_ID: has braces"), "{shown}");
}

#[test]
fn one_mistake_that_all_tenants_inherit_is_told_once() {
    let shown = refusal(&MINIMAL.replace("https://kc", "kc"));
    assert_eq!(shown.matches("keycloak.issuer").count(), 1, "{shown}");
}

/// A sample with its commented keys and sections switched on.
pub(crate) fn uncommented(sample: &str) -> String {
    let starts_key = |text: &str| {
        text.starts_with('[')
            || text
                .split_once(" = ")
                .is_some_and(|(key, _)| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit()))
    };
    sample
        .lines()
        .map(|line| line.strip_prefix("# ").filter(|rest| starts_key(rest)).unwrap_or(line))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn the_sample_is_accepted_and_explains_every_key() {
    let sample = include_str!("../../../../deploy/tokenvault.toml");
    parse(sample).expect("the sample as it stands");

    let everything: Dict = toml::from_str(&uncommented(sample)).unwrap();
    for (section, keys) in sections() {
        assert!(!keys.is_empty(), "{section}");
        let shown: BTreeSet<&str> = everything[section].as_dict().unwrap().keys().map(String::as_str).collect();
        assert_eq!(shown, keys.iter().copied().collect(), "[{section}]");
    }
    assert_eq!(everything.len(), SECTIONS.len());
}

#[test]
fn the_sample_shows_the_defaults() {
    let config = parse(include_str!("../../../../deploy/tokenvault.toml")).unwrap();
    let files = ServerSection::default();
    let server = ServerSection {
        cert_file: files.cert_file,
        key_file: files.key_file,
        client_ca_file: files.client_ca_file,
        ..config.server
    };
    assert_eq!(server, ServerSection::default());
    assert_eq!(config.renewal, RenewalSection::default());
    assert_eq!(config.management, ManagementSection::default());
    assert_eq!(config.telemetry, TelemetrySection::default());
    assert_eq!(RedisSection { url: String::new(), ..config.redis }, RedisSection::default());
}

mod secret_files {
    use super::*;

    fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("secrets")).unwrap();
        for (name, content) in files {
            std::fs::write(dir.path().join(name), content).unwrap();
        }
        dir
    }

    fn load(dir: &tempfile::TempDir) -> Result<Secrets, ConfigError> {
        let text = MINIMAL.split("[tenants.lib]").next().unwrap();
        Config::parse(text, &dir.path().join("tokenvault.toml"), &Environment::default()).unwrap().load_secrets()
    }

    const KEYRING: &str = "primary = 'k1'\n[keys]\nk1 = 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='\n";

    #[test]
    fn are_read_without_their_line_end() {
        let secrets = load(&directory(&[("keyring.toml", KEYRING), ("secrets/diku", "s3cret\n")])).unwrap();
        let VaultCredential::Secret(secret) = &secrets.tenants[&TenantId::parse("diku").unwrap()].credential else {
            panic!("a secret was configured")
        };
        assert_eq!(secret.expose(), "s3cret");
        assert_eq!(secrets.keyring.primary(), "k1");
    }

    #[test]
    fn that_are_missing_empty_or_wrong_are_told_together_and_not_shown() {
        let wrong = KEYRING.replace("AAAAAAA", "canary!");
        let shown = load(&directory(&[("keyring.toml", &wrong), ("secrets/diku", "\n")])).unwrap_err().to_string();
        assert!(shown.contains("the key \"k1\" is not base64") && shown.contains("is empty"), "{shown}");
        assert!(!shown.contains("canary"), "{shown}");
        assert!(load(&directory(&[])).unwrap_err().findings.len() == 2);
    }

    #[test]
    fn a_broken_keyring_is_not_quoted() {
        let shown =
            load(&directory(&[("keyring.toml", "primary = 'k1'\n[keys]\nk1 = canary\n"), ("secrets/diku", "x")]));
        let shown = shown.unwrap_err().to_string();
        assert!(shown.contains("line 3") && !shown.contains("canary"), "{shown}");
    }
}

#[test]
fn the_identity_providers_listener_has_its_own_address_files_and_limits() {
    let config = parse(&format!("{MINIMAL}[idp]\ncert_file = 'idp.pem'\nkey_file = 'idp.key'\n")).unwrap();
    let idp = config.idp.unwrap();
    assert_eq!(idp.listen.to_string(), "0.0.0.0:8445");
    assert_eq!(idp.cert_file, Path::new("/etc/tv/idp.pem"));
    let shown = refusal(&format!("{MINIMAL}[idp]\nmax_rate = 0\n"));
    for expected in ["idp.cert_file: is missing", "idp.key_file: is missing", "idp.max_rate: must be at least 1"] {
        assert!(shown.contains(expected), "{expected} is not in:\n{shown}");
    }
}

#[test]
fn two_listeners_on_one_address_are_told_apart_from_two_on_one_port() {
    let idp = |listen: &str| format!("{MINIMAL}[idp]\ncert_file = 'c'\nkey_file = 'k'\nlisten = '{listen}'\n");
    let clash = "is the address of `management.listen` already";
    for same in ["127.0.0.1:9080", "0.0.0.0:9080"] {
        let shown = refusal(&idp(same));
        assert!(shown.contains("idp.listen: ") && shown.contains(clash), "{same}: {shown}");
    }
    for other in ["127.0.0.2:9080", "127.0.0.1:0", "0.0.0.0:8445"] {
        assert!(parse(&idp(other)).is_ok(), "{other}");
    }
}

#[test]
fn nobody_impersonates_without_asking_for_it() {
    let with = |keys: &str| format!("{MINIMAL}{keys}\n");
    let shown = refusal(&with("default_acquisition = 'impersonate'"));
    assert!(shown.contains("default_acquisition: must not be `impersonate`"), "{shown}");
    let shown = refusal(&with("acquisitions = ['exchange']\ndefault_acquisition = 'adopt'"));
    assert!(shown.contains("default_acquisition: must be one of `acquisitions`"), "{shown}");
    let config = parse(&with("acquisitions = ['exchange']")).unwrap();
    let lib = &config.tenants[&TenantId::parse("lib").unwrap()];
    assert_eq!(lib.acquisitions, [Acquisition::Exchange].into());
    let diku = &config.tenants[&TenantId::parse("diku").unwrap()];
    assert_eq!(diku.acquisitions, Acquisition::ALL.into(), "what is not said is the policy's alone");
}
