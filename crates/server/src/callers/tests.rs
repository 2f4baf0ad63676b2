use rcgen::{CertificateParams, DnType, KeyPair, SanType};
use tokenvault_vault::problem::Code;

use super::*;
use crate::tls::{CertificateNames, NameError, Peer};

const POLICY: &str = r#"
[[module]]
name = "mod-uri"
uri_san = "spiffe://example.org/mod-uri"
tenants = ["diku", "other"]
register = ["exchange"]
read = true

[[module]]
name = "mod-dns"
dns_san = "mod-dns.example.org"
tenants = ["diku"]
read = true
release = true

[[module]]
name = "mod-cn"
cn = "mod-cn"
tenants = ["diku"]
read = true
"#;

fn certificate(sans: Vec<SanType>, cn: Option<&str>) -> CertificateNames {
    read(sans, cn).expect("readable names")
}

fn read(sans: Vec<SanType>, cn: Option<&str>) -> Result<CertificateNames, NameError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    if let Some(cn) = cn {
        params.distinguished_name.push(DnType::CommonName, cn);
    }
    params.subject_alt_names = sans;
    let key = KeyPair::generate().expect("a key");
    CertificateNames::read(params.self_signed(&key).expect("a certificate").der())
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().expect("an URI"))
}

fn dns(text: &str) -> SanType {
    SanType::DnsName(text.try_into().expect("a DNS name"))
}

fn name_of(names: &CertificateNames) -> Option<String> {
    Policy::parse(POLICY).expect("a policy").module(names).map(|module| module.name.to_string())
}

#[test]
fn a_certificate_is_matched_by_the_exact_name_of_the_right_kind() {
    let cases = [
        (certificate(vec![uri("spiffe://example.org/mod-uri")], None), Some("mod-uri")),
        (certificate(vec![dns("mod-dns.example.org")], None), Some("mod-dns")),
        (certificate(vec![dns("MOD-DNS.example.org")], None), Some("mod-dns")),
        (certificate(vec![], Some("mod-cn")), Some("mod-cn")),
        (certificate(vec![dns("elsewhere.example.org")], Some("mod-cn")), None),
        (certificate(vec![uri("spiffe://example.org/mod-uri/more")], None), None),
        (certificate(vec![dns("spiffe")], None), None),
        (certificate(vec![dns("sub.mod-dns.example.org")], None), None),
        (certificate(vec![], Some("mod-dns.example.org")), None),
        (certificate(vec![], None), None),
        (certificate(vec![uri("spiffe://example.org/mod-uri"), dns("mod-dns.example.org")], None), None),
    ];
    for (names, expected) in cases {
        assert_eq!(name_of(&names).as_deref(), expected, "{names:?}");
    }
}

#[test]
fn several_uri_names_are_refused() {
    let two = vec![uri("spiffe://example.org/mod-uri"), uri("spiffe://example.org/other")];
    assert_eq!(read(two, None), Err(NameError::SeveralUris));
    assert_eq!(CertificateNames::read(b"nonsense"), Err(NameError::Malformed));
}

#[test]
fn actions_and_tenants_are_granted_one_by_one() {
    let policy = Policy::parse(POLICY).expect("a policy");
    let uri = certificate(vec![uri("spiffe://example.org/mod-uri")], None);
    let dns = certificate(vec![dns("mod-dns.example.org")], None);
    let code =
        |names, tenant, action| policy.admit(Ok(names), tenant, action, |_| true).err().map(|problem| problem.code);
    assert_eq!(code(&uri, Some("diku"), Action::Register), None);
    assert_eq!(code(&uri, None, Action::Read), Some(Code::TenantMissing));
    assert_eq!(code(&uri, Some("foreign"), Action::Read), Some(Code::TenantDenied));
    assert_eq!(code(&uri, Some("diku"), Action::Release), Some(Code::ActionDenied));
    assert_eq!(code(&dns, None, Action::Release), None);
    assert_eq!(code(&dns, None, Action::Register), Some(Code::ActionDenied));
    assert_eq!(code(&CertificateNames::default(), None, Action::Read), Some(Code::CallerUnknown));
    let several =
        policy.admit(Err(NameError::SeveralUris), None, Action::Read, |_| true).err().map(|problem| problem.code);
    assert_eq!(several, Some(Code::CallerUnknown));
}

