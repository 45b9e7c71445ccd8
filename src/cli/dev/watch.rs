//! Looks at the cluster through whichever node answers, and tells what has changed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::Event;
use crate::cli::admin::{Admin, member};

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Looks until this is dropped.
pub(super) struct Watch {
    sockets: Sender<PathBuf>,
}

impl Watch {
    pub(super) fn start(events: Sender<Event>) -> Self {
        let (sockets, more) = mpsc::channel();
        thread::spawn(move || look(&more, &events));
        Self { sockets }
    }

    /// Asks at this socket as well.
    pub(super) fn also(&self, socket: PathBuf) {
        // The thread ends only with this handle, or when nobody listens to it.
        let _ = self.sockets.send(socket);
    }
}

fn look(more: &Receiver<PathBuf>, events: &Sender<Event>) {
    let mut sockets: Vec<PathBuf> = Vec::new();
    let mut known = View::default();
    loop {
        match more.recv_timeout(LOOK_EVERY) {
            Ok(socket) => sockets.push(socket),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let answer = ask(&mut sockets, |socket| Admin::new(socket.clone()).ok()?.get("/cluster").ok());
        let Some(view) = answer.map(|answer| View::of(&answer.json)) else { continue };
        for text in view.changes(&known) {
            if events.send(Event::Changed(text)).is_err() {
                return;
            }
        }
        known = view;
    }
}

/// The first answer. Whoever gave it is asked first from then on: a node that has just come back has yet to hear of the
/// others, and to it nobody leads.
fn ask<A>(sockets: &mut [PathBuf], get: impl Fn(&PathBuf) -> Option<A>) -> Option<A> {
    let (at, answer) = sockets.iter().enumerate().find_map(|(at, socket)| Some((at, get(socket)?)))?;
    sockets.swap(0, at);
    Some(answer)
}

/// What is told of a cluster.
#[derive(Default)]
struct View {
    leader: Option<u64>,
    term: u64,
    /// By id: whether it votes, and its state.
    nodes: BTreeMap<u64, (bool, String)>,
}

impl View {
    fn of(cluster: &Value) -> Self {
        let text = |node: &Value, name: &str| member(node, name).as_str().unwrap_or_default().to_owned();
        let node =
            |node: &Value| Some((member(node, "id").as_u64()?, (text(node, "role") != "learner", text(node, "state"))));
        Self {
            leader: member(cluster, "leader").as_u64(),
            term: member(cluster, "term").as_u64().unwrap_or(0),
            nodes: member(cluster, "nodes").as_array().into_iter().flatten().filter_map(node).collect(),
        }
    }

    /// What is new, in words.
    fn changes(&self, before: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        for (id, (votes, state)) in &self.nodes {
            // One that is new has yet to answer: that it is suspect says nothing.
            let (voted, was) = before.nodes.get(id).map_or((false, state), |(votes, state)| (*votes, state));
            if *votes && !voted {
                changes.push(format!("node {id} votes"));
            }
            if state != was {
                changes.push(format!("node {id} is {state}"));
            }
        }
        match (self.leader, before.leader) {
            (Some(leader), was) if Some(leader) != was || self.term != before.term => {
                changes.push(format!("node {leader} leads, in term {}", self.term));
            }
            (None, Some(_)) => changes.push("nobody leads".to_owned()),
            _ => {}
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn who_has_answered_is_asked_again_also_when_others_are_back() {
        let mut sockets = ["a", "b", "c"].map(PathBuf::from);
        let mut answers =
            |able: &[&str]| ask(&mut sockets, |socket| able.contains(&socket.to_str()?).then(|| socket.clone()));
        assert_eq!(answers(&["b", "c"]), Some("b".into()));
        assert_eq!(answers(&["a", "b", "c"]), Some("b".into()));
        assert_eq!(answers(&["a", "c"]), Some("a".into()));
        assert_eq!(answers(&[]), None);
    }

    #[test]
    fn what_changes_is_told_once() {
        let view = |leader: Option<u64>, term: u64, roles: [&str; 2], states: [&str; 2]| {
            let node = |number: usize| json!({ "id": number + 1, "role": roles[number], "state": states[number] });
            View::of(&json!({ "leader": leader, "term": term, "nodes": [node(0), node(1)] }))
        };
        let first = view(Some(1), 1, ["leader", "learner"], ["up", "up"]);
        assert_eq!(first.changes(&View::default()), ["node 1 votes", "node 1 leads, in term 1"]);
        assert_eq!(first.changes(&first), [""; 0]);
        let second = view(None, 1, ["follower", "follower"], ["down", "up"]);
        assert_eq!(second.changes(&first), ["node 1 is down", "node 2 votes", "nobody leads"]);
        let third = view(Some(2), 2, ["follower", "leader"], ["up", "up"]);
        assert_eq!(third.changes(&second), ["node 1 is up", "node 2 leads, in term 2"]);
        let new = view(None, 0, ["learner", "learner"], ["suspect", "suspect"]);
        assert_eq!(new.changes(&View::default()), [""; 0]);
    }
}
