//! The manifest: what is in an archive, in JSON, in one skippable frame behind the data.
//!
//! ```text
//!  0  magic 0x184D2A5E        u32 LE
//!  4  payload size            u32 LE      = n + 16
//!  8  JSON                    n bytes
//!     n                       u32 LE
//!     CRC-32 of the JSON      u32 LE
//!     "ERmanif1"              8 bytes
//! ```
//!
//! The length stands behind the JSON, so that the manifest is found from its end: there the seek table
//! begins, or the file ends when that was cut off.

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::seek::{HEADER, SKIPPABLE_MAGIC};
use crate::bytes::{self, Cursor};
use crate::error::{Error, Result};
use crate::limits::Limits;

/// The newest format that this program reads, and the one it writes.
pub const FORMAT: u32 = 1;

/// The first version of the program that reads [`FORMAT`].
pub const NEEDS: &str = "0.2.0";

/// Last bytes of the payload.
pub const TAG: [u8; 8] = *b"ERmanif1";

/// Length, CRC-32 and tag behind the JSON.
pub const TRAILER: usize = 4 + 4 + TAG.len();

/// Fields of a newer writer: kept when the manifest is written again, otherwise ignored.
pub type Extra = Map<String, Value>;

/// What is in the archive. Nothing in it is secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Format of the archive, 1. A newer one is refused.
    pub format: u32,
    /// The oldest version of the program that reads this format.
    pub needs: String,
    /// Who made the archive, and when.
    pub made: Made,
    /// The bytes inside.
    pub snapshot: Snapshot,
    /// What they mean.
    pub etcd: Etcd,
    /// The server they came from, if they came from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// The data frames.
    pub frames: Frames,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Who made the archive, and when.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Made {
    /// `save`, `pack` or `backup`; only what `backup` made is ever pruned.
    pub by: String,
    /// Program and version, `etcd-rescue 0.2.0`.
    pub tool: String,
    /// When the snapshot was taken; for `pack`, when it was packed. RFC 3339 in UTC, to the second.
    pub at: String,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub extra: Extra,
}

/// The bytes inside.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Bytes that decompression gives, trailer included.
    pub size: u64,
    /// SHA-256 of the image, the trailer left out, in hex.
    pub sha256: String,
    /// Whether the last 32 bytes are that SHA-256, as a server sends it.
    pub trailer: bool,
    /// bbolt's page size.
    pub page_size: u32,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What verification found in the snapshot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Etcd {
    /// Revision of the store.
    pub revision: i64,
    /// Compacted revision; 0 when it never was.
    pub compacted_revision: i64,
    /// Keys that live at `revision`.
    pub live_keys: u64,
    /// Records in the `key` bucket, as `etcdutl snapshot status` counts them.
    pub total_keys: u64,
    /// The hash of `etcdutl snapshot status`.
    pub hash: u32,
    /// Storage version, where the db holds one (3.6 and later).
    pub storage_version: Option<String>,
    /// Bytes of the bbolt file.
    pub db_size: u64,
    /// Bytes of pages in use.
    pub in_use: u64,
    /// Bytes of free pages.
    pub free: u64,
    /// Whether it is the data of a Kubernetes cluster.
    pub kubernetes: bool,
    /// Whether etcd's own users and roles are switched on.
    pub auth_enabled: bool,
    /// Members of the cluster.
    pub members: u64,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub extra: Extra,
}

/// The server that sent the snapshot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// Endpoint as it was given, without user and password.
    pub endpoint: String,
    /// Cluster id in hex, as etcd prints it.
    pub cluster_id: String,
    /// Member id in hex, as etcd prints it.
    pub member_id: String,
    /// The member's name.
    pub member_name: Option<String>,
    /// Server version.
    pub server_version: String,
    /// `leader`, `follower` or `learner`.
    pub role: String,
    /// Raft index that the member had applied.
    pub raft_applied_index: u64,
    /// Alarms at that moment.
    pub alarms: Vec<String>,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub extra: Extra,
}

