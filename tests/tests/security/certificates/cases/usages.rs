//! What a certificate may be used for.

use super::{Case, MOD_URI, Must, ROOT, below_root, case};
use crate::certificates::der::{boolean, integer, octets, oid, seq, tlv};
use crate::certificates::keys::Key;
use crate::certificates::x509::{
    ANY_USAGE, Authority, CERT_SIGN, CLIENT_AUTH, DIGITAL_SIGNATURE, KEY_ENCIPHERMENT, SERVER_AUTH, Spec, basics, dns,
    eku, ext, ku, san, uri,
};

const OURS: Must = Must::Admit("mod-uri");
const PURPOSE: Must = Must::Refuse("UnsupportedCertificate");
const UNKNOWN: Must = Must::Refuse("CertificateUnknown");

pub(super) fn cases() -> Vec<Case> {
    [purposes(), key_usages(), basic_constraints(), critical(), below()].concat()
}

fn name() -> Vec<u8> {
    san(&[uri(MOD_URI)])
}

fn with_purposes(title: &'static str, must: Must, usages: &'static [&'static str]) -> Case {
    below_root(title, must, |spec| spec.only(&[basics(false, None), ku(DIGITAL_SIGNATURE), eku(usages), name()]))
}

fn purposes() -> Vec<Case> {
    vec![
        with_purposes("for clients", OURS, &[CLIENT_AUTH]),
        with_purposes("for clients and servers", OURS, &[SERVER_AUTH, CLIENT_AUTH]),
        with_purposes("for servers", PURPOSE, &[SERVER_AUTH]),
        with_purposes("for code", PURPOSE, &["1.3.6.1.5.5.7.3.3"]),
        with_purposes("for e-mail", PURPOSE, &["1.3.6.1.5.5.7.3.4"]),
        with_purposes("for OCSP", PURPOSE, &["1.3.6.1.5.5.7.3.9"]),
        with_purposes("for smart cards", PURPOSE, &["1.3.6.1.4.1.311.20.2.2"]),
        with_purposes("for anything", PURPOSE, &[ANY_USAGE]),
        with_purposes("for no purpose at all", UNKNOWN, &[]),
        // RFC 5280 §4.2.1.12: without the extension a certificate is not restricted.
        below_root("without a purpose", OURS, |spec| spec.only(&[basics(false, None), ku(DIGITAL_SIGNATURE), name()])),
        below_root("a server's certificate with a module's name", PURPOSE, |spec| {
            spec.only(&[basics(false, None), eku(&[SERVER_AUTH]), san(&[uri(MOD_URI), dns("localhost")])])
        }),
        below_root("a purpose that is not well-formed", Must::Refuse("BadCertificate"), |spec| {
            spec.only(&[basics(false, None), ext("2.5.29.37", false, &[0x30, 0x03, 0x06]), name()])
        }),
    ]
}

fn key_usages() -> Vec<Case> {
    let used = |title, must, usage: Vec<Vec<u8>>| {
        below_root(title, must, |spec| {
            spec.only(&[vec![basics(false, None), eku(&[CLIENT_AUTH]), name()], usage].concat())
        })
    };
    vec![
        used("a key that may sign", OURS, vec![ku(DIGITAL_SIGNATURE)]),
        used("a key that may sign and encipher", OURS, vec![ku(DIGITAL_SIGNATURE | KEY_ENCIPHERMENT)]),
        used("a key without a usage", OURS, vec![]),
        used("a key that may only encipher", PURPOSE, vec![ku(KEY_ENCIPHERMENT)]),
        used("a key that may only sign certificates", PURPOSE, vec![ku(CERT_SIGN)]),
        used("a key that may do nothing", PURPOSE, vec![ext("2.5.29.15", true, &tlv(0x03, &[0]))]),
        used("a key usage that is no bit string", PURPOSE, vec![ext("2.5.29.15", true, &octets(&[0x80]))]),
    ]
}

fn basic_constraints() -> Vec<Case> {
    let with = |title, must, first: Vec<Vec<u8>>| {
        let rest = vec![ku(DIGITAL_SIGNATURE | CERT_SIGN), eku(&[CLIENT_AUTH]), name()];
        below_root(title, must, |spec| spec.only(&[first, rest].concat()))
    };
    vec![
        with("no authority, it says", OURS, vec![basics(false, None)]),
        with("without basic constraints", OURS, vec![]),
        with("an authority below ours, shown as a leaf", UNKNOWN, vec![basics(true, None)]),
        with("an authority with a path length of zero, shown as a leaf", UNKNOWN, vec![basics(true, Some(0))]),
        with(
            "basic constraints that are no sequence",
            Must::Refuse("BadCertificate"),
            vec![ext("2.5.29.19", true, &integer(&[1]))],
        ),
        // RFC 5280 §4.2.1.9 forbids it to whoever issues it; it gives nothing to whoever shows it.
        with("a path length without being an authority", OURS, vec![ext("2.5.29.19", true, &seq(&[integer(&[0])]))]),
        with(
            "basic constraints with something behind them",
            UNKNOWN,
            vec![ext("2.5.29.19", true, &seq(&[boolean(true), integer(&[0]), integer(&[0])]))],
        ),
    ]
}

fn critical() -> Vec<Case> {
    let with = |title, must, extension: Vec<u8>| below_root(title, must, |spec| spec.with(extension));
    let policies = seq(&[seq(&[oid("1.3.6.1.4.1.99999.1")])]);
    vec![
        with("an unknown critical extension", UNKNOWN, ext("1.3.6.1.4.1.99999.7", true, &octets(b"?"))),
        with("an unknown extension that is not critical", OURS, ext("1.3.6.1.4.1.99999.7", false, &octets(b"?"))),
        with("critical policies", UNKNOWN, ext("2.5.29.32", true, &policies)),
        with("policies that are not critical", OURS, ext("2.5.29.32", false, &policies)),
        with("critical policy constraints", UNKNOWN, ext("2.5.29.36", true, &seq(&[tlv(0x80, &[0])]))),
        with("a critical inhibition of any policy", UNKNOWN, ext("2.5.29.54", true, &integer(&[0]))),
        with("a critical extension of the private arc of the issuer", UNKNOWN, ext("2.5.29.99", true, &octets(b""))),
        below_root("critical alternative names", OURS, |spec| {
            spec.only(&[eku(&[CLIENT_AUTH]), ext("2.5.29.17", true, &seq(&[uri(MOD_URI)]))])
        }),
        below_root("a critical purpose", OURS, |spec| {
            spec.only(&[ext("2.5.29.37", true, &seq(&[oid(CLIENT_AUTH)])), name()])
        }),
    ]
}

/// The same for intermediates.
fn below() -> Vec<Case> {
    let through = |title, must, change: fn(Spec) -> Spec| {
        let (between, key): (Authority, _) = (ROOT.below_with("between", change), Key::new());
        let leaf = super::module(&key).by(&between);
        case(title, &[&ROOT], vec![leaf, between.der], key, must)
    };
    vec![
        through("an intermediate", OURS, |spec| spec),
        through("an intermediate for clients", OURS, |spec| spec.with(eku(&[CLIENT_AUTH]))),
        through("an intermediate for servers", PURPOSE, |spec| spec.with(eku(&[SERVER_AUTH]))),
        through("an intermediate whose key may not sign certificates", PURPOSE, |spec| {
            spec.only(&[basics(true, None), ku(DIGITAL_SIGNATURE)])
        }),
        through("an intermediate without a key usage", OURS, |spec| spec.only(&[basics(true, None)])),
        through("an intermediate without basic constraints", UNKNOWN, |spec| spec.only(&[ku(CERT_SIGN)])),
        through("an intermediate that says it is no authority", UNKNOWN, |spec| {
            spec.only(&[basics(false, None), ku(CERT_SIGN)])
        }),
        through("an intermediate with an unknown critical extension", UNKNOWN, |spec| {
            spec.with(ext("1.3.6.1.4.1.99999.7", true, &octets(b"?")))
        }),
        through("an intermediate of version 1", UNKNOWN, |spec| Spec { version: None, extensions: None, ..spec }),
    ]
}
