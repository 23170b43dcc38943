//! Opening a bbolt file: page size, the meta that counts, and the length it promises.

use super::meta::{Fault, META_PAGE, Meta, header_fault};
use super::page::PAGE_SIZES;
use crate::error::{Error, Result};
use crate::io::Image;
use crate::limits::Limits;
use crate::report::{Place, Report};

/// A bbolt file with a meta that counts. Nothing else in it has been looked at.
#[derive(Debug)]
pub struct Db<'i> {
    image: &'i Image,
    meta: Meta,
    pages: u64,
    findings: Report,
}

/// Why a file is not opened as bbolt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotBolt {
    /// Zero bytes.
    Empty,
    /// Written on a big-endian machine (s390x).
    BigEndian,
    /// It looks like bbolt, and both meta pages are unusable.
    NoMeta(Fault, Fault),
    /// Nothing in it looks like bbolt.
    Foreign,
    /// More pages than the limit.
    TooLarge(u64),
}

impl<'i> Db<'i> {
    /// Finds the page size and the meta that counts.
    ///
    /// The page size is that of meta 0 if that is valid; else a valid second meta is looked for where
    /// each page size would put it, as bbolt v1.3.7 and later do.
    pub fn open(image: &'i Image, limits: &Limits) -> Result<std::result::Result<Db<'i>, NotBolt>> {
        if image.is_empty() {
            return Ok(Err(NotBolt::Empty));
        }
        let first = read_meta(image, 0)?;
        let second = match &first {
            Ok(meta) => read_meta(image, u64::from(meta.page_size))?,
            Err(_) => probe_second(image)?,
        };
        let (meta, bad) = match (first, second) {
            (Ok(first), Ok(second)) if second.page_size != first.page_size => {
                let fault = Fault::OtherPageSize(second.page_size, first.page_size);
                (first, Some((1, fault)))
            }
            (Ok(first), Ok(second)) if second.txid > first.txid => (second, None),
            (Ok(first), Ok(_)) => (first, None),
            (Ok(first), Err(fault)) => (first, Some((1, fault))),
            (Err(fault), Ok(second)) => (second, Some((0, fault))),
            (Err(first), Err(second)) => return Ok(Err(blame(first, second))),
        };
        if meta.high_water_mark > limits.pages {
            return Ok(Err(NotBolt::TooLarge(meta.high_water_mark)));
        }
        let mut db = Db {
            image,
            meta,
            pages: image.len() / u64::from(meta.page_size),
            findings: Report::new(limits.findings),
        };
        match bad {
            Some((id, fault)) => db.note_bad_meta(id, fault),
            None => db.check_meta_headers()?,
        }
        Ok(Ok(db))
    }

    /// A live file is longer than its pages and may have been caught while a meta was being written:
    /// then the other one counts, as designed. A streamed snapshot has exactly its pages, and two metas
    /// that were both written whole.
    fn note_bad_meta(&mut self, id: u64, fault: Fault) {
        let place = Place::page(id, u64::from(self.meta.page_size));
        let what = format!("meta page unusable: {fault}; the other one counts");
        let excess = self.image.len().saturating_sub(self.size());
        let torn = !matches!(fault, Fault::OtherPageSize(..));
        if excess > 32 && torn {
            self.findings.warning(place, what);
        } else {
            self.findings.error(place, what);
        }
    }

    /// bbolt does not read the page headers of its meta pages; it does write them.
    fn check_meta_headers(&mut self) -> Result<()> {
        for id in [0, 1] {
            let mut page = [0; META_PAGE];
            self.image.read_at(id * self.page_size(), &mut page)?;
            if let Some(fault) = header_fault(&page, id) {
                self.findings
                    .error(Place::page(id, self.page_size()), fault);
            }
        }
        Ok(())
    }

    /// The bytes.
    pub fn image(&self) -> &'i Image {
        self.image
    }

    /// The meta that counts.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Bytes in a page.
    pub fn page_size(&self) -> u64 {
        u64::from(self.meta.page_size)
    }

    /// High-water mark times page size: the bytes that matter. At most 2^49 with default limits.
    pub fn size(&self) -> u64 {
        self.meta.high_water_mark.saturating_mul(self.page_size())
    }

    /// Whole pages that the file really has.
    pub fn pages_present(&self) -> u64 {
        self.pages
    }

    /// What opening found: a meta page that does not count.
    pub fn findings(&self) -> &Report {
        &self.findings
    }
}

fn read_meta(image: &Image, offset: u64) -> Result<std::result::Result<Meta, Fault>> {
    let mut page = [0; META_PAGE];
    if offset + META_PAGE as u64 > image.len() {
        return Ok(Err(Fault::Short));
    }
    image.read_at(offset, &mut page)?;
    Ok(Meta::decode(&page))
}

