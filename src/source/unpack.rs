//! Looks into what is compressed, and into what is compressed once more inside it.
//!
//! Frames of zstd are decompressed when they are asked for. Everything else goes through a file without a
//! name, and is held to what it says of itself: a stream that nobody vouches for must not fill a disk.

use std::io::Read;
use std::path::PathBuf;

use super::{Candidate, Container};
use crate::archive::{self, Archive, Compression, Layout, Unpacked};
use crate::bolt::Db;
use crate::error::{Error, Kind, Result};
use crate::io::Image;
use crate::io::spool::{self, Bound};
use crate::limits::Limits;
use crate::observe::Observer;
use crate::scattered;
use crate::shell;
use crate::transport::TRAILER;

/// What is unpacked, and with what.
pub(super) struct Unpacking<'a> {
    /// What commands to type call it.
    pub file: &'a str,
    pub spool_dirs: &'a [PathBuf],
    pub limits: &'a Limits,
    pub observer: &'a dyn Observer,
}

impl Unpacking<'_> {
    /// What is inside the candidate, if it is compressed: an archive that somebody compressed counts as
    /// one. `Error::failed` when there is a third layer.
    pub(super) fn unpack(&self, candidate: Candidate) -> Result<Candidate> {
        let Some(first) = self.compression(&candidate.image)? else {
            return Ok(candidate);
        };
        let name = candidate.image.name().to_owned();
        let (image, container) = self.layer(candidate.image, first)?;
        let (image, container, outer) = match self.compression_inside(&image, &container)? {
            None => (image, container, None),
            Some(second) => {
                let (image, container) = self.layer(self.in_file(image, &container)?, second)?;
                if self.compression_inside(&image, &container)?.is_some() {
                    let what = format!("{name} is compressed more than twice");
                    return Err(Error::failed(what).hint("unpack it first: zstd -dk, or gunzip -k"));
                }
                (image, container, Some(first))
            }
        };
        self.refuse_foreign_inside(&image, &container, &name)?;
        Ok(Candidate {
            image,
            container: Some(container),
            outer,
            ..Candidate::plain(Image::from_memory(Vec::new()), candidate.origin)
        })
    }

    /// How it is compressed, if that is all it is.
    fn compression(&self, image: &Image) -> Result<Option<Compression>> {
        match Db::open(image, self.limits)?.is_ok() {
            true => Ok(None),
            false => archive::detect(image),
        }
    }

    /// The same of what was unpacked. Ours have snapshots inside, and their frames are not touched yet;
    /// a frame that is damaged is for a verdict to tell.
    fn compression_inside(
        &self,
        image: &Image,
        container: &Container,
    ) -> Result<Option<Compression>> {
        match container {
            Container::Archive(archive) if archive.layout() == Layout::Ours => Ok(None),
            _ => match self.compression(image) {
                Err(e) if e.kind() == Kind::Damaged => Ok(None),
                found => found,
            },
        }
    }

    /// What is too short to be judged as it came in, and what is read all over. Ours have snapshots inside.
    fn refuse_foreign_inside(
        &self,
        image: &Image,
        container: &Container,
        name: &str,
    ) -> Result<()> {
        let compression = match container {
            Container::Archive(archive) if archive.layout() == Layout::Ours => return Ok(()),
            Container::Archive(_) => Compression::Zstd,
            Container::Stream(compression) => *compression,
        };
        let name = inside(name, compression);
        match refuse_foreign(image, &name, self.file) {
            Err(e) if e.kind() == Kind::Damaged => Ok(()),
            found => found,
        }
    }

    /// What is inside one layer of compression.
    fn layer(&self, image: Image, compression: Compression) -> Result<(Image, Container)> {
        let name = inside(image.name(), compression);
        let len = image.len();
        match compression {
            Compression::Gzip => {
                let mut unpacked = Unpacked::gzip(image.reader(), self.limits);
                let image = self.spool(&mut unpacked, name, len)?;
                Ok((image, Container::Stream(compression)))
            }
            Compression::Zstd => {
                let archive = open_archive(image, self.limits)?;
                if archive.layout() == Layout::Stream {
                    self.tell(&archive, &name);
                    let image = self.spool(&mut archive.stream()?, name, len);
                    let image = image.map_err(hint_at_window)?;
                    return Ok((image, Container::Stream(compression)));
                }
                let image = scattered::image(&archive, self.spool_dirs)?;
                Ok((image, Container::Archive(archive)))
            }
        }
    }

    /// What was unpacked, in a file if it is not in one yet: an archive is read at any place.
    fn in_file(&self, image: Image, container: &Container) -> Result<Image> {
        let Container::Archive(archive) = container else {
            return Ok(image);
        };
        let name = format!("{} (zstd-compressed)", image.name());
        self.tell(archive, &name);
        self.spool(&mut image.reader(), name, archive.compressed())
    }

    /// Nobody asks for them later.
    fn tell(&self, archive: &Archive, name: &str) {
        for finding in archive.findings().listed() {
            let text = format!("{name}: {}: {}", finding.place, finding.what);
            self.observer.warn(&text);
        }
    }

    /// All that `reader` makes of `compressed` bytes.
    fn spool(&self, reader: &mut dyn Read, name: String, compressed: u64) -> Result<Image> {
        let judge = |head: &[u8]| judge(head, &name, self.file, Some(compressed));
        let file = spool::keep(reader, &name, self.spool_dirs, self.observer, judge)?;
        Image::from_file(file, name)
    }
}

