//! The counts that are kept in the repository, for each architecture.

use std::{collections::BTreeMap, env::consts::ARCH, fmt::Write as _, fs};

use serde::Deserialize;

/// All that is noted, by the name of the architecture.
#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct Noted(BTreeMap<String, Counts>);

/// The instructions of one answer to each question.
#[derive(Deserialize)]
pub(crate) struct Counts {
    /// The names and versions of the tools.
    pub(crate) counted_by: String,
    #[serde(flatten)]
    pub(crate) instructions: BTreeMap<String, usize>,
}

impl Noted {
    pub(crate) fn read() -> Self {
        Self(toml::from_str(&fs::read_to_string(FILE).unwrap()).unwrap())
    }

    /// Writes it with new counts.
    pub(crate) fn renew(mut self, counted: Counts) {
        self.0.insert(ARCH.to_owned(), counted);
        let mut text = HEAD.to_owned();
        for (arch, Counts { counted_by, instructions }) in &self.0 {
            write!(text, "\n[{arch}]\ncounted_by = \"{counted_by}\"\n").unwrap();
            instructions.iter().for_each(|(name, count)| writeln!(text, "{name} = {count}").unwrap());
        }
        fs::write(FILE, text).unwrap();
    }

    /// Returns what there is to tell of new counts, and whether one has grown beyond its bound.
    pub(crate) fn against(&self, counted: &Counts) -> (String, bool) {
        let Some(noted) = self.0.get(ARCH) else { return (format!("none are noted for {ARCH}"), false) };
        let (mut told, mut has_grown) = (String::new(), false);
        for (name, count) in &counted.instructions {
            let (remark, is_more) = remark(noted.instructions[name], *count);
            has_grown |= is_more;
            writeln!(told, "{name}: {count} instructions, {} noted{remark}", noted.instructions[name])
                .unwrap();
        }
        write!(told, "counted by {}, noted by {}", counted.counted_by, noted.counted_by).unwrap();
        (told, has_grown)
    }
}

fn remark(noted: usize, counted: usize) -> (&'static str, bool) {
    match counted * 100 {
        more if more > noted * (100 + BOUND) => (MORE, true),
        fewer if fewer < noted * (100 - BOUND) => (FEWER, false),
        _ => ("", false),
    }
}

// In hundredths.
const BOUND: usize = 5;
const FEWER: &str = "; fewer by more than 5 %: `count --renew` notes them, and the bound follows";
const MORE: &str =
    "; TOO MANY, by more than 5 %: what is worth it, or comes of other tools, is noted by `count --renew`";
const HEAD: &str = "\
# The instructions of a GetUser that is answered from the cache, by what names the user; more by a twentieth fail
# `tests/run speed`. Written by `cargo bench --profile count --bench hit -- count --renew`.
";
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/hit/instructions.toml");
