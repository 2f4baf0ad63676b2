use std::path::Path;

use tokenvault_keycloak::Credentials;

use super::*;
use crate::config::Environment;

const MAIN: &str = r#"
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
tenants_file = "tenants.toml"
issuer = "http://kc/realms/{tenant}"
client_id = "vault"
client_secret_file = "{tenant}.secret"
accepted_clients = ["{tenant}-login-application"]
[tenants.diku]
"#;

struct Stage {
    dir: tempfile::TempDir,
    live: Arc<LiveSettings>,
    metrics: Arc<Metrics>,
}

/// A policy with a module for each of these lists of tenants.
fn policy(tenants: &[&str]) -> String {
    let module = |(at, tenants): (usize, &&str)| {
        format!("[[module]]\nname = 'mod-{at}'\ncn = 'mod-{at}'\ntenants = {tenants}\nread = true\n")
    };
    tenants.iter().enumerate().map(module).collect::<Vec<_>>().concat()
}

fn load(dir: &Path, metrics: &Arc<Metrics>) -> Result<Arc<LiveSettings>, String> {
    let config =
        Config::load(&dir.join("tokenvault.toml"), &Environment::default()).map_err(|error| error.to_string())?;
    LiveSettings::load(&config, Arc::clone(metrics), Notices::new(Arc::clone(metrics)))
        .map_err(|error| error.to_string())
}

impl Stage {
    /// `diku` in the main file, `lib` in the other; every module may read in all there are.
    fn set() -> Self {
        Self::with("[tenants.lib]", &policy(&["['*']"]))
    }

    fn with(tenants: &str, policy: &str) -> Self {
        Self::of(MAIN, tenants, policy)
    }

    fn of(main: &str, tenants: &str, policy: &str) -> Self {
        let (dir, metrics) = (tempfile::tempdir().expect("a directory"), Arc::new(Metrics::new()));
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("a file");
        for (name, text) in [
            ("tokenvault.toml", main),
            ("tenants.toml", tenants),
            ("policy.toml", policy),
            ("diku.secret", "one"),
            ("lib.secret", "two"),
            ("third.secret", "three"),
        ] {
            write(name, text);
        }
        let live = load(dir.path(), &metrics).expect("a vault");
        let stage = Self { dir, live, metrics };
        stage.settle();
        assert_eq!(stage.refused(), []);
        stage
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.dir.path().join(name), text).expect("a file");
    }

    /// Writes, and looks until it counts.
    fn change(&self, name: &str, text: &str) {
        self.write(name, text);
        self.settle();
    }

    fn settle(&self) {
        (0..2).for_each(|_| self.live.look());
    }

    fn tenants(&self) -> Vec<String> {
        let names = ["diku", "lib", "third", "fourth"];
        names.into_iter().filter(|name| self.live.tenants.get(&id(name)).is_some()).map(str::to_owned).collect()
    }

    fn secret(&self, tenant: &str) -> String {
        match &self.realm(tenant).credentials {
            Credentials::Secret(secret) => secret.expose().to_owned(),
            Credentials::PrivateKeyJwt(_) => panic!("secrets were configured"),
        }
    }

    fn realm(&self, tenant: &str) -> Arc<tokenvault_keycloak::TenantConfig> {
        self.live.tenants.realm(&id(tenant)).expect("it is served")
    }

    fn modules(&self) -> usize {
        self.live.policy.load().len()
    }

    /// What is refused, each with the name of the file to change first.
    fn refused(&self) -> Vec<(&'static str, String)> {
        let refused = self.live.notices.refused();
        let name = |refusal: &ReloadRefusal| {
            Path::new(&refusal.change_first).file_name().expect("a file").to_string_lossy().into_owned()
        };
        refused.iter().map(|(what, refusal)| (what.as_str(), name(refusal))).collect()
    }

    fn problem(&self, what: ReloadedFile) -> String {
        self.live.notices.refused()[&what].problem.clone()
    }

    fn count(&self, series: &str) -> u64 {
        let text = self.metrics.encode();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("tokenvault_{series} ")));
        line.expect("it is counted from zero").parse().expect("a number")
    }
}

fn id(name: &str) -> TenantId {
    TenantId::parse(name).expect("a tenant")
}

fn refusal(what: &'static str, first: &str) -> Vec<(&'static str, String)> {
    vec![(what, first.to_owned())]
}

