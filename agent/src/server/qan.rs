//! Query Analytics: are the old queries still there, and is its database in order?
//!
//! Why two sources: the report is what a person sees, but its service may be down; the table itself can be counted
//! through ClickHouse's own port (`facts/pmm.md` 3.4, 6 row 5).

use jiff::Timestamp;
use serde_json::json;

use super::http::{Local, Ports, encode, number};
use super::pmm::Major;
use super::{Result, ServerError};

/// The window that is counted, in seconds since 1970. It ends in the past, so that nothing is added to it later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Window {
    /// Its beginning.
    pub from: i64,
    /// Its end, which does not belong to it.
    pub to: i64,
}

impl Window {
    /// The seven days that ended two whole hours before `now`.
    #[must_use]
    pub fn before(now: i64) -> Self {
        let to = now.div_euclid(3600) * 3600 - 2 * 3600;
        Self {
            from: to - 7 * 24 * 3600,
            to,
        }
    }
}

/// What Query Analytics holds of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct QanRows {
    /// The window.
    pub window: Window,
    /// Different queries, as the report counts them.
    pub report: Option<u64>,
    /// Rows in ClickHouse.
    pub table: Option<u64>,
}

/// The state of Query Analytics' schema migrations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QanSchema {
    /// The last migration.
    pub version: u64,
    /// Whether it was left half done.
    pub dirty: bool,
}

/// The way to Query Analytics.
#[derive(Debug, Clone)]
pub struct Qan {
    api: Local,
    clickhouse: Local,
    major: Major,
}

impl Qan {
    /// The one on those ports of loopback.
    #[must_use]
    pub fn on(ports: &Ports, major: Major) -> Self {
        Self {
            api: Local::port(ports.qan),
            clickhouse: Local::port(ports.clickhouse),
            major,
        }
    }

    /// Counts a window by both ways; one of them may fail.
    ///
    /// # Errors
    /// Both fail.
    pub async fn rows(&self, window: Window) -> Result<QanRows> {
        let report = self.report(window).await;
        let table = self.table(window).await;
        match (report, table) {
            (Err(error), Err(_)) => Err(error),
            (report, table) => Ok(QanRows {
                window,
                report: report.ok(),
                table: table.ok(),
            }),
        }
    }

    /// The number of different queries in a window, from the report.
    ///
    /// # Errors
    /// The service does not answer, or with no number.
    pub async fn report(&self, window: Window) -> Result<u64> {
        let path = match self.major {
            Major::V2 => "/v0/qan/GetReport",
            Major::V3 => "/v1/qan/metrics:getReport",
        };
        let body = json!({
            "period_start_from": rfc3339(window.from),
            "period_start_to": rfc3339(window.to),
            "group_by": "queryid", "labels": [], "columns": ["load", "num_queries", "query_time"],
            "order_by": "-load", "offset": 0, "limit": 10, "main_metric": "load", "search": "",
        });
        let answer = self.api.post_json(path, &body).await?;
        match answer.get("total_rows") {
            Some(rows) => number(rows).ok_or_else(|| self.api.odd(path, "total_rows is no number")),
            // PMM 2 leaves out zeros.
            None if answer.is_object() && self.major == Major::V2 => Ok(0),
            None => Err(self.api.odd(path, "it has no total_rows")),
        }
    }

    /// The number of rows in a window, from the table.
    ///
    /// # Errors
    /// ClickHouse does not answer, or with no number.
    pub async fn table(&self, window: Window) -> Result<u64> {
        let Window { from, to } = window;
        let sql = format!(
            "SELECT count() FROM pmm.metrics WHERE period_start >= toDateTime({from}) \
             AND period_start < toDateTime({to}) FORMAT TabSeparated"
        );
        let text = self.ask(&sql).await?;
        text.trim()
            .parse()
            .map_err(|_| self.clickhouse.odd("/", "it is no number"))
    }

    /// The last schema migration; a dirty one makes the next version fail (`facts/pmm.md` 6 row 5).
    ///
    /// # Errors
    /// ClickHouse does not answer, or has no migrations.
    pub async fn schema(&self) -> Result<QanSchema> {
        let sql = "SELECT version, dirty FROM pmm.schema_migrations ORDER BY sequence DESC LIMIT 1 \
                   FORMAT TabSeparated";
        let text = self.ask(sql).await?;
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [version, dirty] = fields[..] else {
            return Err(self.clickhouse.odd("/", "it has no migration"));
        };
        let version = version
            .parse()
            .map_err(|_| self.clickhouse.odd("/", "it is no number"))?;
        Ok(QanSchema {
            version,
            dirty: dirty != "0" && dirty != "false",
        })
    }

    /// Asks ClickHouse. A GET can change nothing there.
    async fn ask(&self, sql: &str) -> Result<String> {
        let path = format!("/?query={}", encode(sql));
        let asked = match self.clickhouse.get_text(&path).await {
            // From 3.2 on PMM gives the default user its well-known password.
            Err(error) if matches!(error.http_status(), Some(401 | 403 | 516)) => {
                let known = self.clickhouse.clone();
                let known = known
                    .with_header("X-ClickHouse-User", "default".to_owned())
                    .with_header("X-ClickHouse-Key", "clickhouse".to_owned());
                known.get_text(&path).await
            }
            asked => asked,
        };
        asked.map_err(|error| {
            match error {
                // Its error page is a page of C++.
                ServerError::HttpStatus {
                    port,
                    path,
                    status,
                    body,
                } => {
                    let body = body.lines().next().unwrap_or_default().to_owned();
                    ServerError::HttpStatus {
                        port,
                        path,
                        status,
                        body,
                    }
                }
                other => other,
            }
        })
    }
}

fn rfc3339(seconds: i64) -> String {
    Timestamp::from_second(seconds)
        .unwrap_or(Timestamp::UNIX_EPOCH)
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_whole_hours_in_the_past() {
        let window = Window::before(1_700_000_123);
        assert_eq!(window.to % 3600, 0);
        assert!(window.to <= 1_700_000_123 - 7200);
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
    }
}
