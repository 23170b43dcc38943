//! Yields the fields of a message.

use super::error::{Malformed, Problem};
use crate::bytes::{Cursor, Eof};

/// Deepest nesting of groups that is skipped. No etcd message has a group.
pub(super) const GROUP_DEPTH: usize = 64;

/// Largest field number that protobuf allows.
pub(super) const MAX_FIELD: u64 = (1 << 29) - 1;

/// One field of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Field number.
    pub number: u32,
    /// Its value, as the wire type tells it.
    pub value: Value<'a>,
    message: &'static str,
    at: usize,
    body: usize,
}

/// A value on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 1.
    Fixed64(u64),
    /// Wire type 2.
    Bytes(&'a [u8]),
    /// Wire type 5.
    Fixed32(u32),
}

impl Value<'_> {
    fn wire_type(&self) -> u8 {
        match self {
            Value::Varint(_) => 0,
            Value::Fixed64(_) => 1,
            Value::Bytes(_) => 2,
            Value::Fixed32(_) => 5,
        }
    }
}

impl<'a> Field<'a> {
    /// A `uint64`.
    pub fn u64(&self) -> Result<u64, Malformed> {
        match self.value {
            Value::Varint(value) => Ok(value),
            _ => Err(self.wrong_type(0)),
        }
    }

    /// An `int64`: two's complement.
    pub fn i64(&self) -> Result<i64, Malformed> {
        self.u64().map(u64::cast_signed)
    }

    /// A `uint32`: the low 32 bits, as protobuf has it.
    pub fn u32(&self) -> Result<u32, Malformed> {
        self.u64().map(|value| value as u32)
    }

    /// An enum or `int32`: the low 32 bits, as protobuf has it.
    pub fn i32(&self) -> Result<i32, Malformed> {
        self.u64().map(|value| value as i32)
    }

    /// A `bool`: anything but zero is true.
    pub fn bool(&self) -> Result<bool, Malformed> {
        self.u64().map(|value| value != 0)
    }

    /// `bytes`, or a `string` that nobody has checked to be UTF-8.
    pub fn bytes(&self) -> Result<&'a [u8], Malformed> {
        match self.value {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(self.wrong_type(2)),
        }
    }

    /// The fields of a nested message.
    pub fn message(&self, name: &'static str) -> Result<Fields<'a>, Malformed> {
        self.bytes().map(|bytes| Fields {
            message: name,
            cursor: Cursor::new(bytes),
            base: self.body,
            failed: false,
        })
    }

    /// A `repeated uint64`: the one number of an unpacked field, or all of a packed one, appended; `into`
    /// may get at most `limit` of them.
    pub fn repeated_u64(&self, into: &mut Vec<u64>, limit: usize) -> Result<(), Malformed> {
        let mut push = |at, value| {
            if into.len() >= limit {
                return Err(Malformed {
                    message: self.message,
                    at,
                    problem: Problem::TooMany {
                        field: self.number,
                        limit,
                    },
                });
            }
            into.push(value);
            Ok(())
        };
        if let Value::Varint(value) = self.value {
            return push(self.at, value);
        }
        let mut packed = self.message(self.message)?;
        while !packed.cursor.is_empty() {
            let at = packed.cursor.position();
            let value =
                varint(&mut packed.cursor).map_err(|problem| packed.malformed(at, problem))?;
            push(packed.base + at, value)?;
        }
        Ok(())
    }

    fn wrong_type(&self, expected: u8) -> Malformed {
        Malformed {
            message: self.message,
            at: self.at,
            problem: Problem::FieldType {
                field: self.number,
                found: self.value.wire_type(),
                expected,
            },
        }
    }
}

/// The fields of a message in the order in which they stand; groups are skipped. Ends after the first error.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    message: &'static str,
    cursor: Cursor<'a>,
    base: usize,
    failed: bool,
}

/// The fields of `bytes`; `message` is the name that errors give.
pub fn fields<'a>(message: &'static str, bytes: &'a [u8]) -> Fields<'a> {
    Fields {
        message,
        cursor: Cursor::new(bytes),
        base: 0,
        failed: false,
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.next_field();
        self.failed = next.is_err();
        next.transpose()
    }
}

