//! `repl`: a Raft-replicated publish/subscribe broker for web applications, over Server-Sent Events.

pub mod domain;
