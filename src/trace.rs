//! Traces: which request a piece of work is done for, and how long it took.
//!
//! Every request belongs to a [trace](TraceContext): its caller's, or a new one. The id goes along with the task, to the
//! lines of the log and to problems, and with a write to the leader. Whether anything is *recorded* is another matter: a
//! [`Tracer`] with a place for spans takes those of sampled traces. Without one, or for any other trace, a span is a
//! few words on the stack: nothing is allocated or formatted, and no clock is read.
//!
//! - Nothing here waits: spans for which the queue has no room are dropped and counted.
//! - There is no global tracer: several nodes in one process stay apart.
//! - What a span becomes on its way to a collector is up to who empties the queue.

use std::borrow::Cow;
use std::num::{NonZeroU64, NonZeroU128};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use prometheus_client::metrics::counter::Counter;
use tokio::sync::mpsc;
use tokio::task_local;

use crate::domain::{SpanId, TraceContext, TraceId};

task_local! {
    static CURRENT: Current;
}

/// What a task works for.
struct Current {
    context: TraceContext,
    /// Takes what is begun for it.
    tracer: Tracer,
}

/// What this task works for, if it is a request.
#[must_use]
pub fn current() -> Option<TraceContext> {
    CURRENT.try_with(|current| current.context).ok()
}

/// Begins a piece of what this task works for, if it is a request.
#[must_use]
pub fn span(kind: Kind, name: &'static str) -> Option<Span> {
    CURRENT.try_with(|current| current.tracer.span(current.context, kind, || name.into())).ok()
}

/// Begins spans, and takes those that are over. The default takes none. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Tracer(Option<Arc<Recorder>>);

#[derive(Debug)]
struct Recorder {
    ratio: f64,
    queue: mpsc::Sender<Record>,
    dropped: Counter,
}

impl Tracer {
    /// Puts spans into a queue, and counts those that find no room. Of the requests whose callers don't say whether they
    /// are recorded, this share is.
    #[must_use]
    pub fn new(ratio: f64, queue: mpsc::Sender<Record>, dropped: Counter) -> Self {
        Self(Some(Arc::new(Recorder { ratio, queue, dropped })))
    }

    /// Begins the answer to a request: a part of what its caller names, or of a new trace.
    #[must_use]
    pub fn request(&self, caller: Option<TraceContext>, name: impl FnOnce() -> String) -> Span {
        let name = || name().into();
        match caller {
            Some(caller) => self.span(caller, Kind::Server, name),
            None => {
                let trace = TraceId::new(NonZeroU128::MIN | fastrand::u128(..));
                let sampled = self.0.as_ref().is_some_and(|recorder| fastrand::f64() < recorder.ratio);
                self.begin(TraceContext { trace, span: new_span(), sampled }, None, Kind::Server, name)
            }
        }
    }

    /// Begins a piece of work, done here for another.
    pub fn span(&self, cause: TraceContext, kind: Kind, name: impl FnOnce() -> Cow<'static, str>) -> Span {
        // What is not recorded has no place of its own in the trace.
        let is_recorded = cause.sampled && self.0.is_some();
        let context = if is_recorded { TraceContext { span: new_span(), ..cause } } else { cause };
        self.begin(context, Some(cause.span), kind, name)
    }

    fn begin(
        &self,
        context: TraceContext,
        parent: Option<SpanId>,
        kind: Kind,
        name: impl FnOnce() -> Cow<'static, str>,
    ) -> Span {
        let recorder = self.0.as_ref().filter(|_| context.sampled);
        let recording = recorder.map(|recorder| {
            let record = Record {
                context,
                parent,
                kind,
                name: name(),
                began: wall_clock(),
                took: Duration::ZERO,
                attributes: Vec::new(),
                failed: false,
            };
            Box::new(Recording { recorder: Arc::clone(recorder), since: Instant::now(), record })
        });
        Span { context, recording }
    }
}

fn new_span() -> SpanId {
    SpanId::new(NonZeroU64::MIN | fastrand::u64(..))
}

#[expect(clippy::disallowed_methods, reason = "spans of several nodes are compared, to less than a millisecond")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// A piece of work, which is over when this is dropped.
#[derive(Debug)]
pub struct Span {
    context: TraceContext,
    recording: Option<Box<Recording>>,
}

#[derive(Debug)]
struct Recording {
    recorder: Arc<Recorder>,
    since: Instant,
    record: Record,
}

impl Span {
    /// What another node should know that does a part of it: nothing unless somebody records it.
    #[must_use]
    pub fn passed_on(&self) -> Option<TraceContext> {
        Some(self.context).filter(|context| context.sampled)
    }

