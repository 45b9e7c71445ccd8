//! Waiting for a condition, with a deadline.

use std::time::Duration;

use tokio::time::{interval, timeout};

/// Longer than anything takes that a test waits for, on a machine that does ten other things.
pub(crate) const DEADLINE: Duration = Duration::from_secs(90);

/// Between two looks at something that can't tell by itself that it has changed.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(25);

/// Looks again and again until there is something to see.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let mut looks = interval(LOOK_EVERY);
    let seen = async {
        loop {
            looks.tick().await;
            if let Some(seen) = look().await {
                return seen;
            }
        }
    };
    within(what, seen).await
}

/// Waits for something to complete.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(DEADLINE, future).await {
        Ok(done) => done,
        Err(_) => panic!("not within {} s: {what}", DEADLINE.as_secs()),
    }
}
