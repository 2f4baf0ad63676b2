//! What is left of a request's body when its answer is known: taken, thrown away, and only then the answer is given.
//!
//! A refusal before the body has come is lost on many clients. Over HTTP/2 the stream is reset behind it, which curl takes for an
//! error; over HTTP/1.1 a connection is closed on which bytes lie about, and the other side's system forgets the answer. So
//! whoever is known is read to the end, within bounds. A client that waits to be asked for its body (RFC 9110, 10.1.1) is not asked.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::{Version, header};
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use parking_lot::Mutex;

/// How long the rest may take to come.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where a body comes back to when its reader lets go of it.
#[derive(Debug)]
pub struct UnreadBody(Arc<Mutex<Option<Body>>>);

impl UnreadBody {
    /// Lends a request its own body; what is not read of it comes back.
    pub fn of(request: &mut Request) -> Self {
        let back = Arc::default();
        // Nobody is ever asked over HTTP/2, and whoever waits there sends in the end.
        let asked = request.version() >= Version::HTTP_2 || !request.headers().contains_key(header::EXPECT);
        let body = std::mem::take(request.body_mut());
        if !body.is_end_stream() {
            *request.body_mut() = Body::new(LentBody { body: Some(body), asked, back: Arc::clone(&back) });
        }
        Self(back)
    }

    /// Throws away what came back: so many bytes of it at most, and for a second. What is known to be more is not begun with.
    pub async fn discard(self, most: usize) {
        let Some(mut body) = self.0.lock().take() else { return };
        let mut left = most as u64;
        if body.size_hint().lower() > left {
            return;
        }
        let rest = async {
            while let Some(Ok(frame)) = body.frame().await {
                // Empty frames cost something as well.
                let taken = frame.data_ref().map_or(1, |data| (data.len() as u64).max(1));
                let Some(still) = left.checked_sub(taken) else { return };
                left = still;
            }
        };
        // Whoever is slower is answered all the same.
        tokio::time::timeout(PATIENCE, rest).await.ok();
    }
}

/// A body that was lent.
struct LentBody {
    /// Gone when it has come to its end.
    body: Option<Body>,
    /// Whether the client sends it without being asked for it, or was asked.
    asked: bool,
    back: Arc<Mutex<Option<Body>>>,
}

impl HttpBody for LentBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.asked = true;
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.body = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for LentBody {
    fn drop(&mut self) {
        let unread = self.body.take().filter(|body| self.asked && !body.is_end_stream());
        *self.back.lock() = unread;
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::StreamExt;
    use futures::stream::{self, Stream};

    use super::*;

    const KIB: usize = 1024;

    /// A request whose body comes in pieces of 1 KiB, and how many of them were taken.
    fn sent(pieces: impl Stream<Item = ()> + Send + 'static) -> (Request, Arc<AtomicUsize>) {
        let taken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&taken);
        let pieces = pieces.map(move |()| {
            count.fetch_add(1, Ordering::SeqCst);
            Ok::<_, Infallible>(Bytes::from_static(&[b'x'; KIB]))
        });
        (Request::new(Body::from_stream(pieces)), taken)
    }

    fn many(pieces: usize) -> impl Stream<Item = ()> + Send + 'static {
        stream::iter((0..pieces).map(|_| ()))
    }

    #[tokio::test]
    async fn what_nobody_read_is_taken_to_its_end() {
        let (mut request, taken) = sent(many(50));
        let unread = UnreadBody::of(&mut request);
        drop(request);
        unread.discard(64 * KIB).await;
        assert_eq!(taken.load(Ordering::SeqCst), 50);
    }

    #[tokio::test]
    async fn what_was_read_in_part_is_taken_from_there() {
        let (mut request, taken) = sent(many(50));
        let unread = UnreadBody::of(&mut request);
        let mut body = request.into_body();
        for _ in 0..10 {
            body.frame().await.expect("a piece").expect("whole");
        }
        assert_eq!(taken.load(Ordering::SeqCst), 10);
        drop(body);
        unread.discard(40 * KIB).await;
        assert_eq!(taken.load(Ordering::SeqCst), 50);
    }

    #[tokio::test]
    async fn a_reader_sees_the_body_as_it_was_sent_and_leaves_nothing_of_it() {
        let (mut request, taken) = sent(many(50));
        let unread = UnreadBody::of(&mut request);
        let whole = request.into_body().collect().await.expect("whole").to_bytes();
        assert_eq!((whole.len(), taken.load(Ordering::SeqCst)), (50 * KIB, 50));
        assert!(unread.0.lock().is_none());
    }

    #[tokio::test]
    async fn no_more_is_taken_than_is_allowed() {
        let (mut request, taken) = sent(many(1_000));
        let unread = UnreadBody::of(&mut request);
        drop(request);
        unread.discard(64 * KIB).await;
        let taken = taken.load(Ordering::SeqCst);
        assert!((64..=65).contains(&taken), "{taken}");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_sends_slowly_is_waited_for_no_longer_than_a_second() {
        let dripping = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            Some(((), ()))
        });
        let (mut request, taken) = sent(dripping);
        let unread = UnreadBody::of(&mut request);
        drop(request);
        let discarded = tokio::time::timeout(Duration::from_millis(1_001), unread.discard(64 * KIB)).await;
        assert!(discarded.is_ok(), "it goes on for longer");
        assert_eq!(taken.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn what_says_that_it_is_too_much_is_not_begun_with() {
        let mut request = Request::new(Body::from(vec![b'x'; 65 * KIB]));
        let unread = UnreadBody::of(&mut request);
        let back = Arc::clone(&unread.0);
        drop(request);
        assert!(back.lock().is_some());
        unread.discard(64 * KIB).await;
        assert!(back.lock().is_none());
    }

    #[tokio::test]
    async fn a_client_that_waits_to_be_asked_is_not_asked() {
        let expecting = || {
            let (mut request, taken) = sent(many(50));
            request.headers_mut().insert(header::EXPECT, "100-continue".parse().expect("a value"));
            let unread = UnreadBody::of(&mut request);
            (request, unread, taken)
        };
        let (request, unread, taken) = expecting();
        drop(request);
        unread.discard(64 * KIB).await;
        assert_eq!(taken.load(Ordering::SeqCst), 0);

        let (request, unread, taken) = expecting();
        request.into_body().frame().await.expect("a piece").expect("whole");
        unread.discard(64 * KIB).await;
        assert_eq!(taken.load(Ordering::SeqCst), 50, "whoever was asked sends all of it");
    }
}
