//! Text without its line breaks: what is folded at some width, or has other line ends, is found all the same.

/// A text without line breaks and the indentation after them.
#[derive(Debug, Default)]
pub(super) struct Compact {
    /// What is left.
    pub bytes: Vec<u8>,
    /// Where each byte of it stands in the text.
    pub places: Vec<usize>,
}

/// Leaves out line breaks and the spaces and tabs that follow them.
pub(super) fn compact(text: &[u8]) -> Compact {
    let mut left = Compact { bytes: Vec::with_capacity(text.len()), places: Vec::with_capacity(text.len()) };
    let mut indented = false;
    for (place, byte) in text.iter().enumerate() {
        indented = match byte {
            b'\n' | b'\r' => true,
            b' ' | b'\t' => indented,
            _ => false,
        };
        if !indented {
            left.bytes.push(*byte);
            left.places.push(place);
        }
    }
    left
}
