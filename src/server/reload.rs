//! When files that may change are looked at.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// Looks at files by `reload`: every `interval`, and whenever it is `asked` to.
pub(super) async fn keep_current(interval: Duration, asked: Arc<Notify>, reload: impl Fn() + Send + Sync + 'static) {
    let reload = Arc::new(reload);
    let mut next = pin!(asked.notified());
    loop {
        let _ = timeout(interval, next.as_mut()).await;
        // Who asks from now on may speak of files that the look below has passed.
        next.set(asked.notified());
        next.as_mut().enable();
        let reload = Arc::clone(&reload);
        // Its end is awaited, so that only one runs.
        let _ = spawn_blocking(move || reload()).await;
    }
}
