//! What holds for every log, however its nodes stop and start: checked against a naive model of what was published.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::replica::{Replica, Rows};
use crate::domain::{
    Bearer, Headers, IdempotencyKey, JsonText, MemberData, Message, NewMessage, NodeId, Pattern, Position, Retention,
    RetentionChange, Revoked, Selection, SettingsChange, TicketId, Timestamp, TopicName, TopicSettings, UserId,
};
use crate::state::{
    Attendee, Command, EXPIRY_STEPS_PER_ENTRY_MAX, Entry, Event, HistoryRange, KeyWindow, MEMBERS_PER_TOPIC_MAX,
    MEMBERSHIPS_PER_USER_MAX, Machine, Member, Missed, PageLimit, Quotas, Reply, Ticket,
};

/// What happens to a node.
#[derive(Clone, Debug)]
enum Step {
    Apply(Entry),
    BeginCheckpoint,
    EndCheckpoint,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => entry().prop_map(Step::Apply),
        1 => Just(Step::BeginCheckpoint),
        1 => Just(Step::EndCheckpoint),
        1 => Just(Step::Restart),
    ]
}

/// Clocks that jump to and fro, by as much as messages and keys live.
fn entry() -> impl Strategy<Value = Entry> {
    let window = (0..3_000_u64, 0..5_u64).prop_map(|(max_age_ms, max_keys)| KeyWindow { max_age_ms, max_keys });
    let time = (0..20_000_u64).prop_map(Timestamp::from_millis);
    let quotas = (0..4_u64, 0..3_u64).prop_map(|(topics, subject_tickets)| Quotas { topics, subject_tickets });
    (time, window, quotas, prop::collection::vec(command(), 0..4))
        .prop_map(|(time, key_window, quotas, commands)| Entry { time, key_window, quotas, commands })
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        2 => (name(), settings(), change()).prop_map(|(name, default, settings)| {
            Command::CreateTopic { name, settings, default }
        }),
        1 => (name(), change()).prop_map(|(name, change)| Command::ChangeTopic { name, change }),
        1 => name().prop_map(|name| Command::DeleteTopic { name }),
        8 => (name(), prop::collection::vec(message(), 0..4), prop::option::of(settings()))
            .prop_map(|(topic, messages, create)| Command::Publish { topic, messages, create }),
        1 => Just(Command::AllotNode),
        1 => Just(Command::Tick),
        1 => (bearer(), 0..20_000_u64).prop_map(|(bearer, until)| Command::CreateTicket {
            id: TicketId::of(bearer.subject.as_deref().unwrap_or_default()),
            ticket: Ticket { bearer, subscribe: vec![Pattern::parse("a:*").expect("a pattern")], presence: Vec::new(), data: None },
            expires_at: Timestamp::from_millis(until),
        }),
        1 => (revoked(), 0..20_000_u64).prop_map(|(whom, until)| {
            Command::Revoke { whom, until: Timestamp::from_millis(until) }
        }),
        4 => (node(), prop::collection::vec(attendee(), 0..4), prop::collection::vec((name(), user()), 0..3))
            .prop_map(|(node, joined, left)| Command::Attend { node, joined, left }),
        1 => node().prop_map(|node| Command::Dismiss { node }),
    ]
}

fn bearer() -> impl Strategy<Value = Bearer> {
    let issued_at = prop::option::of((0..20_000_u64).prop_map(Timestamp::from_millis));
    let name = || prop::option::of("[ab]");
    (name(), name(), issued_at).prop_map(|(subject, token, issued_at)| Bearer {
        subject,
        token,
        issued_at,
        ticket: None,
    })
}

fn revoked() -> impl Strategy<Value = Revoked> {
    prop_oneof![
        "[ab]".prop_map(Revoked::Token),
        "[ab]".prop_map(Revoked::Subject),
        "[ab]?".prop_map(|ticket| Revoked::Ticket(TicketId::of(&ticket))),
    ]
}

const NAMES: [&str; 3] = ["a", "a:1", "b"];

fn name() -> impl Strategy<Value = TopicName> {
    prop::sample::select(&NAMES).prop_map(|name| TopicName::parse(name).expect("a name"))
}

