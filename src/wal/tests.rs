//! The vectors of `formats.md` 6.5, and what any damage comes to.

use aws_lc_rs::digest::{SHA256, digest};
use proptest::prelude::*;

use super::*;
use crate::io::Image;
use crate::limits::Limits;
use crate::proto::raft::{self, ConfState, HardState};
use crate::proto::walpb::{self, Metadata, Snapshot};
use crate::proto::wire;

/// What etcdutl 3.5 and 3.6 write for one member `default` at `http://localhost:2380`, token `etcd-cluster`.
const VECTOR: &str = "
    0400000000000084 0804100000000000 2000000000000000 080110bb81c7fc05
    1a1608cdd2918bd2 b881cf8e0110b298 eaf1948386fccd01 0e00000000000082
    08051094bbc7ed0e 1a04080010000000 7400000000000084 080210c2ee92950b
    1a6a080110011801 22620800100018cd d2918bd2b881cf8e 0122517b22696422
    3a31303237363635 3737343339333239 37353433372c2270 65657255524c7322
    3a5b22687474703a 2f2f6c6f63616c68 6f73743a32333830 225d2c226e616d65
    223a226465666175 6c74227d00000000 1900000000000087 0803109b98d6c308
    1a0f080110cdd291 8bd2b881cf8e0118 0100000000000000 1d00000000000083
    0805108d9eaeef0d 1a13080110011a0d 08cdd2918bd2b881 cf8e012800000000";

const ID: u64 = 0x8e9e_05c5_2164_694d;
const METADATA: Metadata = Metadata {
    node_id: ID,
    cluster_id: 0xcdf8_1819_4e3a_8c32,
};
const CONTEXT: &[u8] =
    br#"{"id":10276657743932975437,"peerURLs":["http://localhost:2380"],"name":"default"}"#;

fn default_wal() -> Vec<u8> {
    fresh(
        &METADATA,
        &[Founder {
            id: ID,
            context: CONTEXT,
        }],
    )
}

fn sha256(bytes: &[u8]) -> String {
    let hex = |byte: &u8| format!("{byte:02x}");
    digest(&SHA256, bytes).as_ref().iter().map(hex).collect()
}

/// Events as text, so that two readings can be compared.
fn read_all(segments: &[&[u8]], window: usize) -> (Vec<String>, Log) {
    let images: Vec<Image> = segments
        .iter()
        .map(|bytes| Image::from_memory(bytes.to_vec()))
        .collect();
    let segments: Vec<Segment<'_>> = (0..)
        .zip(&images)
        .map(|(seq, image)| Segment { seq, image })
        .collect();
    let mut events = Vec::new();
    let log = read_windowed(&segments, &Limits::default(), window, &mut |_, event| {
        events.push(format!("{event:?}"));
        Ok(())
    })
    .unwrap();
    (events, log)
}

