//! When files that may change are looked at.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// Looks at files by `reload`: every `interval`, and whenever it is `asked` to.
pub(super) async fn keep_current(interval: Duration, asked: Arc<Notify>, reload: impl Fn() + Send + Sync + 'static) {
    let reload = Arc::new(reload);
    loop {
        let _ = timeout(interval, asked.notified()).await;
        let reload = Arc::clone(&reload);
        // Its end is awaited, so that only one runs.
        let _ = spawn_blocking(move || reload()).await;
    }
}
