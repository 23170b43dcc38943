//! Promise 6: whatever the other side does, a run ends by itself, in time, as `save` is typed by default.

use std::time::Duration;

use crate::util::fake::{Fake, Manners, Script, Step, good, image};
use crate::util::process::Output;
use crate::util::run::Rescue;
use crate::util::temp_dir;
use crate::util::tree::names;

/// Saves from this server with the defaults and `flags`; nothing may be left.
#[track_caller]
fn save(script: Script, flags: &[&str]) -> Output {
    let fake = Fake::start(script);
    let dir = temp_dir();
    let run = Rescue::new(["save", "--endpoints", &fake.endpoint()]).args(flags);
    let output = run.arg(dir.path().join("out.db")).run();
    assert!(names(dir.path()).is_empty(), "{:?}", names(dir.path()));
    output.code(5).stdout_is("").stderr_has("error: ")
}

fn with(manners: Manners) -> Script {
    Script {
        manners,
        ..Script::default()
    }
}

#[test]
fn peers_that_say_nothing_do_not_hold_it_up() {
    let idle = ["--idle-timeout", "2s"];
    let whole = ["--command-timeout", "2s"];
    let silent = [Manners::SilentTcp, Manners::SilentCalls];
    std::thread::scope(|scope| {
        for manners in silent {
            scope.spawn(move || save(with(manners), &[]).within(Duration::from_secs(15)));
        }
        let stalls = |then: Step| Script {
            snapshot: vec![good(&image())[0].clone(), then],
            ..Script::default()
        };
        // A byte now and then is no progress.
        let trickle = Step::Trickle {
            every: Duration::from_millis(100),
            remaining: (image().len() - (32 << 10)) as u64,
        };
        for (then, flags) in [
            (Step::Stall, &idle),
            (Step::Stall, &whole),
            (trickle.clone(), &idle),
            (trickle, &whole),
        ] {
            scope.spawn(move || save(stalls(then), flags).within(Duration::from_secs(8)));
        }
    });
}
