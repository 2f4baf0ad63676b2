//! HPACK's Huffman code (RFC 7541, appendix B): how many characters a text has, and those of a header's name.
//!
//! The code is canonical: shorter codes are smaller numbers, and those of one length follow each other. So a table of how many
//! there are of each length is all it takes to find where a code ends.

/// How many codes there are of each length in bits.
const COUNTS: [(u32, u32); 21] = [
    (5, 10),
    (6, 26),
    (7, 32),
    (8, 6),
    (10, 5),
    (11, 3),
    (12, 2),
    (13, 6),
    (14, 2),
    (15, 3),
    (19, 3),
    (20, 8),
    (21, 13),
    (22, 26),
    (23, 29),
    (24, 12),
    (25, 4),
    (26, 15),
    (27, 19),
    (28, 29),
    (30, 4),
];

/// The characters of the three shortest lengths, in order of their codes. Those of a header's name are all among them.
const SHORT: &[u8] = b"012aceiost %-./3456789=A_bdfghlmnpru:BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz";

/// Of each length the first code, how many characters have shorter ones, and the code after its last.
const LENGTHS: [(u32, u32, usize, u32); 21] = lengths();

const fn lengths() -> [(u32, u32, usize, u32); 21] {
    let mut table = [(0, 0, 0, 0); 21];
    let (mut code, mut length, mut before, mut at) = (0, 0, 0, 0);
    while at < COUNTS.len() {
        let (bits, count) = COUNTS[at];
        code <<= bits - length;
        table[at] = (bits, code, before, code + count);
        (code, length, before) = (code + count, bits, before + count as usize);
        at += 1;
    }
    table
}

/// A text that is being read.
#[derive(Debug, Default)]
pub(super) struct Huffman {
    window: u64,
    bits: u32,
}

impl Huffman {
    /// Takes one more byte, and shows the characters that have come to their end: `None` for one that no header's name has.
    pub(super) fn take(&mut self, byte: u8, mut each: impl FnMut(Option<u8>)) {
        self.window = self.window << 8 | u64::from(byte);
        self.bits += 8;
        while let Some((length, character)) = self.next() {
            self.bits -= length;
            self.window &= (1 << self.bits) - 1;
            each(character);
        }
    }

    fn next(&self) -> Option<(u32, Option<u8>)> {
        LENGTHS.iter().take_while(|(length, ..)| *length <= self.bits).find_map(|(length, first, before, end)| {
            let code = u32::try_from(self.window >> (self.bits - length)).ok()?;
            let place = || before + usize::try_from(code - first).unwrap_or(usize::MAX - before);
            (code < *end).then(|| (*length, SHORT.get(place()).copied()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> (String, usize) {
        let (mut huffman, mut text, mut count) = (Huffman::default(), String::new(), 0);
        for byte in bytes {
            huffman.take(*byte, |character| {
                count += 1;
                text.push(character.map_or('?', char::from));
            });
        }
        (text, count)
    }

    #[test]
    fn the_standards_own_examples_are_read() {
        // RFC 7541, appendix C.4 and C.6.
        let www: &[u8] = &[0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        assert_eq!(read(www), ("www.example.com".to_owned(), 15));
        assert_eq!(read(&[0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xa9, 0x7d, 0x7f]).0, "custom-key");
        let date: &[u8] = &[
            0xd0, 0x7a, 0xbe, 0x94, 0x10, 0x54, 0xd4, 0x44, 0xa8, 0x20, 0x05, 0x95, 0x04, 0x0b, 0x81, 0x66, 0xe0, 0x82,
            0xa6, 0x2d, 0x1b, 0xff,
        ];
        assert_eq!(read(date), ("Mon, 21 Oct 2013 20:13:21 GMT".replace(',', "?"), 29));
    }

    #[test]
    fn rare_characters_are_counted() {
        // `{"a|b"}` and a line break: codes of 15, 10, 5, 15, 6, 10, 14 and 30 bits.
        let codes = [
            (0x7ffe, 15),
            (0x3f9, 10),
            (0x3, 5),
            (0x7ffc, 15),
            (0x23, 6),
            (0x3f9, 10),
            (0x3ffd, 14),
            (0x3fff_fffc, 30),
        ];
        let bits = codes.map(|(code, length)| format!("{code:0length$b}")).concat();
        let padded = format!("{bits}{}", "1".repeat((8 - bits.len() % 8) % 8));
        let bytes: Vec<u8> = padded
            .as_bytes()
            .chunks(8)
            .map(|byte| u8::from_str_radix(std::str::from_utf8(byte).expect("digits"), 2).expect("eight bits"))
            .collect();
        assert_eq!(read(&bytes), ("??a?b???".to_owned(), codes.len()));
    }
}
