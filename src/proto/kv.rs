//! mvccpb.KeyValue, decoded as it streams by: keys and values of any size in constant memory.
//!
//! ```text
//! 1 bytes key   2 i64 create_revision   3 i64 mod_revision   4 i64 version   5 bytes value   6 i64 lease
//! ```
//!
//! proto3: zero fields are absent, and every etcd writes the fields in number order, each at most once;
//! anything else is damage. A tombstone has a key and nothing else.
//!
//! Source: etcd-io/etcd, `api/mvccpb/kv.proto`, v3.7.1.

/// What a record says, without the bytes of key and value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyValue {
    /// Length of the user key in bytes.
    pub key_len: u64,
    /// Revision in which the key was created.
    pub create_revision: i64,
    /// Revision of this record.
    pub mod_revision: i64,
    /// 1 for the put that creates the key, one more for each put after it.
    pub version: i64,
    /// Length of the value in bytes.
    pub value_len: u64,
    /// Id of the lease that the key is attached to, 0 if none.
    pub lease: i64,
}

const KEY: u64 = 1;
const VALUE: u64 = 5;
const LEASE: u64 = 6;
const VARINT: u64 = 0;
const LENGTH: u64 = 2;

/// What a piece of a record is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The user key.
    Key,
    /// Its value.
    Value,
}

/// A decoder that is fed a record in pieces.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    found: KeyValue,
    state: State,
    /// The varint being read, and how many of its bits are there.
    varint: u64,
    bits: u32,
    last_field: u64,
    fault: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Between fields, or in a tag.
    #[default]
    Tag,
    /// In the varint value of this field.
    Varint(u64),
    /// In the length of this field.
    Length(u64),
    /// In this many bytes more of this field.
    Bytes(u64, u64),
}

impl Scan {
    /// Takes the next piece; `part` gets the pieces of the user key and of its value.
    pub fn feed(&mut self, mut piece: &[u8], mut part: impl FnMut(Part, &[u8])) {
        while self.fault.is_none() && !piece.is_empty() {
            piece = match self.state {
                State::Bytes(field, left) => {
                    let len = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
                    let (taken, rest) = piece.split_at(len);
                    part(if field == KEY { Part::Key } else { Part::Value }, taken);
                    self.skip_to(field, left - len as u64);
                    rest
                }
                _ => self.varint(piece),
            };
        }
    }

    /// The record, if the bytes made one; else what is wrong with them.
    pub fn finish(self) -> Result<KeyValue, String> {
        match (self.fault, self.state) {
            (Some(fault), _) => Err(fault),
            (None, State::Tag) if self.bits == 0 => Ok(self.found),
            (None, State::Bytes(field, left)) => Err(format!(
                "KeyValue ends {left} bytes before the end of its field {field}"
            )),
            (None, _) => Err("KeyValue ends within a number".into()),
        }
    }

    /// Takes bytes of a varint, and acts on it when it is complete.
    fn varint<'p>(&mut self, piece: &'p [u8]) -> &'p [u8] {
        let Some((&byte, rest)) = piece.split_first() else {
            return piece;
        };
        let low = u64::from(byte & 0x7f);
        if self.bits > 63 || (self.bits == 63 && low > 1) {
            self.fault = Some("KeyValue with a number of more than 64 bits".into());
            return rest;
        }
        self.varint |= low << self.bits;
        self.bits += 7;
        if byte & 0x80 == 0 {
            let value = std::mem::take(&mut self.varint);
            self.bits = 0;
            self.complete(value);
        }
        rest
    }

    fn complete(&mut self, value: u64) {
        match self.state {
            State::Tag => self.tag(value),
            State::Varint(field) => {
                *self.number(field) = value as i64;
                self.state = State::Tag;
            }
            State::Length(field) => {
                match field {
                    KEY => self.found.key_len = value,
                    _ => self.found.value_len = value,
                }
                self.skip_to(field, value);
            }
            State::Bytes(..) => {}
        }
    }

    fn tag(&mut self, tag: u64) {
        let (field, wire) = (tag >> 3, tag & 7);
        let expected = match field {
            KEY | VALUE => LENGTH,
            2..=LEASE => VARINT,
            _ => {
                self.fault = Some(format!("KeyValue with a field {field}, expected 1 to 6"));
                return;
            }
        };
        if wire != expected {
            self.fault = Some(format!(
                "KeyValue field {field} with wire type {wire}, expected {expected}"
            ));
        } else if field <= self.last_field {
            self.fault = Some(format!(
                "KeyValue field {field} behind field {}",
                self.last_field
            ));
        }
        self.last_field = field;
        self.state = match wire {
            LENGTH => State::Length(field),
            _ => State::Varint(field),
        };
    }

    fn number(&mut self, field: u64) -> &mut i64 {
        match field {
            2 => &mut self.found.create_revision,
            3 => &mut self.found.mod_revision,
            4 => &mut self.found.version,
            _ => &mut self.found.lease,
        }
    }

    fn skip_to(&mut self, field: u64, left: u64) {
        self.state = match left {
            0 => State::Tag,
            left => State::Bytes(field, left),
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scan(bytes: &[u8], chunk: usize) -> (Result<KeyValue, String>, Vec<u8>) {
        let (mut scan, mut key) = (Scan::default(), Vec::new());
        for piece in bytes.chunks(chunk) {
            scan.feed(piece, |part, piece| {
                if part == Part::Key {
                    key.extend_from_slice(piece);
                }
            });
        }
        (scan.finish(), key)
    }

    #[test]
    fn decodes_what_etcd_writes() {
        // formats.md 4.2: put a=1 at revision 2, and the tombstone of a.
        let put = [0x0a, 1, 0x61, 0x10, 2, 0x18, 2, 0x20, 1, 0x2a, 1, 0x31];
        let expected = KeyValue {
            key_len: 1,
            create_revision: 2,
            mod_revision: 2,
            version: 1,
            value_len: 1,
            lease: 0,
        };
        for chunk in 1..13 {
            assert_eq!(scan(&put, chunk), (Ok(expected), b"a".to_vec()));
        }
        let tombstone = KeyValue {
            key_len: 1,
            ..KeyValue::default()
        };
        assert_eq!(scan(&[0x0a, 1, 0x61], 3).0, Ok(tombstone));
        assert_eq!(scan(&[], 1).0, Ok(KeyValue::default()));
    }

    #[test]
    fn damage_is_named() {
        let fault = |bytes: &[u8]| scan(bytes, 64).0.unwrap_err();
        assert!(fault(&[0x0a, 5, 0x61]).contains("4 bytes before the end of its field 1"));
        assert!(fault(&[0x10, 2, 0x10, 2]).contains("field 2 behind field 2"));
        assert!(fault(&[0x38, 2]).contains("field 7"));
        assert!(fault(&[0x12, 2]).contains("wire type 2"));
        assert!(fault(&[0x10]).contains("ends within a number"));
        assert!(
            fault(&[
                0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2
            ])
            .contains("64 bits")
        );
    }

    proptest! {
        #[test]
        fn chunking_does_not_matter(bytes in prop::collection::vec(any::<u8>(), 0..80), chunk in 1usize..9) {
            prop_assert_eq!(scan(&bytes, chunk), scan(&bytes, 1000));
        }
    }
}
