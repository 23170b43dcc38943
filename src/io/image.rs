//! Read-only bytes at any offset: a file by positioned reads, memory, or something that makes them.
//!
//! Whole-file passes go through here: constant memory, an I/O error is an error with its offset, and a
//! file that shrinks while it is read ends in an error, not in SIGBUS.

use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::OFlags;

use crate::bytes;
use crate::error::{Error, Result};

/// Bytes at any offset that no file holds as they are, such as those inside an archive.
pub trait ReadAt: std::fmt::Debug + Send + Sync {
    /// Fills `buffer` from `offset`; both lie inside the length that the image was made with. The
    /// error says what and where.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()>;
}

/// Bytes to read, with a name for messages.
#[derive(Debug)]
pub struct Image {
    name: String,
    len: u64,
    backing: Backing,
}

#[derive(Debug)]
enum Backing {
    File(File),
    Memory(Vec<u8>),
    Reader(Arc<dyn ReadAt>),
}

impl Image {
    /// Opens a file read-only. `Error::failed` when it cannot be opened or is not a regular file or block device.
    pub fn open(path: &Path) -> Result<Image> {
        // Opening a pipe would wait for a writer, deaf to signals; reading at an offset fails on it.
        let file = File::options()
            .read(true)
            .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
            .open(path);
        let file = file.map_err(|e| Error::io("open", path, e))?;
        Image::from_file(file, path.display().to_string())
    }

    /// An open file that can seek; its length is taken now, by seeking, so block devices work too.
    /// `Error::failed` when it cannot, or is a directory.
    pub fn from_file(file: File, name: impl Into<String>) -> Result<Image> {
        use std::io::{Seek, SeekFrom};
        let name = name.into();
        // To seek in one works, and gives a length that is none.
        if file.metadata().is_ok_and(|found| found.is_dir()) {
            let what = format!("cannot read {name}: it is a directory");
            return Err(Error::failed(what));
        }
        let mut seeker = &file;
        let len = seeker
            .seek(SeekFrom::End(0))
            .map_err(|e| Error::failed(format!("cannot find the length of {name}")).because(e))?;
        Ok(Image {
            name,
            len,
            backing: Backing::File(file),
        })
    }

    /// Bytes in memory, for tests and fuzzing: the same door as production.
    pub fn from_memory(bytes: Vec<u8>) -> Image {
        Image {
            name: "memory".into(),
            len: bytes.len() as u64,
            backing: Backing::Memory(bytes),
        }
    }

    /// The `len` bytes that `reader` gives.
    pub fn from_reader(reader: Arc<dyn ReadAt>, name: impl Into<String>, len: u64) -> Image {
        Image {
            name: name.into(),
            len,
            backing: Backing::Reader(reader),
        }
    }

    /// Name for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Length in bytes when it was opened.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The file underneath, for locks, ownership and system calls that help the page cache.
    pub fn file(&self) -> Option<&File> {
        match &self.backing {
            Backing::File(file) => Some(file),
            Backing::Memory(_) | Backing::Reader(_) => None,
        }
    }

    /// Fills `buffer` from `offset`. `Error::failed` names the file, the offset and the length wanted.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        match &self.backing {
            Backing::File(file) => file
                .read_exact_at(buffer, offset)
                .map_err(|e| self.read_error(offset, buffer.len(), e)),
            Backing::Memory(memory) => {
                let at = usize::try_from(offset).unwrap_or(usize::MAX);
                match bytes::slice(memory, at, buffer.len()) {
                    Ok(found) => {
                        buffer.copy_from_slice(found);
                        Ok(())
                    }
                    Err(eof) => Err(self.read_error(
                        offset,
                        buffer.len(),
                        std::io::Error::new(std::io::ErrorKind::UnexpectedEof, eof),
                    )),
                }
            }
            Backing::Reader(reader) => {
                let end = offset.checked_add(buffer.len() as u64);
                if end.is_none_or(|end| end > self.len) {
                    let eof = std::io::ErrorKind::UnexpectedEof.into();
                    return Err(self.read_error(offset, buffer.len(), eof));
                }
                reader.read_at(offset, buffer)
            }
        }
    }

    /// Reads it from front to back; an [`Error`] is inside the [`std::io::Error`].
    pub fn reader(&self) -> impl std::io::Read + '_ {
        Reader { image: self, at: 0 }
    }

    fn read_error(&self, offset: u64, wanted: usize, source: std::io::Error) -> Error {
        Error::failed(format!(
            "cannot read {wanted} bytes at offset {offset} of {}",
            self.name
        ))
        .because(source)
    }
}

struct Reader<'i> {
    image: &'i Image,
    at: u64,
}

impl std::io::Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let left = self.image.len.saturating_sub(self.at);
        let wanted = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        let (filled, _) = buffer.split_at_mut(wanted);
        self.image
            .read_at(self.at, filled)
            .map_err(std::io::Error::other)?;
        self.at += wanted as u64;
        Ok(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_and_a_directory_are_refused_and_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        let mode = rustix::fs::Mode::RUSR;
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, mode).unwrap();
        assert!(Image::open(&path).is_err());
        let error = Image::open(dir.path()).unwrap_err().to_string();
        assert!(error.ends_with("it is a directory"), "{error}");
    }

    #[test]
    fn a_reader_is_not_asked_for_what_it_does_not_have() {
        #[derive(Debug)]
        struct Sevens;
        impl ReadAt for Sevens {
            fn read_at(&self, _offset: u64, buffer: &mut [u8]) -> Result<()> {
                buffer.fill(7);
                Ok(())
            }
        }
        let image = Image::from_reader(Arc::new(Sevens), "sevens", 3);
        let mut all = Vec::new();
        std::io::Read::read_to_end(&mut image.reader(), &mut all).unwrap();
        assert_eq!(all, [7, 7, 7]);
        assert!(image.read_at(2, &mut [0; 2]).is_err());
        assert!(image.read_at(u64::MAX, &mut [0; 2]).is_err());
    }

    #[test]
    fn a_short_read_names_offset_and_length() {
        let image = Image::from_memory(vec![1, 2, 3]);
        let mut two = [0; 2];
        image.read_at(1, &mut two).unwrap();
        assert_eq!(two, [2, 3]);
        let error = image.read_at(2, &mut two).unwrap_err().to_string();
        assert!(error.contains("2 bytes at offset 2 of memory"), "{error}");
        assert!(image.read_at(u64::MAX, &mut two).is_err());
    }
}
