//! An archive whose pages are asked for in an order that they do not have.
//!
//! In a db that was written to for years the tree's leaves lie anywhere, and each one costs the
//! decompression of its whole frame. Once that has cost several times what unpacking everything costs, it is
//! unpacked into a file without a name, and read from there.

use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use crate::archive::Archive;
use crate::error::{Error, Result};
use crate::io::{Image, ReadAt, dirs, spool};
use crate::observe::{Observer, Unobserved};

/// Frames are decompressed once to check them and once to walk them; from here on it is scatter. Some more
/// are free, so that small archives never get here.
const PATIENCE: u64 = 4;
const FREE: u64 = 256;

/// The snapshot inside, readable at any place. `dirs` are where it may be unpacked, in order of preference;
/// if none of them takes it, reading goes on as slowly as it has to.
pub fn image(archive: &Archive, dirs: &[PathBuf]) -> Result<Image> {
    let packed = archive.snapshot()?;
    let (name, len) = (packed.name().to_owned(), packed.len());
    let reader = Scattered {
        archive: archive.clone(),
        packed,
        dirs: dirs.to_vec(),
        unpacked: OnceLock::new(),
    };
    Ok(Image::from_reader(Arc::new(reader), name, len))
}

#[derive(Debug)]
struct Scattered {
    archive: Archive,
    packed: Image,
    dirs: Vec<PathBuf>,
    /// `None` inside: it was tried in vain.
    unpacked: OnceLock<Option<Image>>,
}

impl ReadAt for Scattered {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let frames = self.archive.frames().len() as u64;
        if self.archive.loads() > frames.saturating_mul(PATIENCE).saturating_add(FREE) {
            let unpacked = self.unpacked.get_or_init(|| self.unpack().ok());
            if let Some(image) = unpacked {
                return image.read_at(offset, buffer);
            }
        }
        self.packed.read_at(offset, buffer)
    }
}

impl Scattered {
    /// A damaged frame ends it: then only reading frame by frame shows what is lost.
    fn unpack(&self) -> Result<Image> {
        let roomy = self
            .dirs
            .iter()
            .filter(|dir| dirs::free_space(dir).is_ok_and(|free| free / 2 > self.packed.len()));
        let roomy: Vec<PathBuf> = roomy.cloned().collect();
        let (mut file, _) = spool::unnamed(&roomy)?;
        let observer: &dyn Observer = &Unobserved;
        self.archive.read_through(0, observer, &mut |_, piece| {
            let written = file.write_all(piece);
            written.map_err(|e| Error::failed("cannot unpack").because(e))
        })?;
        Image::from_file(file, self.packed.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{Options, Writer};
    use crate::limits::Limits;

    /// Pieces of 64 KiB: more of them than the cache holds at once.
    fn archive(plain: &[u8]) -> Archive {
        let options = Options {
            piece: 64 << 10,
            ..Options::default()
        };
        let mut writer = Writer::new(Vec::new(), options).unwrap();
        writer.write_all(plain).unwrap();
        let (bytes, written) = writer.finish_frames().unwrap();
        let image = Image::from_memory(bytes);
        Archive::from_frames(image, &written.frames, written.size, &Limits::default()).unwrap()
    }

    /// Reads all over it, in an order that no cache can bear.
    fn read_all_over(image: &Image, plain: &[u8]) {
        let pages = plain.len() / 4096;
        let mut at = 1;
        for _ in 0..pages * 2 {
            at = (at * 7919 + 104_729) % pages;
            let mut page = [0; 4096];
            image.read_at(at as u64 * 4096, &mut page).unwrap();
            assert!(plain[at * 4096..][..4096] == page, "page {at}");
        }
    }

    #[test]
    fn scattered_reading_ends_in_a_file_and_gives_the_same() {
        let plain: Vec<u8> = (0..48_u32 << 20).map(|n| (n / 4099) as u8).collect();
        let dir = tempfile::tempdir().unwrap();
        for dirs in [vec![dir.path().to_owned()], Vec::new()] {
            let archive = archive(&plain);
            let frames = archive.frames().len() as u64;
            let image = image(&archive, &dirs).unwrap();
            read_all_over(&image, &plain);
            let bounded = archive.loads() < frames * (PATIENCE + 2) + FREE;
            assert_eq!(bounded, !dirs.is_empty(), "{} loads", archive.loads());
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
