//! What a controller has to say, until somebody listens.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, mpsc};

/// How much may wait to be read before nothing new is begun.
const LIMIT: usize = 1024;

pub(super) struct Outbox<T> {
    sender: mpsc::UnboundedSender<T>,
    backlog: Arc<Backlog>,
}

pub(super) struct Inbox<T> {
    receiver: mpsc::UnboundedReceiver<T>,
    backlog: Arc<Backlog>,
}

#[derive(Default)]
struct Backlog {
    waiting: AtomicUsize,
    read: Notify,
}

/// Sending never waits: whoever has to react at once, as to the loss of leadership, must not. That it stays
/// bounded is up to the sender, by [`Outbox::room`].
pub(super) fn outbox<T>() -> (Outbox<T>, Inbox<T>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let backlog = Arc::<Backlog>::default();
    (Outbox { sender, backlog: backlog.clone() }, Inbox { receiver, backlog })
}

impl<T> Outbox<T> {
    pub(super) fn send(&self, message: T) {
        self.backlog.waiting.fetch_add(1, Ordering::Relaxed);
        drop(self.sender.send(message));
    }

    /// Waits until not too much is left to be read.
    pub(super) async fn room(&self) {
        loop {
            let read = self.backlog.read.notified();
            if self.backlog.waiting.load(Ordering::Acquire) < LIMIT {
                return;
            }
            read.await;
        }
    }
}

impl<T> Inbox<T> {
    pub(super) async fn next(&mut self) -> Option<T> {
        let message = self.receiver.recv().await?;
        if self.backlog.waiting.fetch_sub(1, Ordering::AcqRel) == LIMIT {
            self.backlog.read.notify_one();
        }
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn there_is_room_once_it_is_read() {
        let (outbox, mut inbox) = outbox();
        for number in 0..=LIMIT {
            outbox.send(number);
        }
        assert_eq!(inbox.next().await, Some(0));
        assert_eq!(outbox.room().now_or_never(), None);
        assert_eq!(inbox.next().await, Some(1));
        assert_eq!(outbox.room().now_or_never(), Some(()));
    }
}
