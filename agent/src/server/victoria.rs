//! VictoriaMetrics: do metrics flow, and is their history still there?
//!
//! Why these questions: a ready page says nothing of either. The same query at the same instant must give the same
//! before and after a migration, or history was lost (`facts/pmm.md` 3.4).

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::Result;
use super::http::{Local, encode};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
/// How long ago history is looked at, in seconds. Beyond the default retention of 30 days there may be nothing.
const AGES: [i64; 9] = [
    HOUR,
    6 * HOUR,
    DAY,
    7 * DAY,
    14 * DAY,
    29 * DAY,
    90 * DAY,
    180 * DAY,
    365 * DAY,
];
/// The span around an instant in which samples are counted.
const SPAN: &str = "10m";

/// The targets that are up for one job and node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct UpTargets {
    /// The scrape job, as it is written.
    pub job: String,
    /// The node's name; empty where the series has none.
    pub node_name: String,
    /// How many.
    pub count: u64,
}

/// What the database holds around one past instant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct HistoryPoint {
    /// The instant, in seconds since 1970.
    pub at: i64,
    /// The number of `up` series with samples.
    pub series: u64,
    /// The number of their samples.
    pub samples: u64,
    /// Whether this is near the oldest data, which retention takes away in time.
    pub oldest: bool,
}

/// The way to one VictoriaMetrics.
#[derive(Debug, Clone)]
pub struct Victoria {
    local: Local,
}

/// One series of an answer: its labels and its value.
type Sample = (BTreeMap<String, String>, f64);

impl Victoria {
    /// The one on that port of loopback, 9090 in PMM.
    #[must_use]
    pub fn on(port: u16) -> Self {
        Self {
            local: Local::port(port).with_time(Duration::from_secs(60)),
        }
    }

    /// Asks an instant query, at an instant in seconds since 1970, or now.
    ///
    /// # Errors
    /// The port does not answer, or not with a vector.
    pub async fn query(&self, expression: &str, at: Option<i64>) -> Result<Vec<Sample>> {
        let mut path = format!(
            "/prometheus/api/v1/query?query={}&nocache=1",
            encode(expression)
        );
        if let Some(at) = at {
            path.push_str(&format!("&time={at}"));
        }
        let answer = self.local.get_json(&path).await?;
        parse(&answer).ok_or_else(|| self.local.odd(&path, "it is no vector"))
    }

    /// The targets that are up, by job and node, sorted.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn up(&self) -> Result<Vec<UpTargets>> {
        let samples = self
            .query("count by (job, node_name) (up == 1)", None)
            .await?;
        let mut targets: Vec<UpTargets> = samples
            .into_iter()
            .map(|(mut labels, value)| UpTargets {
                job: labels.remove("job").unwrap_or_default(),
                node_name: labels.remove("node_name").unwrap_or_default(),
                count: whole(value),
            })
            .collect();
        targets.sort();
        Ok(targets)
    }

    /// As [`Self::up`], without those of which nothing has come since `since`, in seconds since 1970. An instant query looks back for
    /// minutes, so that right after a start it shows what was up before the stop.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn up_since(&self, since: i64) -> Result<Vec<UpTargets>> {
        let expression = "max by (job, node_name) (timestamp(up))";
        let newest: BTreeMap<(String, String), u64> = self
            .query(expression, None)
            .await?
            .into_iter()
            .map(|(mut labels, at)| {
                let mut label = |name| labels.remove(name).unwrap_or_default();
                ((label("job"), label("node_name")), whole(at))
            })
            .collect();
        let since = u64::try_from(since).unwrap_or_default();
        let mut targets = self.up().await?;
        targets.retain(|target| {
            let of = (target.job.clone(), target.node_name.clone());
            newest.get(&of).is_some_and(|at| *at > since)
        });
        Ok(targets)
    }

    /// How old the newest sample of each node is, in seconds.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn freshness(&self) -> Result<BTreeMap<String, u64>> {
        let samples = self
            .query("time() - max by (node_name) (timestamp(up))", None)
            .await?;
        Ok(samples
            .into_iter()
            .map(|(mut labels, age)| (labels.remove("node_name").unwrap_or_default(), whole(age)))
            .collect())
    }

    /// What is held around one instant.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn history_at(&self, at: i64, oldest: bool) -> Result<HistoryPoint> {
        let mut counts = [0, 0];
        for (count, function) in counts.iter_mut().zip(["count", "sum"]) {
            let expression = format!("{function}(count_over_time(up[{SPAN}]))");
            *count = self
                .query(&expression, Some(at))
                .await?
                .first()
                .map_or(0, |one| whole(one.1));
        }
        Ok(HistoryPoint {
            at,
            series: counts[0],
            samples: counts[1],
            oldest,
        })
    }

    /// Looks at a ladder of past instants before `now`, and near the oldest data, and gives those that hold something.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn history(&self, now: i64) -> Result<Vec<HistoryPoint>> {
        let mut points: Vec<HistoryPoint> = Vec::new();
        let mut newest_empty = None;
        for age in AGES {
            // On a whole minute, so that it can be read and asked again by hand.
            let at = (now - age).div_euclid(60) * 60;
            let point = self.history_at(at, false).await?;
            if point.series > 0 {
                points.push(point);
                newest_empty = None;
            } else if newest_empty.is_none() {
                newest_empty = Some(at);
            }
        }
        let until = points.last().map_or(now, |point| point.at);
        if let Some(from) = newest_empty {
            let expression = format!("min(tfirst_over_time(up[{}s]))", until - from);
            // MetricsQL; where it is not understood, the ladder has to do.
            let first = self
                .query(&expression, Some(until))
                .await
                .unwrap_or_default();
            if let Some((_, first)) = first.first() {
                let at = i64::try_from(whole(*first)).unwrap_or(i64::MAX);
                // The end of the first span that is full of data.
                let at = (at.saturating_add(600)).div_euclid(60) * 60 + 60;
                if at < until {
                    points.push(self.history_at(at, true).await?);
                }
            }
        }
        points.sort();
        Ok(points)
    }

    /// Asks the same instants again.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn history_again(&self, before: &[HistoryPoint]) -> Result<Vec<HistoryPoint>> {
        let mut points = Vec::new();
        for point in before {
            points.push(self.history_at(point.at, point.oldest).await?);
        }
        Ok(points)
    }
}

/// A count, which arrives as a floating-point number.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, and counts and times are far below 2^53"
)]
fn whole(value: f64) -> u64 {
    value.max(0.0).round() as u64
}

fn parse(answer: &Value) -> Option<Vec<Sample>> {
    let results = answer.pointer("/data/result")?.as_array()?;
    if answer.pointer("/data/resultType")?.as_str()? != "vector" {
        return None;
    }
    results
        .iter()
        .map(|result| {
            let labels = result
                .get("metric")?
                .as_object()?
                .iter()
                .map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
                .collect::<Option<_>>()?;
            let value = result.pointer("/value/1")?.as_str()?.parse().ok()?;
            Some((labels, value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn vectors_are_read_and_nothing_else() {
        let vector = json!({"status": "success", "data": {"resultType": "vector", "result": [
            {"metric": {"job": "a"}, "value": [1.5, "3"]}]}});
        let samples = parse(&vector).unwrap();
        assert_eq!(samples[0].0["job"], "a");
        assert_eq!(whole(samples[0].1), 3);
        assert!(parse(&json!({"status": "error"})).is_none());
        assert!(parse(&json!({"data": {"resultType": "scalar", "result": [1, "2"]}})).is_none());
        assert_eq!(whole(f64::NAN), 0);
    }
}
