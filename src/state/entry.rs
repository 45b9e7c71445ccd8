//! What one entry of the Raft log holds.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::codec::{self, CodecError};
use super::command::{Command, EncodedCommand, KeyWindow, VERSION};
use super::quotas::Quotas;
use crate::domain::Timestamp;

/// One entry of the log: commands that are applied together. The leader fills in what is not deterministic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The leader's clock. The log's time moves up to it, or stays if a former leader's clock was ahead.
    pub time: Timestamp,
    /// How long idempotency keys are remembered.
    pub key_window: KeyWindow,
    /// How much there may be.
    pub quotas: Quotas,
    /// The commands, in order.
    pub commands: Vec<Command>,
}

#[derive(Serialize, Deserialize)]
struct Header {
    time: Timestamp,
    key_window: KeyWindow,
    quotas: Quotas,
    commands: u64,
}

impl Entry {
    /// The bytes of an entry: version, time, key window, quotas and number of commands, then the commands one behind the other,
    /// just as their nodes encoded them.
    #[must_use]
    pub fn join(time: Timestamp, key_window: KeyWindow, quotas: Quotas, commands: &[EncodedCommand]) -> Bytes {
        let header = Header { time, key_window, quotas, commands: commands.len() as u64 };
        let mut bytes = codec::encode(VERSION, &header);
        bytes.reserve_exact(commands.iter().map(|command| command.body().len()).sum());
        for command in commands {
            bytes.extend_from_slice(command.body());
        }
        bytes.into()
    }

    /// The bytes that [`Self::decode`] reads.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let commands: Vec<EncodedCommand> = self.commands.iter().map(Command::encode).collect();
        Self::join(self.time, self.key_window, self.quotas, &commands)
    }

    /// Reads an entry back.
    ///
    /// # Errors
    /// The bytes are damaged or of a version that is not known. The node must stop: other nodes may apply what it can't.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let (header, mut rest) = codec::take::<Header>(codec::versioned(VERSION, bytes)?)?;
        let mut commands = Vec::new();
        for _ in 0..header.commands {
            let (command, behind) = codec::take(rest)?;
            commands.push(command);
            rest = behind;
        }
        codec::end(rest)?;
        let Header { time, key_window, quotas, .. } = header;
        Ok(Self { time, key_window, quotas, commands })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        Bearer, Headers, IdempotencyKey, JsonText, MemberData, NewMessage, NodeId, Pattern, Revoked, SettingsChange,
        TicketId, TopicName, TopicSettings, UserId,
    };
    use crate::state::{Attendee, Ticket};

    fn entry() -> Entry {
        let topic = TopicName::parse("orders:1").expect("a name");
        let key = IdempotencyKey::parse("k").expect("a key");
        let value = JsonText::parse("[1]").expect("JSON");
        let user = UserId::parse("ada").expect("a user");
        let data = MemberData::new(JsonText::parse("7").expect("JSON")).expect("small");
        let message = NewMessage::new(value, Headers::default(), None, Some(key));
        Entry {
            time: Timestamp::from_millis(1_000),
            key_window: KeyWindow { max_age_ms: 600_000, max_keys: 7 },
            quotas: Quotas { topics: 5, subject_tickets: 3 },
            commands: vec![
                Command::CreateTopic {
                    name: topic.clone(),
                    settings: SettingsChange::default(),
                    default: TopicSettings::default(),
                },
                Command::Publish { topic: topic.clone(), messages: vec![message], create: None },
                Command::AllotNode,
                Command::Tick,
                Command::Mark,
                Command::CreateTicket {
                    id: TicketId::of("t"),
                    ticket: Ticket {
                        bearer: Bearer::default(),
                        subscribe: vec![Pattern::parse("news:*").expect("a pattern")],
                        presence: Vec::new(),
                        data: None,
                    },
                    expires_at: Timestamp::from_millis(9_000),
                },
                Command::Revoke { whom: Revoked::Subject("eve".to_owned()), until: Timestamp::from_millis(9_000) },
                Command::Attend {
                    node: NodeId::new(2),
                    joined: vec![Attendee { topic: topic.clone(), user: user.clone(), data: Some(data) }],
                    left: vec![(topic, user)],
                },
                Command::Dismiss { node: NodeId::new(2) },
            ],
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn an_entry_comes_back_from_its_bytes() {
        assert_eq!(Entry::decode(&entry().encode()), Ok(entry()));
    }

    #[test]
    fn commands_of_several_nodes_join_into_the_same_bytes() {
        let Entry { time, key_window, quotas, commands } = entry();
        let travelled: Vec<EncodedCommand> = commands
            .iter()
            .map(|command| EncodedCommand::parse(command.encode().as_bytes().clone()).expect("a command"))
            .collect();
        assert_eq!(Entry::join(time, key_window, quotas, &travelled), entry().encode());
    }

    /// The bytes of version 6. If this fails, logs on disk can no longer be read: raise the version.
    #[test]
    fn version_6_keeps_its_bytes() {
        assert_eq!(
            hex(&entry().encode()),
            concat!(
                "06e807c0cf2407050309",
                "00086f72646572733a3100000000e80780808008",
                "80a30500",
                "03086f72646572733a3101035b315d027b7d0001016b",
                "db77acc8f384a99366be185f5892ca21",
                "00",
                "04",
                "05",
                "06",
                "07e3b98a4da31a127d4bde6e43033f66ba274cab0eb7eb1c70ec41402bf6273dd8",
                "00000000",
                "01066e6577733a2a0000a846",
                "080103657665a846",
                "090201086f72646572733a310361646101013701086f72646572733a3103616461",
                "0a02"
            )
        );
    }

    #[test]
    fn bytes_that_are_not_an_entry_are_refused_and_never_skipped() {
        let good = entry().encode();
        for length in 0..good.len() {
            assert!(Entry::decode(&good[..length]).is_err(), "cut to {length} bytes");
        }
        assert_eq!(Entry::decode(&[good.as_ref(), &[0]].concat()), Err(CodecError::Trailing { bytes: 1 }));
        assert_eq!(
            Entry::decode(&[VERSION + 1, 0]),
            Err(CodecError::Version { found: VERSION + 1, expected: VERSION })
        );
        assert!(EncodedCommand::parse(Bytes::from_static(&[VERSION, 99])).is_err());
    }
}
