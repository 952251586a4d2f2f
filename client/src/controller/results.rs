//! A channel for the results of reconciliations.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, mpsc};

/// [`Sender::wait_for_room`] waits while at least this number of messages is unread.
const LIMIT: usize = 1024;

pub(super) struct Sender<T> {
    sender: mpsc::UnboundedSender<T>,
    backlog: Arc<Backlog>,
}

pub(super) struct Receiver<T> {
    receiver: mpsc::UnboundedReceiver<T>,
    backlog: Arc<Backlog>,
}

#[derive(Default)]
struct Backlog {
    waiting: AtomicUsize,
    read: Notify,
}

/// [`Sender::send`] never waits, so that its caller reacts to a loss of leadership at once. The caller keeps the
/// channel bounded with [`Sender::wait_for_room`].
pub(super) fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let backlog = Arc::<Backlog>::default();
    (Sender { sender, backlog: backlog.clone() }, Receiver { receiver, backlog })
}

impl<T> Sender<T> {
    pub(super) fn send(&self, message: T) {
        self.backlog.waiting.fetch_add(1, Ordering::Relaxed);
        drop(self.sender.send(message));
    }

    pub(super) async fn wait_for_room(&self) {
        loop {
            let read = self.backlog.read.notified();
            if self.backlog.waiting.load(Ordering::Acquire) < LIMIT {
                return;
            }
            read.await;
        }
    }
}

impl<T> Receiver<T> {
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
    async fn there_is_room_once_messages_are_read() {
        let (sender, mut receiver) = channel();
        for number in 0..=LIMIT {
            sender.send(number);
        }
        assert_eq!(receiver.next().await, Some(0));
        assert_eq!(sender.wait_for_room().now_or_never(), None);
        assert_eq!(receiver.next().await, Some(1));
        assert_eq!(sender.wait_for_room().now_or_never(), Some(()));
    }
}
