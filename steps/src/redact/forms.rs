//! The forms in which a value may appear in an output.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};

use super::compact::compact;

/// How many bytes of a text tell a secret on their own. Shorter values are looked for only where the secret was given.
const STRONG: usize = 8;
/// How long a word of letters, or a number, has to be to be no common one.
const COMMON_WORD: usize = 12;
const COMMON_NUMBER: usize = 10;

/// How many characters in a row of an encoded form tell a part of it.
pub(super) const WINDOW: usize = 16;
/// How many different characters they must have: base64 of a run of spaces or zeros is anybody's.
const VARIED: usize = 5;

/// The forms of one value, without line breaks and the indentation after them.
#[derive(Debug, Default)]
pub(super) struct Forms {
    /// Forms that count as a whole.
    pub whole: Vec<Vec<u8>>,
    /// Dense forms: any of their windows counts.
    pub dense: Vec<Vec<u8>>,
}

impl Forms {
    /// Returns the windows of the dense forms.
    pub fn windows(&self) -> impl Iterator<Item = [u8; WINDOW]> + '_ {
        let windows = self.dense.iter().flat_map(|form| form.windows(WINDOW));
        windows.filter(|window| is_varied(window)).filter_map(|window| window.try_into().ok())
    }
}

/// Says whether a text tells a secret wherever it appears: it is long enough and no common word or number.
pub(super) fn is_strong(text: &str) -> bool {
    let length = text.chars().filter(|c| !c.is_whitespace()).map(char::len_utf8).sum::<usize>();
    let word = text.chars().all(|c| c.is_ascii_lowercase())
        || text.chars().all(|c| c.is_ascii_uppercase())
        || text.chars().next().is_some_and(char::is_uppercase) && text.chars().skip(1).all(|c| c.is_ascii_lowercase());
    let number = text.bytes().all(|byte| byte.is_ascii_digit());
    length >= STRONG && !(word && length <= COMMON_WORD) && !(number && length <= COMMON_NUMBER)
}

/// Returns the forms of a value.
pub(super) fn of(value: &str) -> Forms {
    let mut texts: Vec<&str> = vec![value, value.trim()];
    texts.extend(value.lines().map(str::trim).filter(|line| !is_armour(line)));
    let bodies = bodies(value);
    let mut whole: Vec<String> = texts.iter().filter(|text| is_strong(text)).flat_map(|text| spelled(text)).collect();
    let mut dense = Vec::new();
    for body in bodies.iter().filter(|body| is_strong(body)) {
        whole.extend(spelled(body));
        dense.extend(in_base64(body.as_bytes()));
        dense.extend([hex::encode(body.as_bytes()), hex::encode_upper(body.as_bytes())]);
    }
    if is_strong(value) {
        whole.extend(in_shell(value));
        whole.extend(in_url(value));
    }
    let (long, short): (Vec<String>, Vec<String>) = dense.into_iter().partition(|form| form.len() >= WINDOW);
    let whole = whole.iter().chain(&short).map(|form| compact(form.as_bytes()).bytes);
    Forms {
        whole: once_each(whole.filter(|form| form.len() >= STRONG)),
        dense: once_each(long.into_iter().map(String::into_bytes)),
    }
}

fn once_each(forms: impl Iterator<Item = Vec<u8>>) -> Vec<Vec<u8>> {
    let mut forms: Vec<_> = forms.collect();
    forms.sort_unstable();
    forms.dedup();
    forms
}

fn is_varied(window: &[u8]) -> bool {
    let mut seen = window.to_vec();
    seen.sort_unstable();
    seen.dedup();
    seen.len() >= VARIED
}

/// Says whether a line only says what follows, as the first and last lines of PEM do (RFC 7468): no secret.
fn is_armour(line: &str) -> bool {
    line.starts_with("-----") && line.ends_with("-----")
}

/// Returns what stands between lines of armour, or the whole.
fn bodies(value: &str) -> Vec<String> {
    let mut bodies = vec![String::new()];
    for line in value.split_inclusive('\n') {
        match bodies.last_mut() {
            Some(body) if !is_armour(line.trim()) => body.push_str(line),
            _ => bodies.push(String::new()),
        }
    }
    bodies
}

/// A text as it is, and in JSON: as little escaped as is allowed, as Go does it, in ASCII only, with `\/`, and once more.
fn spelled(text: &str) -> Vec<String> {
    let least = json(text);
    let go = least.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e");
    let mut ascii = String::new();
    for c in least.chars() {
        if c.is_ascii() {
            ascii.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a text cannot fail.
                let _ = write!(ascii, "\\u{unit:04x}");
            }
        }
    }
    let slashed = least.replace('/', "\\/");
    let twice = json(&least);
    vec![text.to_owned(), least, go, ascii, slashed, twice]
}

fn json(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// In base64, of both alphabets, with what may stand before it: nothing, one byte or two.
///
/// Only the characters that do not depend on what stands before and after; where nothing follows, the last one too.
fn in_base64(value: &[u8]) -> Vec<String> {
    let mut forms = Vec::new();
    for before in 0..3 {
        let mut bytes = vec![0; before];
        bytes.extend_from_slice(value);
        let first = [0, 2, 3][before];
        let last = bytes.len() * 8 / 6;
        for engine in [&STANDARD, &URL_SAFE] {
            let whole = engine.encode(&bytes);
            forms.push(whole[first.min(last)..last].to_owned());
            forms.push(whole[first..].to_owned());
            forms.push(whole[first..].trim_end_matches('=').to_owned());
        }
    }
    forms
}

/// Inside the quotes of a shell, as POSIX shells, Python's `shlex` and `printf %q` write it.
fn in_shell(value: &str) -> [String; 3] {
    let plain = |c: char| c.is_alphanumeric() || "-_./:=@%+,".contains(c);
    let escaped = value.chars().flat_map(|c| (!plain(c)).then_some('\\').into_iter().chain([c])).collect();
    [value.replace('\'', r"'\''"), value.replace('\'', r#"'"'"'"#), escaped]
}

/// Percent-encoded (RFC 3986, 2.1), in both cases of hexadecimal, with `+` for a space too, and in XML.
fn in_url(value: &str) -> [String; 4] {
    let encode = |upper: bool| -> String {
        value.bytes().fold(String::new(), |mut out, byte| {
            if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
                out.push(char::from(byte));
            } else {
                let _ = if upper { write!(out, "%{byte:02X}") } else { write!(out, "%{byte:02x}") };
            }
            out
        })
    };
    let upper = encode(true);
    let form = upper.replace("%20", "+");
    let xml = value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    [encode(false), upper, form, xml]
}

/// Decodes a run of base64 of either alphabet, with or without padding. `None`: it is none, or no text.
pub(super) fn decode(run: &[u8]) -> Option<String> {
    let standard: Vec<u8> = run
        .iter()
        .filter(|byte| **byte != b'=')
        .map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            other => *other,
        })
        .collect();
    String::from_utf8(STANDARD_NO_PAD.decode(standard).ok()?).ok()
}
