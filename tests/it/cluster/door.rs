//! A way to a node that can be shut: a network that fails for some of what is sent.

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// An address that passes connections on to another one as long as it is open. Once it is shut they end, and those that
/// come then hear nothing until it is opened. It is gone with this handle.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) address: String,
    open: watch::Sender<bool>,
    listening: JoinHandle<()>,
}

impl Door {
    /// Leads to `target`, and is open.
    pub(crate) async fn to(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let (open, is_open) = watch::channel(true);
        let target = target.to_owned();
        let listening = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(pass(stream, target.clone(), is_open.clone()));
            }
        });
        Self { address, open, listening }
    }

    pub(crate) fn shut(&self) {
        self.open.send_replace(false);
    }

    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn pass(mut from: TcpStream, target: String, mut is_open: watch::Receiver<bool>) {
    if is_open.wait_for(|open| *open).await.is_err() {
        return;
    }
    let Ok(mut to) = TcpStream::connect(&target).await else { return };
    tokio::select! {
        // However it ends, both sides see the end.
        _ = copy_bidirectional(&mut from, &mut to) => {}
        _ = is_open.wait_for(|open| !*open) => {}
    }
}
