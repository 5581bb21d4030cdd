//! Declarations of metrics and labels, so that each name and each text is written once.

use std::{fmt, sync::Arc, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder},
    metrics::{MetricType, TypedMetric, histogram::Histogram},
};

/// Declares a set of metrics. Each has a type, a name without the prefix `cognito_lookup_`, and a
/// doc comment that is its help text too.
macro_rules! metric_set {
    (
        $(#[doc = $about:literal])+
        pub struct $Set:ident {
            $($(#[doc = $help:literal])+ $visibility:vis $metric:ident: $Metric:ty = $name:literal,)+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, Default)]
        pub struct $Set {
            $($(#[doc = $help])+ $visibility $metric: $Metric,)+
        }

        impl $Set {
            pub(super) fn register(&self, registry: &mut prometheus_client::registry::Registry) {
                $(
                    // The registry ends each help text with a full stop itself.
                    let help = concat!($($help),+).trim().trim_end_matches('.');
                    registry.register($name, help, self.$metric.clone());
                )+
            }
        }
    };
}

/// Declares a label with all of its values. The type is a label set of that one label.
macro_rules! label {
    (
        $(#[doc = $about:literal])+
        $visibility:vis enum $Label:ident = $key:literal {
            $($(#[doc = $doc:literal])+ $Value:ident,)+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        $visibility enum $Label {
            $($(#[doc = $doc])+ $Value,)+
        }

        impl super::Label for $Label {
            const ALL: &'static [(Self, &'static str)] = &[$((Self::$Value, stringify!($Value))),+];

            fn index(self) -> usize {
                self as usize
            }
        }

        impl prometheus_client::encoding::EncodeLabelSet for $Label {
            fn encode(
                &self,
                encoder: &mut prometheus_client::encoding::LabelSetEncoder<'_>,
            ) -> std::fmt::Result {
                [($key, super::Label::name(*self))].encode(encoder)
            }
        }
    };
}

/// A label whose values are known at compile time; implemented by `label!`.
pub trait Label: Copy + EncodeLabelSet + 'static {
    /// All values with their names.
    const ALL: &'static [(Self, &'static str)];

    /// Returns the position of this value in [`ALL`](Self::ALL).
    fn index(self) -> usize;

    /// Returns the name of this value in `/metrics`.
    fn name(self) -> &'static str {
        Self::ALL.get(self.index()).map_or("", |(_, name)| name)
    }
}

/// One metric for each value of a label. Unlike a `Family` it finds a series without a lock. It has
/// all series from the start, because `rate()` misses the first event of a new series.
#[derive(Clone, Debug)]
pub struct EnumFamily<L, M>(Arc<[(L, M)]>);

impl<L: Label, M> EnumFamily<L, M> {
    /// Returns the metric of a label value.
    #[expect(clippy::indexing_slicing, reason = "there is one metric for each value")]
    pub fn get(&self, label: L) -> &M {
        &self.0[label.index()].1
    }
}

impl<L: Label, M: Default> Default for EnumFamily<L, M> {
    fn default() -> Self {
        Self(L::ALL.iter().map(|(label, _)| (*label, M::default())).collect())
    }
}

impl<L: Label, M: EncodeMetric + TypedMetric> EncodeMetric for EnumFamily<L, M> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(label, metric)| metric.encode(encoder.encode_family(label)?))
    }

    fn metric_type(&self) -> MetricType {
        M::TYPE
    }
}

/// A histogram of durations in seconds; cheap to clone.
#[derive(Clone, Debug)]
pub struct DurationHistogram(Histogram);

impl DurationHistogram {
    /// Returns a histogram with buckets of its own: their upper bounds, in seconds.
    pub(super) fn with_bounds(bounds: &[f64]) -> Self {
        Self(Histogram::new(bounds.iter().copied()))
    }

    /// Counts an event that took this long.
    pub fn observe(&self, duration: Duration) {
        self.0.observe(duration.as_secs_f64());
    }
}

impl Default for DurationHistogram {
    fn default() -> Self {
        Self(Histogram::new(BOUNDS))
    }
}

impl EncodeMetric for DurationHistogram {
    fn encode(&self, encoder: MetricEncoder<'_>) -> fmt::Result {
        self.0.encode(encoder)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

impl TypedMetric for DurationHistogram {
    const TYPE: MetricType = MetricType::Histogram;
}

// In seconds: a call to AWS takes milliseconds, and is cut off after 1 s.
const BOUNDS: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];
