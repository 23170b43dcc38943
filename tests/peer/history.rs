//! A history that is decided by a seed: puts, deletes, transactions, leases and compactions, with keys and
//! values of every size.

use etcd_client::{DeleteOptions, PutOptions, TxnOp};

use crate::util::api::Api;
use crate::util::fill;

pub struct History {
    random: Random,
    leases: Vec<i64>,
    compacted: i64,
}

impl History {
    pub fn new(seed: u64) -> Self {
        Self {
            random: Random(seed),
            leases: Vec::new(),
            compacted: 0,
        }
    }

    /// Does the next `count` things to the server.
    #[track_caller]
    pub fn go_on(&mut self, api: &mut Api, count: usize) {
        for _ in 0..count {
            match self.random.below(20) {
                0..9 => self.put(api),
                9..12 => {
                    api.delete(self.key());
                }
                12 => self.delete_some(api),
                13..16 => self.txn(api),
                16 => self.grant(api),
                17 => self.revoke(api),
                18 => self.grow(api),
                _ => self.compact(api),
            }
        }
    }

    fn put(&mut self, api: &mut Api) {
        let (key, value) = (self.key(), self.value());
        let lease = self.lease();
        let options = lease.map(|id| PutOptions::new().with_lease(id));
        api.call(async |c| c.put(key, value, options).await);
    }

    fn delete_some(&mut self, api: &mut Api) {
        let prefix = self.key();
        let options = DeleteOptions::new().with_prefix();
        api.call(async |c| c.delete(&prefix[..4], Some(options)).await);
    }

    /// Several changes at one revision. A transaction may not touch a key twice.
    fn txn(&mut self, api: &mut Api) {
        let mut keys: Vec<Vec<u8>> = (0..1 + self.random.below(12)).map(|_| self.key()).collect();
        keys.sort();
        keys.dedup();
        let ops = keys.into_iter().map(|key| match self.random.below(3) {
            0 => TxnOp::delete(key, None),
            _ => TxnOp::put(key, self.value(), None),
        });
        let txn = etcd_client::Txn::new().and_then(ops.collect::<Vec<_>>());
        api.call(async |c| c.txn(txn).await);
    }

    /// Many keys that stay, so that the tree gets branches.
    fn grow(&mut self, api: &mut Api) {
        let size = 1 + self.random.below(600) as usize;
        let prefix = format!("grown/{:04}/", self.random.below(10_000));
        fill::bulk(api, &prefix, 100, size);
    }

    fn grant(&mut self, api: &mut Api) {
        let granted = api.call(async |c| c.lease_grant(86_400, None).await);
        self.leases.push(granted.id());
    }

    /// Takes its keys with it.
    fn revoke(&mut self, api: &mut Api) {
        if self.leases.is_empty() {
            return;
        }
        let which = self.random.below(self.leases.len() as u64) as usize;
        let lease = self.leases.swap_remove(which);
        api.call(async |c| c.lease_revoke(lease).await);
    }

    fn compact(&mut self, api: &mut Api) {
        let revision = api.revision();
        let ahead = (revision - self.compacted) as u64;
        if ahead > 0 {
            self.compacted += 1 + self.random.below(ahead) as i64;
            fill::compact(api, self.compacted);
        }
    }

    fn lease(&mut self) -> Option<i64> {
        let which = self.random.below(4 * (1 + self.leases.len() as u64)) as usize;
        self.leases.get(which).copied()
    }

    /// One of few, so that most exist already: bytes of any kind, short and long.
    fn key(&mut self) -> Vec<u8> {
        let which = self.random.below(80);
        let length = match which {
            0..60 => 4 + which as usize % 20,
            60..75 => 100 + 20 * which as usize,
            _ => 9_000,
        };
        fill::noise(1000 + which, length)
    }

    /// Most are small; some fill pages, and some many of them.
    fn value(&mut self) -> Vec<u8> {
        let limit = match self.random.below(20) {
            0 => 1,
            1..14 => 200,
            14..18 => 5_000,
            18 => 70_000,
            _ => 300_000,
        };
        let length = self.random.below(limit) as usize;
        fill::noise(self.random.next(), length)
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which is not 0.
    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}
