//! Appends fields to a message.

/// Appends a varint.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// How many bytes [`put_varint`] appends: one for every 7 bits.
pub fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros()).div_ceil(7) as usize
}

/// Appends a varint field, zero or not.
pub fn put_u64(out: &mut Vec<u8>, number: u32, value: u64) {
    put_varint(out, u64::from(number) << 3);
    put_varint(out, value);
}

/// Appends a varint field unless it is zero, as proto3 does.
pub fn put_nonzero(out: &mut Vec<u8>, number: u32, value: u64) {
    if value != 0 {
        put_u64(out, number, value);
    }
}

/// Appends an enum or `int32` field, zero or not: negative ones take ten bytes.
pub fn put_i32(out: &mut Vec<u8>, number: u32, value: i32) {
    put_u64(out, number, i64::from(value).cast_unsigned());
}

/// Appends a bytes, string or message field, empty or not.
pub fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_varint(out, u64::from(number) << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends a bytes or string field unless it is empty, as proto3 does.
pub fn put_nonempty(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    if !bytes.is_empty() {
        put_bytes(out, number, bytes);
    }
}

/// Appends a bytes, string or message field if it is present, empty or not, as proto2 does.
pub fn put_present(out: &mut Vec<u8>, number: u32, bytes: Option<&[u8]>) {
    if let Some(bytes) = bytes {
        put_bytes(out, number, bytes);
    }
}
