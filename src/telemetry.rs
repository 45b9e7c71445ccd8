//! The log: to standard error, as text for people or JSON for programs, panics included.
//!
//! Payloads and tokens never reach it. That is up to whoever logs; this module only sees to it that libraries, which
//! don't know the rule, are heard from `warn` on unless somebody asks for more.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal};
use std::panic::{self, PanicHookInfo};
use std::thread;

use thiserror::Error;
use tracing::level_filters::LevelFilter;
use tracing::{Subscriber, error};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::LogFormat;

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
        let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
        Box::new(builder.with_ansi(stderr_is_terminal).finish())
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

/// One object a line, the fields of the event beside `timestamp`, `level`, `target` and `message`.
fn json(
    filter: EnvFilter,
    writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static,
) -> impl Subscriber + Send + Sync {
    let builder = tracing_subscriber::fmt().json().flatten_event(true).with_span_list(false);
    builder.with_env_filter(filter).with_writer(writer).finish()
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

    use tracing::{debug, info, subscriber};

    use super::*;

    /// What is logged meanwhile, a line of JSON each.
    fn logged(filter: &str, act: impl FnOnce()) -> Vec<serde_json::Value> {
        let written = Arc::new(Mutex::new(Vec::new()));
        let writer = Arc::clone(&written);
        let writer = move || Writer(Arc::clone(&writer));
        subscriber::with_default(json(parse_filter(filter).expect(filter), writer), act);
        let written = String::from_utf8(written.lock().expect("no panic").clone()).expect("UTF-8");
        written.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
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
