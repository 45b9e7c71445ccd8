//! Runs the scripts. `UPDATE_GOLDENFILES=1 cargo test state::tests::scripts` records what they give; read it before you
//! commit it.

use std::error::Error;
use std::fmt::Write;

use goldenscript::{Argument, Context};

use super::replica::Replica;
use crate::domain::{
    Bearer, Headers, IdempotencyKey, JsonText, MemberData, NewMessage, NodeId, Pattern, Position, Retention,
    RetentionChange, Revoked, Selection, SettingsChange, TicketId, Timestamp, TopicName, TopicSettings, UserId,
};
use crate::state::{
    Attendee, Command, Entry, Event, HistoryRange, Hole, KeyWindow, Member, Missed, Outcome, Page, PageLimit,
    Published, Quotas, Refusal, Reply, RosterChange, Slot, Ticket, TopicInfo,
};

macro_rules! scripts {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            let path = concat!("src/state/scripts/", stringify!($name));
            goldenscript::run(&mut Runner::default(), path).expect("the script runs");
        }
    )*};
}

scripts! {
    a_batch_is_stored_whole_or_not_at_all
    a_deleted_topic_leaves_what_readers_must_know
    a_live_only_topic_keeps_nothing
    a_page_of_history_is_a_range_of_positions
    a_repeated_key_gives_the_first_message
    a_selection_is_read_in_one_order
    keys_are_forgotten_by_age
    keys_are_forgotten_by_number
    messages_have_positions_and_seqs
    messages_leave_by_age
    messages_leave_by_bytes
    members_come_and_go
    messages_leave_by_number
    node_ids_are_never_used_again
    only_what_is_retained_is_written
    rows_keep_their_bytes
    the_oldest_tombstone_leaves_a_mark
    there_is_no_more_than_the_quotas_allow
    tickets_admit_until_they_expire_or_are_revoked
    time_never_runs_backwards
    topics_are_created_once
}

/// What the entries of a script are made with.
#[derive(Default)]
struct Runner {
    replica: Replica,
    clock_ms: u64,
    window: KeyWindow,
    quotas: Quotas,
}

type Fallible<T = String> = Result<T, Box<dyn Error>>;

impl goldenscript::Runner for Runner {
    type Command = goldenscript::Command;

