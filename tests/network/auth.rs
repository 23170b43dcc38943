//! Logging in: users, wrong passwords, roles, and certificates that are users.

use etcd_rescue::client::{ConnectOptions, Password};
use etcd_rescue::error::Kind;

use super::{failure, save, to};
use crate::util::certs::Ca;
use crate::util::etcd::Etcd;
use crate::util::fill::{self, READER, ROOT};
use crate::util::tls::Tls;

per_version! {
    who_may_save_when_auth_is_on
    a_user_that_nobody_asked_for
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
