//! Which requests a connection has in hand, so that one with nothing to do can be told from one that works, and both from
//! one whose answers are not taken.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

/// The requests of one connection, counted at both of their ends: no clock is needed to see that nothing happened
/// between two looks.
#[derive(Debug, Default)]
pub(super) struct Activity {
    begun: AtomicU64,
    ended: AtomicU64,
    ended_before: AtomicU64,
    /// Requests begun and ended, and parts of answers taken.
    moves: AtomicU64,
    moves_before: AtomicU64,
}

impl Activity {
    /// A request has come.
    pub(super) fn begin(self: &Arc<Self>) -> RequestInFlight {
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.moves.fetch_add(1, Ordering::SeqCst);
        RequestInFlight(Arc::clone(self))
    }

    /// Whether there has been a request.
    pub(super) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::SeqCst) > 0
    }

    /// Whether nothing at all has moved since the last look.
    pub(super) fn still_since_last_look(&self) -> bool {
        let moves = self.moves.load(Ordering::SeqCst);
        self.moves_before.swap(moves, Ordering::SeqCst) == moves
    }

    /// Whether there is no request now, and was none since the last look.
    pub(super) fn quiet_since_last_look(&self) -> bool {
        let ended = self.ended.load(Ordering::SeqCst);
        let begun = self.begun.load(Ordering::SeqCst);
        let ended_before = self.ended_before.swap(ended, Ordering::SeqCst);
        begun == ended && ended == ended_before
    }
}

/// A request in hand, until its answer has been taken over whole or was given up.
#[derive(Debug)]
pub(super) struct RequestInFlight(Arc<Activity>);

impl RequestInFlight {
    /// Ends with this body.
    pub(super) fn until_sent(self, body: Body) -> TrackedBody {
        TrackedBody { body, in_hand: self }
    }
}

impl Drop for RequestInFlight {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::SeqCst);
        self.0.moves.fetch_add(1, Ordering::SeqCst);
    }
}

/// An answer's body, during which its request is in hand.
#[derive(Debug)]
pub(super) struct TrackedBody {
    body: Body,
    in_hand: RequestInFlight,
}

impl HttpBody for TrackedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        if polled.is_ready() {
            this.in_hand.0.moves.fetch_add(1, Ordering::SeqCst);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_quiet_only_when_nothing_began_or_ended_since_the_last_look() {
        let activity = Arc::new(Activity::default());
        assert!(activity.quiet_since_last_look());
        let request = activity.begin();
        assert!(!activity.quiet_since_last_look());
        assert!(!activity.quiet_since_last_look());
        drop(request);
        assert!(!activity.quiet_since_last_look());
        assert!(activity.quiet_since_last_look());
        drop(activity.begin());
        assert!(!activity.quiet_since_last_look());
    }

    #[test]
    fn a_connection_is_still_while_nothing_is_taken_of_its_answers() {
        let activity = Arc::new(Activity::default());
        let mut answer = activity.begin().until_sent(Body::from("token"));
        assert!(!activity.still_since_last_look());
        assert!(activity.still_since_last_look());
        let taken = futures::executor::block_on(std::future::poll_fn(|cx| Pin::new(&mut answer).poll_frame(cx)));
        assert!(taken.is_some());
        assert!(!activity.still_since_last_look());
        drop(answer);
        assert!(!activity.still_since_last_look());
    }

    #[test]
    fn a_request_is_in_hand_until_its_answer_was_taken_over() {
        let activity = Arc::new(Activity::default());
        let answer = activity.begin().until_sent(Body::from("token"));
        assert!(!activity.quiet_since_last_look());
        drop(answer);
        assert!(!activity.quiet_since_last_look());
        assert!(activity.quiet_since_last_look());
    }
}
