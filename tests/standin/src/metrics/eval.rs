//! What an expression is worth at a moment.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::parse::{Expr, Grouping, Matcher, Parsed};
use super::store::{LOOKBACK, Labels, Series, Store};

/// A number, or one for each set of labels.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    Scalar(f64),
    Vector(Vec<(Labels, f64)>),
}

impl Outcome {
    /// As the API shows it; scalars are vectors of one without labels there.
    pub(crate) fn to_json(&self, at: f64) -> Value {
        let sample = |v: f64| json!([at, number(v)]);
        let result: Vec<_> = match self {
            Self::Scalar(v) => vec![json!({ "metric": {}, "value": sample(*v) })],
            Self::Vector(all) => all
                .iter()
                .map(|(l, v)| json!({ "metric": l, "value": sample(*v) }))
                .collect(),
        };
        json!({ "resultType": "vector", "result": result })
    }
}

fn number(value: f64) -> String {
    if value.is_infinite() {
        if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        value.to_string()
    }
}

/// Evaluates at one moment.
pub(crate) fn instant(store: &Store, expr: &Expr, at: f64) -> Parsed<Outcome> {
    match expr {
        Expr::Number(n) => Ok(Outcome::Scalar(*n)),
        Expr::Selector { range: Some(_), .. } => {
            Err("a range needs a function over time".to_owned())
        }
        Expr::Selector {
            matchers, offset, ..
        } => {
            let found = select(store, matchers)?.into_iter();
            let seen = found.filter(|s| s.last(at - offset, LOOKBACK).is_some());
            Ok(Outcome::Vector(distinct(
                seen.map(|s| (s.labels.clone(), s.value)),
            )))
        }
        Expr::Call { name, args } => call(store, name, args, at),
        Expr::Aggregate {
            name,
            grouping,
            arg,
        } => {
            let Outcome::Vector(all) = instant(store, arg, at)? else {
                return Err(format!("{name} needs a vector"));
            };
            Ok(Outcome::Vector(aggregate(name, grouping.as_ref(), all)))
        }
        Expr::Binary {
            op,
            bool_modifier,
            left,
            right,
        } => {
            let (left, right) = (instant(store, left, at)?, instant(store, right, at)?);
            binary(op, *bool_modifier, left, right)
        }
    }
}

/// Evaluates at even steps.
pub(crate) fn range(store: &Store, expr: &Expr, start: f64, end: f64, step: f64) -> Parsed<Value> {
    let mut rows: BTreeMap<Labels, Vec<Value>> = BTreeMap::new();
    let mut at = start;
    while at <= end {
        let samples = match instant(store, expr, at)? {
            Outcome::Scalar(v) => vec![(Labels::new(), v)],
            Outcome::Vector(all) => all,
        };
        for (labels, value) in samples {
            rows.entry(labels)
                .or_default()
                .push(json!([at, number(value)]));
        }
        at += step;
    }
    let result: Vec<_> = rows
        .into_iter()
        .map(|(l, v)| json!({ "metric": l, "values": v }))
        .collect();
    Ok(json!({ "resultType": "matrix", "result": result }))
}

fn select<'a>(store: &'a Store, matchers: &[Matcher]) -> Parsed<Vec<&'a Series>> {
    if matchers.is_empty() {
        return Err("a selector needs a name or a label".to_owned());
    }
    Ok(store
        .series()
        .into_iter()
        .filter(|s| matchers.iter().all(|m| fits(m, &s.labels)))
        .collect())
}

/// Of regular expressions only what is written for labels: alternatives, `.*` and `.+` at either end.
fn fits(matcher: &Matcher, labels: &Labels) -> bool {
    let value = labels.get(&matcher.label).map_or("", String::as_str);
    let one = |pattern: &str| {
        if !matcher.regex {
            return pattern == value;
        }
        let pattern = pattern.trim_matches(['^', '$', '(', ')']);
        if pattern == ".+" {
            return !value.is_empty();
        }
        let (head, open_end) = pattern
            .strip_suffix(".*")
            .or(pattern.strip_suffix(".+"))
            .map_or((pattern, false), |p| (p, true));
        let (body, open_start) = head
            .strip_prefix(".*")
            .or(head.strip_prefix(".+"))
            .map_or((head, false), |p| (p, true));
        match (open_start, open_end) {
            (false, false) => value == body,
            (true, false) => value.ends_with(body),
            (false, true) => value.starts_with(body),
            (true, true) => value.contains(body),
        }
    };
    matcher.patterns.iter().any(|p| one(p)) != matcher.negated
}

