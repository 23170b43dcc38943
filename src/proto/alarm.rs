//! `etcdserverpb.AlarmMember`: the key in the `alarm` bucket, whose value is empty
//! [etcd v3.7.1 api/etcdserverpb/rpc.proto].

use super::wire::{self, Malformed};

/// An alarm that a member raised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlarmMember {
    /// The member.
    pub member_id: u64,
    /// [`NONE`], [`NOSPACE`], [`CORRUPT`], or a kind that is not known here.
    pub alarm: i32,
}

/// No alarm; never stored.
pub const NONE: i32 = 0;
/// The db went over its quota.
pub const NOSPACE: i32 = 1;
/// The member's data differs from the others'.
pub const CORRUPT: i32 = 2;

impl AlarmMember {
    /// Decodes the key.
    pub fn decode(bytes: &[u8]) -> Result<AlarmMember, Malformed> {
        let mut alarm = AlarmMember::default();
        for field in wire::fields("etcdserverpb.AlarmMember", bytes) {
            let field = field?;
            match field.number {
                1 => alarm.member_id = field.u64()?,
                2 => alarm.alarm = field.i32()?,
                _ => {}
            }
        }
        Ok(alarm)
    }

    /// The bytes that every etcd writes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        wire::put_nonzero(&mut out, 1, self.member_id);
        wire::put_nonzero(&mut out, 2, i64::from(self.alarm).cast_unsigned());
        out
    }

    /// `NOSPACE`, `CORRUPT`, or the number of a kind that is not known here.
    pub fn alarm_name(&self) -> String {
        match self.alarm {
            NONE => "NONE".into(),
            NOSPACE => "NOSPACE".into(),
            CORRUPT => "CORRUPT".into(),
            other => other.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let alarm = AlarmMember {
            member_id: 0x8e9e_05c5_2164_694d,
            alarm: NOSPACE,
        };
        let bytes = alarm.encode();
        assert_eq!(
            bytes,
            b"\x08\xcd\xd2\x91\x8b\xd2\xb8\x81\xcf\x8e\x01\x10\x01"
        );
        assert_eq!(AlarmMember::decode(&bytes), Ok(alarm.clone()));
        assert_eq!(alarm.alarm_name(), "NOSPACE");
        let odd = AlarmMember {
            member_id: 0,
            alarm: -1,
        };
        assert_eq!(AlarmMember::decode(&odd.encode()), Ok(odd.clone()));
        assert_eq!(odd.alarm_name(), "-1");
    }
}
