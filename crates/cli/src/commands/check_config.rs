//! `tokenvault check-config`: reads everything that `serve` reads, and reports everything that is wrong with it. It must call
//! no other system.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokenvault_core::ids::TenantId;
use tokenvault_core::record::Acquisition;
use tokenvault_core::time::Timestamp;
use tokenvault_server::admin::Operators;
use tokenvault_server::callers::{ModuleRights, Policy, PolicyTable};
use tokenvault_server::clock::SystemClock;
use tokenvault_server::config::{Config, ConfigError, Credential, Finding};
use tokenvault_server::reload;
use tokenvault_server::telemetry::metrics::Metrics;
use tokenvault_server::telemetry::otlp;
use tokenvault_server::tls::{ListenerFiles, TlsSettings};
use tokenvault_server::wiring::{self, Backing};

use crate::console::{ConfigFile, Console};
use crate::failure::Failure;
use crate::terminal::style::Tone;

/// Check the configuration and every file it names
///
/// Reads the configuration, secrets, keyring, policy and TLS files as `serve` would, without starting anything or calling
/// anybody, and checks what is checked again whenever one of them changes. Prints what it found, a line each; a problem comes
/// with what to do about it. Exits 1 if there is one.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigFile,
}

pub(crate) fn run(args: &Args, console: &mut Console<'_>) -> Result<(), Failure> {
    // The store's pool wants a runtime around it, even to be looked at.
    let runtime = crate::console::runtime()?;
    let _entered = runtime.enter();
    let report = ConfigReport::on(args.config.read());
    let facts = report.facts.iter().map(|fact| (Tone::Good, "ok", fact.clone()));
    let notes = report.notes.iter().map(|note| (Tone::Head, "note", note.clone()));
    let problems =
        report.findings.iter().map(|finding| (Tone::Wrong, "problem", format!("{finding}: {}", remedy(finding))));
    for (tone, word, text) in facts.chain(notes).chain(problems) {
        let word = console.style.paint(tone, &format!("{word:<7}"));
        writeln!(console.out, "{}", console.style.wrap(&format!("{word}  {text}"), 9))?;
    }
    console.out.flush()?;
    let file = args.config.file.display();
    match report.findings.len() {
        0 => Ok(()),
        1 => Err(Failure::new(format!("{file}: 1 problem"))),
        many => Err(Failure::new(format!("{file}: {many} problems"))),
    }
}

impl ConfigFile {
    fn read(&self) -> Result<Config, ConfigError> {
        Config::load(&self.file, &tokenvault_server::config::Environment::of_process())
    }
}

/// How the files of their own are called in results.
const POLICY: &str = "policy";
const TENANTS: &str = "tenants";
const ADMIN_POLICY: &str = "admin policy";

#[derive(Default)]
struct ConfigReport {
    facts: Vec<String>,
    /// What is worth a thought and no problem.
    notes: Vec<String>,
    findings: Vec<Finding>,
}

impl ConfigReport {
    fn on(config: Result<Config, ConfigError>) -> Self {
        let mut report = Self::default();
        match config {
            Ok(config) => report.files(&config),
            Err(error) => report.findings = error.findings,
        }
        report
    }

    fn files(&mut self, config: &Config) {
        self.facts.push(format!("configuration: {}", config.file.display()));
        for (name, tenant) in &config.tenants {
            let proof = match tenant.credential {
                Credential::SecretFile(_) => "a secret",
                Credential::PrivateKeyJwtFile(_) => "a signed assertion",
            };
            let client = &tenant.client_id;
            self.facts.push(format!("tenant {name}: {} as {client}, proven by {proof}", tenant.issuer));
        }
        let mut realms: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (id, tenant) in &config.tenants {
            realms.entry(&tenant.issuer).or_default().push(id.as_str());
        }
        let shared = realms.into_values().filter(|tenants| tenants.len() > 1);
        self.notes.extend(shared.map(|tenants| {
            format!("tenants: {} have one issuer: who is a user of one of them is a user of all", tenants.join(", "))
        }));
        if let Some(file) = config.source.file() {
            let (count, file) = (config.tenants.len(), file.display());
            self.facts.push(format!("tenants: {count}; {file} is read again when it changes"));
        }
        self.secrets(config);
        self.policy(config);
        self.tls(config);
        self.telemetry_and_audit(config);
    }