fn node() -> impl Strategy<Value = NodeId> {
    (1..4_u64).prop_map(NodeId::new)
}

fn user() -> impl Strategy<Value = UserId> {
    "[uvw]".prop_map(|user| UserId::parse(&user).expect("a user"))
}

fn attendee() -> impl Strategy<Value = Attendee> {
    let data = "[0-2]".prop_map(|data| MemberData::new(JsonText::parse(&data).expect("JSON")).expect("small"));
    (name(), user(), prop::option::of(data)).prop_map(|(topic, user, data)| Attendee { topic, user, data })
}

fn settings() -> impl Strategy<Value = TopicSettings> {
    change().prop_map(|change| change.applied_to(TopicSettings::default()))
}

fn change() -> impl Strategy<Value = SettingsChange> {
    (retention(), prop::option::of(any::<bool>()))
        .prop_map(|(retention, presence)| SettingsChange { retention, presence })
}

fn retention() -> impl Strategy<Value = RetentionChange> {
    let bound = |small: u64| prop::option::of(prop_oneof![9 => 0..small, 1 => Just(u64::MAX)]);
    (bound(5), bound(40), bound(10)).prop_map(|(max_messages, max_bytes, max_age_seconds)| RetentionChange {
        max_messages,
        max_bytes,
        max_age_seconds,
    })
}

fn message() -> impl Strategy<Value = NewMessage> {
    let key = prop::option::of("[k-n]").prop_map(|key| key.map(|key| IdempotencyKey::parse(&key).expect("a key")));
    let value = "[0-9]|1{10}".prop_map(|value| JsonText::parse(&value).expect("JSON"));
    (value, key).prop_map(|(value, key)| NewMessage::new(value, Headers::default(), None, key))
}

/// Everything that was ever published, and to which topics.
#[derive(Default)]
struct Model {
    published: Vec<Arc<Message>>,
    /// Existing topics, with how many messages had been published when they were created.
    topics: BTreeMap<TopicName, usize>,
    /// How many messages had been published when the last topic of a name was deleted.
    deleted: BTreeMap<TopicName, u64>,
    /// Who is present where, as a watcher knows from the changes that it was told.
    rosters: BTreeMap<TopicName, BTreeMap<UserId, Member>>,
    /// Who is online since when, as a watcher knows.
    online: BTreeMap<UserId, Timestamp>,
    version: u64,
}

impl Model {
    fn note(&mut self, events: &[Event]) {
        for event in events {
            match event {
                Event::TopicCreated { name, position } => {
                    assert_eq!(position.get(), self.published.len() as u64);
                    assert_eq!(self.topics.insert(name.clone(), self.published.len()), None);
                }
                Event::TopicDeleted { name, position } => {
                    assert_eq!(position.get(), self.published.len() as u64);
                    assert!(self.topics.remove(name).is_some());
                    self.deleted.insert(name.clone(), position.get());
                }
                Event::Presence { topic, position, version, change } => {
                    assert_eq!(position.get(), self.published.len() as u64);
                    self.advance(*version);
                    let roster = self.rosters.entry(topic.clone()).or_default();
                    for member in &change.joined {
                        assert_eq!(roster.insert(member.user.clone(), member.clone()), None);
                    }
                    for member in &change.updated {
                        assert!(roster.insert(member.user.clone(), member.clone()).is_some());
                    }
                    for user in &change.left {
                        assert!(roster.remove(user).is_some());
                    }
                }
                Event::Status { user, version, since, .. } => {
                    self.advance(*version);
                    match since {
                        Some(since) => assert_eq!(self.online.insert(user.clone(), *since), None),
                        None => assert!(self.online.remove(user).is_some()),
                    }
                }
                Event::Published(message) => {
                    assert_eq!(message.position.get(), self.published.len() as u64 + 1, "positions are dense");
                    assert_eq!(message.seq.get(), self.of_topic(&message.topic).len() as u64 + 1, "seqs are dense");
                    let times_rise = self.published.last().is_none_or(|last| last.created_at <= message.created_at);
                    assert!(times_rise, "createdAt never runs backwards");
                    self.published.push(Arc::clone(message));
                }
            }
        }
    }

    /// The messages of an existing topic.
    fn advance(&mut self, version: u64) {
        assert_eq!(version, self.version + 1);
        self.version = version;
    }

