//! Two nodes that should hold the same, and don't.

use super::replica::Replica;
use crate::domain::{
    Headers, IdempotencyKey, JsonText, LogIndex, NewMessage, Position, Retention, Timestamp, TopicName, TopicSettings,
};
use crate::state::{Command, Entry, KeyWindow, Mark, Quotas};

fn name(name: &str) -> TopicName {
    TopicName::parse(name).expect("a name")
}

fn publish(topic: &str, value: &str, key: Option<&str>) -> Command {
    let key = key.map(|key| IdempotencyKey::parse(key).expect("a key"));
    let message = NewMessage::new(JsonText::parse(value).expect("JSON"), Headers::default(), None, key);
    Command::Publish { topic: name(topic), messages: vec![message], create: Some(TopicSettings::default()) }
}

fn replica(commands: &[Command]) -> Replica {
    let mut replica = Replica::default();
    for command in commands {
        let commands = vec![command.clone()];
        replica.apply(&Entry {
            time: Timestamp::from_millis(7),
            key_window: KeyWindow::default(),
            quotas: Quotas::default(),
            commands,
        });
    }
    replica
}

fn mark(replica: &Replica) -> &Mark {
    replica.machine.marked(replica.machine.applied()).expect("the last entry is a mark")
}

/// Replaces one of the commands that one of two nodes applies, and tells the topic, and in it the message, from which on
/// they differ.
fn difference(at: usize, other: Command) -> (Option<TopicName>, Option<Position>) {
    let mut commands =
        vec![publish("a", "1", None), publish("b", "2", Some("k")), publish("b", "3", None), Command::AllotNode];
    commands.push(Command::Mark);
    let one = replica(&commands);
    commands[at] = other;
    let two = replica(&commands);
    assert_ne!(mark(&one).digest, mark(&two).digest);
    let topics = mark(&one).topics.iter().zip(&mark(&two).topics);
    let Some((topic, _)) = topics.into_iter().find(|(one, two)| one != two) else { return (None, None) };
    let up_to = mark(&one).position;
    let [holding, other] = [&one, &two].map(|replica| replica.machine.messages_up_to(topic.0, up_to));
    (one.machine.topic_name(topic.0).cloned(), holding.first_difference(&other))
}

#[test]
fn the_first_difference_is_named() {
    assert_eq!(difference(0, publish("a", "7", None)), (Some(name("a")), Some(Position::new(1))));
    assert_eq!(difference(2, publish("b", "7", None)), (Some(name("b")), Some(Position::new(3))));
    assert_eq!(difference(1, publish("b", "2", Some("l"))), (Some(name("b")), None), "another key");
    assert_eq!(difference(3, Command::Tick), (None, None), "in no topic");
    let retention = Retention { max_messages: 1, ..Retention::default() };
    let command = Command::Publish { topic: name("a"), messages: Vec::new(), create: Some(retention.into()) };
    assert_eq!(difference(0, command).0, Some(name("a")), "other settings");
}

#[test]
fn only_the_last_marks_are_remembered() {
    let replica = replica(&vec![Command::Mark; 100]);
    let remembered = |entry: &u64| replica.machine.marked(LogIndex::new(*entry)).is_some();
    assert_eq!((1..=100).filter(remembered).collect::<Vec<_>>(), [97, 98, 99, 100]);
}
