//! Which of a cluster's 16384 slots a key lies in.
//!
//! <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#key-distribution-model>

/// How many there are.
pub(super) const SLOTS: u16 = 16_384;

/// A slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Slot(pub(super) u16);

impl Slot {
    /// Of a key: of its hash tag, where it has one.
    pub(crate) fn of(key: &str) -> Self {
        Self::of_bytes(key.as_bytes())
    }

    pub(super) fn of_bytes(key: &[u8]) -> Self {
        let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
            let rest = &key[open + 1..];
            let close = rest.iter().position(|byte| *byte == b'}')?;
            (close > 0).then(|| &rest[..close])
        });
        Self(crc16(tag.unwrap_or(key)) % SLOTS)
    }
}

/// CRC-16/XMODEM, as the specification asks for.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(
            crc ^ (u16::from(*byte) << 8),
            |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!(Slot::of("foo"), Slot(12_182));
        assert_eq!(Slot::of("{user1000}.following"), Slot::of("user1000"));
        assert_eq!(Slot::of("foo{}{bar}"), Slot(crc16(b"foo{}{bar}") % SLOTS));
        assert_eq!(Slot::of("foo{{bar}}zap"), Slot::of("{bar"));
    }
}
