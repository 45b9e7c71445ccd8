//! Subscribers that don't keep up.

use super::*;

fn small() -> BrokerOptions {
    BrokerOptions { batch_bytes_max: 2_000, ring_bytes_max: 10_000, ..without_rests() }
}

#[tokio::test(start_paused = true)]
async fn a_stalled_subscriber_falls_behind_and_the_others_get_everything() {
    for selection in ["a", "a b", "*"] {
        let mut world = World::with(small());
        world.run_pacer();
        let mut stalled = world.subscribe(selection);
        let mut reads = world.subscribe(selection);
        drain(&mut stalled);
        drain(&mut reads);

        let mut got = Vec::new();
        for _ in 0..100 {
            world.publish_bytes(&["a"], 500);
            got.extend(seen(&reads.next().await));
            // A batch of the last round is kept for those it woke, whatever it costs.
            let kept = world.broker.stats().kept_bytes;
            assert!(kept <= 10_000 + 2_000, "{kept}");
        }
        assert_eq!(got, (1..=100).map(|id| id.to_string()).collect::<Vec<_>>());

        assert_eq!(drain(&mut stalled), ["behind"], "{selection}");
        assert_eq!(drain(&mut stalled), ["behind"], "until it subscribes anew");
        assert_eq!(world.broker.stats().behind, 1);
        assert_eq!(stalled.quiet_position(), None);

        assert_eq!(stalled.resubscribe(), Position::new(100));
        assert_eq!(stalled.from(), Position::new(100));
        assert_eq!(drain(&mut stalled), Vec::<String>::new());
        assert_eq!(drain(&mut reads), Vec::<String>::new());
        world.publish(&["a"]);
        assert_eq!(drain(&mut stalled), ["101"]);
        assert_eq!(drain(&mut reads), ["101"]);
        assert_eq!(world.broker.stats().kept_bytes, 0);
    }
}

