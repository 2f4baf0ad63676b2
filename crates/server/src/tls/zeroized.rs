//! A connection that is read into zeroized memory only.
//!
//! TLS decrypts in the buffer that it reads into, and what it decrypted stays there until the next read. On a connection whose
//! request waits, that is the request. So the buffer is zeroized before every read, and hyper reads again as soon as it has
//! taken the request.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use zeroize::Zeroize;

/// The connection below TLS.
pub(super) struct ZeroizedReads<S>(pub(super) S);

impl<S: AsyncRead + Unpin> AsyncRead for ZeroizedReads<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        buf.initialize_unfilled().zeroize();
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ZeroizedReads<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn what_was_there_is_wiped_though_nothing_more_has_come() {
        let (here, _there) = tokio::io::duplex(64);
        let mut room = *b"a request with somebody's token";
        let mut connection = ZeroizedReads(here);
        let read = tokio::time::timeout(std::time::Duration::from_millis(1), connection.read(&mut room[2..]));
        assert!(read.await.is_err(), "nothing has come");
        assert_eq!((&room[..2], &room[2..]), (b"a ".as_slice(), [0; 29].as_slice()));
    }
}
