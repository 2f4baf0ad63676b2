//! Who a certificate says it is.

use super::{Case, MOD_URI, Must, below_root};
use crate::certificates::der::{oid, seq, set, tlv};
use crate::certificates::x509::{
    CLIENT_AUTH, CN, DIGITAL_SIGNATURE, Spec, basics, cn, directory, dns, eku, email, ip, ku, name_of, other_name,
    registered_id, uri,
};

pub(super) fn cases() -> Vec<Case> {
    [uris(), look_alikes(), dns_names(), other_kinds(), several(), common_names()].concat()
}

/// A certificate with exactly these alternative names.
#[allow(clippy::needless_pass_by_value, reason = "so that the cases read well")]
fn named(name: &'static str, must: Must, names: Vec<Vec<u8>>) -> Case {
    below_root(name, must, |spec| bare(spec).named(&names))
}

/// Without alternative names.
fn bare(spec: Spec) -> Spec {
    spec.only(&[basics(false, None), ku(DIGITAL_SIGNATURE), eku(&[CLIENT_AUTH])])
}

fn nobody(name: &'static str, one: Vec<u8>) -> Case {
    named(name, Must::Nobody, vec![one])
}

fn uris() -> Vec<Case> {
    vec![
        named("the module's URI", Must::Admit("mod-uri"), vec![uri(MOD_URI)]),
        named("the other module's URI", Must::Admit("mod-web"), vec![uri("https://modules.example.org/mod-web")]),
        nobody("a URI of nobody's", uri("spiffe://example.org/mod-none")),
        nobody("a URI with more behind it", uri("spiffe://example.org/mod-uri/more")),
        nobody("a URI with a slash behind it", uri("spiffe://example.org/mod-uri/")),
        nobody("a URI that is only a beginning", uri("spiffe://example.org/mod-ur")),
        nobody("a URI with a query", uri("spiffe://example.org/mod-uri?x=1")),
        nobody("a URI with an empty query", uri("spiffe://example.org/mod-uri?")),
        nobody("a URI with a fragment", uri("spiffe://example.org/mod-uri#x")),
        nobody("a URI with a port", uri("https://modules.example.org:443/mod-web")),
        nobody("a URI with user information", uri("https://a@modules.example.org/mod-web")),
        nobody("a URI with a double slash", uri("spiffe://example.org//mod-uri")),
        nobody("a URI with a dot segment", uri("spiffe://example.org/x/../mod-uri")),
        nobody("a URI of another scheme", uri("http://modules.example.org/mod-web")),
        nobody("a URI of another trust domain", uri("spiffe://example.com/mod-uri")),
        nobody("a URI of a trust domain below", uri("spiffe://a.example.org/mod-uri")),
        nobody("a URI with a dot behind its host", uri("spiffe://example.org./mod-uri")),
        nobody("a URI with a wildcard", uri("spiffe://example.org/*")),
        nobody("an empty URI", uri("")),
        nobody("a URI with a space before it", uri(" spiffe://example.org/mod-uri")),
        nobody("a URI with a line end behind it", uri("spiffe://example.org/mod-uri\n")),
        nobody("the module's name as a URI", uri("mod-uri")),
    ]
}

fn look_alikes() -> Vec<Case> {
    vec![
        nobody("a URI in capitals", uri("SPIFFE://EXAMPLE.ORG/MOD-URI")),
        nobody("a URI whose host is in capitals", uri("spiffe://EXAMPLE.ORG/mod-uri")),
        nobody("a URI whose path is in capitals", uri("spiffe://example.org/MOD-URI")),
        nobody("a URI with an escaped letter", uri("spiffe://example.org/mod%2Duri")),
        nobody("a URI with an escaped slash", uri("spiffe://example.org%2Fmod-uri")),
        nobody("a URI with a zero byte", uri("spiffe://example.org/mod-uri\0")),
        nobody("a URI with a zero byte and more", uri("spiffe://example.org/mod-uri\0.evil")),
        named("a URI that is not ASCII", Must::Nobody, vec![uri("spiffe://example.org/mod-urі")]),
        named(
            "a URI that is no text",
            Must::Nobody,
            vec![uri([b"spiffe://example.org/mod-uri".as_slice(), &[0xff]].concat())],
        ),
        nobody("a DNS name that is not ASCII", dns("mоd-dns.example.org")),
        nobody("a DNS name in punycode that looks alike", dns("xn--md-dns-5of.example.org")),
        named(
            "a DNS name in punycode that is a module's",
            Must::Admit("mod-idn"),
            vec![dns("xn--mdul-9qa.example.org")],
        ),
        nobody("the same DNS name not in punycode", dns("mdul\u{e9}.example.org")),
    ]
}

