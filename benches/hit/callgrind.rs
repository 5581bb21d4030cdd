//! Runs this program under valgrind's callgrind, which counts the instructions of one function on
//! one thread.

use std::{env, fs, path::Path, process::Command};

use crate::call::CallKind;

/// Returns the average instructions of one call, and prints where callgrind wrote the instructions
/// of each function. Panics if valgrind is missing.
pub(crate) fn count(kind: CallKind) -> usize {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("callgrind.{}", kind.name()));
    // Other activity can only add instructions, so the smallest count is the best.
    let count = (0..RUNS).map(|_| run(kind, &out)).min().unwrap();
    assert!(count > 0, "nothing was counted: only `--profile count` keeps the names of functions");
    println!("{}: callgrind_annotate --inclusive=yes {}", kind.name(), out.display());
    count
}

fn run(kind: CallKind, out: &Path) -> usize {
    let counting = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet", TOGGLE])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(env::current_exe().unwrap())
        .args(["answer", kind.name()])
        .output()
        .expect(MISSING);
    assert!(counting.status.success(), "{}", String::from_utf8_lossy(&counting.stderr));
    let text = fs::read_to_string(out).unwrap();
    let total = text.lines().find_map(|line| line.strip_prefix("totals: ")).expect("there is a total");
    total.parse::<usize>().unwrap() / TIMES
}

/// Returns the names and versions of the tools that the counts depend on.
pub(crate) fn tools() -> String {
    let [valgrind, rustc] = ["valgrind", "rustc"].map(|program| {
        let output = Command::new(program).arg("--version").output().expect(MISSING);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    });
    format!("{valgrind} and {rustc}")
}

/// The calls of one run: enough that the average includes occasional work, such as writing audit
/// records and maintenance of the cache.
pub(crate) const TIMES: usize = 2000;
const RUNS: usize = 3;
// Counts from the start to the end of this function, on the thread that calls it.
const TOGGLE: &str = "--toggle-collect=hit::call::answer";
const MISSING: &str = "valgrind must be installed: apt-get install valgrind";
