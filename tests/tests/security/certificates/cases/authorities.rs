//! Whose signature it is, whose key, and when.

use super::{Case, Must, ROOT, below_root, case, module};
use crate::certificates::keys::{Alg, Key};
use crate::certificates::x509::{
    Authority, CERT_SIGN, CRL_SIGN, DAY, DIGITAL_SIGNATURE, HOUR, Spec, basics, cn, ku, uri,
};

const OURS: Must = Must::Admit("mod-uri");

pub(super) fn cases() -> Vec<Case> {
    [strangers(), times(), keys(), roots()].concat()
}

/// A leaf of this authority's, shown to a listener that trusts these.
fn leaf_of(name: &'static str, issuer: &Authority, trusted: &[&Authority], must: Must) -> Case {
    let key = Key::new();
    let leaf = module(&key).by(issuer);
    case(name, trusted, vec![leaf], key, must)
}

fn strangers() -> Vec<Case> {
    let (stranger, namesake) = (Authority::root("strangers"), Authority::root("modules"));
    let key = Key::new();
    let self_signed = Spec { issuer: cn("mod-uri"), ..module(&key).subject(cn("mod-uri")) };
    let named_as_root = Spec { issuer: ROOT.name.clone(), ..module(&key) };
    let itself = |spec: &Spec| vec![spec.signed(&key, Alg::EcdsaSha256)];
    let with_root = vec![module(&key).by(&stranger), stranger.der.clone()];
    let with_ours = vec![module(&key).by(&stranger), ROOT.der.clone()];
    vec![
        leaf_of("a leaf of the modules' authority", &ROOT, &[&ROOT], OURS),
        leaf_of("a leaf of a stranger's authority", &stranger, &[&ROOT], Must::Refuse("UnknownCA")),
        leaf_of(
            "a leaf of an authority of the same name with another key",
            &namesake,
            &[&ROOT],
            Must::Refuse("DecryptError"),
        ),
        leaf_of("a leaf of one of two trusted authorities", &stranger, &[&ROOT, &stranger], OURS),
        leaf_of("a leaf of one of two trusted authorities of one name", &namesake, &[&ROOT, &namesake], OURS),
        case("a stranger's leaf with its root beside it", &[&ROOT], with_root, key.clone(), Must::Refuse("UnknownCA")),
        case("a stranger's leaf with our root beside it", &[&ROOT], with_ours, key.clone(), Must::Refuse("UnknownCA")),
        case("a self-signed twin", &[&ROOT], itself(&self_signed), key.clone(), Must::Refuse("UnknownCA")),
        case(
            "a self-signed twin that names our authority as its issuer",
            &[&ROOT],
            itself(&named_as_root),
            key.clone(),
            Must::Refuse("DecryptError"),
        ),
        case(
            "our authority's own certificate with its key",
            &[&ROOT],
            vec![ROOT.der.clone()],
            ROOT.key.clone(),
            Must::Refuse("CertificateUnknown"),
        ),
        case(
            "our authority's own certificate with another key",
            &[&ROOT],
            vec![ROOT.der.clone()],
            key.clone(),
            Must::Refuse("CertificateUnknown"),
        ),
        case("no certificate", &[&ROOT], vec![], key, Must::Refuse("CertificateRequired")),
    ]
}

fn times() -> Vec<Case> {
    let expired = || Must::Refuse("CertificateExpired");
    vec![
        below_root("expired an hour ago", expired(), |spec| spec.valid(-DAY, -HOUR)),
        below_root("expired a second ago", expired(), |spec| spec.valid(-DAY, -1)),
        below_root("not yet valid", expired(), |spec| spec.valid(HOUR, DAY)),
        below_root("valid from tomorrow", expired(), |spec| spec.valid(DAY, 2 * DAY)),
        below_root("valid backwards", expired(), |spec| spec.valid(DAY, -DAY)),
        below_root("valid for an hour more", OURS, |spec| spec.valid(-DAY, HOUR)),
        below_root("valid since this minute", OURS, |spec| spec.valid(-60, HOUR)),
        below_root("valid beyond 2050", OURS, |spec| spec.valid(-DAY, 40 * 365 * DAY)),
        below_root("expired in the last century", expired(), |spec| spec.valid(-50 * 365 * DAY, -40 * 365 * DAY)),
    ]
}

