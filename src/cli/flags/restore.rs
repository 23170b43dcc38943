//! Flags of `restore`: etcdutl's, then ours.

use super::super::commands::Command;
use super::super::raw::value;
use super::{Flag, PLAIN};

const RESTORE: &[Command] = &[Command::Restore];

pub const FLAGS: &[Flag] = &[
    Flag {
        long: "data-dir",
        value: Some("DIR"),
        commands: RESTORE,
        short_doc: "make member/ below this directory",
        long_doc: "It is created if it is not there; it may be empty, or a mount point. If member/ is there already, see --move-aside.",
        update: |raw, value| {
            raw.data_dir = Some(value::path(value)?);
            Ok(())
        },
        ..PLAIN
    },
    Flag {
        long: "wal-dir",
        value: Some("DIR"),
        commands: RESTORE,
        short_doc: "put the WAL here instead of member/wal",
        long_doc: "It may be there if it is empty, but not be a mount point. etcd must then be started with the same --wal-dir.",
        update: |raw, value| {
            raw.wal_dir = Some(value::path(value)?);
            Ok(())
        },
        ..PLAIN
    },
    Flag {
        long: "name",
        value: Some("NAME"),
        default: "default",
        commands: &[Command::Restore, Command::Backup],
        short_doc: "restore: this member; backup: the files",
        long_doc: "restore: one of the names in --initial-cluster. backup: what names of files begin with, NAME-TIME-revREVISION.db.zst; {host}, \
                   {member} and {cluster} stand for the host, the member and the cluster id; there the default is etcd.",
        update: |raw, value| {
            raw.name = value::word(value)?;
            Ok(())
        },
        ..PLAIN
    },
    Flag {
        long: "initial-cluster",
        value: Some("NAME=URL,..."),
        commands: RESTORE,
        short_doc: "all members with their peer URLs",
        long_doc: "It must be the same on every member. Default: this member alone, NAME=URLS of --name and --initial-advertise-peer-urls. \
                   A warning has the name and URLs that the snapshot knows, where that makes another cluster than it came from.",
        update: |raw, value| {
            raw.initial_cluster = Some(value::word(value)?);
            Ok(())
        },
        ..PLAIN
    },
    Flag {
        long: "initial-cluster-token",
        value: Some("TOKEN"),
        commands: RESTORE,
        short_doc: "sets the ids of this cluster apart",
        long_doc: "It must be the same on every member. Default: derived from the snapshot's SHA-256, so that members restored from different snapshots \
                   refuse each other.",
        update: |raw, value| {
            raw.initial_cluster_token = Some(value::word(value)?);
            Ok(())
        },
        ..PLAIN
    },
    Flag {
        long: "initial-advertise-peer-urls",
        value: Some("URLS"),
        commands: RESTORE,
        short_doc: "where the other members reach this one",
        long_doc: "Default: this member's URLs in --initial-cluster, or http://localhost:2380.",
        update: |raw, value| {
            raw.initial_advertise_peer_urls = Some(value::word(value)?);
            Ok(())
        },
        ..PLAIN
    },
    Flag {
        long: "skip-hash-check",
        commands: RESTORE,
        rare: true,
        short_doc: "the same as --raw, by etcdutl's name",
        long_doc: "Structure and meaning are checked all the same.",
        update: |raw, value| {
            raw.skip_hash_check = value::boolean(value)?;
            Ok(())
        },
        ..PLAIN
    },
    Flag {
        long: "initial-memory-map-size",
        value: Some("BYTES"),
        commands: RESTORE,
        rare: true,
        short_doc: "accepted for etcdutl's sake, no effect",
        long_doc: "Nothing is mapped into memory here.",
        update: |_, value| value::number(value).map(drop),
        ..PLAIN
    },
    Flag {
        long: "bump-revision",
        value: Some("N"),
        commands: RESTORE,
        short_doc: "add N to the revision, compact the past",
        long_doc: "Watchers and caches notice by this that history was replaced. N must be more than the number of writes since the snapshot was \
                   taken, and the same on every member. Default: 1000000000 for a Kubernetes snapshot, otherwise the revision stays.",
        update: |raw, value| {
            raw.bump_revision = Some(value::number(value)?);
            Ok(())
        },
        ..PLAIN
    },
    Flag {
        long: "mark-compacted",
        commands: RESTORE,
        rare: true,
        short_doc: "implied by --bump-revision",
        long_doc: "",
        update: |raw, value| {
            raw.mark_compacted = Some(value::boolean(value)?);
            Ok(())
        },
        ..PLAIN
    },
    Flag {
        long: "no-bump",
        commands: RESTORE,
        short_doc: "leave the revision as it is",
        long_doc: "",
        update: |raw, value| {
            raw.no_bump = value::boolean(value)?;
            Ok(())
        },
        ..PLAIN
    },
    Flag {
        long: "owner",
        value: Some("USER:GROUP"),
        commands: RESTORE,
        short_doc: "owner of what is made",
        long_doc: "Names or numbers. Default: the owner of the old member/ or of DIR.",
        update: |raw, value| {
            raw.owner = Some(value::word(value)?);
            Ok(())
        },
        ..PLAIN
    },
    Flag {
        long: "move-aside",
        commands: RESTORE,
        short_doc: "rename a member/ that is there",
        long_doc: "It becomes member.before-TIME; nothing is removed. The command that undoes it is printed.",
        update: |raw, value| {
            raw.move_aside = value::boolean(value)?;
            Ok(())
        },
        ..PLAIN
    },
    Flag {
        long: "dry-run",
        commands: &[Command::Restore, Command::Prune],
        short_doc: "print the plan, write nothing",
        long_doc: "Everything is checked as it would be otherwise.",
        update: |raw, value| {
            raw.dry_run = value::boolean(value)?;
            Ok(())
        },
        ..PLAIN
    },
];
