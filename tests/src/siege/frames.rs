//! HTTP/2 frames (RFC 9113) by hand, for what no well-behaved client sends.

/// What a client says first: the preface and its settings.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const CANCEL: [u8; 4] = [0, 0, 0, 8];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(payload.len()).unwrap_or_default().to_be_bytes();
    out.extend_from_slice(&length[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// The largest frame that everybody takes.
const MAX_FRAME: usize = 16 * 1024;

/// A literal header field without indexing, its name new (RFC 7541 §6.2.2).
fn literal(name: &str, value: &str) -> Vec<u8> {
    [&[0], length(name.len()).as_slice(), name.as_bytes(), &length(value.len()), value.as_bytes()].concat()
}

/// A length with a prefix of seven bits (RFC 7541 §5.1).
fn length(length: usize) -> Vec<u8> {
    let byte = |value: usize| u8::try_from(value).unwrap_or_default();
    if length < 127 {
        return vec![byte(length)];
    }
    let (mut bytes, mut rest) = (vec![127], length - 127);
    while rest >= 128 {
        bytes.push(byte(rest % 128) | 128);
        rest /= 128;
    }
    bytes.push(byte(rest));
    bytes
}

/// `GET path`, as a header block: method and scheme from the static table.
fn get(path: &str) -> Vec<u8> {
    let mut block = vec![0x82, 0x87];
    block.extend(literal(":path", path));
    block.extend(literal(":authority", "localhost"));
    block
}

/// Opens a stream for `GET path`, and has nothing more to say on it.
pub fn open(stream: u32, path: &str, out: &mut Vec<u8>) {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &get(path), out);
}

/// The same with a token of this length in `x-okapi-token`. `held_back` of its last bytes are left out, and the block does not
/// come to an end then.
pub fn open_full(stream: u32, path: &str, token: usize, held_back: usize, out: &mut Vec<u8>) {
    let mut block = get(path);
    block.extend(literal("x-okapi-token", &"e".repeat(token)));
    block.truncate(block.len() - held_back);
    let last = block.len().div_ceil(MAX_FRAME) - 1;
    for (number, part) in block.chunks(MAX_FRAME).enumerate() {
        let (kind, end_stream) = if number == 0 { (HEADERS, END_STREAM) } else { (CONTINUATION, 0) };
        let end = if number == last && held_back == 0 { END_HEADERS } else { 0 };
        frame(kind, end_stream | end, stream, part, out);
    }
}

/// One more byte of a value that was held back.
pub fn drip(stream: u32, out: &mut Vec<u8>) {
    frame(CONTINUATION, 0, stream, b"e", out);
}

/// Opens a stream for `PUT path` with so many bytes of a body that does not come to an end.
pub fn put_full(stream: u32, path: &str, body: usize, out: &mut Vec<u8>) {
    let mut block = literal(":method", "PUT");
    block.push(0x87);
    block.extend(literal(":path", path));
    block.extend(literal(":authority", "localhost"));
    block.extend(literal("content-type", "application/json"));
    frame(HEADERS, END_HEADERS, stream, &block, out);
    for part in vec![b' '; body].chunks(MAX_FRAME) {
        frame(DATA, 0, stream, part, out);
    }
}

/// Takes it back.
pub fn reset(stream: u32, out: &mut Vec<u8>) {
    frame(RST_STREAM, 0, stream, &CANCEL, out);
}

/// Opens a stream whose headers do not come to an end.
pub fn open_endlessly(stream: u32, out: &mut Vec<u8>) {
    frame(HEADERS, END_STREAM, stream, &get("/tokens/x"), out);
}

/// Some more of them.
pub fn go_on(stream: u32, out: &mut Vec<u8>) {
    frame(CONTINUATION, 0, stream, &literal("x-more", &"m".repeat(100)), out);
}
