//! What `pack` makes and the programs of others read; what they make and every command takes.

use super::filter;
use super::site::{ARCHIVE, LARGE, SMALL, Site, packed, parts};
use crate::util::tree::names;

#[test]
fn zstd_gives_back_what_was_packed() {
    for snapshot in [&**SMALL, &**LARGE] {
        let site = Site::with("in.db", snapshot);
        site.run(&["pack", "in.db", "out.zst"])
            .ok()
            .stdout_has("Packed in.db into out.zst");
        let archive = site.read("out.zst");
        assert!(filter("zstd", &["-d", "-c"], &archive) == snapshot);
        filter("zstd", &["-q", "-t"], &archive);
        let path = site.path("out.zst").display().to_string();
        let listed = String::from_utf8(filter("zstd", &["-lv", &path], b"")).unwrap();
        let size = format!("({} B)", snapshot.len());
        assert!(
            listed.contains(&size) && listed.contains("XXH64"),
            "{listed}"
        );
        site.run(&["unpack", "out.zst", "back.db"]).ok();
        assert!(site.read("back.db") == snapshot);
        assert!(site.read("in.db") == snapshot && site.read("out.zst") == archive);
        assert_eq!(names(site.dir()), ["back.db", "in.db", "out.zst"]);
    }
    assert!(parts(&ARCHIVE).1.len() > 10, "LARGE has many frames");
}

#[test]
fn pipes() {
    let site = Site::new();
    let archive = site.pipe(&["pack", "-", "-"], &LARGE).ok().stdout;
    assert!(filter("zstd", &["-d", "-c"], &archive) == *LARGE);
    let back = site.pipe(&["unpack", "-", "-"], &archive).ok();
    assert!(back.stdout == *LARGE);
    site.pipe(&["verify", "-"], &archive)
        .ok()
        .stdout_has("GOOD      standard input  archive of a snapshot");
    site.pipe(&["status", "--full", "-"], &archive).ok();
    let again = site.pipe(&["pack", "-", "-"], &archive).ok().stdout;
    assert!(filter("zstd", &["-d", "-c"], &again) == *LARGE);
    site.pipe(&["restore", "-", "--data-dir", "new"], &archive)
        .ok()
        .stdout_has("archive of a snapshot");
    site.run(&["verify", "--raw", "new"]).ok();
    assert_eq!(names(site.dir()), ["new"]);
    // What goes to a pipe is proved first.
    let cut = &archive[..archive.len() / 2];
    for command in ["pack", "unpack"] {
        site.pipe(&[command, "-", "-"], cut).code(3).stdout_is("");
    }
}

/// The snapshot lies in it with a header in front and at a place where no page is.
#[test]
fn a_tar_archive_is_called_one() {
    let site = Site::with("in.db", &SMALL);
    let dir = site.dir().display().to_string();
    let tar = filter("tar", &["-C", &dir, "-cf", "-", "in.db"], b"");
    let with_size = ["-q", "-c", "--stream-size", &tar.len().to_string()].map(str::to_owned);
    let with_size = with_size.each_ref().map(String::as_str);
    for (name, bytes, kind) in [
        ("it's.tar", tar.clone(), ""),
        ("x.tgz", filter("gzip", &["-c"], &tar), " (gzip-compressed)"),
        (
            "x.tzst",
            filter("zstd", &["-q", "-c"], &tar),
            " (zstd-compressed)",
        ),
        (
            "y.tzst",
            filter("zstd", &with_size, &tar),
            " (zstd-compressed)",
        ),
    ] {
        site.write(name, &bytes);
        let error = format!("error: {name}{kind} is a tar archive; ");
        let hint = format!(
            "hint: unpack it first: tar -xf {}\n",
            name.replace("it's.tar", r"'it'\''s.tar'")
        );
        for command in [
            &["verify", name][..],
            &["status", name],
            &["restore", name, "--data-dir", "new"],
        ] {
            site.run(command)
                .code(1)
                .stderr_has(&error)
                .stderr_has(&hint);
        }
        site.pipe(&["verify", "-"], &bytes)
            .code(1)
            .stderr_has("is a tar archive; ");
    }
    assert!(!site.has("new"));
}

#[test]
fn every_command_takes_what_others_compressed() {
    let (first, second) = SMALL.split_at(100_000);
    let with_size = |part: &[u8]| {
        let size = format!("--stream-size={}", part.len());
        filter("zstd", &["-c", &size], part)
    };
    let site = Site::with("plain", &SMALL);
    let plain = site.path("plain").display().to_string();
    let inputs = [
        ("gzip", filter("gzip", &["-c"], &SMALL)),
        (
            "gzip",
            [
                filter("gzip", &["-c"], first),
                filter("gzip", &["-c"], second),
            ]
            .concat(),
        ),
        ("zstd", filter("zstd", &["-c"], &SMALL)),
        ("zstd", filter("zstd", &["-19", "--long=27", "-c"], &SMALL)),
        ("zstd", with_size(&SMALL)),
        ("zstd", [with_size(first), with_size(second)].concat()),
        (
            "zstd",
            [filter("zstd", &["-c"], first), with_size(second)].concat(),
        ),
        (
            "zstd",
            filter("pzstd", &["-q", "-p", "2", "-c", &plain], b""),
        ),
    ];
    for (number, (kind, bytes)) in inputs.iter().enumerate() {
        println!("{kind}, number {number}");
        let site = Site::with("input", bytes);
        let told = format!("snapshot in {kind}");
        site.run(&["verify", "input"]).ok().stdout_has(&told);
        site.pipe(&["verify", "-"], bytes).ok().stdout_has(&told);
        site.run(&["status", "input"])
            .ok()
            .stdout_is("2ea5aecf, 308, 275, 295 kB, \n");
        site.run(&["pack", "input", "packed"]).ok();
        assert!(filter("zstd", &["-d", "-c"], &site.read("packed")) == *SMALL);
        site.run(&["unpack", "input", "unpacked"]).ok();
        assert!(site.read("unpacked") == *SMALL);
        let piped = site.pipe(&["unpack", "-", "-"], bytes).ok();
        assert!(piped.stdout == *SMALL);
        site.run(&["restore", "input", "--data-dir", "new"]).ok();
        site.run(&["verify", "--raw", "new"]).ok();
        assert!(site.read("input") == *bytes);
        assert_eq!(names(site.dir()), ["input", "new", "packed", "unpacked"]);
    }
}

