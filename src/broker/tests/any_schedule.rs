//! Whatever happens in whatever order, a subscription sees exactly what it selected.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug)]
enum What {
    Message,
    Creation,
    Deletion,
}

#[derive(Clone, Debug)]
enum Step {
    Subscribe(&'static str, Format),
    /// One group.
    Deliver(Vec<(usize, What)>),
    /// One call of `next` by one of the subscriptions.
    Poll(prop::sample::Index),
    Drop(prop::sample::Index),
    /// More time than a round may take.
    Pause,
    /// A millisecond.
    Pass,
    /// The state was replaced.
    Reset,
}

const TOPICS: [&str; 5] = ["a", "b", "c:1", "c:2", "d"];

fn step() -> impl Strategy<Value = Step> {
    let selection = prop::sample::select(vec!["a", "b", "a b", "a c:1 d", "c:*", "*", "**", "a c:*", "c:1"]);
    let format = prop_oneof![3 => Just(Format::Full), 1 => Just(Format::Value)];
    let what = prop_oneof![8 => Just(What::Message), 1 => Just(What::Creation), 1 => Just(What::Deletion)];
    let event = (0..TOPICS.len(), what);
    prop_oneof![
        2 => (selection, format).prop_map(|(selection, format)| Step::Subscribe(selection, format)),
        5 => prop::collection::vec(event, 1..20).prop_map(Step::Deliver),
        12 => any::<prop::sample::Index>().prop_map(Step::Poll),
        1 => any::<prop::sample::Index>().prop_map(Step::Drop),
        1 => Just(Step::Pause),
        2 => Just(Step::Pass),
        1 => prop::bool::weighted(0.2).prop_map(|reset| if reset { Step::Reset } else { Step::Pause }),
    ]
}

struct Reader {
    subscription: Subscription,
    selection: Selection,
    expected: Vec<String>,
    got: Vec<String>,
    /// It has not been told yet that it lost something.
    lost: bool,
}

impl Reader {
    /// One call of `next`. False if nothing came.
    fn read(&mut self, last: u64) -> bool {
        let polled = poll(&mut self.subscription);
        if self.lost {
            assert_eq!(polled, Poll::Ready(Delivery::Behind));
            assert_eq!(self.subscription.resubscribe(), Position::new(last));
            self.lost = false;
            return true;
        }
        let Poll::Ready(delivery) = polled else { return false };
        self.got.extend(seen(&delivery));
        true
    }
}

async fn pause() {
    tokio::time::sleep(BrokerOptions::default().round_max * 2).await;
}

async fn run(steps: Vec<Step>) {
    let mut world = World::with(BrokerOptions::default());
    world.run_pacer();
    let mut readers: Vec<Reader> = Vec::new();
    for step in steps {
        match step {
            Step::Subscribe(selection, format) => {
                let selection = select(selection);
                let subscription = world.broker.subscribe(selection.clone(), format);
                assert_eq!(subscription.from(), Position::new(world.last));
                readers.push(Reader { subscription, selection, expected: Vec::new(), got: Vec::new(), lost: false });
            }
            Step::Deliver(group) => {
                let mut events = Vec::new();
                for (topic, what) in group {
                    let topic = TOPICS[topic];
                    let (event, mark) = match what {
                        What::Message => (world.message(topic, 10), Some("")),
                        What::Creation => (world.created(topic), None),
                        What::Deletion => (world.deleted(topic), Some("!")),
                    };
                    events.push(event);
                    let Some(mark) = mark else { continue };
                    for reader in readers.iter_mut().filter(|reader| reader.selection.contains(&name(topic))) {
                        if !reader.lost {
                            reader.expected.push(format!("{}{mark}", world.last));
                        }
                    }
                }
                world.feed.deliver(&events);
            }
            Step::Poll(index) if !readers.is_empty() => {
                let at = index.index(readers.len());
                readers[at].read(world.last);
            }
            Step::Drop(index) if !readers.is_empty() => {
                let at = index.index(readers.len());
                readers.swap_remove(at);
            }
            Step::Poll(_) | Step::Drop(_) => {}
            Step::Pause => pause().await,
            Step::Pass => tokio::time::sleep(Duration::from_millis(1)).await,
            Step::Reset => {
                world.last += 10;
                world.feed.reset(Position::new(world.last));
                for reader in &mut readers {
                    reader.expected.clone_from(&reader.got);
                    reader.lost = true;
                }
            }
        }
    }
    for _ in 0..4 {
        for reader in &mut readers {
            while reader.read(world.last) {}
        }
        pause().await;
    }
    for reader in &mut readers {
        assert_eq!(reader.got, reader.expected, "{:?}", reader.selection);
        assert_eq!(reader.subscription.quiet_position(), Some(Position::new(world.last)));
    }
    assert_eq!(world.broker.stats().kept_bytes, 0);
    drop(readers);
    // What was taken out goes with the next event.
    world.feed.deliver(&[world.created("a")]);
    assert_eq!(world.broker.stats().logs, 0);
}

proptest! {
    #[test]
    fn every_subscription_sees_its_topics_in_one_order_without_hole_or_repetition(
        steps in prop::collection::vec(step(), 1..120),
    ) {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime")
            .block_on(run(steps));
    }
}
