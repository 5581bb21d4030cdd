//! A reader of JSON (RFC 8259) that keeps what others drop: the order of members, members given twice,
//! and numbers as they are written.

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    /// As it is written.
    Number(String),
    Text(String),
    /// A text with half of a surrogate pair, or the value of a member with such a name.
    Broken,
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl Json {
    /// Reads a whole text; none if it is not JSON. Texts may be [`Json::Broken`].
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader { text: str::from_utf8(bytes).ok()?.as_bytes(), at: 0 };
        let value = reader.value()?;
        reader.skip_space();
        (reader.at == reader.text.len()).then_some(value)
    }

    /// As [`Json::parse`], for an object that every reader reads alike: no text is broken, and it has
    /// no member twice. Objects within it may.
    pub(crate) fn strict_object(bytes: &[u8]) -> Option<Self> {
        Self::parse(bytes).filter(|value| value.is_strict_object())
    }

    /// Returns whether it is an object that every reader reads alike.
    pub(crate) fn is_strict_object(&self) -> bool {
        let Self::Object(members) = self else { return false };
        let is_distinct =
            (1..members.len()).all(|n| members[..n].iter().all(|(name, _)| *name != members[n].0));
        is_distinct && self.all(&|value| *value != Self::Broken)
    }

    /// Returns whether this value and all values in it pass a test.
    pub(crate) fn all(&self, test: &dyn Fn(&Self) -> bool) -> bool {
        test(self)
            && match self {
                Self::List(items) => items.iter().all(|item| item.all(test)),
                Self::Object(members) => members.iter().all(|(_, value)| value.all(test)),
                _ => true,
            }
    }

    /// Returns the depth of its lists and objects, 0 for another value.
    pub(crate) fn depth(&self) -> usize {
        match self {
            Self::List(items) => 1 + items.iter().map(Self::depth).max().unwrap_or(0),
            Self::Object(members) => 1 + members.iter().map(|(_, value)| value.depth()).max().unwrap_or(0),
            _ => 0,
        }
    }

    /// Returns the last member of this name, as most readers do.
    pub(crate) fn member(&self, name: &str) -> Option<&Self> {
        let Self::Object(members) = self else { return None };
        members.iter().rev().find(|(own, _)| own == name).map(|(_, value)| value)
    }

    /// Returns the text that the member of this name is.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        match self.member(name) {
            Some(Self::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Returns the number that the member of this name is.
    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        match self.member(name) {
            Some(Self::Number(text)) => text.parse().ok(),
            _ => None,
        }
    }

    /// Returns the items of a list, none for another value.
    pub(crate) fn items(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn value(&mut self) -> Option<Json> {
        self.skip_space();
        match self.peek()? {
            b'"' => Some(self.string()?.map_or(Json::Broken, Json::Text)),
            b'[' => self.list(),
            b'{' => self.object(),
            b'n' => self.word("null", Json::Null),
            b't' => self.word("true", Json::Bool(true)),
            b'f' => self.word("false", Json::Bool(false)),
            _ => self.number(),
        }
    }

    fn list(&mut self) -> Option<Json> {
        let mut items = Vec::new();
        self.sequence(b']', |reader| {
            items.push(reader.value()?);
            Some(())
        })?;
        Some(Json::List(items))
    }

    fn object(&mut self) -> Option<Json> {
        let mut members = Vec::new();
        self.sequence(b'}', |reader| {
            reader.skip_space();
            let name = reader.string()?;
            reader.skip_space();
            reader.expect(b':')?;
            let value = reader.value()?;
            members.push(match name {
                Some(name) => (name, value),
                None => (String::new(), Json::Broken),
            });
            Some(())
        })?;
        Some(Json::Object(members))
    }

    /// Reads items between commas, from the opening bracket to the closing one.
    fn sequence(&mut self, end: u8, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.at += 1;
        self.skip_space();
        if self.peek()? == end {
            self.at += 1;
            return Some(());
        }
        loop {
            item(self)?;
            self.skip_space();
            match self.next()? {
                b',' => {}
                other => return (other == end).then_some(()),
            }
        }
    }

    /// Reads a string. The inner value is none if it has half of a surrogate pair.
    fn string(&mut self) -> Option<Option<String>> {
        self.expect(b'"')?;
        // UTF-16, in which a surrogate pair needs no special case.
        let mut units = Vec::new();
        loop {
            let begin = self.at;
            while !matches!(self.peek()?, b'"' | b'\\' | ..=0x1f) {
                self.at += 1;
            }
            units.extend(str::from_utf8(&self.text[begin..self.at]).ok()?.encode_utf16());
            match self.next()? {
                b'"' => return Some(String::from_utf16(&units).ok()),
                b'\\' => units.push(self.escape()?),
                _ => return None,
            }
        }
    }

    fn escape(&mut self) -> Option<u16> {
        Some(match self.next()? {
            same @ (b'"' | b'\\' | b'/') => same.into(),
            b'b' => 8,
            b't' => 9,
            b'n' => 10,
            b'f' => 12,
            b'r' => 13,
            b'u' => {
                let digit = |reader: &mut Self| char::from(reader.next()?).to_digit(16);
                (0..4).try_fold(0, |unit, _| Some(unit << 4 | digit(self)? as u16))?
            }
            _ => return None,
        })
    }

    fn number(&mut self) -> Option<Json> {
        let begin = self.at;
        self.skip(|byte| byte == b'-', 1);
        if self.peek()? == b'0' {
            self.at += 1
        } else {
            self.digits()?
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if self.skip(|byte| matches!(byte, b'e' | b'E'), 1) == 1 {
            self.skip(|byte| matches!(byte, b'+' | b'-'), 1);
            self.digits()?;
        }
        Some(Json::Number(String::from_utf8_lossy(&self.text[begin..self.at]).into_owned()))
    }

    fn digits(&mut self) -> Option<()> {
        (self.skip(|byte| byte.is_ascii_digit(), usize::MAX) > 0).then_some(())
    }

    fn word(&mut self, word: &str, value: Json) -> Option<Json> {
        word.bytes().try_for_each(|byte| self.expect(byte))?;
        Some(value)
    }

    fn skip_space(&mut self) {
        self.skip(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'), usize::MAX);
    }

    fn skip(&mut self, is: impl Fn(u8) -> bool, most: usize) -> usize {
        let count = self.text[self.at..].iter().take(most).take_while(|byte| is(**byte)).count();
        self.at += count;
        count
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    fn next(&mut self) -> Option<u8> {
        self.at += 1;
        self.text.get(self.at - 1).copied()
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_rfc_allows_is_read_and_nothing_else() {
        let text = |text: &str| Json::Text(text.to_owned());
        let number = |text: &str| Json::Number(text.to_owned());
        for (json, expected) in [
            (r#" [null,true , false] "#, Json::List(vec![Json::Null, Json::Bool(true), Json::Bool(false)])),
            ("[]", Json::List(vec![])),
            (
                r#"{"a":{},"a":-0.5e+3}"#,
                Json::Object(vec![("a".into(), Json::Object(vec![])), ("a".into(), number("-0.5e+3"))]),
            ),
            (r#""\ud800\udf48 \u00e9\\\n/é""#, text("\u{10348} é\\\n/é")),
            (r#""\ud800""#, Json::Broken),
            ("1E400", number("1E400")),
        ] {
            assert_eq!(Json::parse(json.as_bytes()), Some(expected), "{json}");
        }
        for json in [
            "",
            "01",
            "1.",
            ".5",
            "+1",
            "-",
            "1e",
            "[1,]",
            "{,}",
            "{\"a\"}",
            "\"\t\"",
            r#""\x""#,
            "nul",
            "NaN",
            "[1] 2",
            "'a'",
            r#""\u12g4""#,
            "[",
            "\"a",
        ] {
            assert_eq!(Json::parse(json.as_bytes()), None, "{json}");
        }
        assert_eq!(Json::parse(b"\"\xff\""), None);
    }
}
