//! The load: connections that publish, streams that are read, and the messages that go from one to the other.

pub(crate) mod attackers;
pub(crate) mod message;
pub(crate) mod pace;
pub(crate) mod publishers;
pub(crate) mod sequence;
pub(crate) mod subscribers;
pub(crate) mod threads;
pub(crate) mod window;
