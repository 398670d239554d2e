//! Data for a server that has been in use: many files, many bytes, many services.

use std::fmt;

use crate::demo::server::Server;
use crate::docker;
use crate::error::Result;

/// Where the files go: among ClickHouse's, with the owner and mode that ClickHouse's have (`facts/pmm.md` 1.3).
pub(crate) const FOLDER: &str = "/srv/clickhouse/demo";
/// Files in one folder; a part of a table has about as many.
const PER_FOLDER: u32 = 25;
/// How many files carry the bytes, whatever their number is.
const LARGE: u32 = 64;

/// How much there is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Files below `/srv`.
    pub(crate) files: u32,
    /// Bytes in them, in MiB.
    pub(crate) mebibytes: u32,
    /// Services in the inventory, besides the server's own.
    pub(crate) services: u32,
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} files, {} MiB, {} services",
            self.files, self.mebibytes, self.services
        )
    }
}

impl Load {
    /// Puts all of it into a running PMM 2.
    pub(crate) fn put(&self, server: &Server) -> Result<()> {
        docker::script(server.name(), &self.files_script())?;
        docker::script(server.name(), &self.services_script())?;
        Ok(())
    }

    /// Small files whose content is their own number, and a few large ones of random bytes.
    fn files_script(&self) -> String {
        let large = LARGE.min(self.mebibytes);
        let each = if large == 0 {
            0
        } else {
            u64::from(self.mebibytes) * 1024 * 1024 / u64::from(large)
        };
        let small = self.files.saturating_sub(large);
        format!(
            "umask 027
mkdir -p {FOLDER}/large && cd {FOLDER}
n=0
while [ $n -lt {small} ]; do
    folder=part-$((n / {PER_FOLDER}))
    [ $((n % {PER_FOLDER})) -ne 0 ] || mkdir $folder
    echo $n > $folder/$n.bin
    n=$((n + 1))
done
n=0
while [ $n -lt {large} ]; do
    head -c {each} /dev/urandom > large/$n.bin
    n=$((n + 1))
done
chown -R root:pmm {FOLDER}
sync
"
        )
    }

    /// Rows like one that is there, under other ids and names: whatever else the table holds comes out right by itself.
    fn services_script(&self) -> String {
        format!(
            "/usr/pgsql-14/bin/psql -v ON_ERROR_STOP=1 -q -h /run/postgresql -U postgres -d pmm-managed <<'SQL'
INSERT INTO services
SELECT copy.*
FROM (SELECT to_jsonb(s) AS row FROM services AS s WHERE service_type = 'mysql' LIMIT 1) AS model,
    generate_series(1, {}) AS n,
    jsonb_populate_record(null::services, model.row || jsonb_build_object(
        'service_id', '/service_id/' || gen_random_uuid(),
        'service_name', 'demo-' || lpad(n::text, 5, '0'))) AS copy;
SQL
",
            self.services
        )
    }
}

#[cfg(test)]
mod tests {
    use super::Load;

    #[test]
    fn the_number_of_files_counts_the_large_ones() {
        let script = Load {
            files: 1000,
            mebibytes: 128,
            services: 1,
        }
        .files_script();
        assert!(script.contains("$n -lt 936 "), "{script}");
        assert!(script.contains("head -c 2097152 "), "{script}");
    }

    #[test]
    fn no_bytes_mean_no_large_file() {
        let script = Load {
            files: 10,
            mebibytes: 0,
            services: 1,
        }
        .files_script();
        assert!(
            script.contains("$n -lt 10 ") && script.contains("$n -lt 0 "),
            "{script}"
        );
    }
}
