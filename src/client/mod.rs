//! Speaking to etcd: endpoints, TLS, auth, member choice, and the snapshot stream.
//!
//! ```text
//! ConnectOptions -> Client -- survey --> Survey (best candidate first, the others with reasons)
//!                        \--- snapshot(candidate, sink) --> Received
//! ```
//!
//! The rest of the program is synchronous; the one-threaded runtime is in here, and so is every deadline: each wait ends
//! in an answer, in an error that says what did not come, or in [`Kind::Interrupted`](crate::error::Kind::Interrupted) a
//! tenth of a second after a signal.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::error::{Error, Result};
use crate::limits::Deadlines;
use crate::observe::Observer;

mod connect;
mod endpoint;
mod explain;
mod flaw;
mod mistrust;
mod probe;
mod rank;
mod receive;
mod session;
mod stream;
mod survey;
mod tls;
mod verifier;
mod wire;
mod x509;

use connect::Target;
use endpoint::{Address, Endpoint};
use session::Session;
use tls::Tls;

pub use rank::LAG;
pub use receive::Sink;
pub use stream::Received;
#[cfg(any(test, feature = "fuzzing"))]
pub use stream::fuzz_stream;
pub use survey::{Alarm, Candidate, LeftOut, Member, Survey};

/// How often a wait looks up to ask whether it should stop.
const TICK: Duration = Duration::from_millis(100);

/// How to reach a cluster; field for field what etcdctl's global flags say (`compat.md` 2.2).
#[derive(Clone, Debug, Default)]
pub struct ConnectOptions {
    /// Endpoints as typed: `host:port`, `http://…`, `https://…`, `unix:…`, `unixs:…`.
    pub endpoints: Vec<String>,
    /// Trust these CAs (PEM).
    pub cacert: Option<PathBuf>,
    /// Client certificate chain (PEM).
    pub cert: Option<PathBuf>,
    /// Its key (PEM).
    pub key: Option<PathBuf>,
    /// `--insecure-skip-tls-verify`.
    pub insecure_skip_tls_verify: bool,
    /// `--insecure-transport=false` was given: TLS even where nothing else asks for it.
    pub force_tls: bool,
    /// User name and password.
    pub user: Option<(String, Password)>,
    /// HTTP/2 ping interval while a call is active; zero for none. Raised to 10 s, as gRPC's Go client does, because etcd
    /// hangs up on clients that ping more often.
    pub keepalive_time: Duration,
    /// How long a ping may stay unanswered.
    pub keepalive_timeout: Duration,
    /// How long to wait for anything.
    pub deadlines: Deadlines,
}

/// A password; never printed.
#[derive(Clone, Default)]
pub struct Password(pub String);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(hidden)")
    }
}

/// Speaks to one cluster.
pub struct Client {
    runtime: Option<Runtime>,
    targets: Vec<Target>,
    user: Option<(String, Password)>,
    notices: Vec<String>,
    warnings: Vec<String>,
}

impl Client {
    /// Understands the endpoints and reads the TLS files; nothing is connected yet.
    ///
    /// [`Kind::Usage`](crate::error::Kind::Usage) for options that make no sense,
    /// [`Kind::Failed`](crate::error::Kind::Failed) for a file that cannot be used, each named.
    pub fn new(options: ConnectOptions) -> Result<Client> {
        if options.endpoints.is_empty() {
            return Err(Error::usage("no endpoint is given").hint(
                "give one or more: --endpoints https://10.0.0.1:2379,https://10.0.0.2:2379",
            ));
        }
        let tls_flags = options.has_tls_flags();
        // An endpoint without a scheme is spoken to as the first one is, but never in plaintext despite a flag.
        let mut tls_by_default = tls_flags;
        if let Some(first) = options.endpoints.first() {
            tls_by_default |= Endpoint::parse(first, tls_flags)?.tls_name.is_some();
        }
        let endpoints = options
            .endpoints
            .iter()
            .map(|typed| Endpoint::parse(typed, tls_by_default))
            .collect::<Result<Vec<Endpoint>>>()?;
        let tls = match endpoints.iter().any(|e| e.tls_name.is_some()) {
            true => Some(Arc::new(Tls::load(&options)?)),
            false => None,
        };
        let (notices, warnings) = plaintext(&endpoints, &options)?;
        let target = |endpoint| Target {
            endpoint,
            tls: tls.clone(),
            deadlines: options.deadlines.clone(),
            keepalive: (options.keepalive_time, options.keepalive_timeout),
        };
        let targets = endpoints.into_iter().map(target).collect();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(|e| Error::failed("cannot start the network runtime").because(e))?;
        Ok(Client {
            runtime: Some(runtime),
            targets,
            user: options.user,
            notices,
            warnings,
        })
    }

    /// Asks every endpoint at once what it is, and puts those that can be saved from in order.
    ///
    /// [`Kind::Unreachable`](crate::error::Kind::Unreachable) when nobody can be asked;
    /// [`Kind::Refused`](crate::error::Kind::Refused) when the endpoints belong to different clusters, or when all that
    /// answered had better not be saved from. Remarks go to [`Observer::notice`] and [`Observer::warn`].
    pub fn survey(&self, observer: &dyn Observer) -> Result<Survey> {
        self.survey_hearing(observer, &mut |_, _| {})
    }

