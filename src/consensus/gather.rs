//! When a queue of requests that leave together has what there is to be had.

use tokio::sync::mpsc;
use tokio::task::yield_now;

/// Bounds the wait of the first request while others come without end.
const TURNS_MAX: usize = 16;

/// What is worth an entry, or a call, of its own: beyond it more bytes cost no less each.
const ENOUGH_BYTES: usize = 64 * 1024;

/// Lets all that can run go first, as long as each time somebody comes with a request, and until there is enough, if they are
/// all as large as the first, which has so many bytes. Clients that were answered together ask again together, and without
/// it the first of them would have an entry, or a call, to himself. It takes no timer, and next to no time for a request that
/// is alone.
///
/// Measured with 64 publishers. At one node: 35 commands in an entry instead of 15, and a third less CPU time for each; at
/// three, with their followers' calls to the leader: 22 instead of 14.
pub async fn until_no_more_come<T>(queue: &mpsc::Receiver<T>, first_bytes: usize) {
    let mut waiting = queue.len();
    for _ in 0..TURNS_MAX {
        if (waiting + 1) * first_bytes >= ENOUGH_BYTES {
            return;
        }
        yield_now().await;
        let before = std::mem::replace(&mut waiting, queue.len());
        if waiting <= before {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_is_about_to_ask_is_waited_for_and_nobody_else() {
        let (ask, mut queue) = mpsc::channel(8);
        let _idle = ask.clone();
        for turns in 0..4 {
            let ask = ask.clone();
            tokio::spawn(async move {
                for _ in 0..turns {
                    yield_now().await;
                }
                ask.send(turns).await.expect("there is room");
            });
        }
        until_no_more_come(&queue, 1).await;
        let came: Vec<_> = std::iter::from_fn(|| queue.try_recv().ok()).collect();
        assert_eq!(came, [0, 1, 2, 3]);
    }

    #[tokio::test]
    async fn who_has_enough_waits_for_nobody() {
        let (ask, queue) = mpsc::channel(8);
        let asking = tokio::spawn(async move { ask.send(()).await });
        until_no_more_come(&queue, ENOUGH_BYTES).await;
        assert_eq!(queue.len(), 0);
        asking.await.expect("no panic").expect("there is room");
        until_no_more_come(&queue, ENOUGH_BYTES / 2).await;
        assert_eq!(queue.len(), 1);
    }

    #[tokio::test]
    async fn those_who_come_without_end_do_not_hold_up_the_first() {
        let (ask, queue) = mpsc::channel(10 * TURNS_MAX);
        let asking = tokio::spawn(async move {
            while ask.send(()).await.is_ok() {
                yield_now().await;
            }
        });
        until_no_more_come(&queue, 1).await;
        assert!((TURNS_MAX - 1..=TURNS_MAX + 1).contains(&queue.len()), "{}", queue.len());
        drop(queue);
        asking.await.expect("it ends with the queue");
    }
}
