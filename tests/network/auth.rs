//! Logging in: users, wrong passwords, roles, and certificates that are users.

use etcd_rescue::client::{ConnectOptions, Password};
use etcd_rescue::error::Kind;

use super::{failure, save, to, try_save};
use crate::util::certs::Ca;
use crate::util::etcd::Etcd;
use crate::util::fake::{Fake, Script};
use crate::util::fill::{self, READER, ROOT};
use crate::util::tls::Tls;

per_version! {
    who_may_save_when_auth_is_on
    a_user_that_nobody_asked_for
}

#[test]
fn one_scheme_speaks_for_those_without_and_a_password_stays_out_of_plaintext() {
    let ca = Ca::new("the test CA");
    let secure = || {
        Fake::start(Script {
            tls: Some(ca.server()),
            ..Script::default()
        })
    };
    let (tls, other, plain) = (secure(), secure(), Fake::start(Script::default()));
    let bare = |fake: &Fake| format!("127.0.0.1:{}", fake.port());
    // The first scheme decides for those that have none, as with etcdctl.
    failure(to(&[&tls.endpoint(), &bare(&other)]))
        .kind(Kind::Unreachable)
        .says(&format!(
            "{}: the server's certificate was not signed",
            bare(&other)
        ));

    for mixed in [
        [tls.endpoint(), plain.endpoint()],
        [plain.endpoint(), tls.endpoint()],
        [bare(&plain), tls.endpoint()],
    ] {
        let [a, b] = mixed.each_ref().map(String::as_str);
        let mut options = ConnectOptions {
            insecure_skip_tls_verify: !a.starts_with("127"),
            ..to(&[a, b])
        };
        let left = try_save(options.clone()).map(|saved| saved.warnings);
        if options.insecure_skip_tls_verify {
            let told = format!(
                "{} is spoken to in plaintext, though {} is not",
                plain.endpoint(),
                tls.endpoint()
            );
            assert_eq!(left.unwrap(), told);
        }
        options.user = Some(("root".into(), Password("s3cret".into())));
        let refused = failure(options)
            .kind(Kind::Usage)
            .says("the password would go in plaintext to ")
            .hints("https://");
        assert!(!refused.to_string().contains("s3cret"), "{refused}");
    }
    // Nothing else to compare with: the operator has decided.
    save(ConnectOptions {
        user: Some(("root".into(), Password("s3cret".into()))),
        ..to(&[&plain.endpoint()])
    });
}

fn who_may_save_when_auth_is_on(minor: &str) {
    let ca = Ca::new("the test CA");
    let tls = Tls::mutual(&ca.server(), ca.cert(), ca.cert(), &ca.client("harness"));
    let mut server = Etcd::new(minor).tls(tls).start();
    fill::auth(&mut server);
    let with_user = |name: &str, password: &str| ConnectOptions {
        user: Some((name.to_owned(), Password(password.to_owned()))),
        ..to(&[&server.url()])
    };
    let with_cert = |common_name: &str| {
        let pair = ca.client(common_name);
        ConnectOptions {
            cacert: Some(ca.cert().into()),
            cert: Some(pair.cert),
            key: Some(pair.key),
            ..to(&[&server.endpoint()])
        }
    };
    assert_eq!(save(with_user(ROOT.0, ROOT.1)).notices, "");
    assert_eq!(save(with_cert(ROOT.0)).notices, "");

    let wrong = failure(with_user(ROOT.0, "s3cret-and-wrong"))
        .kind(Kind::Unreachable)
        .says("user name or password is wrong")
        .says(&server.url())
        .hints("--password");
    assert!(!wrong.to_string().contains("s3cret"), "{wrong}");
    failure(with_user("nobody", "x"))
        .kind(Kind::Unreachable)
        .says("user name or password is wrong");
    failure(to(&[&server.url()]))
        .kind(Kind::Unreachable)
        .says("authentication is on, and nobody is logged in")
        .hints("--user");
    for options in [with_user(READER.0, READER.1), with_cert(READER.0)] {
        failure(options)
            .kind(Kind::Unreachable)
            .says("no permission to take a snapshot")
            .hints("root role");
    }
    failure(with_cert("stranger"))
        .kind(Kind::Unreachable)
        .hints("CN");
}

fn a_user_that_nobody_asked_for(minor: &str) {
    let server = Etcd::new(minor).start();
    let saved = save(ConnectOptions {
        user: Some(("root".into(), Password("x".into()))),
        ..to(&[&server.url()])
    });
    assert_eq!(
        saved.notices,
        "the server has no authentication; --user is not needed"
    );
}
