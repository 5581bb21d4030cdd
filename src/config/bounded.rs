//! Settings with bounds: durations, sizes and numbers, and their description in the schema.

use std::{borrow::Cow, marker::PhantomData, time::Duration};

use bytesize::{ByteSize, GIB, KIB, MIB, TIB};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserializer, Serialize as _, Serializer, de::Error as _};
use serde_json::Value;

use super::text;

/// A setting from `LOW` to `HIGH`, for `#[serde(with = …)]`: milliseconds of a [`Duration`], bytes
/// of a size (`u64`), or a number. A value outside these bounds is refused where it is read.
pub(super) struct Bounded<T, const LOW: u64, const HIGH: u64>(PhantomData<T>);

impl<T: Bound, const LOW: u64, const HIGH: u64> Bounded<T, LOW, HIGH> {
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(source: D) -> Result<T, D::Error> {
        let value = text::read(source, T::EXPECTED, T::parse)?;
        // An optional setting may be unset, whatever its bounds.
        if value.spell().is_null() || (T::from_bound(LOW)..=T::from_bound(HIGH)).contains(&value) {
            return Ok(value);
        }
        let ([low, high], value) = (Self::bounds(), format(value));
        Err(D::Error::custom(format_args!("{value} is out of bounds; expected {low} to {high}")))
    }

    pub(super) fn serialize<S: Serializer>(value: &T, sink: S) -> Result<S::Ok, S::Error> {
        value.spell().serialize(sink)
    }

    fn bounds() -> [String; 2] {
        [LOW, HIGH].map(|bound| format(T::from_bound(bound)))
    }
}

impl<T: Bound, const LOW: u64, const HIGH: u64> JsonSchema for Bounded<T, LOW, HIGH> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Bounded".into()
    }

    // JSON Schema bounds numbers only, so the schema also spells the bounds as settings do.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let [low, high] = Self::bounds();
        let mut schema = T::schema(LOW, HIGH);
        schema.insert("x-minimum".to_owned(), low.into());
        schema.insert("x-maximum".to_owned(), high.into());
        schema
    }
}

/// Returns a value as the environment would spell it.
pub(super) fn format(value: impl Bound) -> String {
    text::format_value(&value.spell())
}

/// A type of setting that has bounds.
pub(super) trait Bound: Copy + PartialOrd {
    /// Describes a value of this type, with an example, for error messages.
    const EXPECTED: &'static str;

    /// Converts a bound to a value.
    fn from_bound(bound: u64) -> Self;

    /// Reads a value; none if it is not of this type.
    fn parse(value: &Value) -> Option<Self>;

    /// Returns the value as a settings file spells it.
    fn spell(self) -> Value;

    /// Describes the values from `low` to `high`.
    fn schema(low: u64, high: u64) -> Schema;
}

impl Bound for Duration {
    const EXPECTED: &'static str = "a duration; expected one such as 60s or 15min";

    fn from_bound(milliseconds: u64) -> Self {
        Self::from_millis(milliseconds)
    }

    fn parse(value: &Value) -> Option<Self> {
        humantime::parse_duration(value.as_str()?).ok()
    }

    fn spell(self) -> Value {
        let seconds = if self.subsec_nanos() == 0 { self.as_secs() } else { 0 };
        match seconds {
            1.. if seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600).into(),
            1.. if seconds.is_multiple_of(60) => format!("{}min", seconds / 60).into(),
            _ => humantime::format_duration(self).to_string().into(),
        }
    }

    fn schema(_: u64, _: u64) -> Schema {
        json_schema!({ "type": "string", "pattern": "^([0-9]+ *[A-Za-z\u{b5}]+ *)+$" })
    }
}

/// A size in bytes.
impl Bound for u64 {
    const EXPECTED: &'static str = "a size; expected one such as 256MiB";

    fn from_bound(bytes: u64) -> Self {
        bytes
    }

    fn parse(value: &Value) -> Option<Self> {
        value.as_u64().or_else(|| Some(value.as_str()?.parse::<ByteSize>().ok()?.as_u64()))
    }

    fn spell(self) -> Value {
        let units = [(TIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB"), (1, "")];
        let unit = units.into_iter().find(|(unit, _)| self >= *unit && self.is_multiple_of(*unit));
        unit.map_or_else(|| "0".to_owned(), |(unit, name)| format!("{}{name}", self / unit)).into()
    }

    fn schema(low: u64, high: u64) -> Schema {
        let pattern = "^[0-9.]+ *[A-Za-z]*$";
        json_schema!({ "type": ["string", "integer"], "pattern": pattern, "minimum": low, "maximum": high })
    }
}

impl Bound for usize {
    const EXPECTED: &'static str = "a whole number; expected one such as 20";

    fn from_bound(bound: u64) -> Self {
        Self::try_from(bound).unwrap_or(Self::MAX)
    }

    fn parse(value: &Value) -> Option<Self> {
        value.as_str().map_or_else(|| value.as_u64()?.try_into().ok(), |text| text.parse().ok())
    }

    fn spell(self) -> Value {
        self.into()
    }

    fn schema(low: u64, high: u64) -> Schema {
        json_schema!({ "type": "integer", "minimum": low, "maximum": high })
    }
}

impl Bound for Option<usize> {
    const EXPECTED: &'static str = usize::EXPECTED;

    fn from_bound(bound: u64) -> Self {
        Some(usize::from_bound(bound))
    }

    fn parse(value: &Value) -> Option<Self> {
        if value.is_null() { Some(None) } else { usize::parse(value).map(Some) }
    }

    fn spell(self) -> Value {
        self.into()
    }

    fn schema(low: u64, high: u64) -> Schema {
        json_schema!({ "type": ["integer", "null"], "minimum": low, "maximum": high })
    }
}

pub(super) const MINUTE: u64 = 60_000;
pub(super) const HOUR: u64 = 60 * MINUTE;
pub(super) const DAY: u64 = 24 * HOUR;

#[cfg(test)]
mod tests;
