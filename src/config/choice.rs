//! Settings that are one of a few words.

use std::fmt::{self, Display, Formatter};

use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeOwned, Error as _, IntoDeserializer as _},
};
use serde_json::Value;

use super::text;

/// Reads one of the words of `T`; fails on any other value with all of them.
pub(super) fn deserialize<'de, D: Deserializer<'de>, T: DeserializeOwned>(source: D) -> Result<T, D::Error> {
    let word = text::quoted_value(&Value::deserialize(source)?);
    T::deserialize(word.into_deserializer()).map_err(|Refusal(message)| D::Error::custom(message))
}

/// Why a word was refused, in our words rather than serde's.
#[derive(Debug)]
struct Refusal(String);

impl de::Error for Refusal {
    fn custom<T: Display>(message: T) -> Self {
        Self(message.to_string())
    }

    fn unknown_variant(word: &str, known: &'static [&'static str]) -> Self {
        let known = match known {
            [others @ .., last] if !others.is_empty() => format!("{} or {last}", others.join(", ")),
            few => few.concat(),
        };
        Self(format!("must be {known}, not `{word}`"))
    }
}

impl Display for Refusal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::{LogLevel, Reads},
        *,
    };

    #[test]
    fn a_word_is_read_or_all_are_told() {
        let reads = |value: Value| deserialize::<_, Reads>(value).map_err(|error| error.to_string());
        assert_eq!(reads(json!("any")), Ok(Reads::Any));
        for (value, quoted_value) in [(json!("sometimes"), "sometimes"), (json!(3), "3"), (json!(""), "")] {
            assert_eq!(reads(value), Err(format!("must be token or any, not `{quoted_value}`")));
        }
        let level = deserialize::<_, LogLevel>(json!("loud")).unwrap_err().to_string();
        assert_eq!(level, "must be error, warn, info, debug or trace, not `loud`");
    }
}
