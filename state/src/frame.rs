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
}
