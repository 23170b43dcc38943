//! Whether etcd, as it is usually started, takes writes to a db of this size.

use super::super::super::humanize::size;
use super::next::Remark;

const GIB: u64 = 1 << 30;

/// etcd's quota where `--quota-backend-bytes` does not set another (DefaultQuotaBytes, `etcd-io/etcd
/// server/storage/quota.go`, v3.7.1; the same since 3.0).
const DEFAULT: u64 = 2 * GIB;

/// The quota to start etcd with, if a db of `bytes` fills more than four fifths of the default one: as much room again
/// as a quarter of it, in whole GiB.
pub fn needed(bytes: u64) -> Option<u64> {
    let roomy = bytes.saturating_add(bytes / 4);
    (roomy > DEFAULT).then(|| roomy.div_ceil(GIB).saturating_mul(GIB))
}

/// The same in words.
pub fn remark(bytes: u64) -> Option<Remark> {
    let quota = needed(bytes)?;
    let (is, until) = match bytes < DEFAULT {
        true => ("near", "at its quota"),
        false => ("above", "above its quota"),
    };
    Some(Remark {
        what: format!(
            "a db of {} is {is} etcd's default quota of 2 GiB: {until}, etcd raises the NOSPACE alarm and refuses writes",
            size(bytes)
        ),
        hint: Some(format!(
            "start etcd with --quota-backend-bytes {quota}, or with what the old members had"
        )),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_large_db_needs_another_quota() {
        for (bytes, quota) in [
            (0, None),
            (1_700_000_000, None),
            (1_720_000_000, Some(3 * GIB)),
            (2 * GIB, Some(3 * GIB)),
            (7_600_000_000, Some(9 * GIB)),
        ] {
            assert_eq!(needed(bytes), quota, "{bytes}");
        }
        assert!(remark(2 * GIB - 1).unwrap().what.contains("is near"));
        assert!(remark(2 * GIB).unwrap().what.contains("is above"));
    }
}