    fn run(&mut self, command: &goldenscript::Command, _: &Context) -> Fallible {
        let mut args = Args(&command.args);
        let machine = &self.replica.machine;
        let mut out = String::new();
        match command.name.as_str() {
            "at" => self.clock_ms = args.position(0)?.get(),
            "window" => self.window = KeyWindow { max_age_ms: args.number("age_ms")?, max_keys: args.number("keys")? },
            "quotas" => {
                self.quotas = Quotas { topics: args.number("topics")?, subject_tickets: args.number("tickets")? };
            }
            "create" => return self.apply(create(args.topic()?, args.settings()?)),
            "change" => {
                let (name, change) = (args.topic()?, args.settings()?);
                return self.apply(Command::ChangeTopic { name, change });
            }
            "delete" => return self.apply(Command::DeleteTopic { name: args.topic()? }),
            // A message is a value, or key=value. Its size is that of the value as JSON and 2 bytes of empty headers.
            "publish" | "publish-or-create" => {
                let topic = args.topic()?;
                let create = (command.name == "publish-or-create").then(TopicSettings::default);
                let messages = args.0.iter().map(message).collect::<Fallible<_>>()?;
                return self.apply(Command::Publish { topic, messages, create });
            }
            "ticket" => {
                let bearer = Bearer {
                    subject: args.option("subject")?,
                    token: args.option("token")?,
                    issued_at: args.option("issued")?.map(Timestamp::from_millis),
                    ticket: None,
                };
                let (id, until) = (TicketId::of(&args.text()?), args.number("until")?);
                let subscribe = vec![Pattern::parse(&args.text()?)?];
                let expires_at = Timestamp::from_millis(until);
                return self.apply(Command::CreateTicket {
                    id,
                    ticket: Ticket { bearer, subscribe, presence: Vec::new(), data: None },
                    expires_at,
                });
            }
            "revoke" => {
                let whom = match (args.option("token")?, args.option("subject")?, args.option::<String>("ticket")?) {
                    (Some(token), _, _) => Revoked::Token(token),
                    (_, Some(subject), _) => Revoked::Subject(subject),
                    (_, _, ticket) => Revoked::Ticket(TicketId::of(&ticket.ok_or("whom?")?)),
                };
                let until = Timestamp::from_millis(args.number("until")?);
                return self.apply(Command::Revoke { whom, until });
            }
            "admits" => {
                let ticket = args.option::<String>("ticket")?;
                let bearer = Bearer {
                    subject: args.option("subject")?,
                    token: args.option("token")?,
                    issued_at: args.option("issued")?.map(Timestamp::from_millis),
                    ticket: ticket.as_deref().map(TicketId::of),
                };
                write!(out, "{}", if machine.is_revoked(&bearer) { "no" } else { "yes" })?;
            }
            // Who comes is +topic@user or +topic@user=data, who goes is -topic@user.
            "attend" => {
                let node = NodeId::new(args.text()?.parse()?);
                let (mut joined, mut left) = (Vec::new(), Vec::new());
                for arg in args.0 {
                    let Argument::Positional(text) = arg else { return Err("not a member".into()) };
                    let (who, data) =
                        text.split_once('=').map_or((text.as_str(), None), |(who, data)| (who, Some(data)));
                    let data = data.map(|data| JsonText::parse(&format!("{data:?}"))).transpose()?;
                    let data = data.map(MemberData::new).transpose()?;
                    let (topic, user) = who.get(1..).and_then(|who| who.split_once('@')).ok_or("which topic?")?;
                    let (topic, user) = (TopicName::parse(topic)?, UserId::parse(user)?);
                    if who.starts_with('+') {
                        joined.push(Attendee { topic, user, data });
                    } else {
                        left.push((topic, user));
                    }
                }
                return self.apply(Command::Attend { node, joined, left });
            }
            "dismiss" => return self.apply(Command::Dismiss { node: NodeId::new(args.text()?.parse()?) }),
            "roster" => {
                let topic = args.topic()?;
                let after = args.option::<String>("after")?.map(|after| UserId::parse(&after)).transpose()?;
                let roster = machine.roster(&topic, after.as_ref(), args.option("limit")?.unwrap_or(usize::MAX));
                let Some(roster) = roster else { return Ok("no presence".into()) };
                writeln!(out, "{} at version {}", roster.count, roster.version)?;
                for member in &roster.members {
                    writeln!(out, "{}", describe_member(member))?;
                }
            }
            "status" => {
                let Some(status) = machine.user_status(&UserId::parse(&args.text()?)?) else {
                    return Ok("offline".into());
                };
                writeln!(out, "online since {}", status.since.as_millis())?;
                for (topic, since, nodes) in &status.topics {
                    let nodes = nodes.iter().map(|node| node.get()).collect::<Vec<_>>();
                    writeln!(out, "{topic} since {} by {nodes:?}", since.as_millis())?;
                }
            }
            "attendees" => {
                for (topic, user) in machine.attendees(NodeId::new(args.text()?.parse()?)) {
                    writeln!(out, "{topic}@{user}")?;
                }
            }
            "allot-node" => return self.apply(Command::AllotNode),
            "tick" => return self.apply(Command::Tick),
            "create-and-delete" => {
                let (prefix, count) = (args.topic()?, args.number("count")?);
                for number in 0..count {
                    let name = TopicName::parse(&format!("{prefix}{number}"))?;
                    self.apply(create(name.clone(), SettingsChange::default()))?;
                    self.apply(Command::DeleteTopic { name })?;
                }
            }
            "checkpoint" => {
                self.replica.begin_checkpoint();
                self.replica.end_checkpoint();
            }
            "begin-checkpoint" => self.replica.begin_checkpoint(),
            "end-checkpoint" => self.replica.end_checkpoint(),
            "restart" => self.replica.restart(),
            "rows" => {
                for key in self.replica.rows.keys() {
                    let kind = ["", "meta", "topic", "message", "key", "tombstone", "ticket", "revocation", "member"]
                        [usize::from(key[0])];
                    let numbers = key[1..].chunks(8).map(|n| u64::from_be_bytes(n.try_into().expect("8 bytes")));
                    writeln!(out, "{kind} {:?}", numbers.collect::<Vec<_>>())?;
                }
            }
            "row-bytes" => {
                let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
                for (key, value) in &self.replica.rows {
                    writeln!(out, "{} → {}", hex(key), hex(value))?;
                }
            }
            "changed" => write!(out, "{} rows, {} bytes", machine.changed_rows(), machine.changed_bytes())?,
            "state" => {
                let expiry = machine.next_expiry().map_or("never".into(), |at| at.as_millis().to_string());
                let (position, time) = (machine.position(), machine.time().as_millis());
                write!(out, "position {position}, time {time}, next expiry {expiry}")?;
            }
            "topics" => {
                let prefix: String = args.option("prefix")?.unwrap_or_default();
                let after = args.option::<String>("after")?.map(|after| TopicName::parse(&after)).transpose()?;
                for info in machine.topics(&prefix, after.as_ref(), args.option("limit")?.unwrap_or(usize::MAX)) {
                    writeln!(out, "{}", describe_topic(&info))?;
                }
            }
            "history" => {
                let range = HistoryRange {
                    after: Position::new(args.option("after")?.unwrap_or(0)),
                    before: args.option("before")?.map(Position::new),
                    reverse: args.option("reverse")?.unwrap_or(false),
                };
                let page = machine.history(&args.topic()?, range, args.page_limit()?);
                return page.map_or(Ok("no such topic".into()), |page| self.describe_page(&page));
            }
            "read" => {
                let after = Position::new(args.option("after")?.unwrap_or(0));
                let up_to = args.option("up_to")?.map_or(machine.position(), Position::new);
                return self.describe_page(&machine.read(&args.selection()?, after, up_to, args.page_limit()?));
            }
            "holes" => {
                let after = Position::new(args.number("after")?);
                let selection = args.selection()?;
                for (name, hole) in machine.holes(&selection, after) {
                    writeln!(out, "{name}: {}", describe_hole(hole))?;
                }
                if machine.forgot_deletions_after(after) && !selection.patterns.is_empty() {
                    writeln!(out, "perhaps others, deleted long ago")?;
                }
            }
            "tail" => {
                let tails = machine.tails(&args.selection()?, args.number("count")?);
                for (name, cursor) in &tails {
                    writeln!(out, "{name} after {cursor}")?;
                }
                let page = machine.read_tails(&tails, Position::ZERO, machine.position(), args.page_limit()?);
                return Ok(out + &self.describe_page(&page)?);
            }
            "since" => {
                let time = Timestamp::from_millis(args.number("ms")?);
                write!(out, "{}", machine.since(&args.selection()?, time))?;
            }
            other => return Err(format!("no command {other:?}").into()),
        }
        Ok(out)
    }
}