    fn of_topic(&self, name: &TopicName) -> Vec<&Arc<Message>> {
        let from = self.topics.get(name).copied().unwrap_or(self.published.len());
        self.published[from..].iter().filter(|message| message.topic == *name).collect()
    }
}

const WHOLE: PageLimit = PageLimit { messages: usize::MAX, bytes: u64::MAX };

/// Checks all that a reader can ask for against the model.
fn check(replica: &Replica, model: &Model, published_before_this_entry: usize) {
    let machine = &replica.machine;
    assert_eq!(machine.position().get(), model.published.len() as u64);
    let mut retained: Vec<Arc<Message>> = Vec::new();
    for name in NAMES {
        let name = TopicName::parse(name).expect("a name");
        let range = HistoryRange { after: Position::ZERO, before: None, reverse: false };
        let slots = machine.history(&name, range, WHOLE).map(|page| page.slots);
        let info = machine.topic(&name);
        assert_eq!(slots.is_some(), model.topics.contains_key(&name));
        assert_eq!(info.is_some(), model.topics.contains_key(&name));
        let kept: Vec<Arc<Message>> = slots.iter().flatten().map(|slot| replica.fetch(slot)).collect();

        if let Some(info) = info {
            let newest: Vec<_> = model.of_topic(&name).into_iter().rev().take(kept.len()).rev().cloned().collect();
            assert_eq!(kept, newest, "a topic retains its newest messages, unchanged");
            let bytes: u64 = kept.iter().map(|message| message.size_bytes() as u64).sum();
            assert_eq!((info.messages, info.bytes), (kept.len() as u64, bytes));
            assert_eq!(info.next_seq.get(), model.of_topic(&name).len() as u64 + 1);
            assert!(
                info.messages <= info.settings.retention.max_messages && bytes <= info.settings.retention.max_bytes
            );
            for message in kept.iter().filter(|message| message.position.get() <= published_before_this_entry as u64) {
                let age_ms = machine.time().as_millis() - message.created_at.as_millis();
                assert!(age_ms / 1_000 < info.settings.retention.max_age_seconds, "retained beyond its age");
            }
            for message in &kept {
                let age_ms = info.settings.retention.max_age_seconds.saturating_mul(1_000);
                let expires_ms = message.created_at.as_millis().saturating_add(age_ms);
                let next = machine.next_expiry();
                assert!(
                    expires_ms > Timestamp::MAX.as_millis() || next.is_some_and(|next| next.as_millis() <= expires_ms)
                );
            }
        }

        for cursor in 0..=model.published.len() as u64 {
            let mut lost = model
                .published
                .iter()
                .filter(|message| message.topic == name && message.position.get() > cursor && !kept.contains(message));
            let hole = machine.hole(&name, Position::new(cursor)).unwrap_or_default();
            match hole.missed {
                None => assert_eq!(lost.next(), None, "no hole is silent: {name} after {cursor}"),
                Some(Missed::Evicted { up_to }) => assert_eq!(lost.next_back().map(|lost| lost.position), Some(up_to)),
                Some(Missed::Deleted { up_to }) => assert!(lost.any(|lost| lost.position == up_to)),
            }
            let deleted = model.deleted.get(&name).is_some_and(|deleted_at| cursor <= *deleted_at);
            assert_eq!(hole.deleted, deleted, "a deletion is told whether there is a new topic or not");
        }
        retained.extend(kept);
    }

    check_presence(machine, model);
    retained.sort_by_key(|message| message.position);
    let everything = Selection { patterns: [Pattern::parse("**").expect("a pattern")].into(), ..Selection::default() };
    let read = machine.read(&everything, Position::ZERO, machine.position(), WHOLE);
    assert_eq!(read.slots.iter().map(|slot| replica.fetch(slot)).collect::<Vec<_>>(), retained);
    for time in retained.iter().map(|message| message.created_at) {
        let since = machine.since(&everything, time);
        assert!(retained.iter().all(|message| message.created_at < time || message.position > since));
    }
}

