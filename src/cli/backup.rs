//! `repl backup`: all that a cluster has, in one file and back.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde_json::json;

use super::admin::Admin;
use super::exit::Misuse;
use super::output::{self, Done, counted};
use super::progress::Progress;
use super::{command, exit};
use crate::config;
use crate::server::{self, Contents};

const AFTER_HELP: &str = "\
A backup holds what one node has applied at one moment: topics, messages, keys. It is taken while the node serves; the \
node needs as much free space as the backup takes. A cluster that is restored from it is another one: it has a new id, its \
first node is the only one until others join, and readers that come back with a cursor of the old one are told so (repl.gap).";

/// The grammar of `repl backup`.
pub(super) fn command() -> Command {
    let file = |help: &'static str| {
        Arg::new("file").value_name("FILE").help(help).required(true).value_parser(value_parser!(PathBuf))
    };
    Command::new("backup")
        .about("Save, check and restore all that a cluster has")
        .after_help(format!("{AFTER_HELP}\n\n{}", exit::help(&[exit::UNREACHABLE])))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("save")
                .about("Save what the running node of --data-dir has, while it serves")
                .arg(file("Where to; - is standard output"))
                .arg(
                    Arg::new("force")
                        .long("force")
                        .action(ArgAction::SetTrue)
                        .help("Replace the file if it is there, once the backup is whole"),
                ),
        )
        .subcommand(Command::new("verify").about("Read a backup, and tell what is in it").arg(file("The backup")))
        .subcommand(
            Command::new("restore")
                .about("Make an empty --data-dir that of the first node of a new cluster")
                .arg(file("The backup")),
        )
        .mut_subcommands(|command| command.arg(output::argument()))
}

/// Does what `matches` ask for. Answers what to print.
///
/// # Errors
/// It was refused, or failed.
pub(super) fn run(
    matches: &ArgMatches,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> anyhow::Result<Done> {
    let (name, matches) = matches.subcommand().context("a command is required")?;
    let settings = config::load(command::flags(matches), environment)?.settings;
    let file: &PathBuf = matches.get_one("file").context("a file is required")?;
    let admin = || Admin::new(settings.admin_socket_path());
    let done = |Contents { entry, position, time, topics, messages }: &Contents, text| {
        let document = json!({
            "topics": topics, "messages": messages, "position": position.get(), "entry": entry.get(), "time": time.to_string(),
        });
        output::choose(matches, &document, || text).into()
    };
    match name {
        "save" if file == Path::new("-") => {
            let mut out = io::stdout().lock();
            if out.is_terminal() {
                bail!("a backup is no text: send it into a file or another program");
            }
            let progress = Progress::start("saving");
            admin()?.download("/backup", &mut progress.counting(&mut out))?;
            Ok(String::new().into())
        }
        // It would be replaced by one: /dev/null, for everybody.
        "save" if file.exists() && !file.is_file() => {
            let path = file.display();
            Err(Misuse::new(format!("{path} is no file: name one, or - for standard output")).into())
        }
        "save" if file.exists() && !matches.get_flag("force") => {
            let path = file.display();
            Err(Misuse::new(format!("{path} is there already: name another file, or say --force to replace it")).into())
        }
        "save" => {
            let contents = save(&admin()?, file).with_context(|| format!("{} was not written", file.display()))?;
            Ok(done(&contents, format!("saved {}\n", describe(&contents))))
        }
        "restore" => {
            let progress = Progress::start("restoring");
            let contents = server::restore_backup(file, &settings.data_dir)?;
            drop(progress);
            let text = format!(
                "restored {}\nStart the node as the first of a new cluster, whose other nodes join with empty data \
                 directories:\n\n  repl --data-dir {}\n",
                describe(&contents),
                settings.data_dir.display()
            );
            Ok(done(&contents, text))
        }
        _ => {
            let progress = Progress::start("verifying");
            let contents = server::backup_contents(file)?;
            drop(progress);
            Ok(done(&contents, format!("whole: {}\n", describe(&contents))))
        }
    }
}

/// Under another name until it is whole and on disk, so that nothing that has the name is half a backup.
fn save(admin: &Admin, file: &Path) -> anyhow::Result<Contents> {
    let mut unfinished = OsString::from(file);
    unfinished.push(".unfinished");
    let unfinished = PathBuf::from(unfinished);
    let written = (|| {
        // As private as the data directory: it holds the same messages.
        let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        let progress = Progress::start("saving");
        admin.download("/backup", &mut progress.counting(&mut out))?;
        out.sync_all()?;
        drop(progress);
        let _progress = Progress::start("verifying");
        let contents = server::backup_contents(&unfinished)?;
        fs::rename(&unfinished, file)?;
        let directory = file.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
        File::open(directory)?.sync_all()?;
        Ok(contents)
    })();
    if written.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&unfinished);
    }
    written
}

fn describe(Contents { entry, position, time, topics, messages }: &Contents) -> String {
    let (topics, messages) = (counted(*topics, "topic"), counted(*messages, "message"));
    format!("{topics} with {messages}, up to position {position} (entry {entry}, {time})")
}