impl Runner {
    fn apply(&mut self, command: Command) -> Fallible {
        let time = Timestamp::from_millis(self.clock_ms);
        let Self { window: key_window, quotas, .. } = *self;
        let (outcomes, events) = self.replica.apply(&Entry { time, key_window, quotas, commands: vec![command] });
        let mut out = String::new();
        for outcome in &outcomes {
            writeln!(out, "{} {}", self.replica.machine.applied(), describe_outcome(outcome))?;
        }
        for event in &events {
            writeln!(out, "  → {}", describe_event(event))?;
        }
        Ok(out)
    }

    fn describe_page(&self, page: &Page) -> Fallible {
        let mut out = String::new();
        for slot in &page.slots {
            let place = match slot {
                Slot::Memory(_) => "memory",
                Slot::Stored { .. } => "store",
            };
            let message = self.replica.fetch(slot);
            let (position, topic, seq, value) = (message.position, &message.topic, message.seq, message.value.as_str());
            writeln!(out, "{position} {topic}#{seq} {value} ({place})")?;
        }
        if page.more {
            writeln!(out, "and more")?;
        }
        Ok(out)
    }
}

/// Arguments that are taken one after the other, or by name.
struct Args<'a>(&'a [Argument]);

impl Args<'_> {
    fn topic(&mut self) -> Fallible<TopicName> {
        let Some((Argument::Positional(name), rest)) = self.0.split_first() else { return Err("which topic?".into()) };
        self.0 = rest;
        Ok(TopicName::parse(name)?)
    }

    fn text(&mut self) -> Fallible {
        let Some((Argument::Positional(text), rest)) = self.0.split_first() else {
            return Err("a text is missing".into());
        };
        self.0 = rest;
        Ok(text.clone())
    }

    fn position(&self, at: usize) -> Fallible<Position> {
        let Some(Argument::Positional(number)) = self.0.get(at) else { return Err("a number is missing".into()) };
        Ok(Position::new(number.parse()?))
    }

    fn option<T: std::str::FromStr<Err: Error + 'static>>(&self, wanted: &str) -> Fallible<Option<T>> {
        let value = self.0.iter().find_map(|arg| match arg {
            Argument::KeyValue(name, value) if name == wanted => Some(value),
            _ => None,
        });
        Ok(value.map(|value| value.parse()).transpose()?)
    }

    fn page_limit(&self) -> Fallible<PageLimit> {
        let messages = self.option("limit")?.unwrap_or(usize::MAX);
        Ok(PageLimit { messages, bytes: self.option("bytes")?.unwrap_or(u64::MAX) })
    }

    fn number(&self, wanted: &str) -> Fallible<u64> {
        Ok(self.option(wanted)?.ok_or_else(|| format!("{wanted}= is missing"))?)
    }

    fn settings(&self) -> Fallible<SettingsChange> {
        let retention = RetentionChange {
            max_messages: self.option("messages")?,
            max_bytes: self.option("bytes")?,
            max_age_seconds: self.option("age")?,
        };
        Ok(SettingsChange { retention, presence: self.option("presence")? })
    }

    /// Names and patterns: what holds a `*` is a pattern.
    fn selection(&self) -> Fallible<Selection> {
        let mut selection = Selection::default();
        for arg in self.0 {
            match arg {
                Argument::Positional(text) if text.contains('*') => {
                    selection.patterns.insert(Pattern::parse(text)?);
                }
                Argument::Positional(text) => {
                    selection.topics.insert(TopicName::parse(text)?);
                }
                _ => {}
            }
        }
        Ok(selection)
    }
}

