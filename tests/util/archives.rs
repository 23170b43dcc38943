//! Archives that say something else of themselves than they did.

use std::path::Path;

use etcd_rescue::archive::{self, Archive, Manifest};
use etcd_rescue::io::Image;
use etcd_rescue::limits::Limits;

/// The same frames under another manifest.
#[track_caller]
pub fn retold(path: &Path, change: impl FnOnce(&mut Manifest)) -> Vec<u8> {
    let opened = Archive::open(Image::open(path).unwrap(), &Limits::default()).unwrap();
    let mut manifest = opened.manifest().unwrap().clone();
    let frames: u32 = manifest.frames.list.iter().map(|(length, _)| *length).sum();
    change(&mut manifest);
    let mut bytes = std::fs::read(path).unwrap();
    bytes.truncate(frames as usize);
    bytes.extend(archive::tail(&manifest).unwrap());
    bytes
}
