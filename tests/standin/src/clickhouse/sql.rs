//! The few questions that are asked of ClickHouse from outside PMM: how many rows there are, how fresh they are, how the schema
//! stands. Anything else is a syntax error with ClickHouse's own code 62, rather than an answer that means nothing.

use super::store::Store;

type Answer = Result<String, String>;

/// Runs one statement and formats what it gives.
pub(crate) fn run(store: &Store, query: &str) -> Answer {
    let tokens = tokens(query)?;
    let lower: Vec<String> = tokens.iter().map(|t| t.to_ascii_lowercase()).collect();
    if lower.first().map(String::as_str) != Some("select") {
        return Err(syntax("only SELECT is supported"));
    }
    let at = |word: &str| lower.iter().position(|t| t == word);
    let end = lower.len();
    let format = at("format")
        .and_then(|i| lower.get(i + 1))
        .map_or("tabseparated", String::as_str);
    let stop = at("format")
        .unwrap_or(end)
        .min(at("limit").unwrap_or(end))
        .min(at("order").unwrap_or(end));
    let from = at("from").unwrap_or(stop);
    let columns: Vec<Vec<String>> = lower[1..from]
        .split(|t| t == ",")
        .map(|c| c.split(|t| t == "as").next().unwrap_or(c).to_vec())
        .collect();
    let table = lower
        .get(from + 1..stop)
        .map(|t| t.split(|w| w == "where").next().unwrap_or(t).concat());
    let rows = match table.as_deref() {
        None => vec![constants(&columns)?],
        Some("pmm.metrics" | "metrics") => {
            let condition = at("where").map(|w| &tokens[w + 1..stop]);
            vec![metrics(store, &columns, condition.unwrap_or(&[]))?]
        }
        Some("pmm.schema_migrations" | "schema_migrations") => vec![schema(store, &columns)?],
        Some(other) => {
            return Err(format!(
                "Code: 60. DB::Exception: Table {other} does not exist. (UNKNOWN_TABLE)"
            ));
        }
    };
    render(format, &columns, &rows)
}

fn syntax(what: &str) -> String {
    format!("Code: 62. DB::Exception: Syntax error: {what}. (SYNTAX_ERROR)")
}

/// Words, numbers, quoted strings with their quote, and single signs (`<=` and `>=` stay together).
fn tokens(query: &str) -> Result<Vec<String>, String> {
    let mut out = Vec::new();
    let mut chars = query.trim().trim_end_matches(';').chars().peekable();
    while let Some(c) = chars.next() {
        let mut token = c.to_string();
        if c.is_whitespace() {
            continue;
        } else if c == '\'' {
            loop {
                match chars.next() {
                    Some('\'') => break,
                    Some(other) => token.push(other),
                    None => return Err(syntax("unclosed string")),
                }
            }
        } else if c.is_alphanumeric() || c == '_' {
            while let Some(next) = chars.next_if(|n| n.is_alphanumeric() || matches!(n, '_' | '.'))
            {
                token.push(next);
            }
        } else if matches!(c, '<' | '>') && chars.peek() == Some(&'=') {
            token.extend(chars.next());
        } else if matches!(c, '`' | '"') {
            continue;
        }
        out.push(token);
    }
    Ok(out)
}

fn constants(columns: &[Vec<String>]) -> Result<Vec<String>, String> {
    columns
        .iter()
        .map(|column| match column.concat().as_str() {
            "version()" => Ok("23.8.2.7".to_owned()),
            number if number.parse::<i64>().is_ok() => Ok(number.to_owned()),
            other => Err(syntax(other)),
        })
        .collect()
}

fn metrics(
    store: &Store,
    columns: &[Vec<String>],
    condition: &[String],
) -> Result<Vec<String>, String> {
    let bounds = bounds(condition)?;
    let inside: Vec<_> = store
        .rows()
        .filter(|r| bounds.iter().all(|b| b.holds(r.start)))
        .collect();
    let starts = inside.iter().map(|r| r.start);
    columns
        .iter()
        .map(|column| match column.concat().as_str() {
            "count()" | "count(*)" | "count(1)" => Ok(inside.len().to_string()),
            "max(period_start)" => Ok(date(starts.clone().max().unwrap_or(0))),
            "min(period_start)" => Ok(date(starts.clone().min().unwrap_or(0))),
            "tounixtimestamp(max(period_start))" => {
                Ok(starts.clone().max().unwrap_or(0).to_string())
            }
            "tounixtimestamp(min(period_start))" => {
                Ok(starts.clone().min().unwrap_or(0).to_string())
            }
            "sum(num_queries)" => Ok(inside.iter().map(|r| r.count).sum::<u64>().to_string()),
            "uniq(queryid)" | "uniqexact(queryid)" | "count(distinctqueryid)" => {
                let ids: std::collections::BTreeSet<_> = inside.iter().map(|r| &r.query).collect();
                Ok(ids.len().to_string())
            }
            other => Err(format!(
                "Code: 47. DB::Exception: Unknown expression {other}. (UNKNOWN_IDENTIFIER)"
            )),
        })
        .collect()
}

fn schema(store: &Store, columns: &[Vec<String>]) -> Result<Vec<String>, String> {
    let schema = store.schema;
    columns
        .iter()
        .map(|column| match column.concat().as_str() {
            "version" => Ok(schema.version.to_string()),
            "dirty" => Ok(schema.dirty.to_string()),
            "sequence" => Ok(schema.sequence.to_string()),
            "count()" => Ok(schema.sequence.to_string()),
            other => Err(format!(
                "Code: 47. DB::Exception: Unknown expression {other}. (UNKNOWN_IDENTIFIER)"
            )),
        })
        .collect()
}

