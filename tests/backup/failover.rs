//! A member that fails is no failed backup, and the report says which one it was.

use std::time::Duration;

use super::site::{Site, failed, text};
use crate::util::etcd::Etcd;
use crate::util::fake::{Fake, Script, Step, good, image};
use crate::util::fill;
use crate::util::ports::free_url;
use crate::util::proxy::Proxy;

#[track_caller]
fn failovers(site: &Site) -> Vec<(String, String)> {
    let report = site.report();
    let all = report["failovers"].as_array().unwrap();
    assert_eq!(site.metric("last_run_failovers"), Some(all.len() as f64));
    let pair = |each: &serde_json::Value| (text(&each["endpoint"]), text(&each["error"]));
    all.iter().map(pair).collect()
}

#[test]
fn a_dead_endpoint_is_told() {
    let server = Etcd::new("3.7").start();
    server.api().put("key", "value");
    let site = Site::new();
    let dead = free_url();
    for endpoints in [
        format!("{dead},{}", server.url()),
        format!("{},{dead}", server.url()),
    ] {
        let output = site.backup(&endpoints).run().ok().stdout_is("");
        output.stderr_has(&format!("{dead} is left out: connection refused"));
        let told = failovers(&site);
        assert_eq!(told, [(dead.clone(), "connection refused".to_owned())]);
        assert_eq!(site.report()["saved"]["endpoint"], server.url());
    }
    site.backup(&server.url()).run().ok().stderr_is("");
    assert_eq!(failovers(&site), []);
}

#[test]
fn a_stream_that_is_cut_goes_on_with_the_next_member() {
    let server = Etcd::new("3.7").start();
    fill::bulk(&mut server.api(), "bulk/", 50, 20_000);
    let proxy = Proxy::before(server.port());
    let (cut, whole) = (format!("http://127.0.0.1:{}", proxy.port()), server.url());
    let site = Site::new();
    // The status is a few hundred bytes, the snapshot a megabyte.
    for bytes in [10_000, 500_000] {
        proxy.cut_after(bytes);
        let output = site
            .backup(&format!("{cut},{whole}"))
            .run()
            .ok()
            .stdout_is("");
        output.stderr_has(&format!("trying {whole} next"));
        let told = failovers(&site);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].0 == cut && told[0].1.contains(&cut), "{told:?}");
        assert_eq!(site.report()["saved"]["endpoint"], whole);
        assert!(site.leftovers().is_empty());
    }
    site.verb("check").arg("--full").run().ok();
    assert_eq!(site.list()["totals"]["verified"], 2);
    // Both of them have told of an alarm; it is one.
    fill::alarm(&mut server.api());
    proxy.cut_after(10_000);
    site.backup(&format!("{cut},{whole}")).run().ok();
    let report = site.report();
    let warnings = report["warnings"].as_array().unwrap().iter();
    let alarms = warnings.filter(|text| text.to_string().contains("NOSPACE"));
    assert_eq!(
        (failovers(&site).len(), alarms.count()),
        (1, 1),
        "{report:#}"
    );
}

/// A member, by its id and what it has applied, that sends the first piece of a snapshot, and then does this.
fn that_begins((member_id, applied): (u64, u64), then: Step) -> Fake {
    Fake::start(Script {
        member_id,
        applied,
        snapshot: vec![good(&image())[0].clone(), then],
        ..Script::default()
    })
}

/// That is no fault of the member, and no other is asked.
#[test]
fn a_run_whose_time_is_up_goes_on_with_nobody() {
    let [first, second] = [(11, 1000), (12, 900)].map(|member| that_begins(member, Step::Stall));
    let endpoints = format!("{},{}", first.endpoint(), second.endpoint());
    let site = Site::new();
    let before = site.tree();
    let late = ["--timeout=2s", "--idle-timeout=60s"];
    let output = site.backup(&endpoints).args(late).run();
    failed(&site, &before, output, 5, "save")
        .stderr_has("not done within 2s")
        .stderr_lacks("trying");
    assert_eq!(failovers(&site), []);
}

#[test]
fn when_all_of_them_fail_the_report_names_all() {
    let [first, second] = [(11, 1000), (12, 900)].map(|member| that_begins(member, Step::Cut));
    let dead = free_url();
    let endpoints = format!("{},{dead},{}", second.endpoint(), first.endpoint());
    let site = Site::new();
    let before = site.tree();
    let output = site
        .backup(&endpoints)
        .run()
        .within(Duration::from_secs(20));
    failed(&site, &before, output, 5, "save").stderr_has(&second.endpoint());
    let mut named: Vec<String> = failovers(&site)
        .into_iter()
        .map(|(named, _)| named)
        .collect();
    named.sort();
    let mut expected = [first.endpoint(), second.endpoint(), dead];
    expected.sort();
    assert_eq!(named, expected);
}

#[test]
fn endpoints_that_are_all_down_were_tried_in_vain() {
    let (one, other) = (free_url(), free_url());
    let site = Site::new();
    for endpoints in [vec![one.clone(), other.clone()], vec![one.clone()]] {
        let before = site.tree();
        let output = site.backup(&endpoints.join(",")).run();
        failed(&site, &before, output, 5, "save");
        let refused = |endpoint: &String| (endpoint.clone(), "connection refused".to_owned());
        let expected: Vec<_> = endpoints.iter().map(refused).collect();
        assert_eq!(failovers(&site), expected);
    }
}
