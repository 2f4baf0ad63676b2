//! Name constraints of authorities.

use super::{Case, MOD_URI, Must, ROOT, case};
use crate::certificates::keys::{Alg, Key};
use crate::certificates::x509::{Authority, Spec, cn, constraints, directory, dns, email, ip, other_name, uri};

const UNKNOWN: Must = Must::Refuse("CertificateUnknown");
const URI: Must = Must::Admit("mod-uri");
const DNS: Must = Must::Admit("mod-dns");

pub(super) fn cases() -> Vec<Case> {
    [dns_names(), addresses(), uris(), others(), common_names(), of_roots()].concat()
}

/// A leaf with these names below an intermediate that is limited so.
fn limited(
    name: &'static str,
    must: Must,
    (permitted, excluded): (&[Vec<u8>], &[Vec<u8>]),
    change: impl FnOnce(Spec) -> Spec,
) -> Case {
    let between = ROOT.below_with("limited", |spec| spec.with(constraints(permitted, excluded)));
    let key = Key::new();
    let leaf = change(Spec::leaf(&key)).by(&between);
    case(name, &[&ROOT], vec![leaf, between.der], key, must)
}

fn dns_names() -> Vec<Case> {
    let ours = || dns("mod-dns.example.org");
    let with = |name, must, limits: (&[Vec<u8>], &[Vec<u8>]), names: Vec<Vec<u8>>| {
        limited(name, must, limits, |spec| spec.named(&names))
    };
    vec![
        with("DNS within what is permitted", DNS, (&[dns("example.org")], &[]), vec![ours()]),
        with("DNS exactly what is permitted", DNS, (&[ours()], &[]), vec![ours()]),
        with(
            "DNS within one of two that are permitted",
            DNS,
            (&[dns("example.com"), dns("example.org")], &[]),
            vec![ours()],
        ),
        with("DNS outside of what is permitted", UNKNOWN, (&[dns("example.com")], &[]), vec![ours()]),
        with("DNS beside what is permitted", UNKNOWN, (&[dns("dns.example.org")], &[]), vec![ours()]),
        with("DNS that is excluded", UNKNOWN, (&[], &[dns("example.org")]), vec![ours()]),
        with("DNS that is permitted and excluded", UNKNOWN, (&[dns("example.org")], &[ours()]), vec![ours()]),
        with("DNS that is not excluded", DNS, (&[], &[dns("example.com")]), vec![ours()]),
        with(
            "DNS with a second name outside",
            UNKNOWN,
            (&[dns("example.org")], &[]),
            vec![ours(), dns("evil.example.com")],
        ),
        with("DNS within what is permitted but for its case", DNS, (&[dns("EXAMPLE.org")], &[]), vec![ours()]),
        with("DNS where everything is excluded", UNKNOWN, (&[], &[dns("")]), vec![ours()]),
        with("DNS where only addresses are permitted", DNS, (&[ip(&[10, 0, 0, 0, 255, 0, 0, 0])], &[]), vec![ours()]),
    ]
}

fn addresses() -> Vec<Case> {
    let within = || ip(&[10, 1, 2, 3]);
    let ten = || ip(&[10, 0, 0, 0, 255, 0, 0, 0]);
    let with = |name, must, limits: (&[Vec<u8>], &[Vec<u8>]), address: Vec<u8>| {
        limited(name, must, limits, |spec| spec.named(&[uri(MOD_URI), address]))
    };
    vec![
        with("an address within what is permitted", URI, (&[ten()], &[]), within()),
        with("an address outside of what is permitted", UNKNOWN, (&[ten()], &[]), ip(&[11, 1, 2, 3])),
        with("an address that is excluded", UNKNOWN, (&[], &[ten()]), within()),
        with("an address of the other family", UNKNOWN, (&[ten()], &[]), ip(&[0; 16])),
        with("a constraint with a mask that is none", UNKNOWN, (&[ip(&[10, 0, 0, 0, 255, 0, 255, 0])], &[]), within()),
    ]
}

