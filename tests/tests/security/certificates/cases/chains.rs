//! The way from a leaf to an authority.

use super::{Case, Must, ROOT, case, module};
use crate::certificates::keys::{Alg, Key};
use crate::certificates::x509::{Authority, DAY, HOUR, Spec, basics, ku};
use crate::certificates::x509::{CERT_SIGN, CRL_SIGN};

const OURS: Must = Must::Admit("mod-uri");
const NO_WAY: Must = Must::Refuse("UnknownCA");
const UNKNOWN: Must = Must::Refuse("CertificateUnknown");

pub(super) fn cases() -> Vec<Case> {
    [orders(), lengths(), path_lengths(), intermediates(), crosses()].concat()
}

/// So many authorities, one below the other.
fn ladder(root: &Authority, steps: usize) -> Vec<Authority> {
    const NAMES: [&str; 9] = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
    let mut ladder: Vec<Authority> = Vec::new();
    for name in &NAMES[..steps] {
        let next = ladder.last().unwrap_or(root).below(name);
        ladder.push(next);
    }
    ladder
}

/// A leaf at the foot of a ladder, and the ladder's certificates from the leaf's issuer upwards.
fn at_foot(ladder: &[Authority], root: &Authority) -> (Key, Vec<u8>, Vec<Vec<u8>>) {
    let key = Key::new();
    let leaf = module(&key).by(ladder.last().unwrap_or(root));
    (key, leaf, ladder.iter().rev().map(|authority| authority.der.clone()).collect())
}

fn orders() -> Vec<Case> {
    let steps = ladder(&ROOT, 3);
    let (key, leaf, up) = at_foot(&steps, &ROOT);
    let show =
        |name, rest: Vec<Vec<u8>>, must| case(name, &[&ROOT], [vec![leaf.clone()], rest].concat(), key.clone(), must);
    let down: Vec<Vec<u8>> = up.iter().rev().cloned().collect();
    let stranger = Authority::root("strangers");
    let mut doubled = up.clone();
    doubled.extend(up.clone());
    vec![
        show("three intermediates", up.clone(), OURS),
        show("three intermediates out of order", down, OURS),
        show("three intermediates and the root", [up.clone(), vec![ROOT.der.clone()]].concat(), OURS),
        show("three intermediates twice", doubled, OURS),
        show("three intermediates and a stranger", [up.clone(), vec![stranger.der.clone()]].concat(), OURS),
        show("the issuer is missing", up[1..].to_vec(), NO_WAY),
        show("the middle is missing", vec![up[0].clone(), up[2].clone()], NO_WAY),
        show("the uppermost is missing", up[..2].to_vec(), NO_WAY),
        show("all intermediates are missing", vec![], NO_WAY),
        show("the leaf once more instead of its issuer", vec![leaf.clone()], NO_WAY),
        case("the issuer before the leaf", &[&ROOT], vec![up[0].clone(), leaf.clone()], key.clone(), UNKNOWN),
    ]
}

fn lengths() -> Vec<Case> {
    let of = |name, steps, must| {
        let (key, leaf, up) = at_foot(&ladder(&ROOT, steps), &ROOT);
        case(name, &[&ROOT], [vec![leaf], up].concat(), key, must)
    };
    let (key, leaf, _) = at_foot(&[], &ROOT);
    let crowd: Vec<Vec<u8>> = (0..40).map(|_| ROOT.below("crowd").der).collect();
    let loops = Authority::root("loops");
    let back = Spec { issuer: loops.name.clone(), ..Spec::authority(&loops.name, &loops.key) };
    let looped = vec![module(&key).by(&loops), back.signed(&loops.key, Alg::EcdsaSha256), loops.der.clone()];
    vec![
        of("a chain of six intermediates", 6, OURS),
        of("a chain of seven intermediates", 7, UNKNOWN),
        of("a chain of nine intermediates", 9, UNKNOWN),
        case("forty intermediates that are of no use", &[&ROOT], [vec![leaf], crowd].concat(), key.clone(), OURS),
        case("a chain in a circle", &[&ROOT], looped, key, NO_WAY),
    ]
}

fn limited(length: u8) -> impl FnOnce(Spec) -> Spec {
    move |spec| spec.only(&[basics(true, Some(length)), ku(CERT_SIGN | CRL_SIGN)])
}