/// Whoever was told all changes knows who is there.
fn check_presence(machine: &Machine, model: &Model) {
    let mut online: BTreeSet<UserId> = BTreeSet::new();
    for name in NAMES {
        let name = TopicName::parse(name).expect("a name");
        let roster = machine.roster(&name, None, usize::MAX);
        let has_presence = machine.topic(&name).is_some_and(|info| info.settings.presence);
        assert_eq!(roster.is_some(), has_presence);
        let members: Vec<Member> =
            model.rosters.get(&name).into_iter().flatten().map(|(_, member)| member.clone()).collect();
        let roster = roster.unwrap_or_default();
        assert_eq!((roster.count, &roster.members), (members.len(), &members), "the members of {name}");
        online.extend(members.into_iter().map(|member| member.user));
    }
    assert!(online.iter().eq(model.online.keys()));
    for (user, since) in &model.online {
        let status = machine.user_status(user).expect("online");
        assert_eq!(status.since, *since);
        let in_topics = model.rosters.iter().filter(|(_, roster)| roster.contains_key(user)).map(|(name, _)| name);
        assert!(status.topics.iter().map(|(name, ..)| name).collect::<BTreeSet<_>>().into_iter().eq(in_topics));
        let nodes = status.topics.iter().flat_map(|(.., nodes)| nodes);
        assert!(
            nodes.clone().next().is_some()
                && nodes.clone().all(|node| machine.attendees(*node).any(|(_, on)| on == user))
        );
    }
}

fn records_after_checkpoint(mut replica: Replica) -> Rows {
    replica.end_checkpoint();
    replica.begin_checkpoint();
    replica.end_checkpoint();
    replica.records()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn stops_and_checkpoints_change_nothing(steps in prop::collection::vec(step(), 0..60)) {
        let (mut straight, mut stopping, mut model) = (Replica::default(), Replica::default(), Model::default());
        for step in steps {
            match step {
                Step::Apply(entry) => {
                    let before = model.published.len();
                    let result = straight.apply(&entry);
                    prop_assert_eq!(&stopping.apply(&entry), &result);
                    model.note(&result.1);
                    check(&straight, &model, before);
                    check(&stopping, &model, before);
                }
                Step::BeginCheckpoint => stopping.begin_checkpoint(),
                Step::EndCheckpoint => stopping.end_checkpoint(),
                Step::Restart => stopping.restart(),
            }
            prop_assert_eq!(stopping.machine.next_expiry(), straight.machine.next_expiry());
        }
        let (key_window, quotas) = (KeyWindow::default(), Quotas::default());
        let mark = Entry { time: Timestamp::default(), key_window, quotas, commands: vec![Command::Mark] };
        straight.apply(&mark);
        stopping.apply(&mark);
        let entry = straight.machine.applied();
        prop_assert!(straight.machine.marked(entry).is_some());
        prop_assert_eq!(stopping.machine.marked(entry), straight.machine.marked(entry));
        prop_assert_eq!(records_after_checkpoint(stopping), records_after_checkpoint(straight));
    }

    #[test]
    fn a_key_stores_its_message_once_within_the_window(
        batches in prop::collection::vec((prop::collection::vec(message(), 0..4), any::<bool>()), 0..30),
    ) {
        let topic = TopicName::parse("orders").expect("a name");
        let mut replica = Replica::default();
        let mut first: BTreeMap<IdempotencyKey, Arc<Message>> = BTreeMap::new();
        for (messages, restart) in batches {
            let publish =
                Command::Publish { topic: topic.clone(), messages: messages.clone(), create: Some(TopicSettings::default()) };
            let (key_window, quotas) = (KeyWindow::default(), Quotas::default());
            let entry = Entry { time: Timestamp::default(), key_window, quotas, commands: vec![publish] };
            let (outcomes, events) = replica.apply(&entry);
            let mut stored = events.into_iter().filter_map(|event| match event {
                Event::Published(message) => Some(message),
                Event::TopicCreated { .. }
                | Event::TopicDeleted { .. }
                | Event::Presence { .. }
                | Event::Status { .. } => None,
            });
            if let Ok(Reply::Published(published)) = &outcomes[0] {
                for (message, published) in messages.iter().zip(published) {
                    let key = message.key.as_ref().map(|(key, _)| key);
                    let stored = match key.and_then(|key| first.get(key)) {
                        Some(stored) => Arc::clone(stored),
                        None => stored.next().expect("a new message is stored"),
                    };
                    prop_assert_eq!(published.repeated, key.is_some_and(|key| first.contains_key(key)));
                    prop_assert_eq!((published.position, published.seq), (stored.position, stored.seq));
                    prop_assert_eq!(&message.value, &stored.value);
                    key.map(|key| first.insert(key.clone(), stored));
                }
            }
            prop_assert_eq!(stored.next(), None);
            if restart {
                replica.begin_checkpoint();
                replica.end_checkpoint();
                replica.restart();
            }
        }
    }
}