#[test]
fn a_tenant_comes_and_goes_and_its_rules_go_with_its_realm() {
    let stage = Stage::set();
    assert_eq!(stage.tenants(), ["diku", "lib"]);
    let (version, diku) = (stage.live.tenants.version(), stage.realm("diku"));

    stage.change("tenants.toml", "[tenants.lib]\n[tenants.third]\nmax_children = 3");
    assert_eq!(stage.tenants(), ["diku", "lib", "third"]);
    assert_eq!(stage.live.tenants.get(&id("third")).expect("its rules").max_children, 3);
    assert_eq!(stage.realm("third").issuer(), "http://kc/realms/third");
    assert_eq!(stage.count("tenants"), 3);

    stage.change("tenants.toml", "[tenants.lib]\n[tenants.third]\nmax_children = 4");
    assert_eq!(stage.live.tenants.get(&id("third")).expect("its rules").max_children, 4);

    stage.change("tenants.toml", "");
    assert_eq!(stage.tenants(), ["diku"]);
    assert!(stage.live.tenants.realm(&id("lib")).is_none());
    assert_eq!(stage.live.tenants.version(), version + 3);
    assert!(Arc::ptr_eq(&diku, &stage.realm("diku")), "who has not changed keeps connections and keys");
    assert_eq!(stage.refused(), []);
}

#[test]
fn a_file_with_nothing_in_it_takes_the_last_tenants_out_for_nobody() {
    let stage = Stage::of(&MAIN.replace("[tenants.diku]", ""), "[tenants.lib]", &policy(&["['*']"]));

    stage.change("tenants.toml", "\n");
    assert_eq!((stage.refused(), stage.tenants()), (refusal("tenants", "tenants.toml"), vec!["lib".to_owned()]));
    assert!(stage.problem(ReloadedFile::Tenants).contains("write the line [tenants]"));

    stage.change("tenants.toml", "[tenants]");
    assert_eq!((stage.refused(), stage.tenants()), (vec![], vec![]), "who says so may");
}

#[test]
fn half_of_a_file_is_not_believed() {
    let stage = Stage::with("[tenants.lib]\n[tenants.third]", &policy(&["['*']"]));

    stage.write("tenants.toml", "");
    stage.live.look();
    stage.write("tenants.toml", "[tenants.lib]");
    stage.live.look();
    assert_eq!(stage.tenants(), ["diku", "lib", "third"]);

    stage.change("tenants.toml", "[tenants.lib]\n[tenants.third]");
    assert_eq!(stage.tenants(), ["diku", "lib", "third"]);
}

#[test]
fn a_file_that_never_comes_to_rest_holds_up_nothing_else() {
    let stage = Stage::with("[tenants.lib]", &policy(&["['*']", "['lib']"]));
    stage.write("policy.toml", &policy(&["['*']"]));
    for number in 0..8 {
        stage.write("tenants.toml", &format!("[tenants.lib] # {number}"));
        stage.live.look();
    }
    assert_eq!((stage.modules(), stage.tenants()), (1, vec!["diku".to_owned(), "lib".to_owned()]));
}

#[test]
fn what_says_whose_a_job_is_does_not_change_while_the_vault_runs() {
    let stage = Stage::set();
    stage.change("tenants.toml", "[tenants.lib]\nuser_id_claim = 'email'");
    assert_eq!(stage.refused(), refusal("tenants", "tenants.toml"));
    let problem = stage.problem(ReloadedFile::Tenants);
    assert!(problem.contains("user_id_claim") && problem.contains("while the vault runs"), "{problem}");
    assert_eq!(stage.live.tenants.get(&id("lib")).expect("its rules").user_id_claim, "sub");
    stage.change("tenants.toml", "[tenants.lib]\nmax_children = 7");
    assert_eq!(stage.refused(), []);
}

#[test]
fn a_policy_that_names_a_tenant_too_early_waits_for_the_tenants() {
    let stage = Stage::set();

    stage.change("policy.toml", &policy(&["['diku', 'third']", "['lib']"]));
    assert_eq!((stage.refused(), stage.modules()), (refusal("policy", "tenants.toml"), 1));
    let problem = stage.problem(ReloadedFile::Policy);
    assert!(problem.contains("third (for mod-0)") && problem.contains("add [tenants.third] to "), "{problem}");
    let failures = stage.count("reload_failures_total{file=\"policy\"}");
    assert!(failures >= 1, "{failures}");

    stage.change("tenants.toml", "[tenants.lib]\n[tenants.third]");
    assert_eq!((stage.refused(), stage.modules(), stage.tenants().len()), (vec![], 2, 3));
}

