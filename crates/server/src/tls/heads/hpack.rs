//! Header blocks of HTTP/2 (HPACK, RFC 7541), read field by field.
//!
//! Both sides keep a table of fields that were sent, and later fields refer to it by their place from its newest end. So a
//! field that is left out leaves an empty one in the table behind; what the table has beyond the sender's is never
//! referred to.

use std::collections::VecDeque;
use std::io;

use super::huffman::Huffman;
use super::passed_names::{LONGEST_NAME, MAX_HEAD, PassedNames, broken, is_token};

/// The most of a block that is kept; with [`over`] it fits a frame.
const MAX_KEPT: usize = 14 * 1024;
/// As many headers as hyper takes with HTTP/1.1.
const MOST_FIELDS: usize = 100;
/// What a field counts beside its name and its value (RFC 9113 §6.5.2).
const FIELD: usize = 32;
/// A table of 4096 bytes, more than which nobody was granted, has no room for more.
const TABLE: usize = 128;
const STATIC: usize = 61;
/// `x` without a value, to be entered in the table.
const EMPTY: &[u8] = &[INCREMENTAL, 1, b'x', 0];
/// `accept-encoding: gzip, deflate`, which counts 60.
const SIXTY: u8 = 0x90;

const INDEXED: u8 = 0x80;
const INCREMENTAL: u8 = 0x40;
const SIZE_UPDATE: u8 = 0x20;

/// Names of the static table that may be kept, by their place there. The first fourteen are pseudo-headers'.
const STATIC_NAMES: [(usize, &str); 6] = [
    (28, "content-length"),
    (31, "content-type"),
    (35, "expect"),
    (38, "host"),
    (41, "if-none-match"),
    (57, "transfer-encoding"),
];

/// Reads fields.
#[derive(Debug)]
pub(super) struct HpackFilter {
    kept: PassedNames,
    /// The newest first.
    table: VecDeque<TableEntry>,
    at: FieldState,
    integer: HpackInteger,
    field: HpackField,
    /// What is kept of the block.
    block: Vec<u8>,
    /// How many fields are passed on.
    count: usize,
    /// What the whole list counts.
    size: usize,
}

/// Of a table of fields.
#[derive(Debug, Clone, Copy)]
struct TableEntry {
    kept: bool,
    /// Whether it should have been passed on and was too large: nothing may refer to it.
    lost: bool,
    /// Characters of its name.
    name: usize,
    /// What it counts.
    size: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FieldState {
    Start,
    Index,
    NameLength,
    Name,
    ValueLength,
    Value,
}

/// A field in the making.
#[derive(Debug, Default)]
struct HpackField {
    kind: u8,
    /// How its name is told, as it is passed on.
    head: Vec<u8>,
    name: Vec<u8>,
    kept: bool,
    /// As an [`TableEntry`] is.
    lost: bool,
    /// Characters of its name, and of its value.
    named: usize,
    valued: usize,
    huffman: Option<Huffman>,
}

/// A number (RFC 7541 §5.1).
#[derive(Debug, Default)]
struct HpackInteger {
    value: usize,
    shift: u32,
    /// As it was sent.
    sent: Vec<u8>,
}

impl HpackInteger {
    /// Begins with the lower bits of a byte; whether that is all.
    fn begin(&mut self, byte: u8, mask: u8) -> bool {
        self.sent.clear();
        self.sent.push(byte);
        (self.value, self.shift) = (usize::from(byte & mask), 0);
        byte & mask != mask
    }

    /// Goes on; whether that was the last byte.
    fn go_on(&mut self, byte: u8) -> io::Result<bool> {
        // Nothing here is that large, and h2 takes no longer one.
        if self.shift > 21 {
            return Err(broken("a number in a header block is too large"));
        }
        self.sent.push(byte);
        self.value += usize::from(byte & 0x7f) << self.shift;
        self.shift += 7;
        Ok(byte & 0x80 == 0)
    }
}

impl HpackFilter {
    pub(super) fn new(kept: PassedNames) -> Self {
        Self {
            kept,
            table: VecDeque::new(),
            at: FieldState::Start,
            integer: HpackInteger::default(),
            field: HpackField::default(),
            block: Vec::new(),
            count: 0,
            size: 0,
        }
    }

    /// What is kept of the block so far.
    pub(super) fn held(&self) -> usize {
        self.block.len()
    }

    /// The block is over: what is kept of it.
    pub(super) fn finish(&mut self) -> io::Result<Vec<u8>> {
        if self.at != FieldState::Start {
            return Err(broken("a header block ends in the middle of a field"));
        }
        if self.size > MAX_HEAD || self.count > MOST_FIELDS {
            over(&mut self.block);
        }
        (self.size, self.count) = (0, 0);
        Ok(std::mem::take(&mut self.block))
    }

    pub(super) fn take(&mut self, byte: u8) -> io::Result<()> {
        match self.at {
            FieldState::Start => self.start(byte),
            FieldState::Index if self.integer.go_on(byte)? => self.indexed(),
            FieldState::NameLength | FieldState::ValueLength if self.integer.sent.is_empty() => {
                self.field.huffman = (byte & 0x80 != 0).then(Huffman::default);
                if self.integer.begin(byte, 0x7f) { self.length() } else { Ok(()) }
            }
            FieldState::NameLength | FieldState::ValueLength if self.integer.go_on(byte)? => self.length(),
            FieldState::Index | FieldState::NameLength | FieldState::ValueLength => Ok(()),
            FieldState::Name => {
                self.field.name(byte);
                self.integer.value -= 1;
                if self.integer.value == 0 {
                    self.named();
                }
                Ok(())
            }
            FieldState::Value => {
                self.field.count(byte);
                if self.field.kept {
                    self.block.push(byte);
                }
                self.integer.value -= 1;
                if self.integer.value == 0 { self.end() } else { Ok(()) }
            }
        }
    }