fn create(name: TopicName, settings: SettingsChange) -> Command {
    Command::CreateTopic { name, settings, default: TopicSettings::default() }
}

fn message(arg: &Argument) -> Fallible<NewMessage> {
    let (key, value) = match arg {
        Argument::KeyValue(key, value) => (Some(IdempotencyKey::parse(key)?), value),
        Argument::Positional(value) => (None, value),
        _ => return Err("neither a value nor key=value".into()),
    };
    let value = JsonText::parse(&serde_json::to_string(value)?)?;
    Ok(NewMessage::new(value, Headers::default(), None, key))
}

fn describe_outcome(outcome: &Outcome) -> String {
    match outcome {
        Ok(Reply::TopicCreated(info)) => format!("created: {}", describe_topic(info)),
        Ok(Reply::TopicExists(info)) => format!("exists: {}", describe_topic(info)),
        Ok(Reply::TopicChanged(info)) => format!("changed: {}", describe_topic(info)),
        Ok(Reply::TopicDeleted) => "deleted".into(),
        Ok(Reply::Published(published)) => {
            format!("published: {}", published.iter().map(describe_published).collect::<Vec<_>>().join(", "))
        }
        Ok(Reply::NodeAllotted(node)) => format!("allotted node {node}"),
        Ok(Reply::Marked { entry }) => format!("marked {entry}"),
        Ok(Reply::Ticked) => "ticked".into(),
        Ok(Reply::TicketCreated) => "ticket created".into(),
        Ok(Reply::Revoked) => "revoked".into(),
        Ok(Reply::Attended { passed_over }) => format!("attended, {passed_over} passed over"),
        Ok(Reply::Dismissed { members }) => format!("dismissed, {members} left"),
        Err(Refusal::TopicExists { existing: TopicSettings { retention, presence } }) => format!(
            "refused: the topic exists with {} messages, {} bytes, {} s{}",
            retention.max_messages,
            retention.max_bytes,
            retention.max_age_seconds,
            if *presence { ", presence" } else { "" }
        ),
        Err(
            refusal @ (Refusal::TopicNotFound
            | Refusal::KeyReused { .. }
            | Refusal::TicketsFull
            | Refusal::RevocationsFull
            | Refusal::Revoked
            | Refusal::TopicsFull
            | Refusal::SubjectTicketsFull),
        ) => format!("refused: {refusal}"),
    }
}

