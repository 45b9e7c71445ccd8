//! When batches are sealed.

use std::time::Duration;

use super::*;

#[test]
fn an_idle_topic_seals_at_once() {
    let mut world = World::new();
    let alarm = Arc::new(Alarm::default());
    let mut single = world.subscribe("a");
    let mut several = world.subscribe("a b");
    for subscription in [&mut single, &mut several] {
        alarm.wait(subscription);
    }
    world.publish(&["a"]);
    assert_eq!(alarm.count(), 2);
    assert_eq!(drain(&mut single), ["1"]);
    assert_eq!(drain(&mut several), ["1"]);
}

#[test]
fn a_burst_becomes_few_batches_however_many_messages_and_subscribers_there_are() {
    for selection in ["a", "a b", "*"] {
        let mut world = World::new();
        let mut subscriptions: Vec<_> = (0..50).map(|_| world.subscribe(selection)).collect();
        world.publish(&["a"]);
        for subscription in &mut subscriptions {
            drain(subscription);
        }
        let before = world.broker.stats().batches;
        for _ in 0..200 {
            world.publish(&["a"]);
        }
        for _ in 0..2 {
            subscriptions.iter_mut().for_each(|subscription| {
                drain(subscription);
            });
        }
        let stats = world.broker.stats();
        assert_eq!((stats.batches - before, stats.delivered_frames), (2, 50 * 201), "{selection}");
    }
}

#[test]
fn a_reader_that_is_back_gets_nothing_until_the_others_are_back() {
    let mut world = World::new();
    let mut quick = world.subscribe("a");
    let mut slow = world.subscribe("a");
    let mut several = world.subscribe("a b");
    for subscription in [&mut quick, &mut slow, &mut several] {
        drain(subscription);
    }
    world.publish(&["a"]);
    assert_eq!(drain(&mut quick), ["1"]);
    for _ in 0..3 {
        world.publish(&["a"]);
        assert_eq!(drain(&mut quick), Vec::<String>::new());
    }
    assert!(poll(&mut slow).is_ready());
    assert!(poll(&mut several).is_ready(), "taken, but not yet passed on");
    assert_eq!(drain(&mut quick), Vec::<String>::new());
    assert_eq!(poll(&mut slow), Poll::Pending);
    assert_eq!(drain(&mut quick), Vec::<String>::new());
    // The last one back finds the next batch, and so do the others.
    assert_eq!(drain(&mut several), ["2", "3", "4"]);
    assert_eq!(drain(&mut quick), ["2", "3", "4"]);
    assert_eq!(drain(&mut slow), ["2", "3", "4"]);
    assert_eq!(world.broker.stats().batches, 2);
}

