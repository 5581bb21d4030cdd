//! The instruction counts that the repository keeps for each architecture.

use std::{collections::BTreeMap, env::consts::ARCH, fmt::Write as _, fs};

use serde::Deserialize;

/// The counts by architecture.
#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct Baseline(BTreeMap<String, Counts>);

/// The instructions of each kind of call.
#[derive(Deserialize)]
pub(crate) struct Counts {
    /// The names and versions of the tools that counted.
    pub(crate) counted_by: String,
    #[serde(flatten)]
    pub(crate) instructions: BTreeMap<String, usize>,
}

impl Baseline {
    pub(crate) fn read() -> Self {
        Self(toml::from_str(&fs::read_to_string(FILE).unwrap()).unwrap())
    }

    /// Replaces the counts of this architecture in the file.
    pub(crate) fn renew(mut self, counted: Counts) {
        self.0.insert(ARCH.to_owned(), counted);
        let mut text = HEAD.to_owned();
        for (arch, Counts { counted_by, instructions }) in &self.0 {
            write!(text, "\n[{arch}]\ncounted_by = \"{counted_by}\"\n").unwrap();
            instructions.iter().for_each(|(name, count)| writeln!(text, "{name} = {count}").unwrap());
        }
        fs::write(FILE, text).unwrap();
    }

    /// Returns a report on new counts, and whether one of them is too large.
    pub(crate) fn compare(&self, counted: &Counts) -> (String, bool) {
        let Some(baseline) = self.0.get(ARCH) else { return (format!("no baseline for {ARCH}"), false) };
        let (mut report, mut has_grown) = (String::new(), false);
        for (name, count) in &counted.instructions {
            let expected = baseline.instructions[name];
            let (remark, is_more) = remark(expected, *count);
            has_grown |= is_more;
            writeln!(report, "{name}: {count} instructions, baseline {expected}{remark}").unwrap();
        }
        write!(report, "counted by {}, baseline by {}", counted.counted_by, baseline.counted_by).unwrap();
        (report, has_grown)
    }
}

fn remark(baseline: usize, counted: usize) -> (&'static str, bool) {
    match counted * 100 {
        more if more > baseline * (100 + BOUND) => (MORE, true),
        fewer if fewer < baseline * (100 - BOUND) => (FEWER, false),
        _ => ("", false),
    }
}

// In percent.
const BOUND: usize = 5;
const FEWER: &str = "; more than 5 % fewer: `count --renew` lowers the baseline";
const MORE: &str =
    "; TOO MANY, by more than 5 %. If a change is worth that, or the tools are others, run `count --renew`";
const HEAD: &str = "\
# The instructions of a GetUser that hits the cache, by how it names the user. `tests/run speed` fails at 5 % more.
# Written by `cargo bench --profile count --bench hit -- count --renew`.
";
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/hit/instructions.toml");