#[test]
fn nothing_is_kept_once_everyone_has_taken_everything() {
    let mut world = World::new();
    let mut subscriptions = ["a", "a b", "*", "b *"].map(|selection| world.subscribe(selection));
    for round in 0..3 {
        world.publish(&["a", "b", "a"]);
        for _ in 0..2 {
            subscriptions.iter_mut().for_each(|subscription| {
                drain(subscription);
            });
        }
        let stats = world.broker.stats();
        assert_eq!(stats.kept_bytes, 0, "round {round}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_all_have_read_before_it_was_sealed_is_not_kept() {
    let mut world = World::new();
    world.run_pacer();
    let mut several = world.subscribe("a b");
    let mut leaves = world.subscribe("a");
    assert_eq!(drain(&mut several), Vec::<String>::new());
    assert_eq!(drain(&mut leaves), Vec::<String>::new());
    world.publish(&["a"]);
    assert_eq!(drain(&mut several), ["1"]);
    world.publish(&["a"]);
    world.publish(&["b"]);
    assert_eq!(drain(&mut several), ["2", "3"], "2 is still pending, but its turn has come");
    drop(leaves);
    tokio::time::sleep(BrokerOptions::default().round_max * 2).await;
    let stats = world.broker.stats();
    assert_eq!((stats.batches, stats.kept_bytes), (3, 0));
}

#[test]
fn a_subscriber_that_only_missed_a_round_catches_up_without_history() {
    let mut world = World::new();
    let mut late = world.subscribe("a");
    let mut reads = world.subscribe("a");
    drain(&mut reads);
    for _ in 0..3 {
        world.publish(&["a", "a"]);
        drain(&mut reads);
    }
    assert!(world.broker.stats().kept_bytes > 0);
    assert_eq!(drain(&mut late), ["1", "2", "3", "4", "5", "6"]);
    assert_eq!(world.broker.stats().kept_bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn many_topics_with_a_stalled_subscriber_each_stay_within_the_budget() {
    let budget = 100_000;
    let mut world = World::with(BrokerOptions { budget_bytes_max: budget, ..without_rests() });
    world.run_pacer();
    let topics: Vec<_> = (0..100).map(|number| format!("t{number}")).collect();
    let mut stalled: Vec<_> = topics.iter().map(|topic| world.subscribe(topic)).collect();
    let mut reads = world.subscribe("**");
    stalled.iter_mut().for_each(|subscription| {
        drain(subscription);
    });
    drain(&mut reads);
    let mut got = 0;
    for _ in 0..5 {
        for topic in &topics {
            world.publish_bytes(&[topic], 1_000);
            let Delivery::Frames { .. } = reads.next().await else { panic!("who reads is not behind") };
            got += 1;
            tokio::task::yield_now().await;
            let kept = world.broker.stats().kept_bytes;
            assert!(kept <= budget as u64 + 2_000, "{kept}");
        }
    }
    assert_eq!(got, 500);
    let behind = stalled.iter_mut().map(poll).filter(|polled| *polled == Poll::Ready(Delivery::Behind)).count();
    assert!((1..=100).contains(&behind), "{behind}");
}

#[test]
fn a_reset_makes_every_subscription_fall_behind() {
    let mut world = World::new();
    let alarm = Arc::new(Alarm::default());
    let mut subscriptions = ["a", "a b", "*", "x:*", "a *"].map(|selection| world.subscribe(selection));
    subscriptions.iter_mut().for_each(|subscription| {
        drain(subscription);
    });
    world.publish(&["a"]);
    // Some have taken the message, some have it still to come; one waits.
    for subscription in &mut subscriptions[..3] {
        assert_eq!(drain(subscription), ["1"]);
        alarm.wait(subscription);
    }
    alarm.wait(&mut subscriptions[3]);
    world.feed.reset(Position::new(50));
    world.last = 50;
    assert_eq!(alarm.count(), 4);
    assert_eq!(world.broker.position(), Position::new(50));
    for subscription in &mut subscriptions {
        assert_eq!(drain(subscription), ["behind"]);
        assert_eq!(subscription.resubscribe(), Position::new(50));
        assert_eq!(drain(subscription), Vec::<String>::new());
    }
    world.publish(&["a", "x:y"]);
    let got = subscriptions.each_mut().map(drain);
    assert_eq!(got, [vec!["51"], vec!["51"], vec!["51"], vec!["52"], vec!["51"]]);
}

#[test]
fn a_subscription_made_after_a_reset_begins_there() {
    let mut world = World::new();
    world.feed.reset(Position::new(7));
    world.last = 7;
    let mut subscription = world.subscribe("a");
    assert_eq!(subscription.from(), Position::new(7));
    drain(&mut subscription);
    world.publish(&["a"]);
    assert_eq!(drain(&mut subscription), ["8"]);
}

#[test]
fn a_quiet_position_is_one_that_nothing_waits_before() {
    let mut world = World::new();
    let mut busy = world.subscribe("a");
    for selection in ["a", "a b", "a:*", "*"] {
        let mut subscription = world.subscribe(selection);
        drain(&mut subscription);
        drain(&mut busy);
        world.publish(&["other:1"]);
        assert_eq!(subscription.quiet_position(), Some(Position::new(world.last)), "{selection}");
        let topic = if selection == "a:*" { "a:1" } else { "a" };
        world.publish(&[topic]);
        assert_eq!(subscription.quiet_position(), None, "{selection}: sealed");
        drain(&mut subscription);
        world.publish(&[topic]);
        if topic == "a" {
            assert!(poll(&mut subscription).is_pending(), "the other one is due");
            assert_eq!(subscription.quiet_position(), None, "{selection}: pending");
        }
        drain(&mut busy);
        drain(&mut subscription);
        assert_eq!(subscription.quiet_position(), Some(Position::new(world.last)), "{selection}");
    }
}

#[test]
fn a_call_that_is_dropped_loses_nothing() {
    for selection in ["a", "a b"] {
        let mut world = World::new();
        let mut subscription = world.subscribe(selection);
        for id in 1..4 {
            {
                let mut next = std::pin::pin!(subscription.next());
                assert!(next.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            }
            world.publish(&["a"]);
            assert_eq!(drain(&mut subscription), [id.to_string()]);
        }
    }
}
