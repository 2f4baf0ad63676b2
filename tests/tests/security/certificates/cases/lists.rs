//! Revocation lists: who stands on one, and which one counts.

use super::{Case, Must, ROOT, case, module};
use crate::certificates::der::{boolean, integer, octets, seq, tlv};
use crate::certificates::keys::{Alg, Key};
use crate::certificates::x509::{
    Authority, CERT_SIGN, DAY, DIGITAL_SIGNATURE, HOUR, List, basics, distribution_point, ext, ku, uri,
};

const OURS: Must = Must::Admit("mod-uri");
const REVOKED: Must = Must::Refuse("CertificateRevoked");
/// Whether it is revoked cannot be known.
const UNKNOWN: Must = Must::Refuse("UnknownCA");
const SERIAL: &[u8] = &[0x5e, 0x41, 0xa1];
const OTHER: &[u8] = &[0x5e, 0x41, 0xa2];

pub(super) fn cases() -> Vec<Case> {
    [revocations(), authorities(), states(), kinds(), intermediates()].concat()
}

/// A leaf with this serial number below the root, and these lists.
fn leaf(name: &'static str, must: Must, serial: &[u8], lists: Vec<Vec<u8>>) -> Case {
    let key = Key::new();
    let chain = vec![module(&key).serial(serial).by(&ROOT)];
    case(name, &[&ROOT], chain, key, must).lists(lists)
}

fn ours(serials: &[&[u8]]) -> List {
    List::of(&ROOT, serials)
}

fn revocations() -> Vec<Case> {
    let many: Vec<Vec<u8>> = (0..2000_u16).map(|at| [&[0x7f], at.to_be_bytes().as_slice()].concat()).collect();
    let many = ours(&many.iter().map(Vec::as_slice).collect::<Vec<_>>()).by(&ROOT);
    let reason = |code| List { entry: vec![ext("2.5.29.21", false, &[0x0a, 1, code])], ..ours(&[SERIAL]) }.by(&ROOT);
    vec![
        leaf("an empty list", OURS, SERIAL, vec![ours(&[]).by(&ROOT)]),
        leaf("on the list", REVOKED, SERIAL, vec![ours(&[SERIAL]).by(&ROOT)]),
        leaf("a neighbour on the list", OURS, SERIAL, vec![ours(&[OTHER]).by(&ROOT)]),
        leaf("on the list with another", REVOKED, SERIAL, vec![ours(&[OTHER, SERIAL]).by(&ROOT)]),
        leaf("the same serial number with another key", REVOKED, SERIAL, vec![ours(&[SERIAL]).by(&ROOT)]),
        leaf("not among two thousand", OURS, SERIAL, vec![many.clone()]),
        leaf("among two thousand", REVOKED, &[0x7f, 0x03, 0xe8], vec![many]),
        leaf("revoked for its key", REVOKED, SERIAL, vec![reason(1)]),
        leaf("superseded", REVOKED, SERIAL, vec![reason(4)]),
        leaf("on hold", REVOKED, SERIAL, vec![reason(6)]),
        leaf(
            "on the newer of two lists",
            REVOKED,
            SERIAL,
            vec![List { since: -2 * HOUR, ..ours(&[]) }.by(&ROOT), ours(&[SERIAL]).by(&ROOT)],
        ),
        leaf(
            "on the older of two lists alone",
            OURS,
            SERIAL,
            vec![List { since: -2 * HOUR, ..ours(&[SERIAL]) }.by(&ROOT), ours(&[]).by(&ROOT)],
        ),
    ]
}

