//! The samples of the exported text, for the pages that show some of them.

/// The samples of all metrics at one time.
#[derive(Debug, Default)]
pub struct Samples(Vec<Sample>);

/// One sample.
#[derive(Debug, PartialEq)]
pub struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    /// Its value.
    pub value: f64,
}

impl Samples {
    /// Reads what [`super::Metrics::text`] writes. Lines that are no samples are left out.
    pub(super) fn parse(text: &str) -> Self {
        Self(text.lines().filter(|line| !line.starts_with('#')).filter_map(Sample::parse).collect())
    }

    /// Returns the samples of a metric, in the order of the text. A counter's name ends with `_total`.
    pub fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Sample> {
        self.0.iter().filter(move |sample| sample.name == name)
    }

    /// Returns the sum over the samples that have all of these labels; none if there are none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let has = |sample: &&Sample| labels.iter().all(|(label, value)| sample.label(label) == *value);
        self.of(name).filter(has).map(|sample| sample.value).reduce(|sum, value| sum + value)
    }
}

impl Sample {
    fn parse(line: &str) -> Option<Self> {
        let (name, rest) = line.split_at(line.find(['{', ' '])?);
        let (labels, value) = match rest.strip_prefix('{') {
            Some(rest) => read_labels(rest)?,
            None => (Vec::new(), rest),
        };
        // An exemplar or a time may follow.
        let value = value.split_whitespace().next()?.parse().ok()?;
        Some(Self { name: name.to_owned(), labels, value })
    }

    /// Returns the value of a label; empty if there is no such label.
    pub fn label(&self, name: &str) -> &str {
        let found = self.labels.iter().find(|(label, _)| label == name);
        found.map_or("", |(_, value)| value)
    }
}

/// Reads labels up to their closing brace, and returns them with what follows.
fn read_labels(mut rest: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start_matches(',');
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, quoted) = rest.split_once("=\"")?;
        let (value, after) = read_quoted(quoted)?;
        labels.push((name.to_owned(), value));
        rest = after;
    }
}

/// Reads a value up to its closing quote (`OpenMetrics` 1.0, "Escaping").
fn read_quoted(text: &str) -> Option<(String, &str)> {
    let (mut value, mut chars) = (String::new(), text.chars());
    loop {
        match chars.next()? {
            '"' => return Some((value, chars.as_str())),
            '\\' => value.push(match chars.next()? {
                'n' => '\n',
                escaped => escaped,
            }),
            plain => value.push(plain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read_with_their_labels() {
        let samples = Samples::parse(
            "# HELP a_total A \"help\".\na_total{caller=\"x\\\"}\\\\,\\n<\",outcome=\"Ok\"} 2\n\
             a_total{caller=\"y\",outcome=\"Ok\"} 3\na_total{caller=\"y\",outcome=\"Failed\"} 5\nb 1.5e9\nc\n# EOF\n",
        );
        let names: Vec<_> = samples.of("a_total").map(|sample| sample.label("caller")).collect();
        assert_eq!(names, ["x\"}\\,\n<", "y", "y"]);
        for (name, labels, expected) in [
            ("a_total", &[("outcome", "Ok")][..], Some(5.0)),
            ("a_total", &[("outcome", "Failed"), ("caller", "y")], Some(5.0)),
            ("a_total", &[("outcome", "Failed"), ("caller", "x")], None),
            ("a_total", &[], Some(10.0)),
            ("b", &[], Some(1_500_000_000.0)),
            ("c", &[], None),
        ] {
            assert_eq!(samples.sum(name, labels), expected, "{name} {labels:?}");
        }
    }
}
