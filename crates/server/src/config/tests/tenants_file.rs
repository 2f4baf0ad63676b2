//! The file with more tenants.

use super::*;

fn source(main: &str) -> TenantSource {
    let main = main.replace("[keycloak]", "[keycloak]\ntenants_file = 'more/tenants.toml'");
    parse(&main).expect("the main file").source
}

fn none() -> String {
    MINIMAL.split("[tenants.diku]").next().unwrap().to_owned()
}

fn refusal(main: &str, tenants: &str) -> String {
    source(main).parse(Some(tenants)).expect_err("it should be refused").to_string()
}

#[test]
fn its_tables_are_read_as_those_of_the_main_file() {
    let tenants = source(MINIMAL)
        .parse(Some("[tenants.third]\nclient_secret_file = 'own/{tenant}'\n[tenants.fourth]\nmax_children = 7\n"))
        .unwrap();
    let named = |name: &str| &tenants[&TenantId::parse(name).unwrap()];
    assert_eq!(tenants.len(), 4);
    assert_eq!(named("third").issuer, "https://kc/realms/third");
    // What stands in a file is relative to that file's directory.
    assert_eq!(named("third").credential, Credential::SecretFile("/etc/tv/more/own/third".into()));
    assert_eq!(named("fourth").credential, Credential::SecretFile("/etc/tv/secrets/fourth".into()));
    assert_eq!(named("fourth").max_children, 7);
}

#[test]
fn it_may_be_empty_and_the_main_file_without_tenants() {
    let source = source(&none());
    assert_eq!(source.file(), Some(Path::new("/etc/tv/more/tenants.toml")));
    assert!(source.parse(Some("")).unwrap().is_empty());
    assert!(source.parse(Some("[tenants]")).unwrap().is_empty());
    assert_eq!(source.parse(Some("[tenants.one]")).unwrap().len(), 1);
}

#[test]
fn what_is_wrong_in_it_is_told_with_its_name() {
    let place = "tenants /etc/tv/more/tenants.toml, ";
    for (text, expected) in [
        ("[tenants.diku]", "tenants.diku: stands in /etc/tv/tokenvault.toml as well"),
        ("[tenants.one]\nisuer = 'x'", "tenants.one.isuer: unknown key; did you mean `issuer`?"),
        ("[tenants.one]\nissuer = 'x'", "tenants.one.issuer: must be an http or https URL"),
        ("[tenants.one]\nclient_id = '{tenat}'", "tenants.one.client_id: has braces"),
        ("[tenants.one]\nclient_secret = 'canary'", "tenants.one.client_secret: secrets are never written inline"),
        ("[tenants.one]\ntenants_file = 'x'", "tenants.one.tenants_file: stands in [keycloak] alone"),
        ("[tenants.one]\nrequest_timeout = 20", "tenants.one.request_timeout: must be shorter than two thirds"),
        ("[tenants.'o/ne']", "tenants.o/ne: must be a table, named by a tenant"),
        ("tenants = 3", "tenants: must be a table"),
        ("[tenant.one]", "tenant: unknown key; did you mean `tenants`?"),
        ("[tenants.one]\n[tenants.one]", "line 2: is not TOML"),
        ("nonsense", "line 1: is not TOML"),
    ] {
        let shown = refusal(MINIMAL, text);
        assert!(shown.contains(&format!("{place}{expected}")), "{text}: {shown}");
        assert!(!shown.contains("canary"), "{shown}");
    }
}

#[test]
fn variables_override_what_stands_in_it_and_make_no_second_tenant() {
    let variables = [
        ("TOKENVAULT_KEYCLOAK__TENANTS_FILE", "tenants.toml"),
        ("TOKENVAULT_TENANTS__ONE__CLIENT_ID", "of-env"),
        ("TOKENVAULT_TENANTS__ONE__CLIENT_SECRET_FILE", "env-secret"),
    ];
    let source = parse_with(MINIMAL, &variables).unwrap().source;
    let tenants = source.parse(Some("[tenants.one]\nclient_id = 'of-file'\nmax_children = 3")).unwrap();
    let one = &tenants[&TenantId::parse("one").unwrap()];
    assert_eq!((one.client_id.as_str(), one.max_children), ("of-env", 3));
    assert_eq!(one.credential, Credential::SecretFile("/etc/tv/env-secret".into()));
    let wrong = parse_with(MINIMAL, &[variables[0], ("TOKENVAULT_TENANTS__ONE__MAX_CHILDREN", "x")]);
    let shown = wrong.unwrap_err().to_string();
    assert!(shown.contains("TOKENVAULT_TENANTS__ONE__MAX_CHILDREN: expected"), "{shown}");
}

#[test]
fn its_own_name_depends_on_no_tenant() {
    let with =
        |value: &str| super::refusal(&MINIMAL.replace("[keycloak]", &format!("[keycloak]\ntenants_file = {value}")));
    for value in ["'{tenant}.toml'", "''", "3"] {
        assert!(with(value).contains("keycloak.tenants_file: must be the name of one file"), "{value}");
    }
}

#[test]
fn one_that_is_not_there_is_told_with_everything_else() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tokenvault.toml");
    std::fs::write(
        &file,
        none().replace("[keycloak]", "[keycloak]\ntenants_file = 'tenants.toml'").replace("url =", "ulr ="),
    )
    .unwrap();
    let shown = Config::load(&file, &Environment::default()).unwrap_err().to_string();
    assert!(shown.contains("tenants.toml: cannot be read") && shown.contains("redis.ulr: unknown key"), "{shown}");
    std::fs::write(dir.path().join("tenants.toml"), "[tenants.one]").unwrap();
    std::fs::write(&file, none().replace("[keycloak]", "[keycloak]\ntenants_file = 'tenants.toml'")).unwrap();
    assert_eq!(Config::load(&file, &Environment::default()).unwrap().tenants.len(), 1);
}

#[test]
fn the_sample_is_one() {
    let sample = include_str!("../../../../../deploy/tokenvault.toml");
    let sample = parse(&uncommented_key(sample, "tenants_file")).unwrap().source;
    let tenants = sample.parse(Some(include_str!("../../../../../deploy/tenants.toml"))).unwrap();
    let named = |name: &str| tenants[&TenantId::parse(name).unwrap()].clone();
    assert_eq!(named("university").client_id.as_str(), "university-tokenvault");
    assert_eq!(named("consortium").accepted_clients.first().unwrap().as_str(), "consortium-login-application");
}

fn uncommented_key(sample: &str, key: &str) -> String {
    sample.replace(&format!("# {key} = "), &format!("{key} = "))
}