#[test]
fn tenants_that_leave_one_out_too_early_wait_for_the_policy() {
    let stage = Stage::with("[tenants.lib]", &policy(&["['diku', 'lib']"]));

    stage.change("tenants.toml", "");
    assert_eq!(
        (stage.refused(), stage.tenants()),
        (refusal("tenants", "policy.toml"), vec!["diku".into(), "lib".into()])
    );
    let problem = stage.problem(ReloadedFile::Tenants);
    assert!(problem.starts_with("leaves out the tenant lib") && problem.contains("policy.toml names"), "{problem}");

    stage.change("policy.toml", &policy(&["['diku']"]));
    assert_eq!((stage.refused(), stage.tenants()), (vec![], vec!["diku".to_owned()]));
}

#[test]
fn a_default_tenant_is_a_name_as_well() {
    let stage = Stage::set();
    stage.change("policy.toml", &policy(&["['*']\ndefault_tenant = 'third'"]));
    assert_eq!(stage.refused(), refusal("policy", "tenants.toml"));
}

#[test]
fn what_is_wrong_leaves_the_last_good_set_in_force() {
    let stage = Stage::set();
    for (text, said) in [
        ("[tenants.lib]\nisuer = 'x'", "did you mean `issuer`?"),
        ("[tenants.lib", "is not TOML"),
        ("[tenants.diku]", "stands in"),
        ("[tenants.lib]\n[tenants.fourth]", "fourth.secret: cannot be read"),
        ("[tenants.lib]\nclient_secret_file = 'none'", "none: cannot be read"),
        ("[tenants.lib]\nprivate_key_jwt_file = 'lib.secret'", "lib.secret: not a private key in PEM (tenant lib)"),
    ] {
        stage.change("tenants.toml", text);
        assert_eq!(stage.tenants(), ["diku", "lib"], "{text}");
        assert_eq!(stage.refused(), refusal("tenants", "tenants.toml"), "{text}");
        assert!(
            stage.problem(ReloadedFile::Tenants).contains(said),
            "{text}: {}",
            stage.problem(ReloadedFile::Tenants)
        );
        assert_eq!(stage.secret("lib"), "two");
    }
    std::fs::remove_file(stage.dir.path().join("tenants.toml")).expect("it is there");
    stage.settle();
    assert_eq!((stage.refused(), stage.tenants().len()), (refusal("tenants", "tenants.toml"), 2));

    // The file that was missing is there by now.
    stage.change("tenants.toml", "[tenants.lib]\n[tenants.fourth]");
    stage.write("fourth.secret", "four");
    stage.live.look();
    assert_eq!((stage.refused(), stage.tenants().len()), (vec![], 3));
}

#[test]
fn one_files_mistake_holds_up_no_other_files_change() {
    let stage = Stage::set();
    stage.change("tenants.toml", "nonsense");
    stage.change("policy.toml", "module = []");
    stage.change("diku.secret", "new");
    assert_eq!((stage.modules(), stage.secret("diku").as_str()), (0, "new"), "rights are taken away all the same");
    assert_eq!(stage.refused(), refusal("tenants", "tenants.toml"));

    stage.change("policy.toml", "nonsense");
    stage.change("tenants.toml", "[tenants.third]");
    assert_eq!((stage.modules(), stage.tenants()), (0, vec!["diku".to_owned(), "third".to_owned()]));
    assert_eq!(stage.refused(), refusal("policy", "policy.toml"));
}

#[test]
fn a_secret_that_changes_is_used_and_one_that_cannot_be_read_is_not() {
    let stage = Stage::set();
    let diku = stage.realm("diku");

    stage.write("lib.secret", "changed\n");
    stage.live.look();
    assert_eq!(stage.secret("lib"), "changed");
    assert!(Arc::ptr_eq(&diku, &stage.realm("diku")));

    for broken in [Some(""), None] {
        match broken {
            Some(text) => stage.write("lib.secret", text),
            None => std::fs::remove_file(stage.dir.path().join("lib.secret")).expect("it is there"),
        }
        let failures = stage.count("reload_failures_total{file=\"secrets\"}");
        stage.live.look();
        assert_eq!((stage.secret("lib").as_str(), stage.refused()), ("changed", refusal("secrets", "lib.secret")));
        assert_eq!(stage.count("reload_failures_total{file=\"secrets\"}"), failures + 1);
    }

    // Others are looked after meanwhile, and a tenant that is new.
    stage.change("diku.secret", "other");
    stage.change("tenants.toml", "[tenants.lib]\n[tenants.third]");
    assert_eq!((stage.secret("diku").as_str(), stage.secret("third").as_str()), ("other", "three"));
    assert_eq!(stage.secret("lib"), "changed");

    stage.write("lib.secret", "again");
    stage.live.look();
    assert_eq!((stage.secret("lib").as_str(), stage.refused()), ("again", vec![]));
}

