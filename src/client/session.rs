//! A connection that has logged in, and the calls we make on it, each bounded.

use std::time::Duration;

use etcd_client::proto::PbStatusResponse;
use etcd_client::{Channel, ConnectOptions as EtcdOptions, Error as EtcdError, SnapshotStreaming};

use super::Password;
use super::connect::{Link, Target, connect};
use super::explain;
use super::wire::Seen;
use crate::error::Result;

/// A connection to one endpoint.
pub struct Session<'a> {
    /// Which endpoint, and how patient we are.
    pub target: &'a Target,
    /// What came over the wire.
    pub seen: Seen,
    /// `--user` was given to a server that has no authentication.
    pub needless_user: bool,
    etcd: etcd_client::Client,
}

impl<'a> Session<'a> {
    /// Connects and, with a user, logs in.
    pub async fn open(
        target: &'a Target,
        user: Option<&(String, Password)>,
    ) -> Result<Session<'a>> {
        let Link { channel, seen } = connect(target).await?;
        let mut options = EtcdOptions::new();
        if let Some((name, password)) = user {
            options = options.with_user(name, &password.0);
        }
        let mut needless_user = false;
        let login = async {
            let first =
                etcd_client::Client::from_channel(Channel::Tonic(channel.clone()), Some(options))
                    .await;
            match first {
                Err(EtcdError::GRpcStatus(status))
                    if status.message().contains("authentication is not enabled") =>
                {
                    needless_user = true;
                    etcd_client::Client::from_channel(Channel::Tonic(channel), None).await
                }
                other => other,
            }
        };
        let etcd = within(target, explain::LOG_IN, target.deadlines.call, &seen, login).await?;
        Ok(Session {
            target,
            seen,
            needless_user,
            etcd,
        })
    }

    /// Maintenance.Status: what the member says of itself, without asking the others.
    pub async fn status(&self) -> Result<PbStatusResponse> {
        let mut maintenance = self.etcd.maintenance_client();
        let limit = self.target.deadlines.call;
        let answer = self
            .call("ask for the status", limit, maintenance.status())
            .await?;
        Ok(answer.0)
    }

    /// Cluster.MemberList as this member knows it: ids and names.
    pub async fn members(&self) -> Result<Vec<(u64, String)>> {
        let mut cluster = self.etcd.cluster_client();
        let limit = self.target.deadlines.call;
        let answer = self
            .call("ask for the members", limit, cluster.member_list())
            .await?;
        Ok(answer
            .members()
            .iter()
            .map(|member| (member.id(), explain::shorten(member.name())))
            .collect())
    }

    /// Maintenance.Snapshot: the stream's beginning. etcd commits what it has to disk before it answers, which may take
    /// longer than other calls: the stream's patience counts.
    pub async fn snapshot(&self) -> Result<SnapshotStreaming> {
        let mut maintenance = self.etcd.maintenance_client();
        let limit = self.target.deadlines.idle;
        self.call("take a snapshot", limit, maintenance.snapshot())
            .await
    }

    async fn call<T>(
        &self,
        doing: &str,
        limit: Duration,
        answer: impl Future<Output = std::result::Result<T, EtcdError>>,
    ) -> Result<T> {
        within(self.target, doing, limit, &self.seen, answer).await
    }
}

/// Bounds one call and explains its failure. `doing` completes "could not …".
async fn within<T>(
    target: &Target,
    doing: &str,
    limit: Duration,
    seen: &Seen,
    answer: impl Future<Output = std::result::Result<T, EtcdError>>,
) -> Result<T> {
    match tokio::time::timeout(limit, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(explain::call(target, doing, &error, seen)),
        Err(_) => Err(explain::unanswered(target, doing, limit)),
    }
}
