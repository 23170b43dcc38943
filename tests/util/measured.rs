//! Runs whose memory and time are bounded, whatever the input is.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::must_have;
use super::process::{self, Output};
use super::run::Rescue;

/// Most memory that judging any file may take, whatever it claims.
pub const MOST_MEMORY: u64 = 64 << 20;

/// Most time, on a machine that is busy with other tests, without optimisation.
pub const MOST_TIME: Duration = Duration::from_secs(30);

/// Runs the program in `dir`, which is where temporary files go too; it may take only so much time and
/// memory, and must end by itself.
#[track_caller]
pub fn run(dir: &Path, args: &[&str], stdin: Option<Vec<u8>>) -> Output {
    let plain = Rescue::new(args).command();
    let memory = dir.join("memory");
    let mut command = Command::new(must_have("/usr/bin/time"));
    command
        .env_clear()
        .args(["--quiet", "--format=%M", "--output"])
        .arg(&memory)
        .args(["timeout", "--signal=KILL", &MOST_TIME.as_secs().to_string()])
        .arg(plain.get_program())
        .args(plain.get_args())
        .env("PATH", "/usr/bin:/bin")
        .env("TMPDIR", dir)
        .current_dir(dir);
    let output = process::run(command, stdin, MOST_TIME * 2);
    let kilobytes: u64 = std::fs::read_to_string(&memory)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    std::fs::remove_file(&memory).unwrap();
    let ended = output.code.is_some_and(|code| code < 100);
    output
        .expect(ended, "an end of its own making")
        .stderr_lacks("panicked")
        .expect(
            kilobytes << 10 <= MOST_MEMORY,
            &format!("at most {MOST_MEMORY} bytes of memory, found {kilobytes} KiB"),
        )
}
