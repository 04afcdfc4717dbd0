//! The form of a record within sled. Persisted: a change needs a new version byte and a line in this list.
//!
//! | version | form |
//! | --- | --- |
//! | 1 | version (1 byte), kind (1), CRC-32 of all the rest (4), sequence number (8), body; numbers are big-endian |

use std::borrow::Cow;

/// The version this code writes, and the newest it reads.
pub(crate) const VERSION: u8 = 1;

const KIND_INLINE: u8 = b'i';
const KIND_BLOB: u8 = b'b';
const CRC: std::ops::Range<usize> = 2..6;
const HEAD: usize = 14;
/// The length of the digest of a blob.
const DIGEST: usize = 64;

/// What stands in a frame: the record itself, or the digest of the blob that holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body<'a> {
    /// The record.
    Inline(Cow<'a, [u8]>),
    /// The digest in hexadecimal.
    Blob(String),
}

/// Why bytes are no frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Bad {
    /// A newer version wrote it.
    Newer(u8),
    /// It is not what was written.
    Damaged(&'static str),
}

/// Returns the bytes of a frame.
pub(crate) fn encode(seq: u64, body: &Body<'_>) -> Vec<u8> {
    let (kind, content) = match body {
        Body::Inline(payload) => (KIND_INLINE, payload.as_ref()),
        Body::Blob(digest) => (KIND_BLOB, digest.as_bytes()),
    };
    let mut bytes = Vec::with_capacity(HEAD + content.len());
    bytes.extend_from_slice(&[VERSION, kind, 0, 0, 0, 0]);
    bytes.extend_from_slice(&seq.to_be_bytes());
    bytes.extend_from_slice(content);
    let crc = checksum(&bytes);
    bytes[CRC].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// Reads the frame that was found under a sequence number.
pub(crate) fn decode(seq: u64, bytes: &[u8]) -> Result<Body<'_>, Bad> {
    // The version first: what stands behind it is the affair of that version.
    match bytes.first() {
        Some(&version) if version > VERSION => return Err(Bad::Newer(version)),
        Some(&VERSION) if bytes.len() >= HEAD => {}
        _ => return Err(Bad::Damaged("it is too short or has no valid version")),
    }
    if bytes[CRC] != checksum(bytes).to_be_bytes() {
        return Err(Bad::Damaged("its checksum does not match"));
    }
    if bytes[CRC.end..HEAD] != seq.to_be_bytes() {
        return Err(Bad::Damaged("it carries the number of another record"));
    }
    let content = &bytes[HEAD..];
    match bytes[1] {
        KIND_INLINE => Ok(Body::Inline(Cow::Borrowed(content))),
        KIND_BLOB => match std::str::from_utf8(content) {
            Ok(digest) => Ok(Body::Blob(digest.to_owned())),
            Err(_) => Err(Bad::Damaged("it names no valid blob")),
        },
        _ => Err(Bad::Damaged("it is of an unknown kind")),
    }
}

/// Finds the frames that lie in bytes of which nothing else is known, such as a damaged database, by their checksums. What
/// was once written may be there several times, also in forms that were never finished; those that `longest` bytes cannot
/// hold are not found.
pub(crate) fn carve(bytes: &[u8], longest: usize, mut found: impl FnMut(u64, Body<'_>)) {
    for begin in 0..bytes.len().saturating_sub(HEAD) {
        let frame = &bytes[begin..];
        let (body, end) = match (frame[0], frame[1]) {
            (VERSION, KIND_INLINE) => {
                let body = &frame[HEAD..frame.len().min(HEAD + longest)];
                // A record holds no control characters, so there it ends at the latest.
                (body, body.iter().position(u8::is_ascii_control).unwrap_or(body.len()))
            }
            (VERSION, KIND_BLOB) => (&frame[HEAD..], (frame.len() - HEAD).min(DIGEST)),
            _ => continue,
        };
        if let Some((seq, len)) = matching(frame, &body[..end])
            && let Ok(body) = decode(seq, &frame[..HEAD + len])
        {
            found(seq, body);
        }
    }
}

/// Returns the number in the head of a frame and how much of what follows belongs to it, if the checksum says so.
fn matching(frame: &[u8], body: &[u8]) -> Option<(u64, usize)> {
    let seq = u64::from_be_bytes(frame[CRC.end..HEAD].try_into().ok()?);
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&frame[..CRC.start]);
    hasher.update(&frame[CRC.end..HEAD]);
    let mut hashed = 0;
    // The length is not in the frame: a record ends with a brace, a digest has its length.
    let ends = (1..=body.len()).filter(|&end| body[end - 1] == b'}' || end == DIGEST);
    for end in ends {
        hasher.update(&body[hashed..end]);
        hashed = end;
        if hasher.clone().finalize().to_be_bytes() == frame[CRC] {
            return Some((seq, end));
        }
    }
    None
}

/// Returns the CRC-32 of everything but the checksum itself.
fn checksum(bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..CRC.start]);
    hasher.update(&bytes[CRC.end..]);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_form_of_version_1_does_not_change() {
        let inline = encode(1, &Body::Inline(b"{}".as_slice().into()));
        assert_eq!(hex::encode(inline), "01692854e53600000000000000017b7d");
        let blob = encode(258, &Body::Blob("ab".into()));
        assert_eq!(hex::encode(blob), "01628caa4c6000000000000001026162");
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let bytes = encode(7, &Body::Inline(b"{\"a\":1}".as_slice().into()));
        assert!(decode(7, &bytes).is_ok());
        assert_eq!(decode(8, &bytes), Err(Bad::Damaged("it carries the number of another record")));
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 0x10;
            assert!(decode(7, &changed).is_err(), "byte {place}");
        }
        for len in 0..bytes.len() {
            assert!(decode(7, &bytes[..len]).is_err(), "length {len}");
        }
    }

    #[test]
    fn frames_are_found_among_anything_else() {
        let digest = "0123456789abcdef".repeat(4);
        let (inline, blob) =
            (encode(3, &Body::Inline(br#"{"a":{}}"#.as_slice().into())), encode(4, &Body::Blob(digest.clone())));
        let cut = &inline[..inline.len() - 1];
        let bytes = [b"\x01i\x01b", &inline[..], b"}}", cut, &[0; 40], &blob, &inline, b"\x01"].concat();
        let mut found = Vec::new();
        carve(&bytes, 4096, |seq, body| found.push((seq, format!("{body:?}"))));
        let inline = (3, format!("{:?}", Body::Inline(br#"{"a":{}}"#.as_slice().into())));
        assert_eq!(found, [inline.clone(), (4, format!("{:?}", Body::Blob(digest))), inline]);
    }
}
