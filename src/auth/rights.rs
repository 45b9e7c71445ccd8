//! What somebody may do, as patterns over topic names.

use crate::domain::{Pattern, Selection, TopicName, UserId};

/// What can be done with a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Publish to it; with `--auto-create` that may create it.
    Publish,
    /// Read it: streams and history.
    Subscribe,
    /// Create it, change it, delete it.
    Manage,
}

/// What somebody may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// Topics to publish to.
    pub publish: Vec<Pattern>,
    /// Topics to read.
    pub subscribe: Vec<Pattern>,
    /// Topics to create, change and delete.
    pub manage: Vec<Pattern>,
    /// Users whose presence may be seen.
    pub presence: Vec<Pattern>,
    /// To look at the cluster as its operators do, and to revoke. It is no right to any topic.
    pub admin: bool,
}

/// Something was selected that may not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// This topic.
    Topic(TopicName),
    /// All that this pattern could ever stand for.
    Pattern(Pattern),
}

impl Rights {
    /// Whether this may be done with a topic. Says nothing about whether the topic exists.
    #[must_use]
    pub fn allow(&self, action: Action, topic: &TopicName) -> bool {
        self.patterns(action).iter().any(|pattern| pattern.matches(topic))
    }

    /// Whether anything may be done with a topic. Who may do nothing must not learn whether it exists.
    #[must_use]
    pub fn see(&self, topic: &TopicName) -> bool {
        [Action::Publish, Action::Subscribe, Action::Manage].iter().any(|action| self.allow(*action, topic))
    }

    /// Whether it may be seen where a user is.
    #[must_use]
    pub fn see_user(&self, user: &UserId) -> bool {
        self.presence.iter().any(|pattern| pattern.matches_user(user))
    }

    /// Whether nothing at all may be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { publish, subscribe, manage, presence, admin } = self;
        publish.is_empty() && subscribe.is_empty() && manage.is_empty() && presence.is_empty() && !admin
    }

    /// What of a selection may be read: its topics, and of each pattern the part that is allowed.
    ///
    /// # Errors
    /// A topic that may not be read, or a pattern of which nothing may.
    pub fn readable(&self, selection: Selection) -> Result<Selection, Refused> {
        let Selection { topics, patterns } = selection;
        if let Some(topic) = topics.iter().find(|topic| !self.allow(Action::Subscribe, topic)) {
            return Err(Refused::Topic(topic.clone()));
        }
        let mut readable = Selection { topics, ..Selection::default() };
        for pattern in patterns {
            let mut parts: Vec<_> = self.subscribe.iter().filter_map(|right| pattern.intersection(right)).collect();
            if parts.is_empty() {
                return Err(Refused::Pattern(pattern));
            }
            // Mostly all of it.
            if parts.contains(&pattern) {
                parts = vec![pattern];
            }
            readable.patterns.extend(parts);
        }
        Ok(readable)
    }

    fn patterns(&self, action: Action) -> &[Pattern] {
        match action {
            Action::Publish => &self.publish,
            Action::Subscribe => &self.subscribe,
            Action::Manage => &self.manage,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(texts: &[&str]) -> Vec<Pattern> {
        texts.iter().map(|text| Pattern::parse(text).expect(text)).collect()
    }

    fn name(text: &str) -> TopicName {
        TopicName::parse(text).expect(text)
    }

    fn selection(topics: &[&str], matching: &[&str]) -> Selection {
        Selection {
            topics: topics.iter().map(|topic| name(topic)).collect(),
            patterns: patterns(matching).into_iter().collect(),
        }
    }

    #[test]
    fn each_right_is_for_itself() {
        let rights = Rights { publish: patterns(&["chat:*"]), subscribe: patterns(&["news:**"]), ..Rights::default() };
        assert!(rights.allow(Action::Publish, &name("chat:1")) && !rights.allow(Action::Subscribe, &name("chat:1")));
        assert!(rights.allow(Action::Subscribe, &name("news:a:b")) && !rights.allow(Action::Manage, &name("news:a:b")));
        assert!(rights.see(&name("chat:1")) && rights.see(&name("news:x")) && !rights.see(&name("chat")));
        let admin = Rights { admin: true, ..Rights::default() };
        assert!(!admin.see(&name("chat:1")) && !admin.is_empty() && Rights::default().is_empty());
    }

    #[test]
    fn what_is_read_is_never_more_than_what_may_be() {
        let rights = Rights { subscribe: patterns(&["news:*", "inbox:7", "*:all"]), ..Rights::default() };
        let asked = selection(&["inbox:7", "news:a"], &["news:*", "**", "inbox:*"]);
        let expected = selection(&["inbox:7", "news:a"], &["news:*", "inbox:7", "*:all", "inbox:all"]);
        assert_eq!(rights.readable(asked), Ok(expected));
        assert_eq!(rights.readable(selection(&["inbox:8"], &[])), Err(Refused::Topic(name("inbox:8"))));
        let nothing = selection(&[], &["a:b:c"]);
        assert_eq!(rights.readable(nothing), Err(Refused::Pattern(patterns(&["a:b:c"]).remove(0))));
    }
}
