//! The operators' policy file: one `[[operator]]` for each, known by their certificate as modules are, with a role.

use std::collections::BTreeMap;
use std::sync::Arc;

use figment::value::Dict;
use serde::Deserialize;
use tokenvault_vault::problem::{Code, Problem};

use super::operator_policy::{OperatorPolicy, OperatorRefusal, Role};
use crate::callers::{CertificateKey, PolicyFile, PolicyTable, ReloadablePolicy};
use crate::config::{Finding, strict};
use crate::notices::RightsLoss;
use crate::telemetry::metrics::ReloadedFile;
use crate::tls::CallerLookup;
use crate::tls::{CertificateNames, Peer};

/// An operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// The name under which acts are recorded.
    pub name: String,
    /// What they may do.
    pub role: Role,
}

/// One entry, as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OperatorEntry {
    name: String,
    uri_san: Option<String>,
    dns_san: Option<String>,
    cn: Option<String>,
    role: Role,
}

/// The longest name an operator may have.
const MAX_NAME: usize = 128;

/// Who may do what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Operators(BTreeMap<CertificateKey, Arc<Operator>>);

impl PolicyTable for Operators {
    const LIST: &'static str = "operator";

    fn add(&mut self, table: &Dict, place: &dyn Fn(&str) -> String, findings: &mut Vec<Finding>) {
        let unknown = strict::unknown_keys::<OperatorEntry>(table, place);
        if !unknown.is_empty() {
            return findings.extend(unknown);
        }
        let entry = match strict::read::<OperatorEntry>(table, place) {
            Ok(entry) => entry,
            Err(finding) => return findings.push(finding),
        };
        let key = match CertificateKey::only(entry.uri_san, entry.dns_san, entry.cn) {
            Ok(key) => key,
            Err((key, problem)) => return findings.push(Finding::new(place(key), problem)),
        };
        let fits = (1..=MAX_NAME).contains(&entry.name.len()) && entry.name.bytes().all(|b| b.is_ascii_graphic());
        if !fits {
            findings.push(Finding::new(place("name"), "must be 1 to 128 visible ASCII characters"));
        }
        if self.0.values().any(|operator| operator.name == entry.name) {
            findings.push(Finding::new(place("name"), "stands in an earlier entry already"));
        }
        if self.0.insert(key, Arc::new(Operator { name: entry.name, role: entry.role })).is_some() {
            findings.push(Finding::new(place("name"), "its certificate name stands in an earlier entry already"));
        }
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

impl ReloadablePolicy for Operators {
    const FILE: ReloadedFile = ReloadedFile::AdminPolicy;

    fn losses(&self, after: &Self) -> Vec<RightsLoss> {
        let lost = |(key, operator): (&CertificateKey, &Arc<Operator>)| {
            let found = after.0.iter().find(|(_, other)| other.name == operator.name);
            let what = match found {
                None => "everything".to_owned(),
                Some((_, other)) if other.role < operator.role => "operate".to_owned(),
                Some((other, _)) if other != key => format!("the certificate {key}"),
                Some(_) => return None,
            };
            Some(RightsLoss::new(&operator.name, what))
        };
        self.0.iter().filter_map(lost).collect()
    }
}

impl Operators {
    /// The operator a certificate belongs to. A certificate whose names match several operators belongs to none.
    pub fn operator(&self, names: &CertificateNames) -> Option<&Operator> {
        let mut found = CertificateKey::all(names).filter_map(|key| self.0.get(&key));
        let first = found.next()?;
        found.all(|other| other.name == first.name).then_some(&**first)
    }

    /// Admits the holder of a certificate to a role.
    pub fn admit(&self, peer: &Peer, needed: Role) -> Result<String, OperatorRefusal> {
        let Some(operator) = peer.names().ok().and_then(|names| self.operator(names)) else {
            let problem = Problem::new(Code::CallerUnknown, "The certificate maps to no operator.");
            return Err(OperatorRefusal { operator: None, problem });
        };
        if operator.role < needed {
            let problem = Problem::new(Code::ActionDenied, format!("{} may view, not operate.", operator.name));
            return Err(OperatorRefusal { operator: Some(operator.name.clone()), problem });
        }
        Ok(operator.name.clone())
    }
}

impl CallerLookup for PolicyFile<Operators> {
    fn caller_name(&self, peer: &Peer) -> Option<String> {
        self.current().operator(peer.names().ok()?).map(|operator| operator.name.clone())
    }
}

impl OperatorPolicy for PolicyFile<Operators> {
    fn admit(&self, peer: &Peer, needed: Role) -> Result<String, OperatorRefusal> {
        self.current().admit(peer, needed)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

    use super::*;
    use crate::notices::Notices;
    use crate::telemetry::metrics::Metrics;

    const POLICY: &str = r#"
[[operator]]
name = "alice@example.org"
uri_san = "spiffe://example.org/alice"
role = "operate"

[[operator]]
name = "bob"
dns_san = "bob.example.org"
role = "view"

[[operator]]
name = "carol"
cn = "carol"
role = "view"
"#;

    fn peer(sans: Vec<SanType>, cn: Option<&str>) -> Peer {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        if let Some(cn) = cn {
            params.distinguished_name.push(DnType::CommonName, cn);
        }
        params.subject_alt_names = sans;
        Peer::new(params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone())
    }

    fn uri(text: &str) -> SanType {
        SanType::URI(text.try_into().unwrap())
    }

    fn dns(text: &str) -> SanType {
        SanType::DnsName(text.try_into().unwrap())
    }

    fn code(peer: &Peer, needed: Role) -> Result<String, Code> {
        Operators::parse(POLICY).unwrap().admit(peer, needed).map_err(|refused| refused.problem.code)
    }

    #[test]
    fn an_operator_is_known_by_the_exact_name_of_the_right_kind() {
        let known = [
            (peer(vec![uri("spiffe://example.org/alice")], None), "alice@example.org"),
            (peer(vec![dns("BOB.example.org")], None), "bob"),
            (peer(vec![], Some("carol")), "carol"),
        ];
        for (peer, name) in &known {
            assert_eq!(code(peer, Role::View).as_deref(), Ok(*name));
        }
        let strangers = [
            peer(vec![uri("spiffe://example.org/alice/more")], None),
            peer(vec![dns("elsewhere.example.org")], Some("carol")),
            peer(vec![dns("carol")], None),
            peer(vec![uri("spiffe://example.org/alice"), dns("bob.example.org")], None),
            peer(vec![uri("spiffe://example.org/alice"), uri("spiffe://example.org/other")], None),
            peer(vec![], None),
        ];
        for peer in &strangers {
            assert_eq!(code(peer, Role::View), Err(Code::CallerUnknown), "{:?}", peer.names());
        }
    }

    #[test]
    fn who_may_view_may_not_operate() {
        let bob = peer(vec![dns("bob.example.org")], None);
        assert_eq!(code(&bob, Role::View).as_deref(), Ok("bob"));
        let refused = Operators::parse(POLICY).unwrap().admit(&bob, Role::Operate).unwrap_err();
        assert_eq!((refused.operator.as_deref(), refused.problem.code), (Some("bob"), Code::ActionDenied));
        let alice = peer(vec![uri("spiffe://example.org/alice")], None);
        assert!(code(&alice, Role::View).is_ok() && code(&alice, Role::Operate).is_ok());
    }

    #[test]
    fn what_is_wrong_in_a_policy_is_told_with_its_place() {
        let said = |text: &str| {
            let findings = Operators::parse(text).expect_err("findings");
            findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        let entry = |more: &str| format!("[[operator]]\nname = \"a\"\n{more}");
        for (text, told) in [
            (String::new(), "operator: there is none"),
            ("[[operators]]\nname = \"a\"".to_owned(), "did you mean `operator`?"),
            (entry("cn = \"x\""), "operator 1: role: is missing"),
            (entry("cn = \"x\"\nrole = \"root\""), "operator 1: role: must be one of view, operate"),
            (entry("cn = \"x\"\nroles = \"view\""), "did you mean `role`?"),
            (entry("role = \"view\""), "operator 1: name: give exactly one of uri_san, dns_san and cn"),
            (entry("role = \"view\"\ndns_san = \"*.a\""), "operator 1: dns_san: takes no wildcard"),
            (
                "[[operator]]\nname = \"a b\"\ncn = \"x\"\nrole = \"view\"".to_owned(),
                "operator 1: name: must be 1 to 128",
            ),
            (
                entry("cn = \"x\"\nrole = \"view\"\n") + &entry("cn = \"y\"\nrole = \"view\""),
                "operator 2: name: stands",
            ),
            (
                entry("cn = \"x\"\nrole = \"view\"\n")
                    + &entry("cn = \"x\"\nrole = \"view\"").replace("\"a\"", "\"b\""),
                "operator 2: name: its certificate name stands",
            ),
        ] {
            assert!(said(&text).contains(told), "{text}\n{}", said(&text));
        }
    }

    #[test]
    fn the_sample_policy_is_one_and_shows_every_key() {
        let text = include_str!("../../../../deploy/admin-policy.toml");
        assert_eq!(Operators::parse(text).unwrap().len(), 1, "nobody comes in for whom no certificate was made");
        let text = crate::config::tests::uncommented(text);
        assert_eq!(Operators::parse(&text).unwrap().len(), 3);
        for key in strict::known_keys::<OperatorEntry>() {
            assert!(text.lines().any(|line| line.starts_with(&format!("{key} = "))), "the sample does not show {key}");
        }
    }

    #[test]
    fn a_changed_policy_is_in_force_at_the_next_look_and_a_broken_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("operators.toml");
        std::fs::write(&file, POLICY).unwrap();
        let notices = Notices::new(Arc::new(Metrics::new()));
        let live = PolicyFile::<Operators>::load(&file).unwrap();
        let bob = peer(vec![dns("bob.example.org")], None);
        let may_operate = || OperatorPolicy::admit(&*live, &bob, Role::Operate).is_ok();
        assert!(!may_operate());

        std::fs::write(&file, POLICY.replace("role = \"view\"", "role = \"operate\"")).unwrap();
        live.look(&notices);
        assert!(may_operate());

        std::fs::write(&file, "[[operator]]\nname = ").unwrap();
        live.look(&notices);
        assert!(notices.refused().contains_key(&ReloadedFile::AdminPolicy));
        assert!(may_operate(), "the policy before the broken one stays");
    }
}
