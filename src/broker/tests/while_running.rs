//! Many threads at once: subscriptions come, read and go while messages are delivered.

use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use super::*;

const TOPICS: [&str; 4] = ["t:0", "t:1", "t:2", "t:3"];
const MESSAGES: u64 = 20_000;

/// Message `n` goes to topic `n % 4`, so what a selection must see can be told from positions alone.
fn is_selected(selection: &Selection, position: u64) -> bool {
    selection.contains(&name(TOPICS[usize::try_from(position % 4).expect("small")]))
}

/// Reads until the last message, subscribing anew now and then; answers how many messages it saw.
async fn read(broker: Broker, selection: Selection, readings_max: usize) -> usize {
    let last = (1..=MESSAGES).rev().find(|position| is_selected(&selection, *position)).expect("some message");
    let mut count = 0;
    loop {
        let mut subscription = broker.subscribe(selection.clone(), Format::Full);
        let mut at = subscription.from().get();
        for _ in 0..readings_max {
            if at >= last {
                return count;
            }
            let delivery = subscription.next().await;
            if delivery == Delivery::Behind {
                at = subscription.resubscribe().get();
                continue;
            }
            for id in seen(&delivery) {
                let expected = (at + 1..).find(|position| is_selected(&selection, *position)).expect("unbounded");
                assert_eq!(id, expected.to_string(), "after {at}");
                at = expected;
                count += 1;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_subscription_misses_or_repeats_a_message_however_it_races_with_delivery() {
    let mut world = World::with(BrokerOptions::default());
    world.run_pacer();
    let readers: Vec<_> = ["t:0", "t:1", "t:0 t:1", "t:1 t:2 t:3", "t:*", "t:0 **"]
        .iter()
        .flat_map(|selection| [(*selection, 3), (*selection, 50), (*selection, usize::MAX)])
        .map(|(selection, readings_max)| tokio::spawn(read(world.broker.clone(), select(selection), readings_max)))
        .collect();
    let broker = world.broker.clone();
    let feeder = std::thread::spawn(move || {
        let mut size = 0;
        while world.last < MESSAGES {
            size = size % 7 + 1;
            let events: Vec<_> = (0..size.min(MESSAGES - world.last))
                .map(|_| {
                    let topic = TOPICS[usize::try_from((world.last + 1) % 4).expect("small")];
                    world.message(topic, 20)
                })
                .collect();
            world.feed.deliver(&events);
            std::thread::yield_now();
        }
        world
    });
    for reader in readers {
        let count = tokio::time::timeout(Duration::from_secs(60), reader).await.expect("in time").expect("no panic");
        assert!(count > 0);
    }
    let _world = feeder.join().expect("no panic");
    let stats = broker.stats();
    assert_eq!((stats.subscriptions, stats.logs, stats.kept_bytes), (0, 0, 0));
}

#[test]
fn a_message_that_comes_while_a_subscription_goes_to_rest_wakes_it() {
    const ROUNDS: u64 = 3_000;
    for selection in ["a", "a b", "*"] {
        let mut world = World::new();
        let mut subscription = world.subscribe(selection);
        let seen_up_to = Arc::new(AtomicU64::new(0));
        let reader = std::thread::spawn({
            let seen_up_to = Arc::clone(&seen_up_to);
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
                runtime.block_on(async {
                    while seen_up_to.load(Ordering::SeqCst) < ROUNDS {
                        let Delivery::Frames { position, .. } = subscription.next().await else { panic!("behind") };
                        seen_up_to.store(position.get(), Ordering::SeqCst);
                        // The next message is on its way: it arrives before, while, or after this goes to rest.
                        (0..position.get() % 1_000).for_each(|_| std::hint::spin_loop());
                    }
                });
            }
        });
        for round in 1..=ROUNDS {
            world.publish(&["a"]);
            let deadline = Instant::now() + Duration::from_secs(10);
            while seen_up_to.load(Ordering::SeqCst) < round {
                assert!(Instant::now() < deadline, "{selection}: asleep before message {round}");
                std::thread::yield_now();
            }
        }
        reader.join().expect("no panic");
    }
}