fn keys() -> Vec<Case> {
    let (own, other) = (Key::new(), Key::new());
    let leaf = || vec![module(&own).by(&ROOT)];
    let mut old = case("a good certificate over TLS 1.2", &[&ROOT], leaf(), own.clone(), OURS);
    let mut old_thief =
        case("somebody else's certificate over TLS 1.2", &[&ROOT], leaf(), other.clone(), Must::Refuse("DecryptError"));
    (old.tls12, old_thief.tls12) = (true, true);
    vec![
        case("a good certificate with its key", &[&ROOT], leaf(), own.clone(), OURS),
        case("somebody else's certificate with another key", &[&ROOT], leaf(), other, Must::Refuse("DecryptError")),
        case(
            "somebody else's certificate with its issuer's key",
            &[&ROOT],
            leaf(),
            ROOT.key.clone(),
            Must::Refuse("DecryptError"),
        ),
        old,
        old_thief,
    ]
}

fn roots() -> Vec<Case> {
    let root = |change: fn(Spec) -> Spec| Authority::root_with("another root", Key::new(), Alg::EcdsaSha256, change);
    let expired = root(|spec| spec.valid(-2 * DAY, -DAY));
    let early = root(|spec| spec.valid(HOUR, DAY));
    let renewed = {
        let spec = Spec { issuer: expired.name.clone(), ..Spec::authority(&expired.name, &expired.key) };
        Authority { der: spec.signed(&expired.key, expired.alg), ..expired.clone() }
    };
    let no_sign = root(|spec| spec.only(&[basics(true, None), ku(DIGITAL_SIGNATURE | CRL_SIGN)]));
    let no_basics = root(|spec| spec.only(&[ku(CERT_SIGN | CRL_SIGN)]));
    let not_ca = root(|spec| spec.only(&[basics(false, None), ku(CERT_SIGN)]));
    let old = root(|spec| Spec { version: None, extensions: None, ..spec });
    let no_usage = root(|spec| spec.only(&[basics(true, None)]));
    let (key, pinned_key) = (Key::new(), Key::new());
    let pinned = Authority {
        name: cn("mod-uri"),
        key: pinned_key.clone(),
        alg: Alg::EcdsaSha256,
        der: module(&pinned_key).subject(cn("mod-uri")).by(&ROOT),
    };
    let below_pinned = vec![Spec::leaf(&key).named(&[uri(super::MOD_URI)]).by(&pinned)];
    let not_authority = "is not that of an authority";
    vec![
        leaf_of("a leaf of an expired authority", &expired, &[&expired], Must::Refuse("CertificateExpired")),
        leaf_of("a leaf of an authority that is not valid yet", &early, &[&early], Must::Refuse("CertificateExpired")),
        leaf_of(
            "a leaf of an authority whose renewed certificate stands beside the old one",
            &expired,
            &[&expired, &renewed],
            OURS,
        ),
        leaf_of("a leaf of a good authority beside an expired one", &ROOT, &[&expired, &ROOT], OURS),
        leaf_of("a root whose key may not sign certificates", &no_sign, &[&no_sign], Must::NotLoad(not_authority)),
        leaf_of("a root without basic constraints", &no_basics, &[&no_basics], Must::NotLoad(not_authority)),
        leaf_of("a root that says it is no authority", &not_ca, &[&not_ca], Must::NotLoad(not_authority)),
        leaf_of("a root of version 1", &old, &[&old], Must::NotLoad(not_authority)),
        leaf_of("a root without a key usage", &no_usage, &[&no_usage], OURS),
        case(
            "a module's certificate among the authorities",
            &[&ROOT, &pinned],
            below_pinned,
            key,
            Must::NotLoad(not_authority),
        ),
    ]
}