#[test]
fn what_is_wrong_in_a_policy_is_told_with_its_place() {
    let said =
        |text: &str| Policy::parse(text).expect_err("findings").iter().map(ToString::to_string).collect::<Vec<_>>();
    let entry = |more: &str| format!("[[module]]\nname = \"m\"\ntenants = [\"t\"]\n{more}");
    assert!(said("[[modul]]\nname = \"m\"")[0].contains("did you mean `module`?"));
    assert!(said(&entry("cn = \"x\"\nreads = true"))[0].contains("did you mean `read`?"));
    assert!(said(&entry("")).iter().any(|finding| finding.contains("exactly one of")));
    assert!(said(&entry("cn = \"x\"\ndns_san = \"y\"")).iter().any(|finding| finding.contains("exactly one of")));
    assert!(said(&entry("dns_san = \"*.example.org\"")).iter().any(|finding| finding.contains("no wildcard")));
    assert!(said(&entry("cn = \"x\"\nregister = [\"all\"]"))[0].contains("exchange"));
    assert_eq!(
        said(&entry("cn = \"x\"\ndefault_tenant = \"u\"")),
        ["module 1: default_tenant: must be among `tenants`"]
    );
    for tenants in ["**", "*t", "a*b", "t**", "", "a b", "{tenant}"] {
        let found = said(&entry("cn = \"x\"").replace("[\"t\"]", &format!("[\"{tenants}\"]")));
        assert!(
            found[0].contains("module 1: tenants") && found[0].contains("`*` or `PREFIX*`"),
            "{tenants}: {found:?}"
        );
    }
    let other = |more: &str| entry(more).replace("\"m\"", "\"n\"");
    for (first, second, key) in [
        (entry("cn = \"x\""), entry("cn = \"y\""), "module 2: name"),
        (entry("cn = \"x\""), other("cn = \"x\""), "module 2: name"),
        (entry("dns_san = \"a.b\""), other("dns_san = \"A.b\""), "module 2: name"),
    ] {
        let found = said(&format!("{first}\n{second}"));
        assert!(found[0].starts_with(key) && found[0].contains("earlier entry"), "{found:?}");
    }
    for (line, key) in [
        ("uri_san = \"spiffe://a/*\"", "module 1: uri_san: takes no wildcard"),
        ("uri_san = \"mod-m\"", "module 1: uri_san: must be a URI"),
        ("cn = \"\"", "module 1: cn: must not be empty"),
        ("dns_san = \"\"", "module 1: dns_san: must not be empty"),
    ] {
        assert_eq!(said(&entry(line)), [key]);
    }
}

#[test]
fn a_name_that_cannot_be_read_spoils_the_certificate() {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![uri("spiffe://example.org/mod-uri"), uri("spiffe://example.org/mod-two")];
    let der = params.self_signed(&KeyPair::generate().expect("a key")).expect("a certificate").der().to_vec();
    let second = der.windows(7).rposition(|bytes| bytes == b"mod-two").expect("the second name");
    let mut spoilt = der.clone();
    spoilt[second] = 0xff;
    assert_eq!(CertificateNames::read(&der), Err(NameError::SeveralUris));
    assert_eq!(CertificateNames::read(&spoilt), Err(NameError::Malformed));
}

#[test]
fn a_file_cut_to_nothing_is_not_a_policy_but_nobody_can_be_named() {
    assert!(Policy::parse("").is_err());
    assert!(Policy::parse("module = []").expect("a policy").is_empty());
}

/// A module with these lines, and what a call of it in a tenant, or in none, comes to. Configured are `diku`, `lib-a`, `lib-b`.
fn tenant_of(lines: &str, named: Option<&str>) -> Result<String, Code> {
    let policy = format!("[[module]]\nname = \"m\"\ncn = \"m\"\nread = true\n{lines}");
    let caller = CertificateNames { cn: Some("m".to_owned()), ..CertificateNames::default() };
    let admitted = Policy::parse(&policy)
        .expect("a policy")
        .admit(Ok(&caller), named, Action::Read, |tenant| ["diku", "lib-a", "lib-b"].contains(&tenant.as_str()));
    admitted.map(|admitted| admitted.tenant.to_string()).map_err(|problem| problem.code)
}

