//! Names, patterns, and topics that come and go.

use super::*;

#[test]
fn a_topic_created_later_is_found_by_name_and_by_pattern() {
    let mut world = World::new();
    let mut by_name = world.subscribe("orders:1");
    let mut by_names = world.subscribe("orders:1 orders:2");
    let mut by_pattern = world.subscribe("orders:*");
    let mut other = world.subscribe("invoices:*");
    let created = world.created("orders:1");
    world.feed.deliver(&[created]);
    assert_eq!(world.broker.subscribers(&name("orders:1")), 3);
    for subscription in [&mut by_name, &mut by_names, &mut by_pattern, &mut other] {
        assert_eq!(drain(subscription), Vec::<String>::new());
    }
    world.publish(&["orders:1", "orders:2", "orders:1:items"]);
    assert_eq!(drain(&mut by_name), ["1"]);
    assert_eq!(drain(&mut by_names), ["1", "2"]);
    assert_eq!(drain(&mut by_pattern), ["1", "2"]);
    assert_eq!(drain(&mut other), Vec::<String>::new());
}

#[test]
fn a_pattern_that_comes_later_finds_topics_that_are_there() {
    let mut world = World::new();
    let mut early = world.subscribe("a:*");
    drain(&mut early);
    world.publish(&["a:1", "b:1"]);
    let mut late = world.subscribe("b:* a:1 a:*");
    drain(&mut late);
    world.publish(&["a:1", "b:1", "a:2"]);
    assert_eq!(drain(&mut late), ["3", "4", "5"]);
    assert_eq!(drain(&mut early), ["1", "3", "5"]);
}

#[test]
fn name_and_pattern_for_one_topic_deliver_it_once() {
    let mut world = World::new();
    let mut subscription = world.subscribe("a * ** b:*");
    drain(&mut subscription);
    world.publish(&["a", "b:1"]);
    assert_eq!(drain(&mut subscription), ["1", "2"]);
    assert_eq!(world.broker.subscribers(&name("a")), 1);
}

#[test]
fn formats_have_frames_of_their_own() {
    let mut world = World::new();
    let mut full = world.subscribe("a");
    let mut value = world.broker.subscribe(select("a"), Format::Value);
    drain(&mut full);
    drain(&mut value);
    world.publish(&["a"]);
    let text = |delivery| match delivery {
        Poll::Ready(Delivery::Frames { chunk, .. }) => String::from_utf8(chunk.as_ref().to_vec()).expect("UTF-8"),
        other => panic!("{other:?}"),
    };
    assert!(text(poll(&mut full)).contains("data: {\"id\":"));
    assert!(text(poll(&mut value)).ends_with("data: \"\"\n\n"));
    assert_eq!(world.broker.subscribers(&name("a")), 2);
}

#[test]
fn the_deletion_of_a_topic_is_told_and_its_return_is_seen() {
    let mut world = World::new();
    let mut subscriptions = ["a", "a b", "*", "a *"].map(|selection| world.subscribe(selection));
    subscriptions.iter_mut().for_each(|subscription| {
        drain(subscription);
    });
    world.publish(&["a"]);
    let deleted = world.deleted("a");
    world.feed.deliver(&[deleted]);
    let created = world.created("a");
    world.feed.deliver(&[created]);
    world.publish(&["a"]);
    for _ in 0..2 {
        for subscription in &mut subscriptions {
            let got = drain(subscription);
            assert!(got.is_empty() || got == ["1"] || got == ["1", "1!", "2"] || got == ["1!", "2"], "{got:?}");
        }
    }
    world.publish(&["a"]);
    for subscription in &mut subscriptions {
        assert_eq!(drain(subscription), ["3"]);
    }
}

#[test]
fn a_pattern_is_told_of_a_deletion_before_any_message() {
    let mut world = World::new();
    let mut subscription = world.subscribe("*");
    drain(&mut subscription);
    let deleted = world.deleted("old");
    world.feed.deliver(&[deleted]);
    assert_eq!(drain(&mut subscription), ["0!"]);
}

#[test]
fn short_lived_topics_leave_nothing_behind_in_a_pattern() {
    let mut world = World::new();
    let mut subscription = world.subscribe("session:*");
    for number in 0..50 {
        let topic = format!("session:{number}");
        // Half of them are also read by name, and their reader leaves after the deletion.
        let named = (number % 2 == 0).then(|| world.subscribe(&topic));
        drain(&mut subscription);
        world.publish(&[&topic]);
        let deleted = world.deleted(&topic);
        world.feed.deliver(&[deleted]);
        drop(named);
        assert_eq!(drain(&mut subscription).len(), 2);
    }
    world.publish(&["session:last"]);
    assert_eq!(drain(&mut subscription).len(), 1);
    assert_eq!(world.broker.stats().logs, 1);
    let follows = format!("{subscription:?}");
    assert!(follows.contains("topics: 1"), "{follows}");
}

#[test]
fn a_subscription_that_is_dropped_leaves_nothing_behind() {
    let mut world = World::new();
    let selections = ["a", "a b", "*", "a *", "**"];
    for away in [false, true] {
        let mut subscriptions = selections.map(|selection| world.subscribe(selection));
        subscriptions.iter_mut().for_each(|subscription| {
            drain(subscription);
        });
        world.publish(&["a", "b", "c"]);
        if away {
            subscriptions.iter_mut().for_each(|subscription| {
                let _ = poll(subscription);
            });
        }
        world.publish(&["a", "b", "c"]);
        assert_eq!(world.broker.stats().subscriptions, 5);
        drop(subscriptions);
        let stats = world.broker.stats();
        assert_eq!((stats.subscriptions, stats.logs, stats.kept_bytes), (0, 0, 0));
        assert_eq!(world.broker.subscribers(&name("a")), 0);
    }
}

#[test]
fn nothing_selected_is_nothing_delivered() {
    let mut world = World::new();
    let mut subscription = world.subscribe("");
    assert!(poll(&mut subscription).is_pending());
    world.publish(&["a"]);
    assert!(poll(&mut subscription).is_pending());
    assert_eq!(subscription.quiet_position(), Some(Position::new(1)));
}