    fn secrets(&mut self, config: &Config) {
        let secrets = match config.load_secrets() {
            Ok(secrets) => secrets,
            Err(error) => return self.findings.extend(error.findings),
        };
        let ring = &secrets.keyring;
        // Only Redis knows whether each is the right one: `doctor` compares the check values.
        let key = |id: &str| Some(format!("{id} (check value {})", ring.check(id)?));
        let keys = ring.ids().filter_map(key).collect::<Vec<_>>().join(", ");
        self.facts.push(format!("keyring: {} seals, of {keys}", ring.primary()));
        let tenants = match reload::tenants(config) {
            Ok(tenants) => Arc::new(tenants),
            Err(error) => return self.findings.extend(error.findings),
        };
        let (metrics, clock) = (Arc::new(Metrics::new()), Arc::new(SystemClock::start()));
        match wiring::services(config, &secrets, tenants, Backing::Redis, &metrics, &clock) {
            Ok(_) => self.facts.push(format!("store: {}", config.redis.url)),
            Err(error) => self.findings.push(Finding::new("keycloak and redis", error.to_string())),
        }
    }

    /// What the vault tells of itself, and where to.
    fn telemetry_and_audit(&mut self, config: &Config) {
        if let Err(error) = otlp::check(&config.telemetry) {
            self.findings.extend(error.findings);
        }
        let Some(file) = &config.audit.file else { return };
        // It is made at the first start; its directory is not.
        let usable = if file.exists() {
            File::options().append(true).open(file).map(drop)
        } else {
            std::fs::read_dir(file.parent().unwrap_or(Path::new("/"))).map(drop)
        };
        if let Err(error) = usable {
            self.findings.push(Finding::new("audit.file", format!("{}: cannot be opened: {error}", file.display())));
        }
    }

    fn policy(&mut self, config: &Config) {
        let file = &config.policy.file;
        if let Some(policy) = self.roster::<Policy>(file, POLICY, "certificates may call") {
            self.add_policy_findings(POLICY, &file.display().to_string(), reload::misfits(&policy, config));
            self.impersonation(&policy, config);
            let patterns =
                policy.modules().map(|module| (module, module.tenants.idle_patterns(&config.tenants.keys())));
            let idle = patterns.flat_map(|(module, idle)| idle.into_iter().map(move |pattern| (&module.name, pattern)));
            let notes = idle.map(|(module, pattern)| {
                format!("{POLICY}: `{pattern}` of {module} covers no tenant that is configured yet")
            });
            self.notes.extend(notes);
        }
        if let Some(admin) = &config.admin {
            self.roster::<Operators>(&admin.policy_file, ADMIN_POLICY, "operators may call");
        }
    }

    fn roster<R: PolicyTable>(&mut self, file: &Path, what: &str, who: &str) -> Option<R> {
        match R::load(file) {
            Ok(policy) => {
                self.facts.push(format!("{what}: {} {who}", policy.len()));
                Some(policy)
            }
            Err(error) => {
                self.add_policy_findings(what, &error.file, error.findings);
                None
            }
        }
    }

    /// Findings in a policy, each with the file it is in.
    fn add_policy_findings(&mut self, what: &str, file: &str, findings: Vec<Finding>) {
        let placed = findings.into_iter().map(|finding| {
            let place = format!("{what} {file}, {}", finding.place);
            Finding::new(place, finding.problem)
        });
        self.findings.extend(placed);
    }

    /// Who may open sessions for users, and where: what the policy grants and the tenant allows.
    fn impersonation(&mut self, policy: &Policy, config: &Config) {
        let wants = Acquisition::Impersonate;
        let mut modules: Vec<&ModuleRights> =
            policy.modules().filter(|module| module.register.contains(&wants)).collect();
        modules.sort_by_key(|module| &module.name);
        if modules.is_empty() {
            self.facts.push("impersonate: nobody may".to_owned());
        }
        for module in modules {
            let allowed = config.tenants.iter().filter(|(_, tenant)| tenant.acquisitions.contains(&wants));
            let tenants = allowed.map(|(id, _)| id).filter(|id| module.tenants.contains(id));
            let tenants = tenants.map(TenantId::as_str).collect::<Vec<_>>().join(", ");
            let tenants = if tenants.is_empty() { "no tenant there is".to_owned() } else { tenants };
            let to_come = module.tenants.patterns().collect::<Vec<_>>().join(", ");
            let to_come =
                if to_come.is_empty() { to_come } else { format!(", and in those to come that {to_come} covers") };
            self.facts.push(format!("impersonate: {} may in {tenants}{to_come}", module.name));
        }
    }

    fn tls(&mut self, config: &Config) {
        let server = &config.server;
        let of_server = [
            ("server.cert_file", Some(&server.cert_file)),
            ("server.key_file", Some(&server.key_file)),
            ("server.client_ca_file", Some(&server.client_ca_file)),
            ("server.client_crl_file", server.client_crl_file.as_ref()),
        ];
        self.listener("server", of_server, &server.into());
        if let Some(admin) = &config.admin {
            let of_admin = [
                ("admin.cert_file", Some(&admin.cert_file)),
                ("admin.key_file", Some(&admin.key_file)),
                ("admin.client_ca_file", Some(&admin.client_ca_file)),
                ("admin.client_crl_file", admin.client_crl_file.as_ref()),
            ];
            self.listener("admin", of_admin, &admin.into());
        }
        if let Some(idp) = &config.idp {
            let of_idp = [("idp.cert_file", Some(&idp.cert_file)), ("idp.key_file", Some(&idp.key_file))];
            self.listener("idp", of_idp, &idp.into());
        }
    }

