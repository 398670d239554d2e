//! The roles' passwords.
//!
//! Why: from PMM 3.7 on, connections over TCP need SCRAM, and a volume that was once upgraded from PostgreSQL 11 still
//! holds md5 hashes; the new server then never comes up (`facts/pmm.md` 1.6). PMM 2 trusts every local connection, so
//! the default password can be set again there without harm. A password that somebody chose is never overwritten.
//! Hashes stay in the database: they are compared there, and are never read.

use super::super::{Result, ServerError};
use super::Postgres;
use super::query::{identifier, literal};

/// How a role's password is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PasswordKind {
    /// SCRAM-SHA-256, as PMM 3 needs it.
    Scram,
    /// md5 of the default password.
    Md5Default,
    /// md5 of another password.
    Md5Custom,
    /// There is none.
    None,
    /// Something else.
    Other,
}

/// A role that can log in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// How its password is stored.
    pub kind: PasswordKind,
    /// Whether it may do anything.
    pub superuser: bool,
}

impl Role {
    /// Whether setting the default password again is both needed and harmless.
    #[must_use]
    pub fn can_be_healed(&self) -> bool {
        matches!(self.kind, PasswordKind::Md5Default | PasswordKind::None)
    }
}

impl Postgres {
    /// The roles that can log in, with how their passwords are stored. The default password of PMM's roles is their
    /// name (`facts/pmm.md` 1.3).
    ///
    /// # Errors
    /// As [`Postgres::query`].
    pub async fn role_passwords(&self) -> Result<Vec<Role>> {
        let sql = "SELECT rolname, CASE \
            WHEN rolpassword IS NULL THEN 'none' \
            WHEN rolpassword LIKE 'SCRAM-SHA-256$%' THEN 'scram' \
            WHEN rolpassword = 'md5' || md5(rolname || rolname) THEN 'md5-default' \
            WHEN rolpassword LIKE 'md5%' AND length(rolpassword) = 35 THEN 'md5-custom' \
            ELSE 'other' END, rolsuper FROM pg_authid WHERE rolcanlogin ORDER BY 1";
        let rows = self.query("postgres", sql).await?;
        Ok(rows
            .into_iter()
            .filter_map(|row| {
                let [Some(name), Some(kind), Some(superuser)] = row.as_slice() else {
                    return None;
                };
                let kind = match kind.as_str() {
                    "none" => PasswordKind::None,
                    "scram" => PasswordKind::Scram,
                    "md5-default" => PasswordKind::Md5Default,
                    "md5-custom" => PasswordKind::Md5Custom,
                    _ => PasswordKind::Other,
                };
                Some(Role {
                    name: name.clone(),
                    kind,
                    superuser: superuser == "t",
                })
            })
            .collect())
    }

    /// Stores the default password of a role (its name) as SCRAM. False when it is SCRAM already.
    ///
    /// Nothing is logged of it by the server, and the session has no other effect. It is not undone: the password
    /// stays the same one, and PMM 2 asks for none.
    ///
    /// # Errors
    /// There is no such role, it has a password of somebody's own, or the database refuses.
    pub async fn heal_role(&self, name: &str) -> Result<bool> {
        let roles = self.role_passwords().await?;
        let role =
            roles
                .iter()
                .find(|role| role.name == name)
                .ok_or_else(|| ServerError::Missing {
                    what: "the database role",
                    why: format!("`{name}` is none that can log in"),
                })?;
        if role.kind == PasswordKind::Scram {
            return Ok(false);
        }
        if !role.can_be_healed() {
            return Err(ServerError::CustomPassword {
                role: name.to_owned(),
            });
        }
        let (role, password) = (identifier(name), literal(name)?);
        // The settings keep the statement out of the log, also when it is slow or fails, and out of the statistics that
        // PMM collects from its own database.
        let sql = format!(
            "SET log_statement = 'none'; SET log_min_duration_statement = -1; \
             SET log_min_error_statement = 'panic'; SET log_duration = off; \
             SET pg_stat_statements.track_utility = off; SET track_activities = off; \
             SET password_encryption = 'scram-sha-256'; \
             ALTER ROLE {role} WITH PASSWORD {password}"
        );
        self.execute("postgres", &sql).await?;
        let roles = self.role_passwords().await?;
        match roles.iter().find(|role| role.name == name) {
            Some(role) if role.kind == PasswordKind::Scram => Ok(true),
            _ => Err(ServerError::Missing {
                what: "the new password",
                why: format!("role `{name}` is not SCRAM after it was set"),
            }),
        }
    }
}