#[test]
fn a_pattern_grants_the_configured_tenants_that_it_covers() {
    let denied = Err(Code::TenantDenied);
    for (tenants, named, expected) in [
        ("[\"*\"]", "diku", Ok("diku".to_owned())),
        ("[\"*\"]", "lib-b", Ok("lib-b".to_owned())),
        ("[\"*\"]", "elsewhere", denied.clone()),
        ("[\"*\"]", "not a name", denied.clone()),
        ("[\"*\"]", "*", denied.clone()),
        ("[\"lib-*\"]", "lib-a", Ok("lib-a".to_owned())),
        ("[\"lib-*\"]", "lib-c", denied.clone()),
        ("[\"lib-*\"]", "diku", denied.clone()),
        ("[\"lib-*\", \"diku\"]", "diku", Ok("diku".to_owned())),
        ("[\"diku\"]", "lib-a", denied),
    ] {
        assert_eq!(tenant_of(&format!("tenants = {tenants}"), Some(named)), expected, "{tenants}: {named}");
    }
}

#[test]
fn a_call_without_a_tenant_is_in_the_only_one_or_in_the_default_one() {
    for (lines, expected) in [
        ("tenants = [\"diku\"]", Ok("diku".to_owned())),
        ("tenants = [\"diku\", \"lib-a\"]", Err(Code::TenantMissing)),
        ("tenants = [\"*\"]", Err(Code::TenantMissing)),
        ("tenants = [\"dik*\"]", Err(Code::TenantMissing)),
        ("tenants = [\"*\"]\ndefault_tenant = \"lib-a\"", Ok("lib-a".to_owned())),
        ("tenants = [\"diku\", \"lib-a\"]\ndefault_tenant = \"diku\"", Ok("diku".to_owned())),
        ("tenants = [\"gone\"]", Err(Code::TenantDenied)),
    ] {
        assert_eq!(tenant_of(lines, None), expected, "{lines}");
    }
    let named = tenant_of("tenants = [\"*\"]\ndefault_tenant = \"lib-a\"", Some("diku"));
    assert_eq!(named, Ok("diku".to_owned()), "the header counts where it is there");
}

#[test]
fn tenants_that_a_policy_names_and_that_are_not_there_are_told_with_their_modules() {
    let policy = Policy::parse(POLICY).expect("a policy");
    let unknown_tenants = policy.unknown_tenants(|tenant| tenant.as_str() == "other");
    let told: Vec<_> = unknown_tenants.iter().map(|(tenant, modules)| (tenant.as_str(), modules.len())).collect();
    assert_eq!(told, [("diku", 3)]);
    let entry = "[[module]]\nname = \"m\"\ncn = \"m\"\ntenants = [\"*\"]\n";
    assert!(Policy::parse(entry).expect("a policy").unknown_tenants(|_| false).is_empty(), "a pattern names nobody");
    let unknown_tenants =
        Policy::parse(&format!("{entry}default_tenant = \"gone\"")).expect("a policy").unknown_tenants(|_| false);
    assert_eq!(unknown_tenants.len(), 1, "a default tenant is named");
}

#[test]
fn the_sample_policy_is_one() {
    let text = include_str!("../../../../deploy/policy.toml");
    assert_eq!(Policy::parse(text).expect("a policy").len(), 1, "nobody comes in for whom no certificate was made");
    let text = crate::config::tests::uncommented(text);
    assert_eq!(Policy::parse(&text).expect("a policy").len(), 3);
    for key in crate::config::strict::known_keys::<policy::ModuleEntry>() {
        assert!(text.lines().any(|line| line.starts_with(&format!("{key} = "))), "the sample does not show {key}");
    }
}

#[test]
fn a_module_is_one_holder_of_connections_under_any_order_of_its_names() {
    let policy = Policy::parse(POLICY).expect("a policy");
    let holder = |names: &[&str]| {
        let names = names.iter().map(|name| SanType::DnsName((*name).try_into().expect("a name"))).collect();
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        let key = KeyPair::generate().expect("a key");
        let peer = Peer::new(params.self_signed(&key).expect("a certificate").der().clone());
        policy.module(peer.names().ok()?).map(|module| module.name.to_string())
    };
    for names in [
        &["mod-dns.example.org"][..],
        &["one.example.org", "mod-dns.example.org"],
        &["mod-dns.example.org", "two.example.org"],
    ] {
        assert_eq!(holder(names).as_deref(), Some("mod-dns"), "{names:?}");
    }
    assert_eq!(holder(&["one.example.org"]), None);
}
