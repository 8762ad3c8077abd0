//! Callers who leave.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::time::{Sleep, sleep};

use super::schedule::{Leaves, duration};

/// Awaits `future`, unless its caller leaves before: then `told` is told, the future is dropped, and `None`.
pub(super) fn leaving<F: Future + Unpin, L: Fn() + Unpin>(
    future: F,
    leaves: Leaves,
    told: L,
) -> Leaving<F, L> {
    Leaving {
        future: Some(future),
        polls_left: match leaves {
            Leaves::AfterPolls(polls) => Some(polls),
            _ => None,
        },
        alarm: match leaves {
            Leaves::After(ms) => Some(Box::pin(sleep(duration(ms)))),
            _ => None,
        },
        told,
    }
}

pub(super) struct Leaving<F, L> {
    future: Option<F>,
    polls_left: Option<u32>,
    alarm: Option<Pin<Box<Sleep>>>,
    told: L,
}

impl<F: Future + Unpin, L: Fn() + Unpin> Future for Leaving<F, L> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.polls_left == Some(0) {
            (self.told)();
            self.future = None;
            return Poll::Ready(None);
        }
        let Some(future) = &mut self.future else {
            return Poll::Ready(None);
        };
        if let Poll::Ready(output) = Pin::new(future).poll(cx) {
            return Poll::Ready(Some(output));
        }
        if let Some(polls) = &mut self.polls_left {
            *polls -= 1;
        }
        let is_time = self
            .alarm
            .as_mut()
            .is_some_and(|alarm| alarm.as_mut().poll(cx).is_ready());
        if is_time || self.polls_left == Some(0) {
            (self.told)();
            self.future = None;
            return Poll::Ready(None);
        }
        Poll::Pending
    }
}
