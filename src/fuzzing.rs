//! Bodies of the fuzz targets: bytes that nobody vouches for go in, and whatever must hold is asserted.
//!
//! The shapes: no panic; how the bytes are cut into pieces does not matter; what was decoded, encoded and
//! decoded again is the same. The targets are one line each, and stable tests replay their seeds.

mod archive;
mod bolt;
mod catalogue;
mod etcd;
#[cfg(test)]
mod replay;

pub use self::archive::{fuzz_container, fuzz_manifest, fuzz_seek_table};
pub use self::bolt::{fuzz_build_model, fuzz_meta, fuzz_walk};
pub use self::catalogue::fuzz_catalogue;
pub use self::etcd::{fuzz_keyvalue, fuzz_meaning, fuzz_snapshot};
pub use crate::client::fuzz_stream;
use crate::error::Result;
use crate::etcd::{ids, members};
use crate::io::Image;
use crate::limits::Limits;
use crate::proto::alarm::AlarmMember;
use crate::proto::auth::{Role, User};
use crate::proto::lease::Lease;
use crate::proto::raft::{ConfChange, Entry, HardState, Snapshot};
use crate::proto::walpb::{self, Metadata, Record};
use crate::proto::{snappb, wire};
use crate::snap;
use crate::wal::{self, Event, Segment};

/// A log: one or two segments, as they are or with frames and checksums made for them.
///
/// Input: window size, whether frames are made, where the first segment ends (two bytes, little endian; 0
/// for one segment), and the bytes of the segments.
///
/// # Panics
/// When something that must hold does not.
pub fn fuzz_wal(data: &[u8]) {
    let Some((&[window, framed, split_low, split_high], body)) = data.split_first_chunk() else {
        return;
    };
    let split = usize::from(u16::from_le_bytes([split_low, split_high]));
    let (first, second) = body.split_at_checked(split).unwrap_or((body, &[]));
    let mut segments = vec![first.to_vec(), second.to_vec()];
    segments.retain(|segment| !segment.is_empty());
    if framed & 1 == 1 {
        segments = with_frames(&segments);
    }
    let whole = read_wal(&segments, wal::WINDOW);
    assert_eq!(whole, read_wal(&segments, usize::from(window) + 1));
    let (events, log) = whole;
    if log.end == wal::End::Clean {
        let mut again = wal::Encoder::begin(0);
        for (record_type, message) in &events {
            again.record(*record_type, Some(message));
        }
        // Metadata is repeated in every segment; in one segment it may be, too.
        let (events_again, log_again) = read_wal(&[again.into_bytes()], wal::WINDOW);
        assert_eq!(log_again.end, wal::End::Clean);
        assert_eq!(events_again, events);
    }
}

/// Each segment is taken for records: type, length, data. So the fuzzer gets past the checksums.
fn with_frames(segments: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut crc = 0;
    segments
        .iter()
        .map(|segment| {
            let mut encoder = wal::Encoder::begin(crc);
            let mut rest = segment.as_slice();
            while let Some((&[record_type, len], tail)) = rest.split_first_chunk() {
                let (data, tail) = tail
                    .split_at_checked(usize::from(len))
                    .unwrap_or((tail, &[]));
                encoder.record(record_type.into(), Some(data));
                rest = tail;
            }
            crc = encoder.crc();
            encoder.into_bytes()
        })
        .collect()
}

/// Events as type and message.
type Events = Vec<(i64, Vec<u8>)>;

fn read_wal(segments: &[Vec<u8>], window: usize) -> (Events, wal::Log) {
    let images: Vec<Image> = segments.iter().cloned().map(Image::from_memory).collect();
    let segments: Vec<Segment<'_>> = (0..)
        .zip(&images)
        .map(|(seq, image)| Segment { seq, image })
        .collect();
    let mut events = Vec::new();
    let log = wal::read_windowed(&segments, &Limits::default(), window, &mut |_, event| {
        events.push(match event {
            Event::Metadata(metadata) => (walpb::METADATA, metadata.encode()),
            Event::Entry(entry) => (walpb::ENTRY, entry.encode()),
            Event::State(state) => (walpb::STATE, state.encode()),
            Event::Snapshot(snapshot) => (walpb::SNAPSHOT, snapshot.encode()),
        });
        Ok(())
    });
    (events, holds("reading memory does not fail", log))
}

/// A .snap file as it is, and the bytes as the v2 store of a file whose checksum is right.
///
/// # Panics
/// When something that must hold does not.
pub fn fuzz_snap(data: &[u8]) {
    let limits = Limits {
        members: 100,
        ..Limits::default()
    };
    let raft = Snapshot {
        data: Some(data),
        ..Snapshot::default()
    }
    .encode();
    let sealed = snappb::Snapshot {
        crc: crc32c::crc32c(&raft),
        data: Some(&raft),
    }
    .encode();
    for file in [data, &sealed] {
        let Ok(found) = snap::decode(file, &limits) else {
            continue;
        };
        assert!(found.members.len() <= limits.members);
        if found.members.is_empty() {
            continue;
        }
        let again = snap::fresh(&found.members).and_then(|file| snap::decode(&file, &limits));
        let again = holds("what was decoded encodes", again);
        let plain =
            |member: &snap::Member| (member.id, member.peer_urls.clone(), member.is_learner);
        assert!(
            again
                .members
                .iter()
                .map(plain)
                .eq(found.members.iter().map(plain))
        );
    }
}

