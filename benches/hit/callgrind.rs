//! This very program under valgrind's callgrind, which counts what one thread does in one function and nothing else.

use std::{env, fs, path::Path, process::Command};

use crate::question::Question;

/// Returns the instructions of one answer to the question, the average of many, and tells where callgrind has noted which
/// functions they are in. Fails where valgrind is missing.
pub(crate) fn count(question: Question) -> usize {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("callgrind.{}", question.name()));
    // Whatever else goes on can only add to it.
    let count = (0..RUNS).map(|_| run(question, &out)).min().unwrap();
    assert!(count > 0, "nothing was counted: functions have their names with `--profile count` only");
    println!("{}: callgrind_annotate --inclusive=yes {}", question.name(), out.display());
    count
}

fn run(question: Question, out: &Path) -> usize {
    let counting = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet", TOGGLE])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(env::current_exe().unwrap())
        .args(["answer", question.name()])
        .output()
        .expect(MISSING);
    assert!(counting.status.success(), "{}", String::from_utf8_lossy(&counting.stderr));
    let text = fs::read_to_string(out).unwrap();
    let total = text.lines().find_map(|line| line.strip_prefix("totals: ")).expect("there is a total");
    total.parse::<usize>().unwrap() / TIMES
}

/// Returns the names and versions of what makes a difference.
pub(crate) fn tools() -> String {
    let [valgrind, rustc] = ["valgrind", "rustc"].map(|program| {
        let output = Command::new(program).arg("--version").output().expect(MISSING);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    });
    format!("{valgrind} and {rustc}")
}

/// How often a question is answered: so often that what happens now and then (records handed to the writer, a cache that
/// tidies up) is in the average.
pub(crate) const TIMES: usize = 2000;
const RUNS: usize = 3;
// From when this function is entered until it is left, on the thread that enters it.
const TOGGLE: &str = "--toggle-collect=hit::question::answered";
const MISSING: &str = "valgrind must be installed: apt-get install valgrind";