/// What messages call the content of something compressed.
fn inside(name: &str, compression: Compression) -> String {
    format!("{name} ({}-compressed)", compression.word())
}

/// Whoever made it had the memory, and the program that takes it.
fn hint_at_window(error: Error) -> Error {
    match error.io_kind() {
        Some(std::io::ErrorKind::Unsupported) => error.hint(
            "its header is damaged, or zstd made it with --long and needs as much memory again: zstd -dc --long=31 FILE | etcd-rescue verify -",
        ),
        _ => error,
    }
}

/// What is wrong inside an archive is told without its name.
fn open_archive(image: Image, limits: &Limits) -> Result<Archive> {
    let name = image.name().to_owned();
    Archive::open(image, limits).map_err(|e| match e.to_string().contains(&name) {
        true => e,
        false => e.within(name),
    })
}

/// The first bytes of a stream, which are more than two metas: it is worth keeping only if one is there,
/// or if it has to be unpacked first. `compressed` is what it was unpacked from; commands to type call it `file`.
pub(super) fn judge(
    head: &[u8],
    name: &str,
    file: &str,
    compressed: Option<u64>,
) -> Result<Option<Bound>> {
    let image = Image::from_memory(head.to_vec());
    refuse_foreign(&image, name, file)?;
    if archive::detect(&image)?.is_some() {
        return Ok(compressed.map(|len| {
            let most = allowed(len);
            let what = format!(
                "{name}: {len} bytes give more than {most}, and begin like something compressed: that gets no smaller a second time"
            );
            let beyond = Error::damaged(what).hint("use another copy of it");
            Bound { most, beyond }
        }));
    }
    match Db::open(&image, &Limits::default())? {
        Ok(db) => Ok(Some(behind(db.size(), name))),
        Err(not_bolt) => Err(not_bolt.into_error(name)),
    }
}

/// How much may come of a snapshot that says how long it is.
fn behind(size: u64, name: &str) -> Bound {
    let most = allowed(size);
    let what = format!(
        "{name}: the snapshot says that it has {size} bytes, and more than {most} came: something else is behind it"
    );
    let whole = size.saturating_add(TRAILER);
    let hint =
        format!("the snapshot itself ends after {whole} bytes: head -c {whole} keeps no more");
    Bound {
        most,
        beyond: Error::damaged(what).hint(hint),
    }
}

/// A file that a server writes to has pages reserved behind those in use: bbolt adds 16 MiB at a time,
/// and on some platforms doubles it.
fn allowed(size: u64) -> u64 {
    const RESERVED: u64 = 64 << 20;
    size.saturating_mul(2).saturating_add(RESERVED)
}

/// Formats that are mistaken for snapshots, by their first bytes. Commands to type call it `file`.
pub(super) fn refuse_foreign(image: &Image, name: &str, file: &str) -> Result<()> {
    // POSIX ustar and GNU tar: the magic is behind the name, the owner and the checksum of the first member.
    const TAR: std::ops::Range<usize> = 257..262;
    let mut head = [0; TAR.end];
    let len = image.len().min(TAR.end as u64) as usize;
    let (head, _) = head.split_at_mut(len);
    image.read_at(0, head)?;
    let (what, with) = match &*head {
        [b'P', b'K', 3, 4, ..] => ("a zip archive", "unzip"),
        [b'B', b'Z', b'h', _, ..] => ("bzip2-compressed", "bunzip2 -k"),
        [0xfd, b'7', b'z', b'X', ..] => ("xz-compressed", "xz -dk"),
        _ if head.get(TAR) == Some(b"ustar") => ("a tar archive", "tar -xf"),
        _ => return Ok(()),
    };
    let file = shell::quote(file);
    Err(Error::failed(format!(
        "{name} is {what}; snapshots are read as they are, from zstd and from gzip"
    ))
    .hint(format!("unpack it first: {with} {file}")))
}
