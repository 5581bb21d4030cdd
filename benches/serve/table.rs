//! How what was measured is shown: a table for each question, and one of all.

use std::fmt;

use crate::figures::Ratios;

/// Two servers beside each other.
pub(crate) struct Table {
    pub(crate) title: String,
    /// The calls a second at which p99 was taken.
    pub(crate) rate: Option<f64>,
    /// Of each its name, its figures, and what is to be said about them.
    pub(crate) rows: [(String, [String; 3], String); 2],
    /// Of rates, CPU and p99: of the second to the first.
    pub(crate) ratios: [Ratios; 3],
    /// The part of the machine that other work took meanwhile.
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

/// What a figure should be.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    AtLeast(f64),
    AtMost(f64),
    /// It is only told.
    Told,
}

/// A figure beside its goal.
pub(crate) struct Row {
    question: String,
    goal: Goal,
    unit: Unit,
    figure: f64,
    range: String,
}

impl Row {
    pub(crate) fn ratio(question: String, goal: Goal, ratios: &Ratios) -> Self {
        Self { question, goal, unit: Unit::Times, figure: ratios.middle(), range: ratios.range() }
    }

    pub(crate) fn bytes(question: String, goal: Goal, figure: f64) -> Self {
        Self { question, goal, unit: Unit::Bytes, figure, range: "-".to_owned() }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { question, unit, figure, range, .. } = self;
        let (goal, met) = match self.goal {
            Goal::AtLeast(goal) => (format!("at least {}", unit.shown(goal)), Some(*figure >= goal)),
            Goal::AtMost(goal) => (format!("at most {}", unit.shown(goal)), Some(*figure <= goal)),
            Goal::Told => ("-".to_owned(), None),
        };
        let met = met.map_or("-", |met| if met { "yes" } else { "no" });
        write!(f, "| {question} | {goal} | {} | {range} | {met} |", unit.shown(*figure))
    }
}

/// Prints all.
pub(crate) fn print(rows: &[Row]) {
    println!(
        "\n| question | goal | measured | middle half of rounds | met |\n| --- | --- | --- | --- | --- |"
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
