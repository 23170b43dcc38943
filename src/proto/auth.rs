//! `authpb`: users and roles, the values in the buckets `authUsers` and `authRoles`
//! [etcd v3.7.1 api/authpb/auth.proto].
//!
//! Names are bytes here even where the definition says string: servers up to 3.6 never checked them.

use super::wire::{self, Fields, Malformed};

/// A user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User<'a> {
    /// User name; equals the record's key.
    pub name: &'a [u8],
    /// bcrypt text; empty for a user without password.
    pub password: &'a [u8],
    /// Names of the user's roles, sorted.
    pub roles: Vec<&'a [u8]>,
    /// Options, absent in users made by etcd before 3.4.
    pub options: Option<UserOptions>,
}

/// A user's options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserOptions {
    /// The user may only log in by certificate.
    pub no_password: bool,
}

impl<'a> User<'a> {
    /// Decodes the value.
    pub fn decode(bytes: &'a [u8]) -> Result<User<'a>, Malformed> {
        let mut roles = Vec::new();
        let user = User::decode_with(bytes, |role| roles.push(role))?;
        Ok(User { roles, ..user })
    }

    /// Decodes the value without keeping its roles, of which a hostile one has millions.
    pub fn decode_with(
        bytes: &'a [u8],
        mut each: impl FnMut(&'a [u8]),
    ) -> Result<User<'a>, Malformed> {
        let mut user = User::default();
        for field in wire::fields("authpb.User", bytes) {
            let field = field?;
            match field.number {
                1 => user.name = field.bytes()?,
                2 => user.password = field.bytes()?,
                3 => each(field.bytes()?),
                4 => user
                    .options
                    .get_or_insert_default()
                    .merge(field.message("authpb.UserAddOptions")?)?,
                _ => {}
            }
        }
        Ok(user)
    }

    /// The bytes that every etcd writes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        wire::put_nonempty(&mut out, 1, self.name);
        wire::put_nonempty(&mut out, 2, self.password);
        for role in &self.roles {
            wire::put_bytes(&mut out, 3, role);
        }
        if let Some(options) = &self.options {
            let mut nested = Vec::new();
            wire::put_nonzero(&mut nested, 1, options.no_password.into());
            wire::put_bytes(&mut out, 4, &nested);
        }
        out
    }
}

impl UserOptions {
    fn merge(&mut self, fields: Fields<'_>) -> Result<(), Malformed> {
        for field in fields {
            let field = field?;
            if field.number == 1 {
                self.no_password = field.bool()?;
            }
        }
        Ok(())
    }
}

/// A role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Role<'a> {
    /// Role name; equals the record's key.
    pub name: &'a [u8],
    /// What it may do, sorted by key.
    pub key_permission: Vec<Permission<'a>>,
}

/// What a role may do with a range of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permission<'a> {
    /// [`READ`], [`WRITE`], [`READWRITE`], or a kind that is not known here.
    pub perm_type: i32,
    /// First key.
    pub key: &'a [u8],
    /// First key after the range; empty for the one key, `\0` for all from `key` on.
    pub range_end: &'a [u8],
}

/// Permission to read.
pub const READ: i32 = 0;
/// Permission to write.
pub const WRITE: i32 = 1;
/// Permission for both.
pub const READWRITE: i32 = 2;

impl<'a> Role<'a> {
    /// Decodes the value.
    pub fn decode(bytes: &'a [u8]) -> Result<Role<'a>, Malformed> {
        let mut key_permission = Vec::new();
        let name = Role::decode_with(bytes, |permission| key_permission.push(permission))?;
        Ok(Role {
            name,
            key_permission,
        })
    }

    /// Decodes the value without keeping its permissions, of which a hostile one has millions; returns
    /// the name.
    pub fn decode_with(
        bytes: &'a [u8],
        mut each: impl FnMut(Permission<'a>),
    ) -> Result<&'a [u8], Malformed> {
        let mut name: &[u8] = &[];
        for field in wire::fields("authpb.Role", bytes) {
            let field = field?;
            match field.number {
                1 => name = field.bytes()?,
                2 => each(Permission::decode(field.message("authpb.Permission")?)?),
                _ => {}
            }
        }
        Ok(name)
    }

    /// The bytes that every etcd writes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        wire::put_nonempty(&mut out, 1, self.name);
        for permission in &self.key_permission {
            wire::put_bytes(&mut out, 2, &permission.encode());
        }
        out
    }
}

impl<'a> Permission<'a> {
    fn decode(fields: Fields<'a>) -> Result<Permission<'a>, Malformed> {
        let mut permission = Permission::default();
        for field in fields {
            let field = field?;
            match field.number {
                1 => permission.perm_type = field.i32()?,
                2 => permission.key = field.bytes()?,
                3 => permission.range_end = field.bytes()?,
                _ => {}
            }
        }
        Ok(permission)
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        wire::put_nonzero(&mut out, 1, i64::from(self.perm_type).cast_unsigned());
        wire::put_nonempty(&mut out, 2, self.key);
        wire::put_nonempty(&mut out, 3, self.range_end);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_round_trip() {
        let user = User {
            name: b"root",
            password: b"$2a$10$x",
            roles: vec![b"a", b"root"],
            options: Some(UserOptions::default()),
        };
        let bytes = user.encode();
        assert_eq!(
            bytes,
            b"\x0a\x04root\x12\x08$2a$10$x\x1a\x01a\x1a\x04root\x22\0"
        );
        assert_eq!(User::decode(&bytes), Ok(user));
        let certificate_only = User {
            options: Some(UserOptions { no_password: true }),
            ..User::default()
        };
        assert_eq!(certificate_only.encode(), b"\x22\x02\x08\x01");
        assert_eq!(
            User::decode(b"\x22\x02\x08\x01\x22\0"),
            Ok(certificate_only)
        );
    }

    #[test]
    fn roles_round_trip() {
        let role = Role {
            name: b"r",
            key_permission: vec![
                Permission::default(),
                Permission {
                    perm_type: READWRITE,
                    key: b"a",
                    range_end: b"\0",
                },
            ],
        };
        let bytes = role.encode();
        assert_eq!(bytes, b"\x0a\x01r\x12\0\x12\x08\x08\x02\x12\x01a\x1a\x01\0");
        assert_eq!(Role::decode(&bytes), Ok(role));
        let error = Role::decode(b"\x12\x02\x12\x05").unwrap_err();
        assert_eq!(
            error.to_string(),
            "authpb.Permission at its byte 2: 5 bytes expected, 0 left"
        );
    }
}
