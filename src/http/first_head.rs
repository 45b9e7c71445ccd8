//! The first head of a connection, before anybody parses it.
//!
//! Whoever has sent no whole head yet may be one of thousands that never will. So heads are awaited among the streams, where
//! no publish waits behind them, and in a small buffer: hyper, which takes ten times the memory and looks at a head anew
//! with every byte of it, gets what is whole.

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

use super::connection::HEAD_BYTES_MAX;
use super::metrics::Closed;
use super::serve::Server;

/// What most heads fit into.
const ROOM_BYTES: usize = 1_024;

/// Waits for a whole head, or for as much as tells that there will be none: hyper knows what to answer then.
///
/// # Errors
/// None came in time, the client left, or the server stops.
pub(super) async fn arrive<S: AsyncRead + Unpin>(socket: &mut S, server: &Server) -> Result<Vec<u8>, Closed> {
    let arriving = timeout(server.limits.head_timeout, read(socket));
    match server.stop.run_until_cancelled(arriving).await {
        Some(Ok(head)) => head.ok_or(Closed::Client),
        Some(Err(_)) => Err(Closed::Idle),
        None => Err(Closed::Stopped),
    }
}

/// Reads up to the end of a head. `None`: the client left before.
async fn read<S: AsyncRead + Unpin>(socket: &mut S) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(ROOM_BYTES);
    loop {
        let looked_at = bytes.len();
        if socket.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        if is_enough(&bytes, looked_at) {
            return Some(bytes);
        }
    }
}

/// Whether a head is whole, too long, or none at all, where so many bytes were looked at before.
fn is_enough(bytes: &[u8], looked_at: usize) -> bool {
    // As lenient as hyper: a line may end without CR.
    let new = bytes.get(looked_at.saturating_sub(2)..).unwrap_or_default();
    let is_whole = new.windows(2).any(|pair| pair == b"\n\n") || new.windows(3).any(|three| three == b"\n\r\n");
    // TLS, or a node that takes this for the port of nodes.
    let is_something_else = new.iter().any(|byte| byte.is_ascii_control() && !matches!(byte, b'\t' | b'\r' | b'\n'));
    is_whole || is_something_else || bytes.len() >= HEAD_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    async fn read_in_pieces(text: &[u8], piece: usize) -> Option<Vec<u8>> {
        let (mut client, mut socket) = tokio::io::duplex(piece);
        let write = async {
            // Fails once nobody reads on.
            let _ = client.write_all(text).await;
            drop(client);
        };
        let read = async {
            let head = read(&mut socket).await;
            drop(socket);
            head
        };
        tokio::join!(write, read).1
    }

    #[tokio::test]
    async fn a_head_is_awaited_to_its_end_in_whatever_pieces_it_comes() {
        for head in ["GET / HTTP/1.1\r\nhost: a\r\n\r\n", "GET / HTTP/1.1\n\n", "PRI * HTTP/2.0\r\n\r\n"] {
            for piece in 1..=head.len() {
                assert_eq!(read_in_pieces(head.as_bytes(), piece).await.as_deref(), Some(head.as_bytes()), "{piece}");
            }
            let cut = head.as_bytes().split_last().expect("a byte").1;
            assert_eq!(read_in_pieces(cut, 7).await, None, "who leaves gets no answer");
        }
        let with_body = b"POST / HTTP/1.1\r\n\r\nbody";
        assert_eq!(read_in_pieces(with_body, 64).await.as_deref(), Some(&with_body[..]));
    }

    #[tokio::test]
    async fn what_can_be_no_head_is_not_awaited() {
        for other in [&[0x16, 3, 1, 2, 0][..], b"repl\x02\x01"] {
            assert_eq!(read_in_pieces(other, other.len()).await.as_deref(), Some(other));
        }
        let endless = "GET / HTTP/1.1\r\n".to_owned() + &"x: y\r\n".repeat(HEAD_BYTES_MAX);
        let taken = read_in_pieces(endless.as_bytes(), 1_000).await.expect("enough");
        assert!((HEAD_BYTES_MAX..2 * HEAD_BYTES_MAX).contains(&taken.len()), "{}", taken.len());
    }
}
