//! A body that leaves in pieces and holds its caller's slots until the last one is taken: who asks for
//! much and reads nothing keeps its own slots busy, not the replica's memory.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};

use crate::rooms::admit::Slots;

/// The bytes of one piece.
const PIECE: usize = 64 * 1_024;

/// A body of known size.
#[derive(Debug)]
pub(super) struct Held {
    rest: Bytes,
    _slots: Option<Slots>,
}

impl Held {
    /// The body of an answer.
    pub(super) fn body(bytes: Vec<u8>, slots: Option<Slots>) -> axum::body::Body {
        let held = Self {
            rest: bytes.into(),
            _slots: slots,
        };
        axum::body::Body::new(held.map_err(|never| match never {}))
    }
}

impl Body for Held {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let held = self.get_mut();
        if held.rest.is_empty() {
            return Poll::Ready(None);
        }
        let piece = held.rest.split_to(held.rest.len().min(PIECE));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(u64::try_from(self.rest.len()).unwrap_or(u64::MAX))
    }
}