impl<'a> Fields<'a> {
    fn next_field(&mut self) -> Result<Option<Field<'a>>, Malformed> {
        while !self.cursor.is_empty() {
            let at = self.cursor.position();
            let (number, wire_type) = self.key(at)?;
            match wire_type {
                3 => self.skip_group(at, number)?,
                4 => return Err(self.malformed(at, Problem::Group)),
                _ => {
                    let value = self.value(at, wire_type)?;
                    let body_len = if let Value::Bytes(bytes) = value {
                        bytes.len()
                    } else {
                        0
                    };
                    return Ok(Some(Field {
                        number,
                        value,
                        message: self.message,
                        at: self.base + at,
                        body: self.base + self.cursor.position() - body_len,
                    }));
                }
            }
        }
        Ok(None)
    }

    fn key(&mut self, at: usize) -> Result<(u32, u8), Malformed> {
        let key = varint(&mut self.cursor).map_err(|problem| self.malformed(at, problem))?;
        let number = key >> 3;
        match u32::try_from(number) {
            Ok(small) if small != 0 && number <= MAX_FIELD => Ok((small, (key & 7) as u8)),
            _ => Err(self.malformed(at, Problem::FieldNumber(number))),
        }
    }

    fn value(&mut self, at: usize, wire_type: u8) -> Result<Value<'a>, Malformed> {
        read_value(&mut self.cursor, wire_type).map_err(|problem| self.malformed(at, problem))
    }

    /// Skips to the end of the group `number` that has just begun, groups inside it included.
    fn skip_group(&mut self, begun: usize, number: u32) -> Result<(), Malformed> {
        let mut open = vec![number];
        while let Some(innermost) = open.last().copied() {
            let at = self.cursor.position();
            if self.cursor.is_empty() {
                return Err(self.malformed(begun, Problem::Group));
            }
            match self.key(at)? {
                (_, 3) if open.len() == GROUP_DEPTH => {
                    return Err(self.malformed(at, Problem::GroupDepth));
                }
                (inner, 3) => open.push(inner),
                (ended, 4) if ended == innermost => {
                    open.pop();
                }
                (_, 4) => return Err(self.malformed(at, Problem::Group)),
                (_, wire_type) => {
                    self.value(at, wire_type)?;
                }
            }
        }
        Ok(())
    }

    fn malformed(&self, at: usize, problem: Problem) -> Malformed {
        Malformed {
            message: self.message,
            at: self.base + at,
            problem,
        }
    }
}

fn read_value<'a>(cursor: &mut Cursor<'a>, wire_type: u8) -> Result<Value<'a>, Problem> {
    match wire_type {
        0 => varint(cursor).map(Value::Varint),
        1 => Ok(Value::Fixed64(u64::from_le_bytes(
            cursor.take_array().map_err(truncated)?,
        ))),
        2 => {
            let wanted = varint(cursor)?;
            let left = cursor.rest().len();
            let len = usize::try_from(wanted).map_err(|_| Problem::Truncated { wanted, left })?;
            cursor.take(len).map(Value::Bytes).map_err(truncated)
        }
        5 => Ok(Value::Fixed32(u32::from_le_bytes(
            cursor.take_array().map_err(truncated)?,
        ))),
        other => Err(Problem::WireType(other)),
    }
}

fn truncated(eof: Eof) -> Problem {
    Problem::Truncated {
        wanted: eof.wanted as u64,
        left: eof.left,
    }
}

