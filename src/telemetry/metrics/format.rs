//! The formats of `/metrics`, and the choice between them.

use std::fmt::Write as _;

/// A text format of metrics.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// `OpenMetrics` 1.0.0.
    OpenMetrics,
    /// Prometheus's own text format, version 0.0.4, which every scraper reads.
    Prometheus,
}

impl Format {
    /// Chooses the format by the value of an `Accept` header (RFC 9110, section 12.5.1):
    /// `OpenMetrics` if that is named and liked as much, otherwise Prometheus's own.
    pub fn accepted(accept: &str) -> Self {
        let ranges: Vec<_> = accept.split(',').filter_map(Range::parse).collect();
        let open_metrics =
            quality(&ranges, &["application/openmetrics-text", "application/*"], &["1.0.0", "0.0.1"]);
        let prometheus = quality(&ranges, &["text/plain", "text/*", "*/*"], &["0.0.4", "1.0.0"]);
        if open_metrics > 0.0 && open_metrics >= prometheus { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// Returns the value of the `Content-Type` header.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// One media range of an `Accept` header.
struct Range {
    media_type: String,
    version: Option<String>,
    quality: f32,
}

impl Range {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(';').map(|part| part.trim().to_ascii_lowercase());
        let mut range = Self { media_type: parts.next()?, version: None, quality: 1.0 };
        for parameter in parts {
            match parameter.split_once('=') {
                Some(("q", value)) => range.quality = value.trim().parse().unwrap_or(0.0),
                Some(("version", value)) => range.version = Some(value.trim().trim_matches('"').to_owned()),
                _ => {}
            }
        }
        Some(range)
    }
}

/// Returns the quality of a format that has these media types, the most specific first: that of the
/// most specific one that is named, 0 if none is.
fn quality(ranges: &[Range], media_types: &[&str], versions: &[&str]) -> f32 {
    let is_known =
        |range: &&Range| range.version.as_deref().is_none_or(|version| versions.contains(&version));
    let named = media_types.iter().find_map(|media_type| {
        let named = ranges.iter().filter(is_known).filter(|range| range.media_type == *media_type);
        named.map(|range| range.quality).reduce(f32::max)
    });
    named.unwrap_or(0.0)
}

/// Converts `OpenMetrics` text to Prometheus's format. That names a counter and an info with their
/// suffix in HELP and TYPE too, and has neither units nor an end mark.
pub(super) fn to_prometheus(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut help = "";
    for line in open_metrics.lines() {
        if let Some(found) = line.strip_prefix("# HELP ") {
            help = found.split_once(' ').map_or("", |(_, help)| help);
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|found| found.split_once(' '))
        {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                kind => ("", kind),
            };
            // Writing to a string cannot fail.
            let _ = write!(text, "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}\n");
        } else if !line.starts_with('#') {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scraper_gets_the_format_it_asks_for() {
        const PROMETHEUS_2: &str = "application/openmetrics-text;version=1.0.0;q=0.5,\
            application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        const PROMETHEUS_3: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
            application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,\
            text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        const CLASSIC_FIRST: &str = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;q=0.9,\
            text/plain;version=0.0.4;q=0.8,application/openmetrics-text;version=1.0.0;q=0.7";
        for (accept, is_open_metrics) in [
            (PROMETHEUS_2, true),
            (PROMETHEUS_3, true),
            (CLASSIC_FIRST, false),
            ("", false),
            ("*/*", false),
            ("text/html, application/xhtml+xml, */*;q=0.8", false),
            ("text/plain", false),
            ("application/json", false),
            ("application/openmetrics-text", true),
            ("Application/OpenMetrics-Text; Version=\"1.0.0\"", true),
            ("application/openmetrics-text, */*", true),
            ("application/openmetrics-text;q=0.5, */*", false),
            ("application/openmetrics-text;q=0", false),
            ("application/openmetrics-text;q=nonsense", false),
            ("application/openmetrics-text;version=2.0.0", false),
            ("application/*", true),
            ("application/openmetrics-text;q=0.1, text/plain;q=0, */*", true),
        ] {
            let expected = if is_open_metrics { Format::OpenMetrics } else { Format::Prometheus };
            assert_eq!(Format::accepted(accept), expected, "{accept}");
        }
    }

    #[test]
    fn the_formats_differ_in_names_and_in_the_end_mark() {
        let open_metrics = "# HELP a Calls.\n# TYPE a counter\na_total{x=\"#\"} 1\n# HELP b B b.\n# TYPE b info\n\
            b_info{v=\"1\"} 1\n# HELP c_seconds C.\n# TYPE c_seconds gauge\n# UNIT c_seconds seconds\nc_seconds 2\n# EOF\n";
        let expected = "# HELP a_total Calls.\n# TYPE a_total counter\na_total{x=\"#\"} 1\n# HELP b_info B b.\n\
            # TYPE b_info gauge\nb_info{v=\"1\"} 1\n# HELP c_seconds C.\n# TYPE c_seconds gauge\nc_seconds 2\n";
        assert_eq!(to_prometheus(open_metrics), expected);
    }
}
