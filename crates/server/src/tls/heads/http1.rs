//! Heads of HTTP/1.1 requests (RFC 9112).
//!
//! Lines are told apart, and where a body ends; everything else is left to hyper. What is not plain (two different lengths,
//! another transfer coding) is passed on as it is from there to the connection's end, so that there are never two opinions about
//! where a request begins.

use super::passed_names::{LONGEST_NAME, MAX_HEAD, PassedNames, is_token};

/// Neither a length nor a transfer coding takes more.
const LONGEST_FRAMING: usize = 32;
/// What ends a head so that hyper answers 431: more headers than it takes.
const TOO_MANY: usize = 101;

/// Takes heads apart.
#[derive(Debug)]
pub(super) struct Http1Filter {
    kept: PassedNames,
    at: LineState,
    /// Bytes of this head so far.
    seen: usize,
    /// The header's name, or the size of a chunk, as far as it was read.
    word: Vec<u8>,
    framing: Framing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineState {
    /// The request's line; whether anything of it has come.
    Request(bool),
    /// A header's name; whether the header before was left out.
    Name(bool),
    /// A header that is kept.
    Keep,
    /// The same, one that says where the body ends.
    Length,
    Coding,
    /// A header that is left out; whether a carriage return has come.
    Drop(bool),
    /// So many bytes of a body, and whether it goes on after them.
    Body(u64, Chunked),
    /// The size of the next chunk.
    Size,
    /// What follows the last chunk; whether anything of a line has come, and whether a carriage return has.
    Trailers(bool, bool),
    /// Everything is passed on.
    Open,
    /// Nothing is: hyper has been given what it refuses.
    Over,
}

type Chunked = bool;

/// Where a body ends.
#[derive(Debug, Default)]
struct Framing {
    value: Vec<u8>,
    length: Option<u64>,
    chunked: bool,
    odd: bool,
}

impl Http1Filter {
    pub(super) fn new(kept: PassedNames) -> Self {
        Self { kept, at: LineState::Request(false), seen: 0, word: Vec::new(), framing: Framing::default() }
    }

    /// The most that is passed on beyond what was received.
    pub(super) fn held(&self) -> usize {
        self.word.len() + 8 * TOO_MANY
    }

    pub(super) fn sift(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while let Some((&byte, rest)) = bytes.split_first() {
            match self.at {
                LineState::Over => return,
                LineState::Open => {
                    out.extend_from_slice(bytes);
                    return;
                }
                LineState::Body(left, chunked) => {
                    let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    out.extend_from_slice(&bytes[..taken]);
                    bytes = &bytes[taken..];
                    self.body(left - taken as u64, chunked);
                    continue;
                }
                LineState::Size => self.size(byte, out),
                LineState::Trailers(begun, returned) => self.trailer(byte, (begun, returned), out),
                _ => self.head(byte, out),
            }
            bytes = rest;
        }
    }

    fn head(&mut self, byte: u8, out: &mut Vec<u8>) {
        self.seen += 1;
        if self.seen > MAX_HEAD {
            let more = b"x:\r\n".repeat(TOO_MANY);
            return self.give_up(&more, out);
        }
        match self.at {
            LineState::Request(begun) => {
                out.push(byte);
                self.at = match (byte, begun) {
                    (b'\n', true) => LineState::Name(false),
                    (b'\r' | b'\n', _) => LineState::Request(begun),
                    _ => LineState::Request(true),
                };
            }
            LineState::Name(dropped) => self.name(byte, dropped, out),
            LineState::Drop(returned) => match byte {
                b'\n' => self.at = LineState::Name(true),
                b'\r' if !returned => self.at = LineState::Drop(true),
                // What hyper refuses in a header's value it is to refuse here as well.
                0..=8 | 11..=31 | 127 => self.give_up(b"\0\r\n", out),
                _ if returned => self.give_up(b"\0\r\n", out),
                _ => {}
            },
            _ => {
                out.push(byte);
                match byte {
                    b'\n' => self.kept_line_ends(),
                    b'\r' => {}
                    _ if self.at != LineState::Keep => self.framing.take(byte),
                    _ => {}
                }
            }
        }
    }

