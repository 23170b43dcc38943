//! Revisions, as they stand in the `key` bucket and in the compaction marks of `meta`.
//!
//! ```text
//! u64 big endian main || '_' || u64 big endian sub      17 bytes
//! the same || 't'                                       18 bytes, a tombstone
//! ```
//!
//! Source: etcd-io/etcd, `server/storage/mvcc/revision.go`, v3.7.1.

use std::fmt;

use crate::bytes::Cursor;

/// A revision: transaction, and change within it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revision {
    /// The transaction.
    pub main: i64,
    /// The change within it, from 0.
    pub sub: i64,
}

/// A key of the `key` bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordKey {
    /// Its revision.
    pub revision: Revision,
    /// Whether the record deletes its key.
    pub tombstone: bool,
}

const SEPARATOR: u8 = b'_';
const TOMBSTONE: u8 = b't';

impl Revision {
    /// The 17 bytes.
    pub fn encode(&self) -> [u8; 17] {
        let mut out = [SEPARATOR; 17];
        let (main, rest) = out.split_at_mut(8);
        main.copy_from_slice(&self.main.to_be_bytes());
        if let Some((_, sub)) = rest.split_first_mut() {
            sub.copy_from_slice(&self.sub.to_be_bytes());
        }
        out
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.main, self.sub)
    }
}

impl RecordKey {
    /// Decodes a key of the `key` bucket; the error says found and expected.
    pub fn decode(key: &[u8]) -> Result<RecordKey, String> {
        let wrong_length = || format!("revision key of {} bytes, expected 17 or 18", key.len());
        let mut cursor = Cursor::new(key);
        let mut number = |name| match cursor.take_array::<8>().map(i64::from_be_bytes) {
            Ok(number) if number < 0 => {
                Err(format!("revision key with a negative {name} revision"))
            }
            Ok(number) => match cursor.u8() {
                Ok(byte) => Ok((number, Some(byte))),
                Err(_) => Ok((number, None)),
            },
            Err(_) => Err(wrong_length()),
        };
        let (main, separator) = number("main")?;
        if separator.is_some_and(|byte| byte != SEPARATOR) {
            return Err("revision key without '_' between main and sub revision".into());
        }
        let (sub, mark) = number("sub")?;
        if !cursor.is_empty() {
            return Err(wrong_length());
        }
        let tombstone = match mark {
            None => false,
            Some(TOMBSTONE) => true,
            Some(other) => {
                return Err(format!("revision key ending in {other:#04x}, expected 't'"));
            }
        };
        Ok(RecordKey {
            revision: Revision { main, sub },
            tombstone,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_etcd_writes_is_a_revision() {
        let revision = Revision { main: 300, sub: 2 };
        let mut key = revision.encode().to_vec();
        assert_eq!(
            RecordKey::decode(&key),
            Ok(RecordKey {
                revision,
                tombstone: false
            })
        );
        key.push(b't');
        assert_eq!(
            RecordKey::decode(&key),
            Ok(RecordKey {
                revision,
                tombstone: true
            })
        );
        for bad in [
            &key[..16],
            &key[..0],
            &[key.as_slice(), b"t"].concat(),
            &[0xff; 17],
            &[0; 17],
        ] {
            assert!(RecordKey::decode(bad).is_err(), "{bad:?}");
        }
        key[17] = b'x';
        assert!(RecordKey::decode(&key).unwrap_err().contains("0x78"));
    }
}