#[test]
fn one_entry_expires_only_so_much_and_the_next_ones_go_on() {
    let name = |number: usize| TopicName::parse(&format!("t{number}")).expect("a name");
    let message = NewMessage::new(JsonText::parse("1").expect("JSON"), Headers::default(), None, None);
    let retention = Retention { max_age_seconds: 1, max_messages: u64::MAX, ..Retention::default() };
    let entry = |millis: u64, commands: Vec<Command>| Entry {
        time: Timestamp::from_millis(millis),
        key_window: KeyWindow::default(),
        quotas: Quotas::default(),
        commands,
    };
    let publish = |number: usize| Command::Publish {
        topic: name(number),
        messages: vec![message.clone(); EXPIRY_STEPS_PER_ENTRY_MAX / 2],
        create: Some(retention.into()),
    };
    let mut replica = Replica::default();
    replica.apply(&entry(0, (0..4).map(publish).collect()));

    let left = |replica: &Replica| -> u64 {
        (0..4).filter_map(|number| replica.machine.topic(&name(number))).map(|info| info.messages).sum()
    };
    let mut lefts = vec![left(&replica)];
    while replica.machine.next_expiry().is_some() {
        replica.apply(&entry(1_000, vec![Command::Tick]));
        lefts.push(left(&replica));
        replica.begin_checkpoint();
        replica.end_checkpoint();
        replica.restart();
    }
    let steps_max = EXPIRY_STEPS_PER_ENTRY_MAX as u64;
    assert_eq!(lefts.last(), Some(&0));
    assert!(lefts.len() >= 3, "it took several entries");
    assert!(lefts.windows(2).all(|pair| pair[0] - pair[1] <= steps_max), "{lefts:?}");
}

#[test]
fn a_topic_a_user_and_the_cluster_have_room_for_so_many_members() {
    let entry = |commands| Entry {
        time: Timestamp::default(),
        key_window: KeyWindow::default(),
        quotas: Quotas::default(),
        commands,
    };
    let settings = SettingsChange { presence: Some(true), ..SettingsChange::default() };
    let topic = |number: usize| TopicName::parse(&format!("room:{number}")).expect("a name");
    let create = |number| Command::CreateTopic { name: topic(number), settings, default: TopicSettings::default() };
    let attendee = |room: usize, user: usize| Attendee {
        topic: topic(room),
        user: UserId::parse(&format!("user-{user}")).expect("a user"),
        data: None,
    };
    let mut replica = Replica::default();
    replica.apply(&entry((0..=MEMBERSHIPS_PER_USER_MAX).map(create).collect()));
    let mut attend = |joined| {
        let (outcomes, _) = replica.apply(&entry(vec![Command::Attend { node: NodeId::new(1), joined, left: vec![] }]));
        let passed_over = outcomes.into_iter().map(|outcome| match outcome {
            Ok(Reply::Attended { passed_over }) => passed_over,
            other => panic!("{other:?}"),
        });
        (passed_over.sum::<u64>(), replica.machine.member_count())
    };
    let crowd: Vec<_> = (0..MEMBERS_PER_TOPIC_MAX + 2).map(|user| attendee(0, user)).collect();
    assert_eq!(attend(crowd.clone()), (2, MEMBERS_PER_TOPIC_MAX));
    assert_eq!(attend(crowd), (2, MEMBERS_PER_TOPIC_MAX), "those who are there stay");
    let everywhere = (0..=MEMBERSHIPS_PER_USER_MAX).map(|room| attendee(room, 0)).collect();
    assert_eq!(attend(everywhere), (1, MEMBERS_PER_TOPIC_MAX + MEMBERSHIPS_PER_USER_MAX - 1));
}