fn corruption(log: &Log) -> &str {
    match &log.end {
        End::Corrupt(corruption) => &corruption.what,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_fresh_log_is_upstreams_byte_for_byte() {
    let expected: String = VECTOR.split_whitespace().collect();
    let written: String = default_wal().iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(written, expected);
    assert_eq!(
        sha256(&default_wal()),
        "5d6ef1158b8cf9062b717f2d86ae1cf6ef98f09cb5a0af0f259a839ff2050928"
    );
}

#[test]
fn a_fresh_log_reads_back() {
    let mut wal = default_wal();
    for _ in 0..2 {
        let (events, log) = read_all(&[&wal], 64);
        assert_eq!(events.len(), 5);
        assert_eq!((log.end, log.metadata), (End::Clean, Some(METADATA)));
        let state = HardState {
            term: 1,
            vote: ID,
            commit: 1,
        };
        assert_eq!((log.state, log.last_index), (state, Some(1)));
        assert_eq!((log.records, log.good_until.offset), (6, 288));
        wal.resize(4096, 0); // preallocated or not
    }
}

/// Founders come in any order; the lowest id has the first index and the vote.
#[test]
fn founders_are_sorted() {
    let founder = |id, context| Founder { id, context };
    let two = [founder(9, b"nine" as &[u8]), founder(2, b"two")];
    let wal = fresh(&METADATA, &two);
    assert_eq!(wal, fresh(&METADATA, &[two[1], two[0]]));
    let (events, log) = read_all(&[&wal], 8);
    assert!(events[2].contains("index: 1") && events[3].contains("index: 2"));
    assert_eq!((log.state.vote, log.state.commit), (2, 2));
    assert!(events[5].contains("voters: [2, 9]"), "{}", events[5]);
}

/// The forms of other versions, built by hand: what is left out there is read as zero here.
#[test]
fn the_forms_of_3_4_and_3_7_read_the_same() {
    let mut conf_state = Vec::new();
    wire::put_u64(&mut conf_state, 1, ID);
    for (change_id, snapshot_members, bytes, sum) in [
        (
            None,
            Some(&conf_state[..]),
            288,
            "90da18dd28e4aa70048b6cd2275c00bbd243dda85fd60c62b22ac3df5ca01058",
        ),
        (Some(0), None, 272, ""),
    ] {
        let mut change = Vec::new();
        if let Some(id) = change_id {
            wire::put_u64(&mut change, 1, id);
        }
        wire::put_u64(&mut change, 2, 0);
        wire::put_u64(&mut change, 3, ID);
        wire::put_bytes(&mut change, 4, CONTEXT);
        let entry = raft::Entry {
            entry_type: raft::ENTRY_CONF_CHANGE,
            term: 1,
            index: 1,
            data: Some(&change),
        };
        let state = HardState {
            term: 1,
            vote: ID,
            commit: 1,
        };
        let mut snapshot = b"\x08\x01\x10\x01".to_vec();
        wire::put_present(&mut snapshot, 3, snapshot_members);
        let mut log = Encoder::begin(0);
        log.record(walpb::METADATA, Some(&METADATA.encode()));
        log.record(walpb::SNAPSHOT, Some(&Snapshot::default().encode()));
        log.record(walpb::ENTRY, Some(&entry.encode()));
        log.record(walpb::STATE, Some(&state.encode()));
        log.record(walpb::SNAPSHOT, Some(&snapshot));
        let wal = log.into_bytes();
        assert_eq!(wal.len(), bytes);
        assert!(sum.is_empty() || sha256(&wal) == sum, "{}", sha256(&wal));
        let (_, log) = read_all(&[&wal], 100);
        assert_eq!((log.end, log.state), (End::Clean, state));
    }
}

/// Two segments as a server cuts them.
fn two_segments() -> (Vec<u8>, Vec<u8>) {
    let entry = |index, data: &'static [u8]| raft::Entry {
        entry_type: raft::ENTRY_NORMAL,
        term: 2,
        index,
        data: Some(data),
    };
    let state = |commit| HardState {
        term: 2,
        vote: ID,
        commit,
    };
    let mut first = Encoder::begin(0);
    first.record(walpb::METADATA, Some(&METADATA.encode()));
    first.record(walpb::SNAPSHOT, Some(&Snapshot::default().encode()));
    first.record(walpb::ENTRY, Some(&entry(1, b"one").encode()));
    first.record(walpb::STATE, Some(&state(1).encode()));
    first.record(walpb::ENTRY, Some(&entry(2, b"two").encode()));
    let mut second = Encoder::begin(first.crc());
    second.record(walpb::METADATA, Some(&METADATA.encode()));
    second.record(walpb::STATE, Some(&state(1).encode()));
    second.record(walpb::ENTRY, Some(&entry(2, b"two again").encode()));
    second.record(walpb::ENTRY, Some(&entry(3, b"three!").encode()));
    second.record(walpb::STATE, Some(&state(3).encode()));
    (first.into_bytes(), second.into_bytes())
}

#[test]
fn segments_are_chained() {
    let (first, second) = two_segments();
    let (events, log) = read_all(&[&first, &second], 40);
    assert_eq!((log.end, log.last_index), (End::Clean, Some(3)));
    assert_eq!((events.len(), log.records), (10, 12));
    assert_eq!(log.good_until.seq, 1);

    // Reading may begin at any segment, whatever its checksum and first index are.
    let later = Image::from_memory(second.clone());
    let segment = Segment {
        seq: 7,
        image: &later,
    };
    let log = read(&[segment], &Limits::default(), &mut |_, _| Ok(())).unwrap();
    assert_eq!((log.end, log.last_index), (End::Clean, Some(3)));

    // A segment that is missing, or that another log continues, is told.
    let segments = [segment, segment];
    let log = read(&segments, &Limits::default(), &mut |_, _| Ok(())).unwrap();
    assert!(corruption(&log).starts_with("segment 0000000000000007 follows"));
    let earlier = Image::from_memory(first.clone());
    let swapped = [
        segment,
        Segment {
            seq: 8,
            image: &earlier,
        },
    ];
    let log = read(&swapped, &Limits::default(), &mut |_, _| Ok(())).unwrap();
    assert!(corruption(&log).contains("has CRC 00000000"), "{log:?}");
    let (_, log) = read_all(&[&first[..first.len() - 32], &second], 40);
    assert!(corruption(&log).contains("has CRC"), "{log:?}");
    assert_eq!(log.good_until, Place { seq: 1, offset: 0 });
    let (_, log) = read_all(&[&first[..first.len() - 3], &second], 40);
    assert!(corruption(&log).ends_with("and another segment follows"));
    let (_, log) = read_all(&[], 40);
    assert_eq!(corruption(&log), "there is no segment");
    let (_, log) = read_all(&[&[0; 64]], 40);
    assert_eq!(corruption(&log), "the segment ends before its metadata");
}

/// A log of `records`, after crc and metadata.
fn log_of(records: &[(i64, &[u8])]) -> Log {
    let mut log = Encoder::begin(0);
    log.record(walpb::METADATA, Some(&METADATA.encode()));
    for (record_type, data) in records {
        log.record(*record_type, Some(data));
    }
    read_all(&[&log.into_bytes()], 64).1
}

#[test]
fn what_no_server_writes_is_damage() {
    for (record_type, data, what) in [
        (
            walpb::ENTRY,
            &b"\x08\0\x10\x01\x18\x02"[..],
            "entry 2 follows entry 0",
        ),
        (
            walpb::ENTRY,
            b"\x08\0\x10\0\x18\x01",
            "entry of term 0, index 1",
        ),
        (
            walpb::ENTRY,
            b"\x08\0\x10\x01\x18\0",
            "entry of term 1, index 0",
        ),
        (
            walpb::ENTRY,
            b"\x08\x03\x10\x01\x18\x01",
            "entry 1 has type 3",
        ),
        (
            walpb::ENTRY,
            b"\x08\x01\x10\x01\x18\x01",
            "entry 1 is an empty configuration change",
        ),
        (walpb::ENTRY, b"\x0a\0", "raftpb.Entry at its byte 0"),
        (walpb::STATE, b"\x08\0\x10\0\x18\0", "an empty state"),
        (
            walpb::STATE,
            b"\x08\x01\x10\x01\x18\x01\x22\0",
            "fields that no state has",
        ),
        (walpb::SNAPSHOT, b"\x1a\x05", "walpb.Snapshot at its byte 0"),
        (walpb::METADATA, b"\x08\x01\x10\x01", "metadata differs"),
        (walpb::METADATA, &[0; 1025], "metadata of 1025 bytes"),
        (walpb::CRC, b"x", "a crc record with data"),
        (6, b"x", "record type 6"),
        (0, b"x", "record type 0"),
    ] {
        let log = log_of(&[(record_type, data)]);
        assert!(corruption(&log).contains(what), "{what}: {log:?}");
        assert_eq!(log.records, 2);
    }
    let back = log_of(&[
        (walpb::STATE, b"\x08\x02\x10\x01\x18\x05"),
        (walpb::STATE, b"\x08\x02\x10\x01\x18\x04"),
    ]);
    assert!(corruption(&back).contains("goes back from term 2, commit 5"));

    // One more field, and the frame goes over what follows: a record is lost, and no checksum tells.
    let mut swallowed = Encoder::begin(0).into_bytes();
    swallowed.splice(..8, [8, 0, 0, 0, 0, 0, 0, 0]);
    swallowed.splice(12.., [0x20, 0, 0x20, 0]);
    let (_, log) = read_all(&[&swallowed], 64);
    assert_eq!(
        corruption(&log),
        "a record has more in it than type, crc and data"
    );

    let mut no_data = Encoder::begin(0);
    no_data.record(walpb::METADATA, None);
    let (_, log) = read_all(&[&no_data.into_bytes()], 64);
    assert_eq!(corruption(&log), "a record of type 1 without data");
}

/// A leader sends its snapshot to a member that lags: the log goes on after it.
#[test]
fn a_snapshot_from_a_leader_skips_entries() {
    let skip = Snapshot {
        index: 5000,
        term: 2,
        conf_state: Some(ConfState::default()),
    };
    let log = log_of(&[
        (walpb::ENTRY, b"\x08\0\x10\x01\x18\x01"),
        (walpb::SNAPSHOT, &skip.encode()),
        (walpb::STATE, b"\x08\x02\x10\x01\x18\x88\x27"),
        (walpb::ENTRY, b"\x08\0\x10\x02\x18\x89\x27"),
    ]);
    assert_eq!((log.end, log.last_index), (End::Clean, Some(5001)));
}

#[test]
fn the_limit_holds() {
    let image = Image::from_memory(default_wal());
    let limits = Limits {
        wal_record: 119,
        ..Limits::default()
    };
    let segment = Segment {
        seq: 0,
        image: &image,
    };
    let log = read(&[segment], &limits, &mut |_, _| Ok(())).unwrap();
    assert_eq!(
        corruption(&log),
        "a record of 116 bytes, expected at most 119"
    );
}

#[test]
fn what_the_visitor_says_goes_up() {
    let image = Image::from_memory(default_wal());
    let segment = Segment {
        seq: 0,
        image: &image,
    };
    let error = read(&[segment], &Limits::default(), &mut |_, _| {
        Err(crate::error::Error::interrupted())
    });
    assert_eq!(error.unwrap_err().kind(), crate::error::Kind::Interrupted);
}

/// The checks of a damaged log: the events are the first ones of the whole log, each as it was, and if any
/// is missing the end says so, unless the file simply ends earlier.
fn assert_no_lie(whole: &[String], segments: &[&[u8]], cut: bool, what: &str) {
    let (events, log) = read_all(segments, 64);
    assert!(whole.starts_with(&events), "{what}: {events:#?}");
    if log.end == End::Clean && !cut {
        assert_eq!(events.len(), whole.len(), "{what}: records are missing");
    }
}

#[test]
fn no_flipped_byte_makes_a_wrong_record() {
    let (first, second) = two_segments();
    for segments in [vec![default_wal()], vec![first, second]] {
        let slices: Vec<&[u8]> = segments.iter().map(Vec::as_slice).collect();
        let (whole, _) = read_all(&slices, 64);
        for number in 0..segments.len() {
            for at in 0..segments[number].len() {
                for flip in 1..=255 {
                    let mut damaged = segments.clone();
                    damaged[number][at] ^= flip;
                    let slices: Vec<&[u8]> = damaged.iter().map(Vec::as_slice).collect();
                    let what = format!("segment {number}, byte {at:#x} ^ {flip:#x}");
                    assert_no_lie(&whole, &slices, false, &what);
                }
            }
        }
    }
}

#[test]
fn no_truncation_makes_a_wrong_record() {
    let (first, second) = two_segments();
    let (whole, _) = read_all(&[&first, &second], 64);
    for at in 0..second.len() {
        let cut = &second[..at];
        assert_no_lie(&whole, &[&first, cut], true, &format!("cut at {at}"));
        let mut zeroed = cut.to_vec();
        zeroed.resize(second.len() + 512, 0);
        assert_no_lie(&whole, &[&first, &zeroed], true, &format!("zero from {at}"));
    }
    for at in 0..first.len() {
        assert_no_lie(
            &whole,
            &[&first[..at], &second],
            false,
            &format!("first cut at {at}"),
        );
    }
}

#[test]
fn torn_tails_are_told_from_damage() {
    let mut log = Encoder::begin(0);
    log.record(walpb::METADATA, Some(&METADATA.encode()));
    let entry = raft::Entry {
        entry_type: raft::ENTRY_NORMAL,
        term: 1,
        index: 1,
        data: Some(&[7; 2000]),
    };
    log.record(walpb::ENTRY, Some(&entry.encode()));
    let wal = log.into_bytes();
    let good = Place {
        seq: 0,
        offset: 16 + 40,
    };
    let end = |wal: &[u8]| {
        let (_, log) = read_all(&[wal], 300);
        assert_eq!(log.good_until, good);
        log.end
    };
    assert_eq!(
        end(&wal[..2000]),
        End::Torn(Tear::Body {
            wanted: 2024,
            left: 1936
        })
    );
    assert_eq!(end(&wal[..60]), End::Torn(Tear::Header { left: 4 }));
    let mut zeroed = wal.clone();
    zeroed[1024..1536].fill(0);
    assert_eq!(end(&zeroed), End::Torn(Tear::Zeros));
    zeroed[1536] ^= 1;
    zeroed[1025] = 1;
    assert!(matches!(end(&zeroed), End::Corrupt(_)));
    // Nothing is torn where the log went on in another segment.
    let mut hole = wal.clone();
    hole[1024..1536].fill(0);
    let (_, log) = read_all(&[&hole, &wal], 300);
    assert_eq!(
        (log.good_until, corruption(&log).contains("has CRC")),
        (good, true)
    );
    let mut gap = wal.clone();
    gap[56..64].fill(0);
    assert_eq!(end(&gap), End::Torn(Tear::Gap { data_at: 64 }));
}

proptest! {
    #[test]
    fn any_bytes_end_the_same_through_any_window(bytes: Vec<u8>, tail: Vec<u8>, window in 1usize..70) {
        let mut wal = default_wal();
        wal.extend_from_slice(&tail);
        for bytes in [&bytes, &wal] {
            prop_assert_eq!(read_all(&[bytes], window), read_all(&[bytes], WINDOW));
        }
    }
}
