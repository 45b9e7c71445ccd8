//! The log: to standard error, as text for people or JSON for programs, panics included.
//!
//! Payloads and tokens never reach it. That is up to whoever logs; this module only sees to it that libraries, which
//! don't know the rule, are heard from `warn` on unless somebody asks for more.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt;
use std::io::{self, IsTerminal};
use std::panic::{self, PanicHookInfo};
use std::thread;

use thiserror::Error;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber, error};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Format, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::LogFormat;
use crate::trace;

/// Why there is no log.
#[derive(Debug, Error)]
pub enum TelemetryError {
    /// What to log was said in a way that can't be understood.
    #[error("is neither a level (error, warn, info, debug or trace) nor directives such as info,openraft=debug")]
    Filter,
    /// The process has one already.
    #[error("the process has a log already")]
    Installed(#[source] tracing_subscriber::util::TryInitError),
}

/// Sets up the log of this process, and logs panics from here on.
///
/// `filter` is a level, which then holds for repl while libraries stay at `warn` and openraft at `error`, or directives in the syntax of
/// [`EnvFilter`].
///
/// # Errors
/// The filter is not one, or there is a log already.
pub fn init(format: LogFormat, filter: &str) -> Result<(), TelemetryError> {
    let stderr_is_terminal = io::stderr().is_terminal();
    let as_text = match format {
        LogFormat::Auto => stderr_is_terminal,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let filter = parse_filter(filter)?;
    let subscriber: Box<dyn Subscriber + Send + Sync> = if as_text {
        Box::new(text(filter, io::stderr, stderr_is_terminal))
    } else {
        Box::new(json(filter, io::stderr))
    };
    subscriber.try_init().map_err(TelemetryError::Installed)?;
    panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// Whether [`init`] would take this filter.
///
/// # Errors
/// [`TelemetryError::Filter`].
pub fn check(filter: &str) -> Result<(), TelemetryError> {
    parse_filter(filter).map(drop)
}

/// One line each, in colours if somebody sees them.
fn text(
    filter: EnvFilter,
    writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static,
    ansi: bool,
) -> impl Subscriber + Send + Sync {
    let format = Traced { format: Format::default().with_ansi(ansi), end: "\n", before: " trace_id=", behind: "\n" };
    let builder = tracing_subscriber::fmt().event_format(format);
    builder.with_env_filter(filter).with_writer(writer).finish()
}

/// One object a line, the fields of the event beside `timestamp`, `level`, `target` and `message`.
fn json(
    filter: EnvFilter,
    writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static,
) -> impl Subscriber + Send + Sync {
    let format = Format::default().json().flatten_event(true).with_span_list(false);
    let format = Traced { format, end: "}\n", before: r#","trace_id":""#, behind: "\"}\n" };
    let builder = tracing_subscriber::fmt().json().event_format(format);
    builder.with_env_filter(filter).with_writer(writer).finish()
}

/// Lines that name the trace which they belong to.
struct Traced<F> {
    format: F,
    /// How a line ends, which belongs to none.
    end: &'static str,
    /// What stands before the trace instead of the end.
    before: &'static str,
    /// And what behind it.
    behind: &'static str,
}

impl<S, N, F> FormatEvent<S, N> for Traced<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, fields: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let Some(context) = trace::current() else { return self.format.format_event(fields, to, event) };
        let mut line = String::new();
        self.format.format_event(fields, Writer::new(&mut line), event)?;
        let line = line.strip_suffix(self.end).unwrap_or(&line);
        write!(to, "{line}{}{}{}", self.before, context.trace, self.behind)
    }
}

fn parse_filter(text: &str) -> Result<EnvFilter, TelemetryError> {
    if let Some(level) = parse_level(text) {
        // openraft warns of each message to a node that is down, ten times a second; `rpc` has told once.
        let (libraries, engine) = (level.min(LevelFilter::WARN), level.min(LevelFilter::ERROR));
        return Ok(EnvFilter::new(format!("{libraries},openraft={engine},repl={level}")));
    }
    // To `EnvFilter` a lone word is the name of a module, so that a misspelt level would silence everything.
    let is_directive = |directive: &str| directive.contains(['=', '[']) || parse_level(directive).is_some();
    if !text.split(',').all(is_directive) {
        return Err(TelemetryError::Filter);
    }
    EnvFilter::try_new(text).map_err(|_| TelemetryError::Filter)
}

fn parse_level(text: &str) -> Option<LevelFilter> {
    // To `LevelFilter` an empty text means `error`.
    text.parse().ok().filter(|_| !text.is_empty())
}

/// A panic is a bug, but its message is our own words: what users send is of types that don't show it.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let payload = panic.payload();
    let message = payload.downcast_ref::<&str>().copied();
    let message = message.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("?");
    let location = panic.location().map(ToString::to_string);
    // Captured only if RUST_BACKTRACE asks for it.
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    error!(thread = thread::current().name(), location, backtrace, "panicked: {message}");
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use futures_util::FutureExt;
    use tracing::{debug, info, subscriber};

    use super::*;
    use crate::trace::Tracer;

    /// What is logged meanwhile, a line of JSON each.
    fn logged(filter: &str, act: impl FnOnce()) -> Vec<serde_json::Value> {
        let lines = Lines::default();
        subscriber::with_default(json(parse_filter(filter).expect(filter), lines.writer()), act);
        lines.text().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// What is logged.
    #[derive(Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Lines {
        fn writer(&self) -> impl for<'a> MakeWriter<'a> + Send + Sync + 'static {
            let written = Arc::clone(&self.0);
            move || Writer(Arc::clone(&written))
        }

        fn text(&self) -> String {
            String::from_utf8(self.0.lock().expect("no panic").clone()).expect("UTF-8")
        }
    }

