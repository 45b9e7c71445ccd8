//! Runs a node until a signal stops it.

use std::ffi::OsString;
use std::io::{self, Write};

use anyhow::Context;
use clap::ArgMatches;
use tokio::runtime::Runtime;

use super::service::Service;
use super::signal::{self, Signals};
use super::{banner, command, ready_file};
use crate::config::{self, Given, SETTINGS, Settings};
use crate::server::{self, News};
use crate::telemetry::{self, TelemetryError};

/// Runs a node until a signal stops it.
///
/// # Errors
/// It could not start, or could not go on.
pub(super) fn serve(
    matches: &ArgMatches,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> anyhow::Result<()> {
    let environment: Vec<_> = environment.into_iter().collect();
    let mut service = Service::of(&environment).context("can't reach the service manager (NOTIFY_SOCKET)")?;
    let config::Loaded { settings, given } = config::load(command::flags(matches), environment)?;
    start_log(&settings, &given)?;
    let secret = settings.cluster_secret()?;
    let ready_file = settings.ready_file.clone();
    if let Some(path) = &ready_file {
        ready_file::remove(path).with_context(|| format!("can't replace the ready file {}", path.display()))?;
    }
    service.is("starting".to_owned());
    let tell = move |news: News<'_>| match news {
        News::Serves(started) => {
            // Whoever started us may not care to read it.
            let _ = io::stdout().write_all(banner(started).as_bytes());
            ready_file.as_deref().map_or(Ok(()), |path| ready_file::write(path, started))?;
            service.ready()
        }
        News::Condition(condition) => {
            service.is(condition);
            Ok(())
        }
        News::Stops => {
            service.stops();
            Ok(())
        }
    };

    let threads = || Runtime::new().context("can't start the threads of the server");
    let (runtime, fan_out) = (threads()?, threads()?);
    let Signals { stop, reload } = signal::listen().context("can't listen for signals")?;
    let served = runtime.block_on(server::run(settings, secret, fan_out.handle().clone(), tell, stop, reload));
    // The server has waited for all that matters; a look-up of a host name may hang for longer than anyone's patience.
    runtime.shutdown_background();
    fan_out.shutdown_background();
    Ok(served?)
}

fn start_log(settings: &Settings, given: &Given) -> anyhow::Result<()> {
    telemetry::init(settings.log_format, &settings.log_level).map_err(|error| of_log(error, settings, given))
}

/// Whether the log could be started.
///
/// # Errors
/// It can't be.
pub(super) fn check_log(settings: &Settings, given: &Given) -> anyhow::Result<()> {
    telemetry::check(&settings.log_level).map_err(|error| of_log(error, settings, given))
}

fn of_log(error: TelemetryError, settings: &Settings, given: &Given) -> anyhow::Error {
    match error {
        TelemetryError::Filter => {
            let setting = SETTINGS.iter().find(|setting| setting.field == "log_level").expect("it is in the table");
            given.wrong(setting, &settings.log_level, error.to_string()).into()
        }
        TelemetryError::Installed(_) => error.into(),
    }
}
