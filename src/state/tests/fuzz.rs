//! What stands in the log and in snapshots, and what nodes send to be written there.

use std::convert::Infallible;

use super::restore::rows;
use crate::domain::{NodeId, Timestamp};
use crate::fuzz::Target;
use crate::state::codec::encode_bare;
use crate::state::{
    Command, EncodedCommand, Entry, KeyWindow, Machine, Quotas, Refusal, Reply, decode_outcome, encode_outcome,
};

#[test]
fn fuzz_entries() {
    let entry = |commands: Vec<Command>| {
        let (key_window, quotas) = (KeyWindow::default(), Quotas::default());
        Entry { time: Timestamp::from_millis(7), key_window, quotas, commands }
    };
    let commands = super::restore::commands();
    let mut corpus: Vec<_> = commands.iter().map(|command| entry(vec![command.clone()]).encode().to_vec()).collect();
    corpus.push(entry(commands).encode().to_vec());
    // What can be read is applied, and an entry is what a leader has written: batches, and messages kept.
    Target { allocated_max: (1 << 20, 256), cost: 2, ..Target::new("entries of the log", corpus) }.run(|input| {
        if let Ok(entry) = Entry::decode(input) {
            let mut machine = Machine::new();
            let index = machine.applied();
            machine.apply(index, entry, &mut Vec::new());
        }
    });
}

#[test]
fn fuzz_commands_and_outcomes() {
    let mut corpus: Vec<_> =
        super::restore::commands().iter().map(|command| command.encode().as_bytes().to_vec()).collect();
    corpus.extend(
        [Ok(Reply::NodeAllotted(NodeId::new(3))), Err(Refusal::TopicsFull)].map(|outcome| encode_outcome(&outcome)),
    );
    Target::new("commands and outcomes", corpus).run(|input| {
        let _ = EncodedCommand::parse(input.to_vec().into());
        let _ = decode_outcome(input);
    });
}

#[test]
fn fuzz_rows() {
    let rows: Vec<_> = rows().into_iter().collect();
    let corpus = vec![encode_bare(&rows)];
    Target { allocated_max: (1 << 20, 256), cost: 4, ..Target::new("rows of a snapshot", corpus) }.run(|input| {
        // Rows that lost their order come in any.
        if let Ok(rows) = crate::state::codec::decode_bare::<Vec<(Vec<u8>, Vec<u8>)>>(input) {
            let _ = Machine::restore(rows.into_iter().map(Ok::<_, Infallible>));
        }
    });
}