/// Looks for a second meta whose page size is its own offset; reports the most telling fault.
fn probe_second(image: &Image) -> Result<std::result::Result<Meta, Fault>> {
    let mut fault = Fault::Short;
    for shift in 0.. {
        let page_size = PAGE_SIZES.start() << shift;
        if !PAGE_SIZES.contains(&page_size) {
            break;
        }
        match read_meta(image, u64::from(page_size))? {
            Ok(meta) if meta.page_size == page_size => return Ok(Ok(meta)),
            Ok(meta) => fault = Fault::Elsewhere(meta.page_size, page_size),
            Err(Fault::Magic(_) | Fault::Short) => {}
            Err(telling) => fault = telling,
        }
    }
    Ok(Err(fault))
}

fn blame(first: Fault, second: Fault) -> NotBolt {
    match (first, second) {
        (Fault::BigEndian, _) | (_, Fault::BigEndian) => NotBolt::BigEndian,
        (Fault::Magic(_) | Fault::Short, Fault::Magic(_) | Fault::Short) => NotBolt::Foreign,
        (first, second) => NotBolt::NoMeta(first, second),
    }
}

impl NotBolt {
    /// In a word or two.
    pub fn name(&self) -> &'static str {
        match self {
            NotBolt::Empty => "empty file",
            NotBolt::BigEndian => "big-endian bbolt file",
            NotBolt::NoMeta(..) => "bbolt file without a meta page",
            NotBolt::Foreign => "not a bbolt file",
            NotBolt::TooLarge(_) => "bbolt file of impossible size",
        }
    }

    /// The reason in words, as an error about the named input.
    pub fn into_error(self, name: &str) -> Error {
        match self {
            NotBolt::Empty => Error::damaged(format!("{name} is empty: 0 bytes"))
                .hint("a snapshot is never empty; use another backup"),
            NotBolt::BigEndian => Error::damaged(format!(
                "{name} was written on a big-endian machine (s390x): bbolt stores its pages in native byte order"
            ))
            .hint("use it on a machine of the same byte order"),
            NotBolt::NoMeta(first, second) => Error::damaged(format!(
                "{name}: both meta pages are unusable: page 0: {first}; page 1: {second}"
            )),
            NotBolt::Foreign => Error::damaged(format!("{name} is not an etcd snapshot: no bbolt meta page in it")),
            NotBolt::TooLarge(pages) => Error::damaged(format!(
                "{name} claims {pages} pages, more than any etcd db has"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bolt::meta::NO_FREELIST;

    fn file(page_size: usize, txids: [u64; 2]) -> Vec<u8> {
        let mut bytes = vec![0; page_size * 4];
        for (id, txid) in txids.into_iter().enumerate() {
            let meta = Meta {
                page_size: page_size as u32,
                root: 3,
                sequence: 0,
                freelist: NO_FREELIST,
                high_water_mark: 4,
                txid,
            };
            bytes[id * page_size..][..META_PAGE].copy_from_slice(&meta.encode(id as u64));
        }
        bytes
    }

    fn open(bytes: Vec<u8>) -> std::result::Result<(u64, u64, u64), NotBolt> {
        let image = Image::from_memory(bytes);
        Db::open(&image, &Limits::default())
            .unwrap()
            .map(|db| (db.page_size(), db.meta().txid, db.findings().total()))
    }

    #[test]
    fn the_newer_valid_meta_counts_at_every_page_size() {
        for page_size in [512, 1024, 4096, 16384, 65536] {
            assert_eq!(open(file(page_size, [8, 7])), Ok((page_size as u64, 8, 0)));
            assert_eq!(open(file(page_size, [8, 9])), Ok((page_size as u64, 9, 0)));
            let mut torn = file(page_size, [8, 7]);
            torn[20] ^= 1;
            assert_eq!(open(torn), Ok((page_size as u64, 7, 1)));
        }
    }

    #[test]
    fn what_is_not_bbolt_is_named() {
        assert_eq!(open(vec![]), Err(NotBolt::Empty));
        assert_eq!(open(b"hello".repeat(1000)), Err(NotBolt::Foreign));
        let mut torn = file(4096, [8, 7]);
        torn[70] ^= 1;
        torn[4096 + 70] ^= 1;
        assert!(matches!(
            open(torn),
            Err(NotBolt::NoMeta(Fault::Checksum(..), Fault::Checksum(..)))
        ));
        let mut behind_something = vec![0; 1024];
        behind_something.extend(file(4096, [8, 7]));
        let fault = Fault::Elsewhere(4096, 1024);
        assert_eq!(
            open(behind_something),
            Err(NotBolt::NoMeta(Fault::Magic(0), fault))
        );
        assert!(fault.to_string().contains("4096, found at offset 1024"));
    }
}