    fn start(&mut self, byte: u8) -> io::Result<()> {
        let (kind, mask) = match byte {
            INDEXED.. => (INDEXED, 0x7f),
            INCREMENTAL.. => (INCREMENTAL, 0x3f),
            SIZE_UPDATE.. => (SIZE_UPDATE, 0x1f),
            _ => (byte & 0x10, 0x0f),
        };
        self.field = HpackField { kind, ..HpackField::default() };
        self.at = FieldState::Index;
        if self.integer.begin(byte, mask) { self.indexed() } else { Ok(()) }
    }

    /// A place in a table, or none: then the name follows.
    fn indexed(&mut self) -> io::Result<()> {
        let index = self.integer.value;
        match (self.field.kind, index) {
            (SIZE_UPDATE, _) => {
                self.block.append(&mut self.integer.sent);
                self.at = FieldState::Start;
            }
            (INDEXED, _) => {
                let entry = self.entry(index)?;
                if entry.kept {
                    self.block.append(&mut self.integer.sent);
                }
                self.count += usize::from(entry.kept);
                self.size += entry.size;
                self.at = FieldState::Start;
            }
            (_, 0) => {
                self.integer.sent.clear();
                self.at = FieldState::NameLength;
            }
            _ => {
                let TableEntry { kept, name, .. } = self.entry(index)?;
                (self.field.kept, self.field.named) = (kept, name);
                self.field.head.append(&mut self.integer.sent);
                self.at = FieldState::ValueLength;
            }
        }
        self.bounded()
    }

    fn length(&mut self) -> io::Result<()> {
        match (self.at, self.integer.value) {
            (FieldState::NameLength, 0) => self.named(),
            (FieldState::NameLength, _) => self.at = FieldState::Name,
            (_, length) => {
                self.value_begins(length);
                self.at = FieldState::Value;
                if length == 0 {
                    return self.end();
                }
            }
        }
        Ok(())
    }

    fn named(&mut self) {
        let field = &mut self.field;
        // What h2 refuses it is to be shown.
        let name = field.name.as_slice();
        field.kept =
            name.len() <= LONGEST_NAME && (name.starts_with(b":") || is_odd(name) || self.kept.find(name).is_some());
        if field.kept {
            let length = u8::try_from(field.name.len()).unwrap_or(0);
            field.head.extend([field.kind, length]);
            field.head.extend_from_slice(&field.name);
        }
        self.integer.sent.clear();
        self.at = FieldState::ValueLength;
    }

    fn value_begins(&mut self, length: usize) {
        let field = &mut self.field;
        let needed = field.head.len() + self.integer.sent.len() + length;
        if field.kept && self.block.len() + needed > MAX_KEPT {
            // Too much is kept already: the whole is answered 431.
            (field.kept, field.lost, self.size) = (false, true, MAX_HEAD + 1);
        }
        if field.kept {
            self.block.append(&mut field.head);
            self.block.append(&mut self.integer.sent);
        }
    }

    fn end(&mut self) -> io::Result<()> {
        let field = std::mem::take(&mut self.field);
        let size = field.named + field.valued + FIELD;
        self.size = self.size.saturating_add(size);
        self.count += usize::from(field.kept || field.kind == INCREMENTAL);
        if field.kind == INCREMENTAL {
            self.table.push_front(TableEntry { kept: field.kept, lost: field.lost, name: field.named, size });
            self.table.truncate(TABLE);
            if !field.kept {
                self.block.extend_from_slice(EMPTY);
            }
        }
        self.integer.sent.clear();
        self.at = FieldState::Start;
        self.bounded()
    }

    fn bounded(&self) -> io::Result<()> {
        let most = MAX_KEPT + 256;
        if self.block.len() > most { Err(broken("a header block is too large")) } else { Ok(()) }
    }

    fn entry(&self, index: usize) -> io::Result<TableEntry> {
        // About: none of the static table is longer.
        let fixed = |kept| TableEntry { kept, lost: false, name: 27, size: FIELD + 28 };
        let entry = match index {
            1..=14 => fixed(true),
            0..=STATIC => {
                let name = STATIC_NAMES.iter().find(|(place, _)| *place == index).map(|(_, name)| *name);
                fixed(name.is_some_and(|name| self.kept.find(name.as_bytes()).is_some()))
            }
            // One that is not there is for h2 to refuse.
            _ => self.table.get(index - STATIC - 1).copied().unwrap_or_else(|| fixed(true)),
        };
        if entry.lost { Err(broken("a header that was too large is referred to")) } else { Ok(entry) }
    }
}

impl HpackField {
    fn name(&mut self, byte: u8) {
        let Self { name, named, huffman, .. } = self;
        let mut add = |character: Option<u8>| {
            *named += 1;
            if name.len() <= LONGEST_NAME {
                // Not a name that is kept, at any rate.
                name.push(character.unwrap_or(b'~'));
            }
        };
        match huffman {
            Some(huffman) => huffman.take(byte, add),
            None => add(Some(byte)),
        }
    }

    fn count(&mut self, byte: u8) {
        match &mut self.huffman {
            Some(huffman) => huffman.take(byte, |_| self.valued += 1),
            None => self.valued += 1,
        }
    }
}

/// Makes a block larger than what h2 was told to take, so that it answers 431.
fn over(block: &mut Vec<u8>) {
    block.extend(std::iter::repeat_n(SIXTY, MAX_HEAD / 60 + 1));
}

/// Whether a name is none (RFC 9113 §8.2.1).
fn is_odd(name: &[u8]) -> bool {
    name.is_empty() || name.iter().any(|byte| byte.is_ascii_uppercase() || !is_token(*byte))
}