/// One comparison of `period_start`.
struct Bound {
    op: String,
    at: u64,
}

impl Bound {
    fn holds(&self, start: u64) -> bool {
        match self.op.as_str() {
            "<" => start < self.at,
            "<=" => start <= self.at,
            ">" => start > self.at,
            ">=" => start >= self.at,
            _ => start == self.at,
        }
    }
}

fn bounds(condition: &[String]) -> Result<Vec<Bound>, String> {
    condition
        .split(|t| t.eq_ignore_ascii_case("and"))
        .filter(|c| !c.is_empty())
        .map(|c| match c {
            [column, op, value @ ..] if column.eq_ignore_ascii_case("period_start") => {
                let at = moment(value).ok_or_else(|| syntax(&value.join(" ")))?;
                Ok(Bound { op: op.clone(), at })
            }
            other => Err(syntax(&other.join(" "))),
        })
        .collect()
}

/// `'2026-01-01 00:00:00'`, seconds, `toDateTime(…)`, `now()`, `now() - 3600`, `now() - INTERVAL 1 HOUR`.
fn moment(value: &[String]) -> Option<u64> {
    let lower: Vec<String> = value.iter().map(|t| t.to_ascii_lowercase()).collect();
    let words: Vec<&str> = lower.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["todatetime", "(", inner @ .., ")"] => {
            let inner: Vec<String> = inner.iter().map(|s| (*s).to_owned()).collect();
            let inner = inner.split(|t| t == ",").next()?;
            moment(inner)
        }
        ["now", "(", ")"] => u64::try_from(jiff::Timestamp::now().as_second()).ok(),
        ["now", "(", ")", "-", "interval", number, unit] => {
            let unit = match *unit {
                "second" => 1,
                "minute" => 60,
                "hour" => 3600,
                "day" => 86_400,
                _ => return None,
            };
            moment(&["now".into(), "(".into(), ")".into()])?
                .checked_sub(number.parse::<u64>().ok()? * unit)
        }
        ["now", "(", ")", "-", seconds] => {
            moment(&["now".into(), "(".into(), ")".into()])?.checked_sub(seconds.parse().ok()?)
        }
        [one] => match one.strip_prefix('\'') {
            Some(text) => {
                let date: jiff::civil::DateTime = text.trim().parse().ok()?;
                let zoned = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
                u64::try_from(zoned.timestamp().as_second()).ok()
            }
            None => one.parse().ok(),
        },
        _ => None,
    }
}

fn date(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(0);
    jiff::Timestamp::from_second(seconds)
        .map(|t| t.strftime("%Y-%m-%d %H:%M:%S").to_string())
        .unwrap_or_default()
}

fn render(format: &str, columns: &[Vec<String>], rows: &[Vec<String>]) -> Answer {
    let names: Vec<String> = columns.iter().map(|c| c.concat()).collect();
    let object = |row: &Vec<String>| {
        let pairs = names
            .iter()
            .zip(row)
            .map(|(n, v)| (n.clone(), serde_json::json!(v)));
        serde_json::Value::Object(pairs.collect())
    };
    let lines = |separator: &str| {
        rows.iter()
            .map(|r| r.join(separator) + "\n")
            .collect::<String>()
    };
    Ok(match format {
        "tabseparated" | "tsv" => lines("\t"),
        "csv" => lines(","),
        "jsoneachrow" => rows.iter().map(|r| format!("{}\n", object(r))).collect(),
        "jsoncompact" => serde_json::json!({ "data": rows, "rows": rows.len() }).to_string(),
        "json" => {
            let data: Vec<_> = rows.iter().map(object).collect();
            serde_json::json!({ "data": data, "rows": rows.len() }).to_string()
        }
        other => {
            return Err(format!(
                "Code: 73. DB::Exception: Unknown format {other}. (UNKNOWN_FORMAT)"
            ));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::store::{Row, Schema, Store};
    use super::run;

    fn store() -> Store {
        let row = |start| Row {
            start,
            query: "A".to_owned(),
            count: 2,
        };
        Store::of(
            vec![row(1_700_000_000), row(1_700_000_060)],
            Schema {
                version: 17,
                dirty: 1,
                sequence: 3,
            },
        )
    }

    fn ask(query: &str) -> String {
        run(&store(), query).unwrap()
    }

    #[test]
    fn rows_are_counted_and_dated() {
        assert_eq!(
            ask("SELECT count(), max(period_start) FROM pmm.metrics"),
            "2\t2023-11-14 22:14:20\n"
        );
        assert_eq!(
            ask("select count(*) as n from pmm.metrics where period_start < '2023-11-14 22:14:00'"),
            "1\n"
        );
        assert_eq!(
            ask(
                "SELECT count() FROM pmm.metrics WHERE period_start >= toDateTime(1700000001) AND period_start < now() FORMAT JSONEachRow"
            ),
            "{\"count()\":\"1\"}\n"
        );
        assert_eq!(
            ask("SELECT count() FROM pmm.metrics WHERE period_start > now() - INTERVAL 1 DAY;"),
            "0\n"
        );
    }

    #[test]
    fn the_schema_says_whether_it_is_dirty() {
        assert_eq!(
            ask("SELECT version,dirty FROM pmm.schema_migrations ORDER BY sequence DESC LIMIT 1"),
            "17\t1\n"
        );
        assert_eq!(ask("SELECT 1"), "1\n");
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        assert!(
            run(
                &store(),
                "SELECT count() FROM pmm.metrics WHERE service_name = 'x'"
            )
            .is_err()
        );
        assert!(run(&store(), "SELECT x FROM pmm.other").is_err());
        assert!(run(&store(), "DROP TABLE pmm.metrics").is_err());
    }
}