    /// A listener's files. All that are not there are told: loading them stops at the first.
    fn listener<'a>(
        &mut self,
        section: &str,
        files: impl IntoIterator<Item = (&'static str, Option<&'a PathBuf>)>,
        listener: &ListenerFiles,
    ) {
        let files: Vec<_> = files.into_iter().filter_map(|(key, file)| Some((key, file?))).collect();
        let unreadable: Vec<_> = files.iter().filter_map(|(key, file)| unreadable(key, file)).collect();
        let mut faulty = BTreeSet::new();
        match TlsSettings::load(listener) {
            Ok(settings) => {
                for fault in settings.faults(listener) {
                    let key = format!("{section}.{}", listener.file(fault.part).0);
                    self.findings.push(Finding::new(&key, fault.problem));
                    faulty.insert(key);
                }
            }
            Err(error) if unreadable.is_empty() => self.findings.push(Finding::new(section, error.to_string())),
            Err(_) => {}
        }
        self.findings.extend(unreadable);
        for (key, file) in files {
            let certificates = key.ends_with(".cert_file") || key.ends_with(".client_ca_file");
            // What cannot be read was a finding of the loader's.
            if let Some(end) = ends(file).filter(|_| certificates && !faulty.contains(key)) {
                self.facts.push(format!("{key}: {} until {end}", file.display()));
            }
        }
    }
}

fn unreadable(key: &str, file: &Path) -> Option<Finding> {
    let error = File::open(file).err()?;
    Some(Finding::new(key, format!("{}: cannot be read: {error}", file.display())))
}

/// When the first certificate of a PEM file to expire does.
fn ends(file: &Path) -> Option<Timestamp> {
    let certificates = CertificateDer::pem_file_iter(file).ok()?.filter_map(Result::ok);
    let ends = certificates.filter_map(|der| {
        let (_, certificate) = x509_parser::parse_x509_certificate(&der).ok()?;
        u64::try_from(certificate.validity().not_after.timestamp()).ok()
    });
    ends.min().map(Timestamp::from_secs)
}

/// What to do about a finding, in so far as its own words leave it open.
fn remedy(finding: &Finding) -> String {
    let is_key = !finding.place.contains('/') && finding.place.contains('.');
    let problem = finding.problem.as_str();
    if problem.contains(" expired on ") {
        "have it renewed".to_owned()
    } else if problem.contains(" is not valid before ") {
        "wait until then, or use one that is valid; where that time is past, set this machine's clock".to_owned()
    } else if problem.contains(" is its issuer's") {
        "put the certificate of whoever signed the first one behind it".to_owned()
    } else if problem.contains("extended key usage") {
        "have one issued for a server (serverAuth)".to_owned()
    } else if finding.place == "the configuration" && problem.contains("cannot be read") {
        "name the file with --config, and let this user read it".to_owned()
    } else if problem.contains("cannot be read") {
        "give the file this name, or correct the name, and let this user read it".to_owned()
    } else if problem.contains("which is not configured") {
        "or take the name out of the policy".to_owned()
    } else if let Some(sample) = sample(&finding.place) {
        format!("the sample {sample} shows how it is written")
    } else if problem.starts_with("is missing") && is_key {
        format!("set it, or the variable TOKENVAULT_{}", finding.place.replace('.', "__").to_ascii_uppercase())
    } else if problem.contains("keyring") || problem.contains("the key \"") || problem.contains("primary key") {
        "`tokenvault keygen` prints what belongs there".to_owned()
    } else if matches!(finding.place.as_str(), "server" | "admin" | "idp") {
        "certificates and keys are PEM files, and the key must be the first certificate's".to_owned()
    } else if is_key {
        "the sample deploy/tokenvault.toml explains this key".to_owned()
    } else {
        "correct it there".to_owned()
    }
}

/// The sample of the file in which something is wrong.
fn sample(place: &str) -> Option<&'static str> {
    let of = |policy: &str| place.strip_prefix(policy).is_some_and(|file| file.starts_with(' '));
    match () {
        () if of(POLICY) => Some("deploy/policy.toml"),
        () if of(TENANTS) => Some("deploy/tokenvault.toml"),
        () if of(ADMIN_POLICY) => Some("deploy/admin-policy.toml"),
        () => None,
    }
}