    /// Does work that is part of it.
    pub fn scope<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        let tracer = Tracer(self.recording.as_ref().map(|recording| Arc::clone(&recording.recorder)));
        CURRENT.scope(Current { context: self.context, tracer }, work)
    }

    /// Notes something about it.
    pub fn note(&mut self, name: &'static str, value: impl Into<Value>) {
        if let Some(recording) = &mut self.recording {
            recording.record.attributes.push((name, value.into()));
        }
    }

    /// Notes that it went wrong here, and not by a fault of the caller.
    pub fn fail(&mut self) {
        if let Some(recording) = &mut self.recording {
            recording.record.failed = true;
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(recording) = self.recording.take() {
            let Recording { recorder, since, mut record } = *recording;
            record.took = since.elapsed();
            if recorder.queue.try_send(record).is_err() {
                recorder.dropped.inc();
            }
        }
    }
}

/// A span that is over.
#[derive(Debug)]
pub struct Record {
    /// Its trace, and its own id.
    pub context: TraceContext,
    /// What it was done for; nothing if the trace began with it.
    pub parent: Option<SpanId>,
    /// On which side of what.
    pub kind: Kind,
    /// What was done.
    pub name: Cow<'static, str>,
    /// When.
    pub began: SystemTime,
    /// How long.
    pub took: Duration,
    /// What was noted about it.
    pub attributes: Vec<(&'static str, Value)>,
    /// Whether it went wrong.
    pub failed: bool,
}

/// On which side of a request a piece of work is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// On neither.
    Internal,
    /// Somebody has asked for it.
    Server,
    /// Another node is asked for it.
    Client,
}

/// Something noted about a span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A word of ours: nothing that users send gets here.
    Text(&'static str),
    /// A number.
    Number(u64),
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-00b7ad6b71692033-01";

    fn caller() -> TraceContext {
        TraceContext::parse(CALLER).expect("one")
    }

    fn tracer(ratio: f64, room: usize) -> (Tracer, mpsc::Receiver<Record>, Counter) {
        let ((sender, receiver), dropped) = (mpsc::channel(room), Counter::default());
        (Tracer::new(ratio, sender, dropped.clone()), receiver, dropped)
    }

    #[tokio::test]
    async fn what_is_done_for_a_request_is_a_part_of_it_and_so_is_the_request_of_its_caller() {
        let (tracer, mut records, _) = tracer(0.0, 8);
        let request = tracer.request(Some(caller()), || "GET /".to_owned());
        request
            .scope(async {
                let mut part = span(Kind::Internal, "part").expect("of a request");
                part.note("number", 7);
                part.fail();
            })
            .await;
        drop(request);
        let (part, request) = (records.try_recv().expect("the part"), records.try_recv().expect("the request"));
        assert_eq!([part.context.trace, request.context.trace], [caller().trace; 2]);
        assert_eq!(part.parent, Some(request.context.span));
        assert_eq!(request.parent, Some(caller().span));
        assert_eq!((part.kind, part.name.as_ref(), part.failed), (Kind::Internal, "part", true));
        assert_eq!(part.attributes, [("number", Value::Number(7))]);
        assert_eq!((request.kind, request.name.as_ref(), request.failed), (Kind::Server, "GET /", false));
        assert!(span(Kind::Internal, "part").is_none() && current().is_none(), "nobody asks for anything out here");
    }

    #[tokio::test]
    async fn a_caller_says_whether_a_trace_is_recorded_and_else_the_ratio_does() {
        let unsampled = TraceContext { sampled: false, ..caller() };
        for (ratio, caller, is_recorded) in
            [(0.0, None, false), (1.0, None, true), (0.0, Some(caller()), true), (1.0, Some(unsampled), false)]
        {
            let (tracer, mut records, _) = tracer(ratio, 8);
            let request = tracer.request(caller, || "GET /".to_owned());
            assert_eq!(request.passed_on().is_some(), is_recorded);
            request.scope(async { drop(span(Kind::Client, "part")) }).await;
            drop(request);
            assert_eq!(std::iter::from_fn(|| records.try_recv().ok()).count(), if is_recorded { 2 } else { 0 });
        }
    }

    #[tokio::test]
    async fn a_node_that_records_nothing_passes_on_what_its_caller_says() {
        let request = Tracer::default().request(Some(caller()), || unreachable!("nobody reads the name"));
        assert_eq!(request.scope(async { current() }).await, Some(caller()));
        assert_eq!(request.passed_on(), Some(caller()));
        let request = Tracer::default().request(None, || unreachable!("nobody reads the name"));
        assert!(request.scope(async { current() }).await.is_some(), "requests have an id all the same");
        assert_eq!(request.passed_on(), None);
    }

    #[test]
    fn spans_without_room_are_dropped_and_counted() {
        let (tracer, records, dropped) = tracer(1.0, 2);
        for _ in 0..5 {
            drop(tracer.request(None, String::new));
        }
        assert_eq!((records.len(), dropped.get()), (2, 3));
    }
}
