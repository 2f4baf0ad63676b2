//! HTTP/2 frames (RFC 9113) by hand, for what no well-behaved client sends.

/// What a client says first: the preface and its settings.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";

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

/// A literal header field without indexing, its name new (RFC 7541 §6.2.2). Neither may be longer than 126 bytes.
fn literal(name: &str, value: &str) -> Vec<u8> {
    let length = |text: &str| u8::try_from(text.len()).unwrap_or_default();
    [&[0, length(name)], name.as_bytes(), &[length(value)], value.as_bytes()].concat()
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