fn path_lengths() -> Vec<Case> {
    let root = |length| Authority::root_with("a limited root", Key::new(), Alg::EcdsaSha256, limited(length));
    let below = |name, root: &Authority, steps, must| {
        let (key, leaf, up) = at_foot(&ladder(root, steps), root);
        case(name, &[root], [vec![leaf], up].concat(), key, must)
    };
    let through = |name, length, steps, must| {
        let first = ROOT.below_with("limited", limited(length));
        let (key, leaf, mut up) = at_foot(&ladder(&first, steps), &first);
        up.push(first.der);
        case(name, &[&ROOT], [vec![leaf], up].concat(), key, must)
    };
    vec![
        below("a root with a path length of zero, and a leaf", &root(0), 0, OURS),
        below("a root with a path length of zero, and an intermediate", &root(0), 1, UNKNOWN),
        below("a root with a path length of one, and an intermediate", &root(1), 1, OURS),
        below("a root with a path length of one, and two intermediates", &root(1), 2, UNKNOWN),
        through("an intermediate with a path length of zero, and a leaf", 0, 0, OURS),
        through("an intermediate with a path length of zero, and another", 0, 1, UNKNOWN),
        through("an intermediate with a path length of one, and another", 1, 1, OURS),
        through("an intermediate with a path length of one, and two more", 1, 2, UNKNOWN),
    ]
}

fn intermediates() -> Vec<Case> {
    let expired = || Must::Refuse("CertificateExpired");
    let through = |name, must, between: Authority| {
        let key = Key::new();
        case(name, &[&ROOT], vec![module(&key).by(&between), between.der], key, must)
    };
    // A module's certificate with which its holder plays authority.
    let module_key = Key::new();
    let subject = crate::certificates::x509::cn("mod-dns");
    let leaf_as_authority = Authority {
        name: subject.clone(),
        key: module_key.clone(),
        alg: Alg::EcdsaSha256,
        der: module(&module_key).subject(subject).by(&ROOT),
    };
    let mut garbled = ROOT.below("garbled");
    garbled.der.truncate(100);
    let mut forged = ROOT.below("forged");
    let last = forged.der.len() - 1;
    forged.der[last] ^= 1;
    let (good, key) = (ROOT.below("good"), Key::new());
    let with_garbage = vec![module(&key).by(&good), b"no certificate".to_vec(), good.der.clone()];
    let empty_garbage = vec![module(&key).by(&good), Vec::new(), good.der.clone()];
    vec![
        through("an intermediate that has expired", expired(), ROOT.below_with("late", |spec| spec.valid(-DAY, -HOUR))),
        through(
            "an intermediate that is not valid yet",
            expired(),
            ROOT.below_with("early", |spec| spec.valid(HOUR, DAY)),
        ),
        through("a module's certificate as an intermediate", UNKNOWN, leaf_as_authority),
        through("an intermediate cut short", Must::Refuse("BadCertificate"), garbled),
        through("an intermediate with a forged signature", Must::Refuse("DecryptError"), forged),
        through("an intermediate of a stranger", NO_WAY, Authority::root("strangers").below("theirs")),
        case("garbage between a leaf and its issuer", &[&ROOT], with_garbage, key.clone(), OURS),
        case("an empty certificate between a leaf and its issuer", &[&ROOT], empty_garbage, key, OURS),
    ]
}

/// Two ways up, one of which is good.
fn crosses() -> Vec<Case> {
    let stranger = Authority::root("strangers");
    let ours = ROOT.below("crossed");
    let cross =
        |issuer: &Authority, change: fn(Spec) -> Spec| change(Spec::authority(&ours.name, &ours.key)).by(issuer);
    let (theirs, late) = (cross(&stranger, |spec| spec), cross(&ROOT, |spec| spec.valid(-DAY, -HOUR)));
    let key = Key::new();
    let leaf = module(&key).by(&ours);
    let show =
        |name, ways: Vec<Vec<u8>>, must| case(name, &[&ROOT], [vec![leaf.clone()], ways].concat(), key.clone(), must);
    vec![
        show("crossed: a stranger's way before ours", vec![theirs.clone(), ours.der.clone()], OURS),
        show("crossed: a stranger's way alone", vec![theirs.clone()], NO_WAY),
        show("crossed: an expired way before a good one", vec![late.clone(), ours.der.clone()], OURS),
        show("crossed: an expired way and a stranger's", vec![late, theirs], Must::Refuse("CertificateExpired")),
    ]
}