/// A member record, the context of a configuration change, and the key of a member.
///
/// # Panics
/// When something that must hold does not.
pub fn fuzz_member(data: &[u8]) {
    if let Ok(context) = members::decode_context(data) {
        let json = holds("a member encodes", members::encode(&context.member));
        let again = holds("a member decodes", members::decode(&json));
        assert_eq!(again, context.member);
    }
    if let Ok(id) = members::parse_id(data) {
        assert_eq!(members::format_id(id).as_bytes(), data);
    }
}

/// `--initial-cluster`: first the length of the token, then the token, then the text.
///
/// # Panics
/// When something that must hold does not.
pub fn fuzz_initial_cluster(data: &[u8]) {
    let Some((&len, rest)) = data.split_first() else {
        return;
    };
    let (token, text) = rest
        .split_at_checked(usize::from(len))
        .unwrap_or((&[], rest));
    let (token, text) = (
        String::from_utf8_lossy(token),
        String::from_utf8_lossy(text),
    );
    let parse = |text: &str| ids::NewCluster::new(ids::parse_initial_cluster(text)?, &token);
    if let Ok(cluster) = parse(&text) {
        let again = holds("what was printed parses", parse(&cluster.initial_cluster()));
        assert_eq!(again, cluster);
    }
}

/// Every message but those that have a target of their own: the first byte chooses.
///
/// # Panics
/// When something that must hold does not.
pub fn fuzz_proto(data: &[u8]) {
    let Some((choice, body)) = data.split_first() else {
        return;
    };
    /// Decoded, encoded and decoded again.
    macro_rules! round_trip {
        ($message:ty) => {
            if let Ok(message) = <$message>::decode(body) {
                let encoded = message.encode();
                assert_eq!(<$message>::decode(&encoded), Ok(message));
            }
        };
    }
    match choice % 13 {
        0 => round_trip!(Lease),
        1 => round_trip!(AlarmMember),
        2 => round_trip!(User<'_>),
        3 => round_trip!(Role<'_>),
        4 => round_trip!(Entry<'_>),
        5 => round_trip!(HardState),
        6 => round_trip!(Snapshot<'_>),
        7 => round_trip!(ConfChange<'_>),
        8 => round_trip!(Record<'_>),
        9 => round_trip!(Metadata),
        10 => round_trip!(walpb::Snapshot),
        11 => round_trip!(snappb::Snapshot<'_>),
        _ => any_message(body),
    }
}

/// Fields appended again as they were read mean the same.
fn any_message(body: &[u8]) {
    let Ok(found) = wire::fields("any", body).collect::<std::result::Result<Vec<_>, _>>() else {
        return;
    };
    let mut out = Vec::new();
    for field in &found {
        match field.value {
            wire::Value::Varint(value) => wire::put_u64(&mut out, field.number, value),
            wire::Value::Bytes(value) => wire::put_bytes(&mut out, field.number, value),
            wire::Value::Fixed64(value) => {
                wire::put_varint(&mut out, u64::from(field.number) << 3 | 1);
                out.extend_from_slice(&value.to_le_bytes());
            }
            wire::Value::Fixed32(value) => {
                wire::put_varint(&mut out, u64::from(field.number) << 3 | 5);
                out.extend_from_slice(&value.to_le_bytes());
            }
        }
    }
    assert!(out.len() <= body.len(), "no encoding is shorter");
    let plain = |field: &wire::Field<'_>| (field.number, format!("{:?}", field.value));
    let again: Vec<_> = wire::fields("any", &out).flatten().collect();
    assert!(again.iter().map(plain).eq(found.iter().map(plain)));
}

/// What must hold; an error here is a finding.
#[track_caller]
fn holds<T>(what: &str, result: Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes(data: Vec<u8>) {
            fuzz_wal(&data);
            fuzz_snap(&data);
            fuzz_member(&data);
            fuzz_initial_cluster(&data);
            fuzz_proto(&data);
        }

        /// Messages that are nearly right, so that the round trips are reached.
        #[test]
        fn messages(choice: u8, fields in proptest::collection::vec((1u32..6, any::<u64>(), any::<Option<Vec<u8>>>()), 0..8)) {
            let mut data = vec![choice];
            for (number, value, bytes) in fields {
                match bytes {
                    Some(bytes) => wire::put_bytes(&mut data, number, &bytes),
                    None => wire::put_u64(&mut data, number, value),
                }
            }
            fuzz_proto(&data);
        }

        /// Logs that are nearly right: metadata, then records of every type.
        #[test]
        fn logs(window: u8, split: u8, records in proptest::collection::vec((1u8..6, 0u64..4, 0u64..4, 0u64..4), 0..8)) {
            let mut data = vec![window, 1, split, 0, 1, 4, 8, 1, 16, 2];
            for (record_type, one, two, three) in records {
                let mut message = Vec::new();
                wire::put_u64(&mut message, 1, one);
                wire::put_u64(&mut message, 2, two);
                wire::put_u64(&mut message, 3, three);
                data.extend([record_type, message.len() as u8]);
                data.extend(message);
            }
            fuzz_wal(&data);
        }
    }

    #[test]
    fn good_inputs_are_reached() {
        fuzz_initial_cluster(b"\x01tb= http://b:2,a=HTTP://a:1");
        fuzz_member(br#"{"id":1,"peerURLs":null,"name":"<"}"#);
        let member = snap::Member {
            id: 7,
            ..snap::Member::default()
        };
        fuzz_snap(&snap::fresh(&[member]).unwrap());
        let mut log = vec![3, 0, 0, 0];
        let founder = wal::Founder {
            id: 7,
            context: b"{}",
        };
        log.extend(wal::fresh(&Metadata::default(), &[founder]));
        fuzz_wal(&log);
    }
}
