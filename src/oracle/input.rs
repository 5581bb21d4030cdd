//! Divides the bytes that a fuzzer makes into values.

/// What is left of the input. Past its end there are zeros and empty texts, so that every input is
/// valid.
pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or_default()
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// Returns the next bytes, at most `count`.
    pub(crate) fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    /// Returns the text up to the next line feed, with replacements for what is not UTF-8; none at the
    /// end.
    pub(crate) fn line(&mut self) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        let end = self.0.iter().position(|byte| *byte == b'\n').unwrap_or(self.0.len());
        let line = self.bytes(end);
        self.byte();
        Some(String::from_utf8_lossy(line).into_owned())
    }

    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_input_is_divided() {
        let mut input = Input::new(b"\x01\x02\x03a\n\nb");
        assert_eq!((input.byte(), input.u16()), (1, 0x0203));
        let lines: Vec<_> = std::iter::from_fn(|| input.line()).collect();
        assert_eq!(lines, ["a", "", "b"]);
        assert_eq!((input.byte(), input.bytes(9), input.rest()), (0, &[][..], &[][..]));
    }
}