/// One series of several runs is one series.
fn distinct(all: impl Iterator<Item = (Labels, f64)>) -> Vec<(Labels, f64)> {
    all.collect::<BTreeMap<_, _>>().into_iter().collect()
}

fn unnamed(mut labels: Labels) -> Labels {
    labels.remove("__name__");
    labels
}

fn call(store: &Store, name: &str, args: &[Expr], at: f64) -> Parsed<Outcome> {
    match (name, args) {
        ("time", []) => Ok(Outcome::Scalar(at)),
        (
            "timestamp",
            [
                Expr::Selector {
                    matchers,
                    range: None,
                    offset,
                },
            ],
        ) => {
            let mut latest: BTreeMap<Labels, f64> = BTreeMap::new();
            for series in select(store, matchers)? {
                if let Some(last) = series.last(at - offset, LOOKBACK) {
                    let slot = latest.entry(unnamed(series.labels.clone())).or_insert(last);
                    *slot = slot.max(last);
                }
            }
            Ok(Outcome::Vector(latest.into_iter().collect()))
        }
        (
            over_time,
            [
                Expr::Selector {
                    matchers,
                    range: Some(window),
                    offset,
                },
            ],
        ) => {
            let mut all: BTreeMap<Labels, (f64, f64)> = BTreeMap::new();
            for series in select(store, matchers)? {
                let count = series.count(at - offset, *window);
                if count > 0.0 {
                    let slot = all.entry(unnamed(series.labels.clone())).or_default();
                    *slot = (slot.0 + count, series.value);
                }
            }
            let pick = |(count, value): (f64, f64)| match over_time {
                "count_over_time" => Ok(count),
                "sum_over_time" => Ok(count * value),
                "last_over_time" | "max_over_time" | "min_over_time" | "avg_over_time" => Ok(value),
                "present_over_time" => Ok(1.0),
                "changes" | "rate" | "increase" | "delta" => Ok(0.0),
                _ => Err(format!("unsupported function {over_time:?}")),
            };
            let rows = all.into_iter().map(|(l, v)| Ok((l, pick(v)?)));
            Ok(Outcome::Vector(rows.collect::<Parsed<_>>()?))
        }
        ("absent", [arg]) => Ok(Outcome::Vector(match instant(store, arg, at)? {
            Outcome::Vector(all) if all.is_empty() => vec![(Labels::new(), 1.0)],
            _ => Vec::new(),
        })),
        ("scalar", [arg]) => Ok(Outcome::Scalar(match instant(store, arg, at)? {
            Outcome::Scalar(v) => v,
            Outcome::Vector(all) => match all.as_slice() {
                [(_, v)] => *v,
                _ => f64::NAN,
            },
        })),
        ("vector", [arg]) => Ok(match instant(store, arg, at)? {
            Outcome::Scalar(v) => Outcome::Vector(vec![(Labels::new(), v)]),
            vector => vector,
        }),
        _ => Err(format!("unsupported function or arguments: {name:?}")),
    }
}

fn aggregate(
    name: &str,
    grouping: Option<&Grouping>,
    all: Vec<(Labels, f64)>,
) -> Vec<(Labels, f64)> {
    let mut groups: BTreeMap<Labels, Vec<f64>> = BTreeMap::new();
    for (mut labels, value) in all {
        match grouping {
            None => labels.clear(),
            Some(g) => {
                labels.retain(|l, _| {
                    g.labels.contains(l) != g.without && (!g.without || l != "__name__")
                });
            }
        }
        groups.entry(labels).or_default().push(value);
    }
    let fold = |values: Vec<f64>| {
        let (count, sum) = (values.len() as f64, values.iter().sum::<f64>());
        match name {
            "count" => count,
            "sum" => sum,
            "avg" => sum / count,
            "max" => values.into_iter().fold(f64::NEG_INFINITY, f64::max),
            "min" => values.into_iter().fold(f64::INFINITY, f64::min),
            _ => 1.0,
        }
    };
    groups.into_iter().map(|(l, v)| (l, fold(v))).collect()
}

/// The number, and whether a comparison held.
fn apply(op: &str, a: f64, b: f64) -> (f64, bool) {
    let compared = match op {
        "+" => return (a + b, true),
        "-" => return (a - b, true),
        "*" => return (a * b, true),
        "/" => return (a / b, true),
        "%" => return (a % b, true),
        "==" => a == b,
        "!=" => a != b,
        ">" => a > b,
        "<" => a < b,
        ">=" => a >= b,
        _ => a <= b,
    };
    (f64::from(u8::from(compared)), compared)
}

