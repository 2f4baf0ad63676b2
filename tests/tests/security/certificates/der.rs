//! As much of DER as a certificate needs, written so that it can also be written wrongly.

/// A value with its tag and the shortest length.
pub(crate) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut out = vec![tag];
    match length {
        0..=0x7f => out.push(length.to_le_bytes()[0]),
        0x80..=0xff => out.extend([0x81, length.to_le_bytes()[0]]),
        0x100..=0xffff => out.extend([0x82, length.to_le_bytes()[1], length.to_le_bytes()[0]]),
        _ => out.extend([0x83, length.to_le_bytes()[2], length.to_le_bytes()[1], length.to_le_bytes()[0]]),
    }
    out.extend(content);
    out
}

pub(crate) fn seq(parts: &[Vec<u8>]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

pub(crate) fn set(parts: &[Vec<u8>]) -> Vec<u8> {
    tlv(0x31, &parts.concat())
}

pub(crate) fn octets(content: &[u8]) -> Vec<u8> {
    tlv(0x04, content)
}

/// A bit string without unused bits.
pub(crate) fn bits(content: &[u8]) -> Vec<u8> {
    tlv(0x03, &[&[0], content].concat())
}

pub(crate) fn integer(content: &[u8]) -> Vec<u8> {
    tlv(0x02, content)
}

pub(crate) fn boolean(value: bool) -> Vec<u8> {
    tlv(0x01, &[if value { 0xff } else { 0 }])
}

pub(crate) fn null() -> Vec<u8> {
    vec![5, 0]
}

/// An object identifier from its dotted form.
pub(crate) fn oid(dotted: &str) -> Vec<u8> {
    let arcs: Vec<u32> = dotted.split('.').map(|arc| arc.parse().expect("a number")).collect();
    let mut content = Vec::new();
    for arc in std::iter::once(arcs[0] * 40 + arcs[1]).chain(arcs[2..].iter().copied()) {
        let mut groups = vec![(arc & 0x7f).to_le_bytes()[0]];
        let mut rest = arc >> 7;
        while rest > 0 {
            groups.insert(0, 0x80 | (rest & 0x7f).to_le_bytes()[0]);
            rest >>= 7;
        }
        content.extend(groups);
    }
    tlv(0x06, &content)
}

/// A moment, in seconds since the epoch, in the form RFC 5280 §4.1.2.5 wants.
pub(crate) fn time(seconds: i64) -> Vec<u8> {
    let moment = jiff::Timestamp::from_second(seconds).expect("a moment of the common era");
    let year: i32 = moment.strftime("%Y").to_string().parse().expect("a year");
    if (1950..2050).contains(&year) {
        tlv(0x17, moment.strftime("%y%m%d%H%M%SZ").to_string().as_bytes())
    } else {
        tlv(0x18, moment.strftime("%Y%m%d%H%M%SZ").to_string().as_bytes())
    }
}
