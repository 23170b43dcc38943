//! Several servers that form one cluster.

use super::builder::Builder;
use super::etcd::Etcd;
use super::ports::free_url;

/// Several members of one cluster.
pub struct Cluster {
    pub members: Vec<Etcd>,
}

impl Cluster {
    /// A new cluster of `count` members, named m0, m1, ...
    #[track_caller]
    pub fn start(minor: &str, count: usize) -> Self {
        let mut attempts = 0;
        loop {
            let urls: Vec<String> = (0..count).map(|_| free_url()).collect();
            match Self::try_start_on(&urls, |_| Etcd::new(minor)) {
                Ok(cluster) => return cluster,
                // Somebody else was faster on one of the ports.
                Err(why) if why.contains("address already in use") && attempts < 4 => attempts += 1,
                Err(why) => panic!("{why}"),
            }
        }
    }

    /// Members on the given peer URLs; `member` prepares each, for example with a restored data
    /// directory. Names and the initial cluster are set here.
    #[track_caller]
    pub fn start_on(peer_urls: &[String], member: impl Fn(usize) -> Builder) -> Self {
        match Self::try_start_on(peer_urls, member) {
            Ok(cluster) => cluster,
            Err(why) => panic!("{why}"),
        }
    }

    /// The same; the error says why a member does not serve, with the end of its log.
    pub fn try_start_on(
        peer_urls: &[String],
        member: impl Fn(usize) -> Builder,
    ) -> Result<Self, String> {
        let initial = Self::initial_cluster(peer_urls);
        let mut members: Vec<Etcd> = peer_urls
            .iter()
            .enumerate()
            .map(|(i, url)| {
                member(i)
                    .name(&format!("m{i}"))
                    .peer_url(url)
                    .initial_cluster(&initial)
                    .spawn()
            })
            .collect();
        for member in &mut members {
            member.wait_ready()?;
        }
        Ok(Self { members })
    }

    /// What `--initial-cluster` says for members on these peer URLs.
    pub fn initial_cluster(peer_urls: &[String]) -> String {
        let pairs = peer_urls
            .iter()
            .enumerate()
            .map(|(i, url)| format!("m{i}={url}"));
        pairs.collect::<Vec<_>>().join(",")
    }

    /// The index of the leader.
    #[track_caller]
    pub fn leader(&self) -> usize {
        let leading = self.members.iter().position(|member| {
            let status = member.api().status();
            status
                .header()
                .is_some_and(|h| h.member_id() == status.leader())
        });
        leading.expect("a leader")
    }
}
