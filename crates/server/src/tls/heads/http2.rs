//! Heads of HTTP/2 requests (RFC 9113).
//!
//! Frames are told apart, and header blocks are taken out of theirs; what is kept of a block follows in one frame when the block
//! is over. All other frames pass as they are.

use std::io;

use super::hpack::HpackFilter;
use super::passed_names::{MAX_HEAD, PassedNames, broken};

const PREFACE: usize = 24;
const FRAME_HEAD: usize = 9;
/// No larger frame was allowed to anybody.
const MAX_FRAME: usize = 16 * 1024;

const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 32;
/// What a priority takes: a stream and a weight.
const PRIORITY_LENGTH: usize = 5;

/// Takes frames apart.
#[derive(Debug)]
pub(super) struct Http2Filter {
    at: FrameState,
    head: Vec<u8>,
    /// The header block under way.
    block: Option<HeaderBlock>,
    fields: HpackFilter,
}

#[derive(Debug, Clone, Copy)]
enum FrameState {
    Preface(usize),
    Head,
    /// So many bytes of a frame that passes.
    Pass(usize),
    /// A frame with a part of a header block.
    BlockFragment(BlockFragment),
}

/// What is left of a frame with a part of a header block.
#[derive(Debug, Clone, Copy)]
struct BlockFragment {
    left: usize,
    /// The length of the padding comes first.
    padded: bool,
    /// Then a priority.
    priority: usize,
    /// The padding comes last.
    padding: usize,
    /// Whether the block ends with this frame.
    last: bool,
}

#[derive(Debug)]
struct HeaderBlock {
    stream: [u8; 4],
    end_stream: u8,
    /// Bytes of its frames so far.
    sent: usize,
}

impl Http2Filter {
    pub(super) fn new(kept: PassedNames) -> Self {
        Self {
            at: FrameState::Preface(PREFACE),
            head: Vec::with_capacity(FRAME_HEAD),
            block: None,
            fields: HpackFilter::new(kept),
        }
    }

    /// The most that is passed on beyond what was received.
    pub(super) fn held(&self) -> usize {
        // What makes a block too large comes on top of what is kept of it.
        self.fields.held() + 2 * FRAME_HEAD + MAX_HEAD / 60 + 1
    }

    pub(super) fn sift(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        while !bytes.is_empty() {
            let taken = match self.at {
                FrameState::Preface(left) | FrameState::Pass(left) => {
                    let taken = left.min(bytes.len());
                    out.extend_from_slice(&bytes[..taken]);
                    self.at = match self.at {
                        _ if taken == left => FrameState::Head,
                        FrameState::Preface(_) => FrameState::Preface(left - taken),
                        _ => FrameState::Pass(left - taken),
                    };
                    taken
                }
                FrameState::Head => {
                    let taken = (FRAME_HEAD - self.head.len()).min(bytes.len());
                    self.head.extend_from_slice(&bytes[..taken]);
                    if self.head.len() == FRAME_HEAD {
                        self.frame(out)?;
                    }
                    taken
                }
                FrameState::BlockFragment(part) => {
                    let part = self.part(part, bytes[0])?;
                    self.at = FrameState::BlockFragment(part);
                    1
                }
            };
            bytes = &bytes[taken..];
            self.end_part(out)?;
        }
        Ok(())
    }

    /// A frame begins.
    fn frame(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        let length = self.head[..3].iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        let (kind, flags) = (self.head[3], self.head[4]);
        let mut stream = [0; 4];
        stream.copy_from_slice(&self.head[5..]);
        let padded = kind == HEADERS && flags & PADDED != 0;
        let priority = if kind == HEADERS && flags & PRIORITY != 0 { PRIORITY_LENGTH } else { 0 };
        let plain = length <= MAX_FRAME && length >= priority + usize::from(padded);
        match (&mut self.block, kind) {
            (None, HEADERS) if plain => {
                self.block = Some(HeaderBlock { stream, end_stream: flags & END_STREAM, sent: FRAME_HEAD + length });
            }
            (Some(block), CONTINUATION) if plain && block.stream == stream => {
                block.sent += FRAME_HEAD + length;
                // What is told of no header in the end is not listened to for ever either.
                if block.sent > 4 * MAX_HEAD {
                    return Err(broken("a header block does not come to an end"));
                }
            }
            (Some(_), _) => return Err(broken("a header block is interrupted")),
            // What is not right about it h2 sees by its head.
            (None, _) => {
                out.append(&mut self.head);
                self.at = if length == 0 { FrameState::Head } else { FrameState::Pass(length) };
                return Ok(());
            }
        }
        self.head.clear();
        self.at = FrameState::BlockFragment(BlockFragment {
            left: length,
            padded,
            priority,
            padding: 0,
            last: flags & END_HEADERS != 0,
        });
        Ok(())
    }

    fn part(&mut self, part: BlockFragment, byte: u8) -> io::Result<BlockFragment> {
        let part = BlockFragment { left: part.left - 1, ..part };
        if part.padded {
            let padding = usize::from(byte);
            if padding > part.left - part.priority {
                return Err(broken("a frame is shorter than its padding"));
            }
            return Ok(BlockFragment { padded: false, padding, ..part });
        }
        if part.priority > 0 {
            return Ok(BlockFragment { priority: part.priority - 1, ..part });
        }
        if part.left >= part.padding {
            self.fields.take(byte)?;
        }
        Ok(part)
    }

    /// If a frame with a part of a block is over, and the block with it, it is passed on.
    fn end_part(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        let FrameState::BlockFragment(part) = self.at else { return Ok(()) };
        if part.left > 0 {
            return Ok(());
        }
        self.at = FrameState::Head;
        if !part.last {
            return Ok(());
        }
        let Some(HeaderBlock { stream, end_stream, .. }) = self.block.take() else { return Ok(()) };
        let block = self.fields.finish()?;
        let length = u32::try_from(block.len()).unwrap_or(u32::MAX).to_be_bytes();
        out.extend_from_slice(&length[1..]);
        out.extend_from_slice(&[HEADERS, END_HEADERS | end_stream]);
        out.extend_from_slice(&stream);
        out.extend_from_slice(&block);
        Ok(())
    }
}