/// The same numbers at several authorities.
fn authorities() -> Vec<Case> {
    let (second, namesake) = (Authority::root("second"), Authority::root("modules"));
    let of = |name, must, issuer: &Authority, trusted: &[&Authority], lists: Vec<Vec<u8>>| {
        let key = Key::new();
        let chain = vec![module(&key).serial(SERIAL).by(issuer)];
        case(name, trusted, chain, key, must).lists(lists)
    };
    let list = |authority: &Authority, serials: &[&[u8]]| List::of(authority, serials).by(authority);
    let both = [&*ROOT, &second];
    let namesakes = [&*ROOT, &namesake];
    let silent = Authority::root_with("silent", Key::new(), Alg::EcdsaSha256, |spec| {
        spec.only(&[basics(true, None), ku(CERT_SIGN | DIGITAL_SIGNATURE)])
    });
    vec![
        of(
            "the same number revoked at another authority",
            OURS,
            &ROOT,
            &both,
            vec![list(&ROOT, &[]), list(&second, &[SERIAL])],
        ),
        of(
            "revoked at the second authority",
            REVOKED,
            &second,
            &both,
            vec![list(&ROOT, &[]), list(&second, &[SERIAL])],
        ),
        of("no list of the second authority", UNKNOWN, &second, &both, vec![list(&ROOT, &[])]),
        of("a list of a stranger alone", UNKNOWN, &ROOT, &[&ROOT], vec![list(&second, &[])]),
        of(
            "lists of namesakes: not on its own",
            OURS,
            &ROOT,
            &namesakes,
            vec![list(&namesake, &[SERIAL]), list(&ROOT, &[])],
        ),
        of(
            "lists of namesakes: not on its own, in the other order",
            OURS,
            &ROOT,
            &namesakes,
            vec![list(&ROOT, &[]), list(&namesake, &[SERIAL])],
        ),
        of(
            "lists of namesakes: on its own",
            REVOKED,
            &namesake,
            &namesakes,
            vec![list(&ROOT, &[]), list(&namesake, &[SERIAL])],
        ),
        of(
            "a namesake without a list",
            Must::Refuse("HandshakeFailure"),
            &namesake,
            &namesakes,
            vec![list(&ROOT, &[])],
        ),
        of(
            "lists of namesakes: the second's leaf on no list",
            OURS,
            &namesake,
            &namesakes,
            vec![list(&ROOT, &[SERIAL]), list(&namesake, &[])],
        ),
        of(
            "lists of namesakes: an older list of its own beside the newer one",
            REVOKED,
            &namesake,
            &namesakes,
            vec![
                list(&ROOT, &[]),
                list(&namesake, &[SERIAL]),
                List { since: -2 * HOUR, ..List::of(&namesake, &[]) }.by(&namesake),
            ],
        ),
        of(
            "a list of an authority that may sign none",
            Must::NotLoad("may not sign lists"),
            &silent,
            &[&silent],
            vec![list(&silent, &[])],
        ),
    ]
}

fn states() -> Vec<Case> {
    let stranger = Key::new();
    let mut flipped = ours(&[]).by(&ROOT);
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    vec![
        leaf(
            "an expired list without it",
            UNKNOWN,
            SERIAL,
            vec![List { since: -DAY, until: Some(-HOUR), ..ours(&[]) }.by(&ROOT)],
        ),
        leaf(
            "a list that expired a second ago",
            UNKNOWN,
            SERIAL,
            vec![List { until: Some(-1), ..ours(&[]) }.by(&ROOT)],
        ),
        leaf(
            "an expired list beside a good one",
            OURS,
            SERIAL,
            vec![List { since: -DAY, until: Some(-HOUR), ..ours(&[]) }.by(&ROOT), ours(&[]).by(&ROOT)],
        ),
        leaf(
            "a list signed by somebody else",
            Must::Refuse("HandshakeFailure"),
            SERIAL,
            vec![ours(&[]).signed(&stranger, Alg::EcdsaSha256)],
        ),
        leaf("a list with a bit flipped", Must::Refuse("HandshakeFailure"), SERIAL, vec![flipped]),
        leaf(
            "a list signed with SHA-1",
            Must::Refuse("HandshakeFailure"),
            SERIAL,
            vec![ours(&[]).signed(&ROOT.key, Alg::EcdsaSha1)],
        ),
    ]
}

