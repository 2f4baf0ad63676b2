//! What a listener takes of its requests' heads.
//!
//! Modules send along what they were sent: with every call the user's token, which may have tens of kilobytes, and which the
//! vault has no use for. So a head may be large; but of its headers only those that somebody here reads are passed on to hyper,
//! and the bytes of all others are overwritten where they arrived. A large head takes no more memory than a small one,
//! however slowly it comes, and nobody's token lies about in a buffer while its request waits.
//!
//! Nothing is decided here about a head: whatever is not plain goes to hyper as it came, and is refused by it. What follows
//! the last chunk of a body is left out whole; where its end could be in two places, the body is spoilt.

mod hpack;
mod http1;
mod http2;
mod huffman;
mod passed_names;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use zeroize::{Zeroize, Zeroizing};

pub(super) use passed_names::MAX_HEAD;
use passed_names::PassedNames;

/// The longest that is passed on, and the longest where nothing is sifted.
pub(super) const MAX_PASSED: usize = 16 * 1024;
/// As much as this waits for hyper before no more is read.
const AHEAD: usize = 16 * 1024;
/// What comes is taken in pieces of this size at least, as far as it has come.
const LEAST: usize = 1024;

/// What a listener takes of heads.
#[derive(Debug, Clone, Copy)]
pub enum Heads {
    /// Everything, up to 16 KiB.
    Whole,
    /// Up to 64 KiB; of the headers, those that hyper needs and these. Their names are lower case.
    Sifted(&'static [&'static str]),
}

/// A connection whose heads are sifted on their way in.
pub struct Sifted<S> {
    stream: S,
    sieve: HeadFilter,
    /// What hyper is to be given still, in the pieces that it came in.
    passed: VecDeque<Zeroizing<Vec<u8>>>,
    /// How much that is, and how much of the first has been given.
    waits: usize,
    given: usize,
    /// What is to follow it.
    failed: Option<io::Error>,
}

enum HeadFilter {
    Whole,
    Http1(http1::Http1Filter),
    Http2(http2::Http2Filter),
}

impl HeadFilter {
    fn sift(&mut self, received: &[u8]) -> io::Result<Zeroizing<Vec<u8>>> {
        let held = match self {
            Self::Whole => 0,
            Self::Http1(sieve) => sieve.held(),
            Self::Http2(sieve) => sieve.held(),
        };
        // All that can come of it: growing would leave a copy behind.
        let mut passed = Zeroizing::new(Vec::with_capacity(received.len() + held));
        match self {
            Self::Whole => passed.extend_from_slice(received),
            Self::Http1(sieve) => sieve.sift(received, &mut passed),
            Self::Http2(sieve) => sieve.sift(received, &mut passed)?,
        }
        Ok(passed)
    }
}

impl<S> Sifted<S> {
    /// A connection on which HTTP/2 was agreed on, or HTTP/1.1.
    pub fn new(stream: S, heads: Heads, http2: bool) -> Self {
        let sieve = match heads {
            Heads::Whole => HeadFilter::Whole,
            Heads::Sifted(names) if http2 => HeadFilter::Http2(http2::Http2Filter::new(PassedNames(names))),
            Heads::Sifted(names) => HeadFilter::Http1(http1::Http1Filter::new(PassedNames(names))),
        };
        Self { stream, sieve, passed: VecDeque::new(), waits: 0, given: 0, failed: None }
    }

    /// Gives as much as there is room for.
    fn give(&mut self, buf: &mut ReadBuf<'_>) {
        while let Some(first) = self.passed.front() {
            let left = &first[self.given..];
            let some = &left[..left.len().min(buf.remaining())];
            buf.put_slice(some);
            self.given += some.len();
            self.waits -= some.len();
            if self.given < first.len() {
                return;
            }
            self.passed.pop_front();
            self.given = 0;
        }
    }
}

impl<S: AsyncRead + Unpin> Sifted<S> {
    /// Takes into room that is large enough. hyper asks for as much as it lacks, which may be a byte: in such pieces it would
    /// not come to an end.
    fn taken(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<bool>> {
        if buf.remaining() < LEAST {
            return self.take(cx, &mut ReadBuf::new(&mut [0; LEAST]));
        }
        self.take(cx, buf)
    }

    /// Takes what has come, all of it: requests may follow each other, and hyper reads no further while one of them waits.
    /// What is not taken lies about behind TLS as it came. Whether the stream is over.
    fn take(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<bool>> {
        let before = buf.filled().len();
        while self.waits < AHEAD {
            match Pin::new(&mut self.stream).poll_read(cx, buf) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(taken) => taken?,
            }
            let received = &mut buf.filled_mut()[before..];
            if received.is_empty() {
                return Poll::Ready(Ok(true));
            }
            let passed = self.sieve.sift(received);
            received.zeroize();
            buf.set_filled(before);
            let passed = passed?;
            if !passed.is_empty() {
                self.waits += passed.len();
                self.passed.push_back(passed);
            }
        }
        Poll::Ready(Ok(false))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Sifted<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if matches!(this.sieve, HeadFilter::Whole) {
            return Pin::new(&mut this.stream).poll_read(cx, buf);
        }
        let over = match this.failed {
            Some(_) => true,
            None => match this.taken(cx, buf) {
                Poll::Pending => false,
                Poll::Ready(Ok(over)) => over,
                Poll::Ready(Err(error)) => {
                    this.failed = Some(error);
                    true
                }
            },
        };
        if !this.passed.is_empty() {
            this.give(buf);
            return Poll::Ready(Ok(()));
        }
        match this.failed.take() {
            Some(error) => Poll::Ready(Err(error)),
            None if over => Poll::Ready(Ok(())),
            None => Poll::Pending,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Sifted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
