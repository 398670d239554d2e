//! The rows of `pmm.metrics` in parts, and the version of its schema.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::Result;

/// One bucket of one query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// `period_start`, in seconds.
    pub(crate) start: u64,
    pub(crate) query: String,
    pub(crate) count: u64,
}

impl Row {
    pub(crate) fn of_json(value: &Value) -> Option<Self> {
        Some(Self {
            start: value[0].as_u64()?,
            query: value[1].as_str()?.to_owned(),
            count: value[2].as_u64()?,
        })
    }
}

/// Where the schema stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Schema {
    pub(crate) version: u64,
    pub(crate) dirty: u64,
    pub(crate) sequence: u64,
}

/// Everything that is known.
pub(crate) struct Store {
    found: Vec<Row>,
    live: Vec<Row>,
    part: PathBuf,
    schema_file: PathBuf,
    pub(crate) schema: Schema,
}

impl Store {
    /// Reads every part; a schema that is not there yet is version 0.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let mut found = Vec::new();
        read_parts(&folder.join("store"), &mut found)?;
        let schema_file = folder.join("data/pmm/schema_migrations.json");
        let stored: Value = match fs_err::read(&schema_file) {
            Ok(bytes) => serde_json::from_slice(&bytes)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => json!({}),
            Err(error) => return Err(error.into()),
        };
        let number = |field: &str| stored[field].as_u64().unwrap_or(0);
        let schema = Schema {
            version: number("version"),
            dirty: number("dirty"),
            sequence: number("sequence"),
        };
        let run = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let part = folder.join(format!(
            "store/3f1/3f1c0f0e-5a8b-4c8e-9d5e-0000000000aa/run_{run}"
        ));
        Ok(Self {
            found,
            live: Vec::new(),
            part,
            schema_file,
            schema,
        })
    }

    #[cfg(test)]
    pub(crate) fn of(found: Vec<Row>, schema: Schema) -> Self {
        Self {
            found,
            live: Vec::new(),
            part: PathBuf::new(),
            schema_file: PathBuf::new(),
            schema,
        }
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.found.iter().chain(&self.live)
    }

    pub(crate) fn insert(&mut self, row: Row) {
        self.live.push(row);
    }

    /// Brings the schema to `version`. One that an earlier try left dirty stays where it is.
    pub(crate) fn migrate(&mut self, version: u64) -> Result<()> {
        if self.schema.dirty != 0 {
            return Err(format!(
                "Dirty database version {}. Fix and force version.",
                self.schema.version
            )
            .into());
        }
        if self.schema.version > version {
            return Err(format!("no migration found for version {}", self.schema.version).into());
        }
        if self.schema.version < version {
            self.schema = Schema {
                version,
                dirty: 0,
                sequence: self.schema.sequence + 1,
            };
            let stored =
                json!({ "version": version, "dirty": 0, "sequence": self.schema.sequence });
            if let Some(folder) = self.schema_file.parent() {
                fs_err::create_dir_all(folder)?;
            }
            fs_err::write(&self.schema_file, stored.to_string())?;
        }
        Ok(())
    }

    /// Writes this run's part.
    pub(crate) fn flush(&self) -> Result<()> {
        if self.live.is_empty() {
            return Ok(());
        }
        fs_err::create_dir_all(&self.part)?;
        let rows: Vec<_> = self
            .live
            .iter()
            .map(|r| json!([r.start, r.query, r.count]))
            .collect();
        let path = self.part.join("standin.json");
        let fresh = path.with_extension("tmp");
        fs_err::write(&fresh, json!({ "rows": rows }).to_string())?;
        fs_err::rename(fresh, path)?;
        Ok(())
    }
}

fn read_parts(folder: &Path, found: &mut Vec<Row>) -> Result<()> {
    let Ok(entries) = fs_err::read_dir(folder) else {
        return Ok(());
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            read_parts(&entry.path(), found)?;
        } else if entry.file_name() == "standin.json" {
            let part: Value = serde_json::from_slice(&fs_err::read(entry.path())?)?;
            found.extend(
                part["rows"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(Row::of_json),
            );
        }
    }
    Ok(())
}