/// The data frames: each is one piece of the snapshot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Frames {
    /// Bytes of each piece, the last one excepted, which is what is left of the snapshot.
    pub piece: u64,
    /// Compression level.
    pub level: i32,
    /// For each frame its compressed bytes and their CRC-32 (IEEE).
    pub list: Vec<(u32, u32)>,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Manifest {
    /// A manifest of this version's format for an archive of these frames; the caller adds the source.
    pub fn new(made: Made, snapshot: Snapshot, etcd: Etcd, frames: Frames) -> Manifest {
        Manifest {
            format: FORMAT,
            needs: NEEDS.to_owned(),
            made,
            snapshot,
            etcd,
            source: None,
            frames,
            extra: Extra::new(),
        }
    }

    /// The whole skippable frame. `Error::failed` when the JSON is longer than a frame can be.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let json = serde_json::to_vec(self)
            .map_err(|e| Error::failed("cannot encode the manifest").because(e))?;
        let too_long = |_| Error::failed(format!("a manifest of {} bytes", json.len()));
        let len = u32::try_from(json.len()).map_err(too_long)?;
        let payload = u32::try_from(json.len() + TRAILER).map_err(too_long)?;
        let mut frame = Vec::with_capacity(HEADER + json.len() + TRAILER);
        frame.extend_from_slice(&SKIPPABLE_MAGIC.to_le_bytes());
        frame.extend_from_slice(&payload.to_le_bytes());
        frame.extend_from_slice(&json);
        frame.extend_from_slice(&len.to_le_bytes());
        frame.extend_from_slice(&crc32fast::hash(&json).to_le_bytes());
        frame.extend_from_slice(&TAG);
        Ok(frame)
    }

    /// Decodes the JSON. `Error::refused` for a newer format, `Error::damaged` for anything else that
    /// is not a manifest or contradicts itself.
    pub fn decode(json: &[u8], limits: &Limits) -> Result<Manifest> {
        if json.len() > limits.manifest {
            return Err(Error::damaged(format!(
                "the manifest has {} bytes, at most {} are read",
                json.len(),
                limits.manifest
            )));
        }
        refuse_newer(json)?;
        let manifest: Manifest = serde_json::from_slice(json)
            .map_err(|e| Error::damaged("the manifest is not what it should be").because(e))?;
        manifest.check(limits)?;
        Ok(manifest)
    }

    /// Bytes of the piece at `index`; 0 behind the last.
    pub fn piece_len(&self, index: u64) -> u64 {
        let start = index.saturating_mul(self.frames.piece);
        let left = self.snapshot.size.saturating_sub(start);
        left.min(self.frames.piece)
    }

    /// What the numbers say to each other.
    fn check(&self, limits: &Limits) -> Result<()> {
        let (piece, size) = (self.frames.piece, self.snapshot.size);
        if piece == 0 || piece > limits.frame {
            return Err(Error::damaged(format!(
                "the manifest has pieces of {piece} bytes, expected 1 to {}",
                limits.frame
            )));
        }
        let (expected, found) = (size.div_ceil(piece), self.frames.list.len());
        if expected != found as u64 {
            return Err(Error::damaged(format!(
                "the manifest lists {found} frames, {size} bytes in pieces of {piece} are {expected}"
            )));
        }
        Ok(())
    }
}

/// A newer format may have changed anything but these two fields.
fn refuse_newer(json: &[u8]) -> Result<()> {
    #[derive(Deserialize)]
    struct Version {
        format: u32,
        #[serde(default)]
        needs: String,
    }
    let version: Version = serde_json::from_slice(json)
        .map_err(|e| Error::damaged("the manifest does not say its format").because(e))?;
    match version.format {
        1..=FORMAT => Ok(()),
        0 => Err(Error::damaged("the manifest has format 0, expected 1")),
        newer => {
            let needed = match crate::report::printable(version.needs.as_bytes()).as_str() {
                "" => "a newer etcd-rescue".to_owned(),
                needs => format!("etcd-rescue {needs} or newer"),
            };
            Err(Error::refused(format!(
                "the archive has format {newer}, this program reads up to {FORMAT}: it needs {needed}"
            ))
            .hint("zstd -d gives back the snapshot without the manifest"))
        }
    }
}

/// Name of an archive that stays when its file is renamed: the first 32 hex digits of the SHA-256 of
/// the manifest's JSON.
pub fn id(json: &[u8]) -> String {
    let digest = digest(&SHA256, json);
    let head = digest.as_ref().iter().take(16);
    head.map(|byte| format!("{byte:02x}")).collect()
}

/// The JSON at the end of `tail`, which are bytes up to where the manifest ends; `Ok(None)` when no
/// manifest ends there. `Error::damaged` says what is wrong with the one that does.
pub fn find(tail: &[u8]) -> Result<Option<&[u8]>> {
    let Some(len) = json_len(tail)? else {
        return Ok(None);
    };
    let frame = tail.len().checked_sub(len + TRAILER + HEADER);
    let frame = frame.and_then(|at| tail.get(at..)).unwrap_or_default();
    let mut cursor = Cursor::new(frame);
    let cut = |eof| Error::damaged("the manifest is cut at its start").because(eof);
    let magic = u32::from_le_bytes(cursor.take_array().map_err(cut)?);
    let payload = u32::from_le_bytes(cursor.take_array().map_err(cut)?);
    let json = cursor.take(len).map_err(cut)?;
    let _len = cursor.take_array::<4>().map_err(cut)?;
    let expected = u32::from_le_bytes(cursor.take_array().map_err(cut)?);
    let found = crc32fast::hash(json);
    if found != expected {
        return Err(Error::damaged(format!(
            "the manifest has CRC-32 {found:08x}, expected {expected:08x}"
        )));
    }
    if magic != SKIPPABLE_MAGIC || payload as usize != len + TRAILER {
        return Err(Error::damaged(format!(
            "the header of the manifest's frame is {magic:#010x} with {payload} bytes, expected {SKIPPABLE_MAGIC:#010x} with {}",
            len + TRAILER
        )));
    }
    Ok(Some(json))
}