/// The name says nothing.
#[test]
fn content_decides_and_not_the_name() {
    let site = Site::with("x.db", &packed(&SMALL));
    site.write("x.zst", &SMALL);
    site.run(&["verify", "x.db", "x.zst"])
        .ok()
        .stdout_has("x.db  archive of a snapshot")
        .stdout_has("x.zst  snapshot, ");
    site.run(&["unpack", "x.zst", "y"])
        .code(2)
        .stderr_has("x.zst is not compressed");
    assert!(!site.has("y"));
}

#[test]
fn levels_and_threads_change_the_size_alone() {
    let site = Site::with("in.db", &LARGE);
    let mut sizes = Vec::new();
    for (level, threads) in [("1", "1"), ("1", "4"), ("3", "2"), ("19", "2")] {
        site.run(&[
            "pack", "--force", "--level", level, "-T", threads, "in.db", "out.zst",
        ])
        .ok();
        let archive = site.read("out.zst");
        assert!(filter("zstd", &["-d", "-c"], &archive) == *LARGE);
        let (manifest, frames) = parts(&archive);
        assert_eq!(manifest.frames.level.to_string(), level);
        sizes.push(frames.concat().len());
    }
    assert_eq!(sizes[0], sizes[1], "threads change no byte");
    assert!(sizes[0] > sizes[3], "{sizes:?}");
    for wrong in [
        ["--level", "0"],
        ["--level", "20"],
        ["-T", "0"],
        ["-T", "x"],
    ] {
        let args = [&["pack", "in.db", "no.zst"], &wrong[..]].concat();
        site.run(&args).code(2);
    }
    assert!(!site.has("no.zst"));
}

#[test]
fn what_exists_is_refused_or_replaced_in_one_step() {
    let site = Site::with("in.db", &SMALL);
    site.write("in.zst", &packed(&SMALL));
    for (command, input, made) in [
        ("pack", "in.db", site.read("in.zst").len()),
        ("unpack", "in.zst", SMALL.len()),
    ] {
        site.write("out", b"old");
        site.run(&[command, input, "out"])
            .code(4)
            .stdout_is("")
            .stderr_has("out exists already")
            .stderr_has("--force");
        assert_eq!(site.read("out"), b"old");
        site.run(&[command, "--force", input, "out"]).ok();
        assert!(site.read("out").len().abs_diff(made) < 10);
        // What cannot be packed replaces nothing.
        site.write("out", b"old");
        site.write("bad", &SMALL[..50_000]);
        site.write("bad.zst", &filter("zstd", &["-c"], &SMALL[..50_000]));
        for bad in ["bad", "bad.zst"] {
            if (command, bad) != ("unpack", "bad") {
                site.run(&[command, "--force", bad, "out"])
                    .code(3)
                    .stderr_has("nothing was written");
            }
        }
        assert_eq!(site.read("out"), b"old");
        site.run(&[command, input, "nowhere/out"]).code(1);
    }
    // Its own input is a file that exists, too.
    site.run(&["pack", "in.db", "in.db"]).code(4);
    assert!(site.read("in.db") == *SMALL);
    assert_eq!(
        names(site.dir()),
        ["bad", "bad.zst", "in.db", "in.zst", "out"]
    );
}

#[test]
fn an_archive_that_is_packed_anew_keeps_its_origin() {
    let (mut manifest, frames) = parts(&packed(&SMALL));
    manifest.made.at = "2024-02-29T12:00:00Z".into();
    let source = etcd_rescue::archive::manifest::Source {
        endpoint: "10.0.0.7:2379".into(),
        ..Default::default()
    };
    manifest.source = Some(source);
    let unknown = serde_json::json!({"colour": "blue"});
    manifest.extra.insert("later".into(), unknown);
    let site = Site::with("in.zst", &super::site::assemble(manifest, &frames));
    site.run(&["verify", "in.zst"]).ok().stderr_is("");
    site.run(&["pack", "--level", "9", "in.zst", "out.zst"])
        .ok();
    let (anew, _) = parts(&site.read("out.zst"));
    assert_eq!(anew.made.at, "2024-02-29T12:00:00Z");
    assert_eq!((anew.made.by.as_str(), anew.frames.level), ("pack", 9));
    assert_eq!(anew.source.unwrap().endpoint, "10.0.0.7:2379");
}
