//! A cursor over bytes that nobody vouches for: the only code that indexes them.
//!
//! Nothing here can panic. A read past the end is an [`Eof`] with the position, what was asked for and
//! what was left, for the caller to put in its own words.

use std::fmt;

/// A read went past the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Eof {
    /// Where the read started, counted from the start of the cursor's bytes.
    pub at: usize,
    /// How many bytes were wanted.
    pub wanted: usize,
    /// How many there were.
    pub left: usize,
}

impl fmt::Display for Eof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} bytes wanted at offset {}, {} left",
            self.wanted, self.at, self.left
        )
    }
}

impl std::error::Error for Eof {}

/// Reads forward through a slice.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// A cursor at the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { bytes, at: 0 }
    }

    /// Where the next read starts.
    pub fn position(&self) -> usize {
        self.at
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Whether everything was read.
    pub fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// The next `len` bytes.
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], Eof> {
        let taken = slice(self.bytes, self.at, len)?;
        self.at += len;
        Ok(taken)
    }

    /// The next `N` bytes as an array.
    pub fn take_array<const N: usize>(&mut self) -> Result<[u8; N], Eof> {
        let array = array_at(self.bytes, self.at)?;
        self.at += N;
        Ok(array)
    }

    /// The next byte.
    pub fn u8(&mut self) -> Result<u8, Eof> {
        self.take_array::<1>().map(|[byte]| byte)
    }
}

/// `len` bytes of `bytes` from `at`.
pub fn slice(bytes: &[u8], at: usize, len: usize) -> Result<&[u8], Eof> {
    let end = at.checked_add(len);
    end.and_then(|end| bytes.get(at..end)).ok_or(Eof {
        at,
        wanted: len,
        left: bytes.len().saturating_sub(at),
    })
}

/// `N` bytes of `bytes` from `at`, as an array.
pub fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Eof> {
    let mut array = [0; N];
    array.copy_from_slice(slice(bytes, at, N)?);
    Ok(array)
}

/// Little-endian u16 at `at`.
pub fn u16_le(bytes: &[u8], at: usize) -> Result<u16, Eof> {
    array_at(bytes, at).map(u16::from_le_bytes)
}

/// Little-endian u32 at `at`.
pub fn u32_le(bytes: &[u8], at: usize) -> Result<u32, Eof> {
    array_at(bytes, at).map(u32::from_le_bytes)
}

/// Little-endian u64 at `at`.
pub fn u64_le(bytes: &[u8], at: usize) -> Result<u64, Eof> {
    array_at(bytes, at).map(u64::from_le_bytes)
}

/// Big-endian u64 at `at`; etcd's own numbers are big endian.
pub fn u64_be(bytes: &[u8], at: usize) -> Result<u64, Eof> {
    array_at(bytes, at).map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_stop_at_the_end() {
        let mut cursor = Cursor::new(&[1, 2, 3]);
        assert_eq!(cursor.take(2), Ok(&[1u8, 2][..]));
        let eof = Eof {
            at: 2,
            wanted: 4,
            left: 1,
        };
        assert_eq!(cursor.take_array::<4>(), Err(eof));
        assert_eq!(cursor.u8(), Ok(3));
        assert!(cursor.is_empty());
        assert!(slice(&[1], usize::MAX, 2).is_err());
        assert!(slice(&[1], 2, 0).is_err());
        assert_eq!(u64_be(&[0, 0, 0, 0, 0, 0, 1, 2], 0), Ok(258));
    }
}