fn dns_names() -> Vec<Case> {
    let ours = || Must::Admit("mod-dns");
    vec![
        named("the module's DNS name", ours(), vec![dns("mod-dns.example.org")]),
        named("the module's DNS name in capitals", ours(), vec![dns("MOD-DNS.Example.Org")]),
        named(
            "the module's DNS name beside one of nobody's",
            ours(),
            vec![dns("other.example.com"), dns("mod-dns.example.org")],
        ),
        named("the module's DNS name twice", ours(), vec![dns("mod-dns.example.org"), dns("mod-dns.example.org")]),
        nobody("a DNS name with a dot behind it", dns("mod-dns.example.org.")),
        nobody("a DNS name with a dot before it", dns(".mod-dns.example.org")),
        nobody("a DNS name below", dns("a.mod-dns.example.org")),
        nobody("a DNS name above", dns("example.org")),
        nobody("a wildcard that would fit", dns("*.example.org")),
        nobody("a wildcard for everything", dns("*")),
        nobody("a wildcard within a label", dns("mod-*.example.org")),
        nobody("a DNS name with a zero byte", dns("mod-dns.example.org\0.evil.com")),
        nobody("a DNS name with a space", dns("mod-dns.example.org ")),
        nobody("a DNS name with a port", dns("mod-dns.example.org:443")),
        nobody("an empty DNS name", dns("")),
        nobody("the first label alone", dns("mod-dns")),
    ]
}

/// The right text in the wrong kind of name.
fn other_kinds() -> Vec<Case> {
    vec![
        nobody("a module's URI as a DNS name", dns(MOD_URI)),
        nobody("a module's DNS name as a URI", uri("mod-dns.example.org")),
        nobody("a module's URI as an e-mail address", email(MOD_URI)),
        nobody("a module's DNS name as an e-mail address", email("mod-dns.example.org")),
        nobody("a module's DNS name behind an at sign", email("x@mod-dns.example.org")),
        nobody("a module's DNS name as an address", ip(b"mod-dns.example.")),
        nobody("an address", ip(&[127, 0, 0, 1])),
        nobody("a module's name as a user principal name", other_name("1.3.6.1.4.1.311.20.2.3", MOD_URI)),
        nobody("a module's name as a directory name", directory(&cn("mod-cn"))),
        nobody("a registered identifier", registered_id("1.3.6.1.4.1.99999.1")),
        nobody("a common name as a DNS name", dns("mod-cn")),
        nobody("a common name as a URI", uri("mod-cn")),
    ]
}