fn describe_topic(info: &TopicInfo) -> String {
    let TopicInfo { name, messages, bytes, first_seq, next_seq, last_position, .. } = info;
    let TopicSettings { retention: Retention { max_messages, max_bytes, max_age_seconds }, presence } = info.settings;
    let presence = if presence { ", presence" } else { "" };
    let created_at = info.created_at.as_millis();
    format!(
        "{name} of {created_at}: {messages}/{max_messages} messages, {bytes}/{max_bytes} bytes, {max_age_seconds} s, \
         seqs {first_seq}..{next_seq}, last position {last_position}{presence}"
    )
}

fn describe_published(published: &Published) -> String {
    let Published { position, seq, created_at, repeated } = published;
    format!("{position}#{seq} at {}{}", created_at.as_millis(), if *repeated { " (repeated)" } else { "" })
}

fn describe_event(event: &Event) -> String {
    match event {
        Event::TopicCreated { name, position } => format!("{name} created after {position}"),
        Event::TopicDeleted { name, position } => format!("{name} deleted after {position}"),
        Event::Published(message) => {
            format!("{} {}#{} {}", message.position, message.topic, message.seq, message.value.as_str())
        }
        Event::Presence { topic, position, version, change } => {
            let RosterChange { joined, updated, left } = &**change;
            let joined = joined.iter().map(|member| format!("+{}", describe_member(member)));
            let updated = updated.iter().map(|member| format!("~{}", describe_member(member)));
            let left = left.iter().map(|user| format!("-{user}"));
            let changes = joined.chain(updated).chain(left).collect::<Vec<_>>().join(", ");
            format!("{topic} after {position}, version {version}: {changes}")
        }
        Event::Status { user, position, version, since } => {
            let status = since.map_or("offline".to_owned(), |since| format!("online since {}", since.as_millis()));
            format!("{user} after {position}, version {version}: {status}")
        }
    }
}

fn describe_member(member: &Member) -> String {
    let data = member.data.as_ref().map_or(String::new(), |data| format!(" {}", data.as_str()));
    format!("{} since {}{data}", member.user, member.since.as_millis())
}

fn describe_hole(Hole { deleted, missed }: Hole) -> String {
    let deleted = deleted.then(|| "deleted".to_owned());
    let missed = missed.map(|missed| match missed {
        Missed::Evicted { up_to } => format!("evicted up to {up_to}"),
        Missed::Deleted { up_to } => format!("missed up to {up_to}"),
    });
    deleted.into_iter().chain(missed).collect::<Vec<_>>().join(", ")
}
