//! What a cluster has beside its databases' contents, as SQL that makes it again.

use super::super::super::Result;
use super::super::query::{Rows, literal};
use super::super::{Postgres, SUPERUSER};

/// Every role that people or PMM made, without its password.
const ROLES: &str = "SELECT format('CREATE ROLE %I %s %s %s %s %s %s %s CONNECTION LIMIT %s', rolname, \
    CASE WHEN rolsuper THEN 'SUPERUSER' ELSE 'NOSUPERUSER' END, \
    CASE WHEN rolinherit THEN 'INHERIT' ELSE 'NOINHERIT' END, \
    CASE WHEN rolcreaterole THEN 'CREATEROLE' ELSE 'NOCREATEROLE' END, \
    CASE WHEN rolcreatedb THEN 'CREATEDB' ELSE 'NOCREATEDB' END, \
    CASE WHEN rolcanlogin THEN 'LOGIN' ELSE 'NOLOGIN' END, \
    CASE WHEN rolreplication THEN 'REPLICATION' ELSE 'NOREPLICATION' END, \
    CASE WHEN rolbypassrls THEN 'BYPASSRLS' ELSE 'NOBYPASSRLS' END, rolconnlimit) \
    FROM pg_roles WHERE rolname !~ '^pg_' AND rolname <> ";
/// Who is a member of what; the cluster's own roles are in every cluster.
const MEMBERS: &str = "SELECT format('GRANT %I TO %I', r.rolname, m.rolname) FROM pg_auth_members a \
    JOIN pg_roles r ON r.oid = a.roleid JOIN pg_roles m ON m.oid = a.member WHERE m.rolname !~ '^pg_' ORDER BY 1";
const PASSWORDS: &str = "SELECT format('ALTER ROLE %I PASSWORD %L', rolname, rolpassword) \
    FROM pg_authid WHERE rolname !~ '^pg_' AND rolpassword IS NOT NULL ORDER BY 1";
const DATABASES: &str = "SELECT format('CREATE DATABASE %I OWNER %I TEMPLATE template0 ENCODING %L LC_COLLATE %L \
    LC_CTYPE %L', datname, pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype) \
    FROM pg_database WHERE datname IN (";

/// Those of one database, in the schemas that every database has.
const EXTENSIONS: &str = "SELECT format('CREATE EXTENSION IF NOT EXISTS %I', extname) FROM pg_extension \
    WHERE extnamespace IN ('pg_catalog'::regnamespace, 'public'::regnamespace) ORDER BY 1";

impl Postgres {
    /// SQL that gives a new cluster this one's roles, and these databases with their owners and locales, but without
    /// anything in them.
    ///
    /// With `passwords` it holds the hashes of the roles' passwords: a proof needs none, a cluster that is to be used
    /// does.
    ///
    /// # Errors
    /// As [`Postgres::query`].
    pub async fn cluster_sql(&self, databases: &[String], passwords: bool) -> Result<String> {
        let names: Vec<String> = databases
            .iter()
            .map(|database| literal(database))
            .collect::<Result<_>>()?;
        let roles = format!("{ROLES}{} ORDER BY rolname", literal(SUPERUSER)?);
        let databases = format!("{DATABASES}{}) ORDER BY 1", names.join(", "));
        let mut statements = self.query("postgres", &roles).await?;
        statements.extend(self.query("postgres", MEMBERS).await?);
        if passwords {
            statements.extend(self.query("postgres", PASSWORDS).await?);
        }
        statements.extend(self.query("postgres", &databases).await?);
        Ok(joined(statements))
    }

    /// SQL that makes the extensions of the database `postgres`, which is not dumped: PMM has `pg_stat_statements` there.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn extension_sql(&self) -> Result<String> {
        Ok(joined(self.query("postgres", EXTENSIONS).await?))
    }
}

fn joined(statements: Rows) -> String {
    let statements: Vec<String> = statements.into_iter().flatten().flatten().collect();
    statements.join(";\n")
}