/// Lists of a kind that is not supported are not taken for something else.
fn kinds() -> Vec<Case> {
    let point = |parts: &[Vec<u8>]| ext("2.5.29.28", true, &seq(parts));
    let unusable = "cannot be used";
    let with = |name, must, list: List| leaf(name, must, SERIAL, vec![list.by(&ROOT)]);
    let at = || tlv(0xa0, &tlv(0xa0, &uri("http://crl.example.org/1.crl")));
    let mut sharded = leaf(
        "a list for part of the certificates, this one's",
        OURS,
        SERIAL,
        vec![ours(&[]).with(point(&[at()])).by(&ROOT)],
    );
    sharded.chain =
        vec![module(&sharded.key).serial(SERIAL).with(distribution_point("http://crl.example.org/1.crl")).by(&ROOT)];
    let mut elsewhere = sharded.clone();
    elsewhere.name = "a list for another part of the certificates";
    elsewhere.chain =
        vec![module(&sharded.key).serial(SERIAL).with(distribution_point("http://crl.example.org/2.crl")).by(&ROOT)];
    elsewhere.must = UNKNOWN;
    vec![
        with("a delta list", Must::NotLoad(unusable), ours(&[]).with(ext("2.5.29.27", true, &integer(&[1])))),
        with("an indirect list", Must::NotLoad(unusable), ours(&[]).with(point(&[at(), tlv(0x84, &[0xff])]))),
        with("a list of authorities alone", UNKNOWN, ours(&[]).with(point(&[at(), tlv(0x82, &[0xff])]))),
        with("a list of users alone", OURS, ours(&[]).with(point(&[at(), tlv(0x81, &[0xff])]))),
        with(
            "a list of attribute certificates",
            Must::NotLoad(unusable),
            ours(&[]).with(point(&[at(), tlv(0x85, &[0xff])])),
        ),
        with(
            "a list of some reasons alone",
            Must::NotLoad(unusable),
            ours(&[]).with(point(&[at(), tlv(0x83, &[6, 0x40])])),
        ),
        with("a list of version 1", Must::NotLoad(unusable), List { version: None, extensions: vec![], ..ours(&[]) }),
        with("a list without an end", Must::NotLoad(unusable), List { until: None, ..ours(&[]) }),
        with("a list without a number", Must::NotLoad(unusable), List { extensions: vec![], ..ours(&[]) }),
        with(
            "a list with an unknown critical extension",
            Must::NotLoad(unusable),
            ours(&[]).with(ext("1.3.6.1.4.1.99999.7", true, &octets(b"?"))),
        ),
        with(
            "a list with an unknown extension",
            OURS,
            ours(&[]).with(ext("1.3.6.1.4.1.99999.7", false, &boolean(true))),
        ),
        leaf("garbage instead of a list", Must::NotLoad(unusable), SERIAL, vec![b"no list".to_vec()]),
        sharded,
        elsewhere,
    ]
}

fn intermediates() -> Vec<Case> {
    const BETWEEN: &[u8] = &[0x2b, 0x17];
    let between = ROOT.below_with("between", |spec| spec.serial(BETWEEN));
    let list = |authority: &Authority, serials: &[&[u8]]| List::of(authority, serials).by(authority);
    let show = |name, must, lists: Vec<Vec<u8>>| {
        let key = Key::new();
        let chain = vec![module(&key).serial(SERIAL).by(&between), between.der.clone()];
        case(name, &[&ROOT], chain, key, must).lists(lists)
    };
    let late = List { since: -DAY, until: Some(-HOUR), ..List::of(&ROOT, &[]) }.by(&ROOT);
    vec![
        show("an intermediate and lists of both authorities", OURS, vec![list(&ROOT, &[]), list(&between, &[])]),
        show("an intermediate that is revoked", REVOKED, vec![list(&ROOT, &[BETWEEN]), list(&between, &[])]),
        show("revoked by its intermediate", REVOKED, vec![list(&ROOT, &[]), list(&between, &[SERIAL])]),
        show("an intermediate, and its list alone", OURS, vec![list(&between, &[])]),
        show("an intermediate, and the root's list alone", UNKNOWN, vec![list(&ROOT, &[])]),
        show("an intermediate, and an expired list of the root's", UNKNOWN, vec![late, list(&between, &[])]),
        show("the leaf's number on the root's list", OURS, vec![list(&ROOT, &[SERIAL]), list(&between, &[])]),
    ]
}
