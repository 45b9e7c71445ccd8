//! The first lines that a start prints.

use crate::config::reachable;
use crate::server::Started;

/// The first lines that a start prints: where the node is, and what to try next.
#[must_use]
pub fn banner(started: &Started) -> String {
    let Started { version, cluster, node, url, peer, data_dir, serves_tls, asks_for_tokens, .. } = started;
    let data_dir = data_dir.display();
    let scheme = if *serves_tls { "https" } else { "http" };
    let local = format!("{scheme}://{}", reachable(started.listen));
    // The lines below are read on this machine, which need not be able to reach what others are told; but a certificate is
    // for what they are told.
    let here = if *serves_tls { url } else { &local };
    let elsewhere = if started.listen.ip().is_unspecified() && *url == local {
        format!(" (other machines: port {} at any address of this one; --advertise says which)", started.listen.port())
    } else {
        String::new()
    };
    let (auth, header) = if *asks_for_tokens {
        (
            "tokens: what is not allowed to everybody needs one (repl token --help)".to_owned(),
            " -H \"Authorization: Bearer $TOKEN\"",
        )
    } else {
        (format!("off: whoever reaches {} may publish and read", started.listen), "")
    };
    format!(
        "repl {version}, node {node} of cluster {cluster}

  clients  {url}{elsewhere}
  console  {url}/console
  peers    {peer}
  data     {data_dir}
  auth     {auth}

Try it, each in a terminal of its own:

  curl -N{header} '{here}/sse?topic=hello'
  curl{header} --json '{{\"name\": \"hello\"}}' {here}/topics && curl{header} --json '{{\"value\": \"world\"}}' {here}/topics/hello

"
    )
}