    /// As [`Client::survey`]; `silent` is told of each endpoint that did not answer, and why, whatever comes of the rest.
    pub fn survey_hearing(
        &self,
        observer: &dyn Observer,
        silent: &mut dyn FnMut(String, String),
    ) -> Result<Survey> {
        for notice in &self.notices {
            observer.notice(notice);
        }
        for warning in &self.warnings {
            observer.warn(warning);
        }
        let answers = self.watched(observer, self.ask_all())??;
        let endpoints: Vec<Endpoint> = self.targets.iter().map(|t| t.endpoint.clone()).collect();
        let needless = answers.iter().any(|answer| answer.needless_user);
        let members: Vec<_> = answers.into_iter().map(|answer| answer.member).collect();
        for (endpoint, member) in endpoints.iter().zip(&members) {
            if let Err(error) = member {
                silent(endpoint.to_string(), rank::because(endpoint, error));
            }
        }
        let mut survey = rank::rank(&endpoints, members)?;
        if needless {
            survey.notices.insert(
                0,
                "the server has no authentication; --user is not needed".into(),
            );
        }
        for notice in &survey.notices {
            observer.notice(notice);
        }
        for warning in &survey.warnings {
            observer.warn(warning);
        }
        Ok(survey)
    }

    /// Streams a snapshot from one candidate of [`Client::survey`] into `sink`, over a connection of its own.
    ///
    /// Tells the observer the stage `streaming` with the image's size, and each piece. When this returns `Ok`, size, order
    /// and SHA-256 were right. [`Kind::Unreachable`](crate::error::Kind::Unreachable) when the server could not be reached,
    /// stopped, stalled or broke a rule; nothing that the sink got is of any use then. Errors of the sink are returned
    /// as they are.
    pub fn snapshot(
        &self,
        from: &Candidate,
        sink: &mut dyn Sink,
        observer: &dyn Observer,
    ) -> Result<Received> {
        let target = self
            .targets
            .get(from.member.index)
            .ok_or_else(|| Error::failed("this candidate belongs to another survey"))?;
        self.watched(observer, async {
            let session = Session::open(target, self.user.as_ref()).await?;
            receive::snapshot(&session, sink, observer).await
        })?
    }

    async fn ask_all(&self) -> Result<Vec<probe::Answer>> {
        let mut tasks = JoinSet::new();
        for (index, target) in self.targets.iter().cloned().enumerate() {
            let user = self.user.clone();
            tasks.spawn(async move { (index, probe::ask(&target, index, user.as_ref()).await) });
        }
        let mut answers = Vec::new();
        while let Some(done) = tasks.join_next().await {
            answers.push(done.map_err(|e| Error::failed("a probe died").because(e))?);
        }
        answers.sort_by_key(|(index, _)| *index);
        Ok(answers.into_iter().map(|(_, answer)| answer).collect())
    }

    /// Runs work to its end, or until the observer has had enough.
    fn watched<T>(&self, observer: &dyn Observer, work: impl Future<Output = T>) -> Result<T> {
        let Some(runtime) = &self.runtime else {
            return Err(Error::failed("the network runtime is gone"));
        };
        runtime.block_on(async {
            let mut work = std::pin::pin!(work);
            loop {
                observer.check()?;
                if let Ok(done) = timeout(TICK, work.as_mut()).await {
                    return Ok(done);
                }
            }
        })
    }
}

/// What is to be said of endpoints in plaintext: notices, and warnings where others speak TLS. One list of endpoints is one
/// cluster, with one password: what is worth TLS on the way to one member is refused to another without.
fn plaintext(
    endpoints: &[Endpoint],
    options: &ConnectOptions,
) -> Result<(Vec<String>, Vec<String>)> {
    let secure = endpoints.iter().find(|e| e.tls_name.is_some());
    let mut plain = endpoints.iter().filter(|e| e.tls_name.is_none());
    let Some(secure) = secure else {
        let notices = plain.filter(|_| options.has_tls_flags()).map(|plain| {
            format!(
                "{plain} is spoken to in plaintext, because of its scheme; the TLS flags do not apply"
            )
        });
        return Ok((notices.collect(), Vec::new()));
    };
    let on_the_wire = |e: &&Endpoint| matches!(e.address, Address::Tcp(..));
    if options.user.is_some()
        && let Some(plain) = plain.clone().find(on_the_wire)
    {
        return Err(Error::usage(format!(
            "the password would go in plaintext to {plain}, though {secure} is spoken to over TLS"
        ))
        .hint("begin every endpoint with https://, or leave this one out"));
    }
    let warnings = plain
        .by_ref()
        .map(|plain| format!("{plain} is spoken to in plaintext, though {secure} is not"));
    Ok((Vec::new(), warnings.collect()))
}

impl Drop for Client {
    /// A DNS query cannot be cancelled; leaving must not wait for one that hangs.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl ConnectOptions {
    /// Whether any flag asks for TLS; scheme-less endpoints speak it then.
    fn has_tls_flags(&self) -> bool {
        self.cacert.is_some()
            || self.cert.is_some()
            || self.key.is_some()
            || self.insecure_skip_tls_verify
            || self.force_tls
    }
}
