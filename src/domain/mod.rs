//! The words every other layer speaks: ids, names, messages, cursors, and the rules their values keep.
//!
//! A value is parsed once, at the edge, into a type whose private field makes the rule hold from there on. Nothing here
//! does I/O, reads a clock (but for [`Timestamp::now`], which only edges call), or knows how a message travels.

mod bearer;
mod cursor;
mod ids;
mod json;
mod message;
mod pattern;
mod retention;
mod selection;
mod timestamp;
mod topic_name;
mod topic_settings;
mod trace_context;
mod user_id;

pub use bearer::{Bearer, Revoked, TicketId};
pub use cursor::{Cursor, CursorError, Epoch};
pub use ids::{LogIndex, NodeId, Position, Seq};
pub use json::{JsonError, JsonText, json_error};
pub use message::{
    EventType, EventTypeError, Fingerprint, Headers, HeadersError, IdempotencyKey, IdempotencyKeyError, Message,
    NewMessage,
};
pub use pattern::{Pattern, PatternError};
pub use retention::{Retention, RetentionChange};
pub use selection::Selection;
pub use timestamp::{Timestamp, TimestampError};
pub use topic_name::{TopicName, TopicNameError};
pub use topic_settings::{SettingsChange, TopicSettings};
pub use trace_context::{SpanId, TraceContext, TraceId};
pub use user_id::{MemberData, MemberDataError, UserId, UserIdError};
