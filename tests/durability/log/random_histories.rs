//! Any history, with any number of restarts, leaves what the model says.

use fastrand::Rng;
use proptest::prelude::*;
use repl::domain::LogIndex;
use repl::storage::{Log, LogOptions};

use super::history::Model;
use crate::directory_in_memory;

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_log_holds_what_its_history_says(seed: u64, steps in 1_usize..250, segment_bytes in 1_u64..20_000) {
        let dir = directory_in_memory();
        // Nothing crashes here, so no fsync is needed to be right.
        let options = LogOptions { segment_bytes, cache_bytes: 2_000, sync: |_| Ok(()) };
        let mut rng = Rng::with_seed(seed);
        let mut model = Model::default();
        let mut log = Log::open(dir.path(), options.clone()).expect("a new log");
        for _ in 0..steps {
            let step = model.random_step(&mut rng);
            model.apply(&step);
            step.queue(&log, |outcome| outcome.expect("durable"));
            if rng.u32(..20) == 0 {
                drop(log);
                log = Log::open(dir.path(), options.clone()).expect("reopens");
            }
            if rng.u32(..4) == 0 {
                prop_assert_eq!(&Model::of(&log), &model);
            }
        }
        drop(log);
        let log = Log::open(dir.path(), options).expect("reopens");
        prop_assert_eq!(&Model::of(&log), &model);
        prop_assert_eq!(log.read(LogIndex::new(0), LogIndex::new(0), None).expect("nothing to read"), vec![]);
    }
}
