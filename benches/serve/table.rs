//! The output: a table for each scenario, and one of all results.

use std::fmt;

use crate::measurements::Ratios;

/// The results of two servers.
pub(crate) struct Table {
    pub(crate) title: String,
    /// The calls per second at which p99 was measured.
    pub(crate) rate: Option<f64>,
    /// For each server its name, its measurements, and a note.
    pub(crate) rows: [(String, [String; 3], String); 2],
    /// The ratios of rate, CPU time and p99, of the second server to the first.
    pub(crate) ratios: [Ratios; 3],
    /// The part of the machine's CPU time that other processes used.
    pub(crate) others: f64,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |name: &str, [rate, cpu, p99]: [&str; 3]| format!("{name:24}{rate:>12}{cpu:>14}{p99:>11}");
        let rate = self.rate.map_or_else(String::new, |rate| format!(" at {rate:.0}/s"));
        writeln!(f, "\n{}", self.title)?;
        writeln!(f, "{}{rate}", row("", ["answers/s", "CPU/answer", "p99"]))?;
        for (name, texts, more) in &self.rows {
            writeln!(f, "{}{more}", row(name, texts.each_ref().map(String::as_str)))?;
        }
        let [shown, ranges] = [Ratios::shown, Ratios::range].map(|text| self.ratios.each_ref().map(text));
        writeln!(f, "{}", row("ratio", shown.each_ref().map(String::as_str)))?;
        writeln!(f, "{}", row("  middle half of rounds", ranges.each_ref().map(String::as_str)))?;
        write!(f, "other work took {:.0} % of the machine meanwhile", self.others * 100.0)
    }
}

/// The goal for a result.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    AtLeast(f64),
    AtMost(f64),
    /// The result has no goal.
    Unset,
}

/// A result and its goal.
pub(crate) struct Row {
    name: String,
    goal: Goal,
    unit: Unit,
    figure: f64,
    range: String,
}

impl Row {
    pub(crate) fn ratio(name: String, goal: Goal, ratios: &Ratios) -> Self {
        Self { name, goal, unit: Unit::Times, figure: ratios.middle(), range: ratios.range() }
    }

    pub(crate) fn bytes(name: String, goal: Goal, figure: f64) -> Self {
        Self { name, goal, unit: Unit::Bytes, figure, range: "-".to_owned() }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, unit, figure, range, .. } = self;
        let (goal, met) = match self.goal {
            Goal::AtLeast(goal) => (format!("at least {}", unit.shown(goal)), Some(*figure >= goal)),
            Goal::AtMost(goal) => (format!("at most {}", unit.shown(goal)), Some(*figure <= goal)),
            Goal::Unset => ("-".to_owned(), None),
        };
        let met = met.map_or("-", |met| if met { "yes" } else { "no" });
        write!(f, "| {name} | {goal} | {} | {range} | {met} |", unit.shown(*figure))
    }
}

/// Prints the table of all results.
pub(crate) fn print(rows: &[Row]) {
    println!(
        "\n| measurement | goal | measured | middle half of rounds | met |\n| --- | --- | --- | --- | --- |"
    );
    rows.iter().for_each(|row| println!("{row}"));
}

enum Unit {
    Bytes,
    Times,
}

impl Unit {
    fn shown(&self, figure: f64) -> String {
        match self {
            Self::Bytes => format!("{figure:.0} bytes"),
            Self::Times => format!("{figure:.2}x"),
        }
    }
}