fn several() -> Vec<Case> {
    let with_cn = |name, must, common: &'static str, names: Vec<Vec<u8>>| {
        below_root(name, must, |spec| bare(spec).subject(cn(common)).named(&names))
    };
    vec![
        named("two URIs, the first a module's", Must::Nobody, vec![uri(MOD_URI), uri("spiffe://example.org/other")]),
        named("two URIs, the second a module's", Must::Nobody, vec![uri("spiffe://example.org/other"), uri(MOD_URI)]),
        named("the same URI twice", Must::Nobody, vec![uri(MOD_URI), uri(MOD_URI)]),
        named("two URIs of two modules", Must::Nobody, vec![uri(MOD_URI), uri("https://modules.example.org/mod-web")]),
        named(
            "two URIs and a module's DNS name",
            Must::Nobody,
            vec![uri("a:b"), uri("c:d"), dns("mod-dns.example.org")],
        ),
        named("DNS names of two modules", Must::Nobody, vec![dns("mod-dns.example.org"), dns("mod-two.example.org")]),
        named("a URI and a DNS name of two modules", Must::Nobody, vec![uri(MOD_URI), dns("mod-dns.example.org")]),
        named(
            "a module's URI and a DNS name of nobody's",
            Must::Admit("mod-uri"),
            vec![uri(MOD_URI), dns("pod.local")],
        ),
        named(
            "a URI of nobody's and a module's DNS name",
            Must::Admit("mod-dns"),
            vec![uri("a:b"), dns("mod-dns.example.org")],
        ),
        named(
            "a module's URI, an address and an e-mail address",
            Must::Admit("mod-uri"),
            vec![ip(&[10, 0, 0, 1]), email("a@example.org"), uri(MOD_URI)],
        ),
        named("no alternative name in the extension", Must::Nobody, vec![]),
        with_cn("an empty list of names beside a module's common name", Must::Nobody, "mod-cn", vec![]),
        with_cn(
            "a common name beside a URI of nobody's",
            Must::Nobody,
            "mod-cn",
            vec![uri("spiffe://example.org/other")],
        ),
        with_cn("a common name beside a DNS name of nobody's", Must::Nobody, "mod-cn", vec![dns("other.example.org")]),
        with_cn("a common name beside an e-mail address", Must::Nobody, "mod-cn", vec![email("a@example.org")]),
        with_cn("a common name beside another module's URI", Must::Admit("mod-uri"), "mod-cn", vec![uri(MOD_URI)]),
    ]
}

fn common_names() -> Vec<Case> {
    let subject = |name, must, subject: Vec<u8>| below_root(name, must, |spec| bare(spec).subject(subject));
    let text = |tag, text: &[u8]| name_of(&[(CN, tag, text)]);
    let two_in_one = seq(&[set(&[seq(&[oid(CN), tlv(0x0c, b"mod-cn")]), seq(&[oid(CN), tlv(0x0c, b"other")])])]);
    let ours = || Must::Admit("mod-cn");
    vec![
        subject("a common name alone", ours(), cn("mod-cn")),
        subject("a common name as a printable string", ours(), text(0x13, b"mod-cn")),
        subject(
            "a common name with an organisation",
            ours(),
            name_of(&[("2.5.4.10", 0x0c, b"FOLIO"), (CN, 0x0c, b"mod-cn")]),
        ),
        subject(
            "a common name that is a URI, as the policy has it",
            Must::Admit("mod-cn-uri"),
            cn("spiffe://example.org/mod-cn-uri"),
        ),
        subject("a common name that is a module's URI", Must::Nobody, cn(MOD_URI)),
        subject("a common name that is a module's DNS name", Must::Nobody, cn("mod-dns.example.org")),
        subject("a common name of nobody's", Must::Nobody, cn("mod-none")),
        subject("a common name in capitals", Must::Nobody, cn("MOD-CN")),
        subject("a common name with a space", Must::Nobody, cn("mod-cn ")),
        subject("a common name with a zero byte", Must::Nobody, cn("mod-cn\0")),
        subject("a common name in two-byte characters", Must::Nobody, text(0x1e, b"\0m\0o\0d\0-\0c\0n")),
        subject("a common name that is no text", Must::Nobody, text(0x0c, b"mod-cn\xff")),
        subject("an empty common name", Must::Nobody, cn("")),
        subject("two common names", Must::Nobody, name_of(&[(CN, 0x0c, b"mod-cn"), (CN, 0x0c, b"other")])),
        subject(
            "two common names, the last a module's",
            Must::Nobody,
            name_of(&[(CN, 0x0c, b"other"), (CN, 0x0c, b"mod-cn")]),
        ),
        subject("the same common name twice", Must::Nobody, name_of(&[(CN, 0x0c, b"mod-cn"), (CN, 0x0c, b"mod-cn")])),
        subject("two common names in one", Must::Nobody, two_in_one),
        subject("a module's name as an organisation", Must::Nobody, name_of(&[("2.5.4.10", 0x0c, b"mod-cn")])),
        subject(
            "a module's name as a user id",
            Must::Nobody,
            name_of(&[("0.9.2342.19200300.100.1.1", 0x0c, b"mod-cn")]),
        ),
        subject("no name at all", Must::Nobody, name_of(&[])),
        subject(
            "a subject with an e-mail address",
            Must::Nobody,
            name_of(&[("1.2.840.113549.1.9.1", 0x16, b"mod-cn")]),
        ),
    ]
}