/// Length of the JSON of the manifest that ends where `tail` ends.
pub fn json_len(tail: &[u8]) -> Result<Option<usize>> {
    let Some(at) = tail.len().checked_sub(TRAILER) else {
        return Ok(None);
    };
    if !tail.ends_with(&TAG) {
        return Ok(None);
    }
    let len = bytes::u32_le(tail, at).map_err(|e| Error::damaged("the manifest").because(e))?;
    Ok(Some(len as usize))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A manifest for `size` bytes in pieces of `piece`.
    pub(in super::super) fn sample(size: u64, piece: u64) -> Manifest {
        let list = (0..size.div_ceil(piece))
            .map(|n| (n as u32 + 9, !0))
            .collect();
        let made = Made {
            by: "backup".into(),
            tool: "etcd-rescue 0.2.0".into(),
            at: "2026-11-23T04:00:00Z".into(),
            ..Made::default()
        };
        let snapshot = Snapshot {
            size,
            sha256: "00".repeat(32),
            trailer: true,
            page_size: 4096,
            ..Snapshot::default()
        };
        let frames = Frames {
            piece,
            level: 1,
            list,
            ..Frames::default()
        };
        let mut manifest = Manifest::new(made, snapshot, Etcd::default(), frames);
        manifest.source = Some(Source {
            member_name: Some("cp1".into()),
            ..Source::default()
        });
        manifest
    }

    fn json(manifest: &Manifest) -> Vec<u8> {
        let frame = manifest.encode().unwrap();
        find(&frame).unwrap().unwrap().to_vec()
    }

    #[test]
    fn what_was_encoded_decodes() {
        for manifest in [sample(10_000, 4096), sample(0, 4096), sample(8192, 4096)] {
            let json = json(&manifest);
            assert_eq!(
                Manifest::decode(&json, &Limits::default()).unwrap(),
                manifest
            );
            assert_eq!(id(&json).len(), 32);
        }
        assert_eq!(sample(10_000, 4096).piece_len(2), 10_000 - 8192);
        assert_eq!(sample(10_000, 4096).piece_len(3), 0);
    }

    #[test]
    fn unknown_fields_are_kept() {
        let mut value = serde_json::to_value(sample(1, 4096)).unwrap();
        let places = ["", "/made", "/snapshot", "/etcd", "/source", "/frames"];
        for place in places {
            let object = value.pointer_mut(place).unwrap().as_object_mut().unwrap();
            object.insert("novel".into(), serde_json::json!({"a": [1, null]}));
        }
        let json = serde_json::to_vec(&value).unwrap();
        let manifest = Manifest::decode(&json, &Limits::default()).unwrap();
        assert_eq!(serde_json::to_value(manifest).unwrap(), value);
    }

    #[test]
    fn a_newer_format_is_refused_and_names_the_version() {
        let json = br#"{"format":2,"needs":"0.9.0","all":"else changed"}"#;
        let error = Manifest::decode(json, &Limits::default()).unwrap_err();
        assert_eq!(error.kind(), crate::error::Kind::Refused);
        assert!(error.to_string().contains("etcd-rescue 0.9.0"), "{error}");
        for json in [&br#"{"format":2}"#[..], br#"{"format":2,"needs":""}"#] {
            let error = Manifest::decode(json, &Limits::default()).unwrap_err();
            let told = error.to_string();
            assert!(told.ends_with("it needs a newer etcd-rescue"), "{told}");
        }
    }

    #[test]
    fn contradictions_are_damage() {
        let limits = Limits::default();
        let mut short = sample(10_000, 4096);
        short.frames.list.pop();
        let mut huge = sample(1, 4096);
        huge.frames.piece = limits.frame + 1;
        for (manifest, said) in [(short, "lists 2 frames"), (huge, "pieces of")] {
            let error = Manifest::decode(&json(&manifest), &limits).unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
        }
        let small = Limits {
            manifest: 100,
            ..limits
        };
        assert!(Manifest::decode(&json(&sample(1, 1)), &small).is_err());
    }

    #[test]
    fn every_flipped_bit_of_the_frame_is_noticed() {
        let frame = sample(1, 4096).encode().unwrap();
        for at in 0..frame.len() {
            let mut flipped = frame.clone();
            flipped[at] ^= 1 << (at % 8);
            assert!(!matches!(find(&flipped), Ok(Some(_))), "byte {at}");
        }
        for len in 0..frame.len() {
            assert!(!matches!(find(&frame[..len]), Ok(Some(_))), "cut at {len}");
            assert!(!matches!(find(&frame[frame.len() - len..]), Ok(Some(_))));
        }
    }
}
