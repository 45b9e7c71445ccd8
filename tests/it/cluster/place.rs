//! An address of one's own, from before anybody listens there.

use tokio::net::TcpSocket;

/// An address on this machine that the kernel gives to nobody else as long as this is kept, whether somebody listens there or
/// not: a socket that is bound to it, and never listens. Who connects meanwhile is refused.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) address: String,
    _bound: TcpSocket,
}

impl Place {
    pub(crate) fn new() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        // Of two that say so one may listen, if the other one doesn't.
        socket.set_reuseaddr(true).expect("it can");
        socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
        let address = socket.local_addr().expect("an address").to_string();
        Self { address, _bound: socket }
    }
}