    fn name(&mut self, byte: u8, dropped: bool, out: &mut Vec<u8>) {
        match byte {
            // The header before goes on, as it once was allowed.
            b' ' | b'\t' if self.word.is_empty() && dropped => self.at = LineState::Drop(false),
            b'\n' if self.word.is_empty() || self.word == b"\r" => {
                self.pass_word(byte, out);
                self.end_head();
            }
            b':' if !self.word.is_empty() && self.word != b"\r" => {
                if let Some(name) = self.kept.find(&self.word) {
                    self.at = match name {
                        "content-length" => LineState::Length,
                        "transfer-encoding" => LineState::Coding,
                        _ => LineState::Keep,
                    };
                    self.pass_word(byte, out);
                } else {
                    self.word.clear();
                    self.at = LineState::Drop(false);
                }
            }
            b'\r' if self.word.is_empty() => self.word.push(byte),
            _ if is_token(byte) && self.word.len() < LONGEST_NAME && self.word != b"\r" => self.word.push(byte),
            // Whatever it is, it is for hyper to judge.
            _ => {
                self.at = if byte == b'\n' { LineState::Name(false) } else { LineState::Keep };
                self.pass_word(byte, out);
            }
        }
    }

    fn pass_word(&mut self, byte: u8, out: &mut Vec<u8>) {
        out.append(&mut self.word);
        out.push(byte);
    }

    fn kept_line_ends(&mut self) {
        match self.at {
            LineState::Length => self.framing.length(),
            LineState::Coding => self.framing.coding(),
            _ => {}
        }
        self.at = LineState::Name(false);
    }

    fn end_head(&mut self) {
        let Framing { length, chunked, odd, .. } = std::mem::take(&mut self.framing);
        match (length, chunked) {
            _ if odd => self.at = LineState::Open,
            (None, true) => self.at = LineState::Size,
            (Some(_), true) => self.at = LineState::Open,
            (length, false) => self.body(length.unwrap_or(0), false),
        }
    }

    fn body(&mut self, left: u64, chunked: Chunked) {
        match (left, chunked) {
            (0, true) => self.at = LineState::Size,
            (0, false) => self.begin(),
            _ => self.at = LineState::Body(left, chunked),
        }
    }

    fn begin(&mut self) {
        (self.at, self.seen) = (LineState::Request(false), 0);
    }

    fn size(&mut self, byte: u8, out: &mut Vec<u8>) {
        out.push(byte);
        if byte != b'\n' {
            if self.word.len() < LONGEST_NAME {
                self.word.push(byte);
            } else if self.word.iter().all(u8::is_ascii_hexdigit) {
                self.at = LineState::Open;
            }
            return;
        }
        let digits = self.word.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let size = std::str::from_utf8(&self.word[..digits]).ok().and_then(|text| u64::from_str_radix(text, 16).ok());
        self.word.clear();
        self.at = match size {
            Some(0) => {
                self.seen = 0;
                LineState::Trailers(false, false)
            }
            // A chunk has a line's end behind it.
            Some(size) if size < u64::MAX - 2 => LineState::Body(size + 2, true),
            _ => LineState::Open,
        };
    }

    /// Nobody reads what follows the last chunk, and it may be anybody's token: of all its lines the empty one that ends
    /// them is passed on.
    fn trailer(&mut self, byte: u8, (begun, returned): (bool, bool), out: &mut Vec<u8>) {
        self.seen += 1;
        match (byte, returned) {
            (b'\r', false) => self.at = LineState::Trailers(begun, true),
            (b'\n', true) if begun => self.at = LineState::Trailers(false, false),
            (b'\n', true) => {
                out.extend_from_slice(b"\r\n");
                self.begin();
            }
            (b'\n', false) | (_, true) => self.spoil(out),
            _ if self.seen > MAX_HEAD => self.spoil(out),
            _ => self.at = LineState::Trailers(true, false),
        }
    }

    /// Ends the body with what hyper refuses: the body, and with it the connection.
    fn spoil(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\r\0");
        self.at = LineState::Over;
    }

    /// Ends the head with what hyper refuses.
    fn give_up(&mut self, with: &[u8], out: &mut Vec<u8>) {
        if matches!(self.at, LineState::Request(_) | LineState::Keep | LineState::Length | LineState::Coding) {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(with);
        out.extend_from_slice(b"\r\n");
        self.at = LineState::Over;
    }
}

impl Framing {
    fn take(&mut self, byte: u8) {
        if self.value.len() < LONGEST_FRAMING {
            self.value.push(byte);
        } else {
            self.odd = true;
        }
    }

    fn length(&mut self) {
        let value = std::mem::take(&mut self.value);
        let value = value.trim_ascii();
        let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let length = std::str::from_utf8(value).ok().filter(|_| digits).and_then(|text| text.parse().ok());
        self.odd |= length.is_none() || (self.length.is_some() && self.length != length);
        self.length = length;
    }

    fn coding(&mut self) {
        let value = std::mem::take(&mut self.value);
        self.odd |= self.chunked || !value.trim_ascii().eq_ignore_ascii_case(b"chunked");
        self.chunked = true;
    }
}