    struct Writer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Writer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_of_the_log_is_an_object_with_the_fields_of_the_event() {
        let lines = logged("info", || info!(node = 3, "became leader"));
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0]["message"], "became leader");
        assert_eq!(lines[0]["node"], 3);
        assert_eq!(lines[0]["level"], "INFO");
        assert_eq!(lines[0]["target"], "repl::telemetry::tests");
    }

    /// Logs a line as part of a request. Answers the trace that it belongs to.
    fn log_in_request() -> String {
        let log = async {
            info!(code = "busy", "refused");
            trace::current().expect("there is a request").trace.to_string()
        };
        Tracer::default().request(None, String::new).scope(log).now_or_never().expect("it waits for nothing")
    }

    #[test]
    fn a_line_that_belongs_to_a_request_names_its_trace() {
        let mut trace = String::new();
        let lines = logged("info", || {
            trace = log_in_request();
            info!("nobody has asked");
        });
        assert_eq!(lines[0]["trace_id"], trace);
        assert_eq!((&lines[0]["message"], &lines[0]["code"]), (&"refused".into(), &"busy".into()));
        assert_eq!(lines[1].get("trace_id"), None);

        for ansi in [false, true] {
            let lines = Lines::default();
            let subscriber = text(parse_filter("info").expect("a level"), lines.writer(), ansi);
            let trace = subscriber::with_default(subscriber, log_in_request);
            let text = lines.text();
            assert!(text.ends_with(&format!(" trace_id={trace}\n")) && text.contains("refused"), "{text}");
            assert_eq!(text.contains('\x1b'), ansi, "{text}");
        }
    }

    #[test]
    fn a_level_holds_for_repl_and_libraries_only_warn() {
        let count = |filter| {
            let act = || {
                debug!("ours");
                info!(target: "hyper", "theirs");
                tracing::warn!(target: "hyper", "theirs");
                tracing::warn!(target: "openraft", "the engine's");
            };
            logged(filter, act).len()
        };
        assert_eq!(count("debug"), 2);
        assert_eq!(count("info"), 1);
        assert_eq!(count("error"), 0);
        assert_eq!(count("off"), 0);
        assert_eq!(count("error,hyper=info"), 2);
    }

    #[test]
    fn a_misspelt_level_is_refused() {
        for text in ["inof", "", "info,", "info,openraft", "repl=loud"] {
            assert!(matches!(parse_filter(text), Err(TelemetryError::Filter)), "{text}");
        }
    }

    #[test]
    fn a_panic_is_logged_with_its_place() {
        let lines = logged("info", || {
            let before = panic::take_hook();
            panic::set_hook(Box::new(log_panic));
            let _ = panic::catch_unwind(|| panic!("a bug"));
            panic::set_hook(before);
        });
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0]["message"], "panicked: a bug");
        assert!(lines[0]["location"].as_str().expect("a place").starts_with("src/telemetry.rs:"));
    }
}