/// Reads one varint of at most 64 bits.
fn varint(cursor: &mut Cursor<'_>) -> Result<u64, Problem> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = cursor.u8().map_err(truncated)?;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return Err(Problem::Varint);
        }
        value |= bits << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(Problem::Varint)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::wire::{put_bytes, put_u64, varint_len};

    fn all(bytes: &[u8]) -> Result<Vec<(u32, Value<'_>)>, Problem> {
        fields("test", bytes)
            .map(|field| field.map(|f| (f.number, f.value)).map_err(|m| m.problem))
            .collect()
    }

    #[test]
    fn every_wire_type_is_read_and_groups_are_skipped() {
        let bytes = b"\x08\x96\x01\x11\x01\0\0\0\0\0\0\0\x13\x1b\x08\x01\x1c\x22\x01x\x14\x1a\x02hi\x25\x02\0\0\0";
        assert_eq!(
            all(bytes),
            Ok(vec![
                (1, Value::Varint(150)),
                (2, Value::Fixed64(1)),
                (3, Value::Bytes(b"hi")),
                (4, Value::Fixed32(2)),
            ])
        );
    }

    #[test]
    fn what_is_wrong_is_told() {
        let cases: [(&[u8], Problem); 10] = [
            (b"\x08", Problem::Truncated { wanted: 1, left: 0 }),
            (b"\x1a\x03hi", Problem::Truncated { wanted: 3, left: 2 }),
            (
                b"\x1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
                Problem::Truncated {
                    wanted: u64::MAX,
                    left: 0,
                },
            ),
            (
                b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",
                Problem::Varint,
            ),
            (b"\x00\x00", Problem::FieldNumber(0)),
            (b"\x80\x80\x80\x80\x10\x00", Problem::FieldNumber(1 << 29)),
            (b"\x0e", Problem::WireType(6)),
            (b"\x0c", Problem::Group),
            (b"\x0b\x08\x01", Problem::Group),
            (b"\x0b\x14", Problem::Group),
        ];
        for (bytes, problem) in cases {
            assert_eq!(all(bytes), Err(problem), "{bytes:x?}");
        }
        assert_eq!(all(&[0x0b; 65]), Err(Problem::GroupDepth));
        let max = b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
        assert_eq!(all(max), Ok(vec![(1, Value::Varint(u64::MAX))]));
    }

    #[test]
    fn an_error_inside_a_nested_message_has_its_outer_offset() {
        // Field 1 is a message at byte 2 whose second field, at byte 4, is cut.
        let bytes = b"\x0a\x03\x08\x01\x10";
        let outer = fields("outer", bytes).next().unwrap().unwrap();
        let error = outer
            .message("inner")
            .unwrap()
            .find_map(Result::err)
            .unwrap();
        assert_eq!(
            error.to_string(),
            "inner at its byte 4: 1 bytes expected, 0 left"
        );
        let wrong = outer.u64().unwrap_err().to_string();
        assert_eq!(
            wrong,
            "outer at its byte 0: field 1 has wire type 2, expected 0"
        );
    }

    #[test]
    fn repeated_numbers_come_packed_or_not() {
        let mut numbers = Vec::new();
        for field in fields("test", b"\x08\x01\x0a\x03\x02\x80\x01\x08\x03") {
            field.unwrap().repeated_u64(&mut numbers, 4).unwrap();
        }
        assert_eq!(numbers, [1, 2, 128, 3]);
        let cut = fields("test", b"\x0a\x01\x80").next().unwrap().unwrap();
        assert!(cut.repeated_u64(&mut Vec::new(), 4).is_err());
        let fifth = fields("test", b"\x0a\x01\x07").next().unwrap().unwrap();
        let error = fifth.repeated_u64(&mut numbers, 4).unwrap_err();
        assert_eq!(
            error.to_string(),
            "test at its byte 2: field 1 has more than 4 values"
        );
    }

    proptest! {
        #[test]
        fn what_is_put_is_read(number in 1u32..1 << 29, value: u64, bytes: Vec<u8>) {
            let mut out = Vec::new();
            put_u64(&mut out, number, value);
            prop_assert_eq!(out.len(), varint_len(u64::from(number) << 3) + varint_len(value));
            put_bytes(&mut out, number, &bytes);
            prop_assert_eq!(
                all(&out),
                Ok(vec![(number, Value::Varint(value)), (number, Value::Bytes(&bytes))])
            );
        }

        #[test]
        fn any_bytes_end_without_panic(bytes: Vec<u8>) {
            prop_assert!(fields("test", &bytes).count() <= bytes.len());
        }
    }
}