/// They are not understood, and so refused (RFC 5280 §4.2.1.10: process it or reject the certificate).
fn uris() -> Vec<Case> {
    let with =
        |name, must, limits: (&[Vec<u8>], &[Vec<u8>])| limited(name, must, limits, |spec| spec.named(&[uri(MOD_URI)]));
    vec![
        with("a URI where another host is permitted", UNKNOWN, (&[uri("example.com")], &[])),
        with("a URI whose host is excluded", UNKNOWN, (&[], &[uri("example.org")])),
        with("a URI where its host is permitted, which is not understood", UNKNOWN, (&[uri("example.org")], &[])),
        with("a URI where only DNS names are limited", URI, (&[dns("example.org")], &[])),
    ]
}

fn others() -> Vec<Case> {
    let upn = || other_name("1.3.6.1.4.1.311.20.2.3", "mod-uri@example.org");
    let with = |name, must, limits: (&[Vec<u8>], &[Vec<u8>]), more: Vec<u8>| {
        limited(name, must, limits, |spec| spec.named(&[uri(MOD_URI), more]))
    };
    let subject = |name, must, limits: (&[Vec<u8>], &[Vec<u8>])| {
        limited(name, must, limits, |spec| spec.subject(cn("mod-uri")).named(&[uri(MOD_URI)]))
    };
    vec![
        with(
            "an e-mail address where they are limited",
            UNKNOWN,
            (&[email("example.org")], &[]),
            email("a@example.com"),
        ),
        with(
            "an e-mail address where nothing of it is said",
            URI,
            (&[dns("example.org")], &[]),
            email("a@example.com"),
        ),
        with("another name where such names are limited", UNKNOWN, (&[upn()], &[]), upn()),
        subject(
            "a subject where directory names are permitted, which is not understood",
            UNKNOWN,
            (&[directory(&cn("x"))], &[]),
        ),
        subject("a subject where directory names are excluded", UNKNOWN, (&[], &[directory(&cn("mod-uri"))])),
    ]
}

/// No constraint is about common names, so a common name alone is not believed below one.
fn common_names() -> Vec<Case> {
    let with =
        |name, must, limits: (&[Vec<u8>], &[Vec<u8>])| limited(name, must, limits, |spec| spec.subject(cn("mod-cn")));
    let (between, key) = (ROOT.below("unlimited"), Key::new());
    let free = vec![Spec::leaf(&key).subject(cn("mod-cn")).by(&between), between.der];
    vec![
        with("a common name alone below a limit for DNS names", UNKNOWN, (&[dns("example.com")], &[])),
        with("a common name alone below an exclusion", UNKNOWN, (&[], &[dns("example.org")])),
        case("a common name alone below an authority without limits", &[&ROOT], free, key, Must::Admit("mod-cn")),
    ]
}

fn of_roots() -> Vec<Case> {
    let root = |permitted: &[Vec<u8>]| {
        let limit = constraints(permitted, &[]);
        Authority::root_with("a limited root", Key::new(), Alg::EcdsaSha256, |spec| spec.with(limit))
    };
    let below = |name, must, root: &Authority, change: fn(Spec) -> Spec| {
        let key = Key::new();
        case(name, &[root], vec![change(Spec::leaf(&key)).by(root)], key, must)
    };
    let (org, com) = (root(&[dns("example.org")]), root(&[dns("example.com")]));
    vec![
        below("DNS within what a root permits", DNS, &org, |spec| spec.named(&[dns("mod-dns.example.org")])),
        below("DNS outside of what a root permits", UNKNOWN, &com, |spec| spec.named(&[dns("mod-dns.example.org")])),
        below("a common name alone below a limited root", UNKNOWN, &org, |spec| spec.subject(cn("mod-cn"))),
    ]
}
