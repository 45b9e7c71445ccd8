//! Fuzzing, as tests: bytes that were right once and are changed at random, read by whatever reads them from outside. Nothing
//! panics, and nothing allocates more than its input warrants.
//!
//! Some ten thousand inputs run with the other tests, ten million with `make fuzz`. They follow from a seed, so a failure comes
//! again; it shows its input.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use tempfile::TempDir;
use tikv_jemalloc_ctl::thread;
use tikv_jemallocator::Jemalloc;

/// It counts what each thread allocates.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// Inputs of each target, unless `REPL_FUZZ_INPUTS` says.
const INPUTS: usize = 10_000;

/// In bytes. Longer inputs find nothing that shorter ones don't.
const INPUT_BYTES_MAX: usize = 64 * 1024;

/// Numbers at which readers stumble.
const NUMBERS: [u64; 12] =
    [0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x00ff_ffff, 0x0100_0000, 0x7fff_ffff, 0xffff_ffff, u64::MAX];

/// A directory for files that are written anew for each input: in memory, where the system has such a place.
pub(crate) fn in_memory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory")
}

/// What is fuzzed.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    /// Inputs that are right.
    pub(crate) corpus: Vec<Vec<u8>>,
    /// Of one input, in bytes: so much whatever it is, and so many times its length.
    pub(crate) allocated_max: (u64, u64),
    /// One input takes as long as so many of a cheap target.
    pub(crate) cost: usize,
}

impl Target {
    /// A cheap one that needs little memory.
    pub(crate) fn new(name: &'static str, corpus: Vec<Vec<u8>>) -> Self {
        Self { name, corpus, allocated_max: (64 * 1024, 64), cost: 1 }
    }

    /// Has inputs read, one after the other.
    pub(crate) fn run(self, mut read: impl FnMut(&[u8])) {
        let variable = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
        let inputs = variable("REPL_FUZZ_INPUTS").unwrap_or(INPUTS).div_ceil(self.cost);
        let seed = variable("REPL_FUZZ_SEED").unwrap_or(1) as u64;
        let (started, allocated) = (Instant::now(), thread::allocatedp::read().expect("jemalloc counts"));
        let (constant, factor) = self.allocated_max;
        let mut input = Vec::new();
        for number in 0..inputs {
            let mut random = fastrand::Rng::with_seed(seed ^ (number as u64) << 20);
            self.mutate(&mut random, &mut input);
            let before = allocated.get();
            let outcome = catch_unwind(AssertUnwindSafe(|| read(&input)));
            let allocated = allocated.get() - before;
            let warranted = constant + factor * input.len() as u64;
            let shown = || format!("{}, seed {seed}, input {number}: {}", self.name, input.escape_ascii());
            assert!(outcome.is_ok(), "a panic: {}", shown());
            assert!(allocated <= warranted, "{allocated} bytes are allocated for {}: {}", input.len(), shown());
        }
        let (name, seconds) = (self.name, started.elapsed().as_secs_f64());
        // Shown by `make fuzz`.
        println!("fuzzed {inputs} {name}, {seconds:.1} s");
    }

    /// Changes one of the corpus, mostly a little.
    fn mutate(&self, random: &mut fastrand::Rng, input: &mut Vec<u8>) {
        input.clear();
        input.extend_from_slice(random.choice(&self.corpus).expect("there is one"));
        for _ in 0..random.usize(1..=4) {
            let at = random.usize(0..=input.len());
            let end = (at + random.usize(0..=16)).min(input.len());
            match random.u8(0..10) {
                0 => input.truncate(at),
                1 => drop(input.drain(at..end)),
                2 => drop(input.splice(at..at, (0..random.usize(1..=16)).map(|_| random.u8(..)).collect::<Vec<_>>())),
                3 => input.extend_from_within(at..end),
                4 => {
                    let other = random.choice(&self.corpus).expect("there is one");
                    let from = random.usize(0..=other.len());
                    input.splice(at.., other.iter().copied().skip(from));
                }
                5 => {
                    let number = *random.choice(&NUMBERS).expect("there are some");
                    let width = *random.choice(&[1, 2, 4, 8]).expect("there are some");
                    let bytes = if random.bool() {
                        number.to_le_bytes()
                    } else {
                        number.rotate_left(64 - 8 * width).to_be_bytes()
                    };
                    input.splice(at..(at + width as usize).min(input.len()), bytes.into_iter().take(width as usize));
                }
                6 => {
                    let piece: Vec<u8> = input.get(at..end).unwrap_or_default().repeat(random.usize(1..=64));
                    input.splice(at..at, piece);
                }
                _ => {
                    if let Some(byte) = input.get_mut(at) {
                        *byte ^= 1 << random.u8(0..8);
                    }
                }
            }
        }
        input.truncate(INPUT_BYTES_MAX);
    }
}

mod tests {
    use super::*;

    fn target() -> Target {
        Target::new("texts", vec![b"some text".to_vec()])
    }

    #[test]
    #[should_panic(expected = "a panic: texts, seed 1, input")]
    fn a_panic_is_found_and_its_input_shown() {
        target().run(|input| assert!(input.starts_with(b"some")));
    }

    #[test]
    #[should_panic(expected = "bytes are allocated for")]
    fn an_allocation_without_a_reason_is_found() {
        target().run(|input| drop(Vec::<u8>::with_capacity(usize::from(input.first().copied().unwrap_or(0)) << 12)));
    }
}