#[test]
fn deposited_clients_secrets_keys_and_authorities_are_read_again_as_well() {
    let key = |seed: &rcgen::KeyPair| seed.serialize_pem();
    let authority = || {
        let key = rcgen::KeyPair::generate().expect("a key");
        rcgen::CertificateParams::default().self_signed(&key).expect("a certificate").pem()
    };
    let stage = Stage::set();
    let (first, second) = (rcgen::KeyPair::generate().expect("a key"), rcgen::KeyPair::generate().expect("a key"));
    stage.write("lib.key", &key(&first));
    stage.write("ui.secret", "ui-one");
    stage.write("kc.pem", &authority());
    let table = "[tenants.lib]\nissuer = 'https://kc/realms/lib'\nprivate_key_jwt_file = 'lib.key'\nca_file = 'kc.pem'\nadopt_clients = { ui = 'ui.secret' }";
    stage.change("tenants.toml", table);
    assert_eq!(stage.refused(), []);

    for (file, text, nonsense) in [
        ("lib.key", key(&second), "nonsense"),
        ("ui.secret", "ui-two".to_owned(), ""),
        ("kc.pem", authority(), "nonsense"),
    ] {
        let before = stage.realm("lib");
        stage.write(file, nonsense);
        stage.live.look();
        assert!(Arc::ptr_eq(&before, &stage.realm("lib")), "{file}");
        assert_eq!(stage.refused(), refusal("secrets", file));
        stage.write(file, &text);
        stage.live.look();
        assert!(!Arc::ptr_eq(&before, &stage.realm("lib")), "{file}");
        assert_eq!(stage.refused(), [], "{file}");
    }
    let lib = stage.realm("lib");
    let Some(Credentials::Secret(secret)) = lib.adopt_clients.values().next() else { panic!("a secret") };
    assert_eq!(secret.expose(), "ui-two");
}

#[test]
fn what_does_not_fit_does_not_start() {
    let stage = Stage::set();
    for (file, text, said) in [
        ("policy.toml", policy(&["['third']"]), "names the tenant third (for mod-0), which is not configured"),
        ("policy.toml", "[[module]]".to_owned(), "is missing"),
        ("tenants.toml", "[tenants.diku]".to_owned(), "tenants.diku: stands in"),
        ("lib.secret", String::new(), "lib.secret: is empty"),
    ] {
        let before = std::fs::read_to_string(stage.dir.path().join(file)).expect("a file");
        stage.write(file, &text);
        let error = load(stage.dir.path(), &stage.metrics).err().expect("a refusal");
        assert!(error.contains(said), "{error}");
        stage.write(file, &before);
    }
}

#[test]
fn as_much_is_taken_up_as_fits_together() {
    let tables = |names: &[&str]| {
        let stage = Stage::set();
        let text: Vec<String> = names.iter().map(|name| format!("[tenants.{name}]")).collect();
        stage
            .live
            .source
            .parse(Some(&text.join(
                "
",
            )))
            .expect("tables")
    };
    let policy = |tenants: &str| Policy::parse(&policy(&[tenants])).expect("a policy");
    let (names_lib, names_third, all) = (policy("['lib']"), policy("['third']"), policy("['*']"));
    let (lib, third, both) = (tables(&["lib"]), tables(&["third"]), tables(&["lib", "third"]));
    for (in_force, new, expected) in [
        ((&names_lib, &lib), (None, Some(&both)), (false, true)),
        ((&names_lib, &lib), (None, Some(&third)), (false, false)),
        ((&names_lib, &lib), (Some(&names_third), None), (false, false)),
        ((&names_lib, &lib), (Some(&names_third), Some(&third)), (true, true)),
        ((&names_lib, &lib), (Some(&all), Some(&third)), (true, true)),
        ((&names_lib, &both), (Some(&names_third), Some(&lib)), (true, false)),
        ((&all, &both), (Some(&names_third), Some(&lib)), (true, false)),
        ((&all, &lib), (Some(&names_third), Some(&both)), (true, true)),
        ((&names_lib, &lib), (None, None), (false, false)),
    ] {
        let verdict =
            Candidates { policy: in_force.0, new_policy: new.0, tables: in_force.1, new_tables: new.1 }.judge();
        assert_eq!((verdict.takes_policy, verdict.takes_tables), expected, "{verdict:?}");
        assert_eq!(verdict.unknown.is_empty(), new.0.is_none() || expected.0, "{verdict:?}");
        assert_eq!(verdict.left_out.is_empty(), new.1.is_none() || expected.1, "{verdict:?}");
    }
}