fn binary(op: &str, bool_modifier: bool, left: Outcome, right: Outcome) -> Parsed<Outcome> {
    let comparison = op.starts_with(['=', '!', '<', '>']);
    // A comparison keeps the sample that held, unless it was asked for a 0 or 1.
    let keep = |labels: Labels, own: f64, a: f64, b: f64| {
        let (value, held) = apply(op, a, b);
        match (comparison, bool_modifier) {
            (true, false) => held.then_some((labels, own)),
            _ => Some((unnamed(labels), value)),
        }
    };
    Ok(match (left, right) {
        (Outcome::Scalar(a), Outcome::Scalar(b)) => Outcome::Scalar(apply(op, a, b).0),
        (Outcome::Vector(l), Outcome::Scalar(b)) => Outcome::Vector(
            l.into_iter()
                .filter_map(|(k, a)| keep(k, a, a, b))
                .collect(),
        ),
        (Outcome::Scalar(a), Outcome::Vector(r)) => Outcome::Vector(
            r.into_iter()
                .filter_map(|(k, b)| keep(k, b, a, b))
                .collect(),
        ),
        (Outcome::Vector(l), Outcome::Vector(r)) => {
            let other: BTreeMap<_, _> = r.iter().map(|(k, v)| (unnamed(k.clone()), *v)).collect();
            match op {
                "and" => Outcome::Vector(
                    l.into_iter()
                        .filter(|(k, _)| other.contains_key(&unnamed(k.clone())))
                        .collect(),
                ),
                "unless" => Outcome::Vector(
                    l.into_iter()
                        .filter(|(k, _)| !other.contains_key(&unnamed(k.clone())))
                        .collect(),
                ),
                "or" => {
                    let mine: BTreeMap<_, _> =
                        l.iter().map(|(k, v)| (unnamed(k.clone()), *v)).collect();
                    let more = r
                        .into_iter()
                        .filter(|(k, _)| !mine.contains_key(&unnamed(k.clone())));
                    Outcome::Vector(l.iter().cloned().chain(more).collect())
                }
                _ => Outcome::Vector(
                    l.into_iter()
                        .filter_map(|(k, a)| {
                            let b = *other.get(&unnamed(k.clone()))?;
                            keep(k, a, a, b)
                        })
                        .collect(),
                ),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::parse::expression;
    use super::*;

    fn store() -> Store {
        let up = |node: &str, job: &str, value: f64| json!({ "labels": { "__name__": "up", "node_name": node, "job": job }, "value": value, "step": 10, "spans": [[100_000, 200_000]] });
        Store::of(vec![
            up("a", "x", 1.0),
            up("a", "y", 1.0),
            up("b", "x", 0.0),
        ])
    }

    fn ask(query: &str, at: f64) -> Vec<(String, f64)> {
        match instant(&store(), &expression(query).unwrap(), at).unwrap() {
            Outcome::Scalar(v) => vec![(String::new(), v)],
            Outcome::Vector(all) => all
                .into_iter()
                .map(|(l, v)| (l.into_values().collect::<Vec<_>>().join(","), v))
                .collect(),
        }
    }

    fn one(query: &str, at: f64) -> f64 {
        let all = ask(query, at);
        assert_eq!(all.len(), 1, "{query}: {all:?}");
        all[0].1
    }

    #[test]
    fn what_a_tool_would_ask_is_answered() {
        assert_eq!(one("count(up == 1)", 150_000.0), 2.0);
        assert_eq!(
            ask("count by (job) (up == 1)", 150_000.0),
            [("x".into(), 1.0), ("y".into(), 1.0)]
        );
        assert_eq!(
            ask("count(up) by (node_name)", 150_000.0),
            [("a".into(), 2.0), ("b".into(), 1.0)]
        );
        assert_eq!(
            ask("max by (node_name)(timestamp(up))", 150_005.0)[0],
            ("a".into(), 150_000.0)
        );
        assert_eq!(one("max(time() - timestamp(up))", 200_100.0), 100.0);
        assert_eq!(
            one(
                "sum(count_over_time(up{job=\"x\",node_name=~\"a|c\"}[5m] offset 1h))",
                150_000.0
            ),
            30.0
        );
        assert_eq!(one("count(up offset 1d)", 200_000.0), 3.0);
        assert_eq!(one("count(up{node_name!~\"b.*\"} or up)", 150_000.0), 3.0);
        assert_eq!(one("sum(up == bool 1)", 150_000.0), 2.0);
    }

    #[test]
    fn a_series_is_seen_for_five_minutes_after_its_end_and_not_longer() {
        assert_eq!(one("count(up)", 200_299.0), 3.0);
        assert!(ask("count(up)", 200_300.0).is_empty());
        assert!(ask("count(up offset 1d)", 150_000.0).is_empty());
    }
}