#[tokio::test(start_paused = true)]
async fn a_stalled_subscriber_holds_a_round_up_to_its_bound_and_the_next_ones_not_at_all() {
    for stalled_selection in ["a", "a b"] {
        let mut world = World::new();
        world.run_pacer();
        let mut stalled = world.subscribe(stalled_selection);
        let mut other = world.subscribe("a");
        assert_eq!(drain(&mut stalled), Vec::<String>::new());
        assert_eq!(drain(&mut other), Vec::<String>::new());

        world.publish(&["a"]);
        assert!(matches!(other.next().await, Delivery::Frames { .. }));
        world.publish(&["a"]);
        let begun = tokio::time::Instant::now();
        assert_eq!(seen(&other.next().await), ["2"]);
        let round_max = BrokerOptions::default().round_max;
        // The timer counts whole milliseconds.
        assert!((round_max..=round_max + Duration::from_millis(1)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
        assert_eq!(world.broker.stats().rounds_cut, 1);

        assert_eq!(drain(&mut other), Vec::<String>::new());
        world.publish(&["a"]);
        assert_eq!(drain(&mut other), ["3"], "no round waits for the one that stalled");
        assert_eq!(drain(&mut stalled), ["1", "2", "3"]);
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_the_bound_for_what_came_while_all_were_away() {
    let mut world = World::new();
    world.run_pacer();
    let mut subscription = world.subscribe("a");
    world.publish(&["a"]);
    world.publish(&["a"]);
    tokio::time::sleep(BrokerOptions::default().round_max * 2).await;
    assert_eq!(world.broker.stats().batches, 1);
    assert_eq!(seen(&subscription.next().await), ["1", "2"]);
}

/// A topic with two subscribers in the midst of a round: one has taken the first message, and the other one, which selects
/// `several`, has not.
fn in_a_round(options: BrokerOptions, several: &str) -> (World, Subscription, Subscription) {
    let mut world = World::with(options);
    world.run_pacer();
    let (mut quick, mut slow) = (world.subscribe("a"), world.subscribe(several));
    assert_eq!((drain(&mut quick), drain(&mut slow)), (Vec::new(), Vec::new()));
    world.publish(&["a"]);
    assert_eq!(drain(&mut quick), ["1"], "an idle topic seals at once");
    (world, quick, slow)
}

/// The same at the end of a round: one has taken the first message at once, `came` more were published
/// 2 ms later, and then the other one, which selects `several`, has taken the first.
async fn after_a_round_of_2_ms(came: usize, several: &str) -> (World, Subscription, Subscription) {
    let options = BrokerOptions { rest_per_round: 2, ..BrokerOptions::default() };
    let (mut world, quick, mut slow) = in_a_round(options, several);
    tokio::time::advance(Duration::from_millis(2)).await;
    world.publish(&vec!["a"; came]);
    assert_eq!(drain(&mut slow)[0], "1");
    (world, quick, slow)
}

#[tokio::test(start_paused = true)]
async fn after_a_round_in_which_many_came_more_are_waited_for() {
    for several in ["a", "a b"] {
        let (mut world, mut quick, mut slow) = after_a_round_of_2_ms(8, several).await;
        let begun = tokio::time::Instant::now();
        assert_eq!((drain(&mut quick), drain(&mut slow)), (Vec::new(), Vec::new()));
        world.publish(&["a"]);
        assert_eq!(seen(&quick.next().await).len(), 9);
        assert!((4..=5).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
        assert_eq!(drain(&mut slow).len(), 9);
        assert_eq!((world.broker.stats().batches, world.broker.stats().rounds_cut), (2, 0));
        // The next one takes no time.
        assert_eq!(drain(&mut quick), Vec::<String>::new());
        world.publish(&["a"; 8]);
        assert_eq!((drain(&mut quick).len(), drain(&mut slow).len()), (8, 8));
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_round_in_which_few_came_none_is_waited_for() {
    for several in ["a", "a b"] {
        let (_world, mut quick, mut slow) = after_a_round_of_2_ms(7, several).await;
        assert_eq!(drain(&mut quick).len(), 7);
        assert_eq!(drain(&mut slow), Vec::<String>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_round_is_followed_by_no_rest() {
    let (mut world, _quick, mut slow) = in_a_round(BrokerOptions::default(), "a");
    tokio::time::advance(BrokerOptions::default().round_max / 2).await;
    world.publish(&["a"; 8]);
    assert_eq!(drain(&mut slow).len(), 9);
}

#[tokio::test(start_paused = true)]
async fn a_rest_is_over_when_the_bound_of_the_round_has_passed() {
    let (mut world, mut quick, mut slow) = in_a_round(BrokerOptions::default(), "a");
    let begun = tokio::time::Instant::now();
    world.publish(&["a"; 8]);
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert_eq!(drain(&mut slow), ["1"]);
    assert_eq!(seen(&quick.next().await).len(), 8);
    let round_max = BrokerOptions::default().round_max;
    assert!((round_max..=round_max + Duration::from_millis(1)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
}

#[test]
fn a_subscriber_that_leaves_does_not_hold_the_round() {
    for leaving in ["a", "a b", "a *"] {
        let mut world = World::new();
        let alarm = Arc::new(Alarm::default());
        let mut stays = world.subscribe("a");
        let mut leaves = world.subscribe(leaving);
        drain(&mut leaves);
        drain(&mut stays);
        world.publish(&["a"]);
        assert_eq!(drain(&mut stays), ["1"]);
        alarm.wait(&mut stays);
        world.publish(&["a"]);
        assert_eq!(alarm.count(), 0);
        drop(leaves);
        assert_eq!(alarm.count(), 1);
        assert_eq!(drain(&mut stays), ["2"]);
    }
}

#[test]
fn a_group_is_one_batch_unless_it_is_larger_than_one() {
    let mut world = World::with(BrokerOptions { batch_bytes_max: 4_000, ..without_rests() });
    let mut subscription = world.subscribe("a");
    drain(&mut subscription);
    world.publish(&["a"; 5]);
    assert_eq!(world.broker.stats().batches, 1);
    assert_eq!(drain(&mut subscription), ["1", "2", "3", "4", "5"]);

    world.publish_bytes(&["a"; 5], 1_500);
    let mut sizes = Vec::new();
    while let Poll::Ready(Delivery::Frames { chunk, .. }) = poll(&mut subscription) {
        sizes.push(chunk.as_ref().len());
    }
    assert_eq!(sizes.len(), 3, "two frames fit into one: {sizes:?}");
    assert!(sizes.iter().all(|size| *size <= 4_000), "{sizes:?}");

    world.publish_bytes(&["a"], 5_000);
    assert_eq!(drain(&mut subscription), ["11"], "a frame larger than a batch is one of its own");
}

#[test]
fn what_waits_for_a_round_is_bounded_without_a_clock() {
    let mut world = World::with(BrokerOptions { ring_bytes_max: 10_000, ..without_rests() });
    let mut waits = world.subscribe("a");
    let mut stalled = world.subscribe("a");
    drain(&mut waits);
    drain(&mut stalled);
    world.publish(&["a"]);
    assert_eq!(drain(&mut waits), ["1"]);
    for _ in 0..10 {
        world.publish_bytes(&["a"], 1_000);
    }
    assert!(!drain(&mut waits).is_empty(), "the round was cut by size");
}

#[tokio::test(start_paused = true)]
async fn a_large_audience_is_woken_by_the_pacer_and_a_small_one_at_once() {
    let mut world = World::new();
    let alarm = Arc::new(Alarm::default());
    let mut subscriptions: Vec<_> = (0..100).map(|_| world.subscribe("a")).collect();
    subscriptions.iter_mut().for_each(|subscription| alarm.wait(subscription));
    world.publish(&["a"]);
    assert_eq!(alarm.count(), 0, "not on the path of a publish");
    world.run_pacer();
    tokio::task::yield_now().await;
    assert_eq!(alarm.count(), 100);
}

#[test]
fn a_subscription_that_has_not_begun_to_read_holds_no_round() {
    let mut world = World::new();
    let mut reads = world.subscribe("a");
    let _in_history = ["a", "a b"].map(|selection| world.subscribe(selection));
    for id in 1..4 {
        drain(&mut reads);
        world.publish(&["a"]);
        assert_eq!(drain(&mut reads), [id.to_string()]);
    }
}

#[tokio::test]
async fn the_pacer_ends_when_the_last_handle_is_gone() {
    let mut world = World::new();
    let pacer = tokio::spawn(world.pacer.take().expect("not spawned").run());
    let subscription = world.subscribe("a");
    drop(world);
    drop(subscription);
    tokio::time::timeout(Duration::from_secs(5), pacer).await.expect("in time").expect("no panic");
}

#[test]
fn a_topic_that_nobody_reads_is_not_encoded() {
    let mut world = World::new();
    let _other = world.subscribe("b c:*");
    world.publish(&["a", "a", "c"]);
    assert_eq!(world.broker.stats().logs, 1);
    assert_eq!(world.broker.stats().frames, 0);
    assert_eq!(world.broker.position(), Position::new(3));
}
