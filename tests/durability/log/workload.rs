//! The workload of the segment log.

use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use fastrand::Rng;
use repl::storage::{Log, LogOptions};

use super::history::{Model, Step};
use crate::workload::{Fsync, Workload};

/// Random calls to a log with small segments, many of them under way at once.
#[derive(Default)]
pub(crate) struct LogWorkload {
    model: Model,
}

/// Calls that are waited for and not yet durable.
const WAITED_FOR_MAX: u64 = 32;

/// How far the child may have come since an acknowledgement was read.
const STEPS_BEYOND_MAX: u64 = 2_000;

fn options(fsync: Fsync) -> LogOptions {
    let small = LogOptions { segment_bytes: 64 * 1024, cache_bytes: 16 * 1024, ..LogOptions::default() };
    match fsync {
        Fsync::Done => small,
        Fsync::LeftOut => LogOptions { sync: |_| Ok(()), ..small },
    }
}

impl Workload for LogWorkload {
    const NAME: &'static str = "log";
    const STEPS: u64 = 400;
    const STEP_TIME_MAX: Duration = Duration::from_millis(10);
    // There are those that nobody waits for, one in ten.
    const UNDER_WAY_MAX: u64 = 4 * WAITED_FOR_MAX;

    fn run(dir: &Path, seed: u64, fsync: Fsync, acknowledge: impl Fn(u64) + Clone + Send + 'static) {
        let log = Log::open(dir, options(fsync)).expect("opens");
        let mut model = Model::of(&log);
        let mut rng = Rng::with_seed(seed);
        let (tell, told) = mpsc::channel();
        let mut under_way = 0;
        for number in 0.. {
            let step = model.random_step(&mut rng);
            model.apply(&step);
            if !matches!(step, Step::Committed(_)) {
                under_way += 1;
            }
            let (tell, acknowledge) = (tell.clone(), acknowledge.clone());
            step.queue(&log, move |outcome| {
                if outcome.is_ok() {
                    acknowledge(number);
                }
                let _ = tell.send(outcome);
            });
            while under_way >= WAITED_FOR_MAX {
                under_way -= 1;
                if told.recv().expect("the log tells").is_err() {
                    return;
                }
            }
        }
    }

    fn verify(&mut self, dir: &Path, seed: u64, acknowledged: Option<u64>) -> Result<u64, String> {
        let log = Log::open(dir, options(Fsync::Done)).map_err(|error| error.to_string())?;
        let found = Model::of(&log);
        let mut rng = Rng::with_seed(seed);
        let acknowledged = acknowledged.map_or(0, |last| last + 1);
        for _ in 0..acknowledged {
            let step = self.model.random_step(&mut rng);
            self.model.apply(&step);
        }
        for beyond in 0..STEPS_BEYOND_MAX {
            if self.model == found {
                return Ok(beyond);
            }
            for part in self.model.random_step(&mut rng).parts() {
                self.model.apply(&part);
                if self.model == found {
                    return Ok(beyond + 1);
                }
            }
        }
        Err(format!("after {acknowledged} acknowledged steps the log holds none of their outcomes"))
    }
}
