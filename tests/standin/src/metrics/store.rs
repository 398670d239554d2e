//! Series as spans of samples at an even step: days of history in a few bytes, and every question about a moment still has one
//! right answer.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::Result;

/// How long a series is seen after its last sample, as an instant query sees it. So `up == 1` holds for minutes after everything
/// was stopped: an answer proves nothing, its time does.
pub(crate) const LOOKBACK: f64 = 300.0;

pub(crate) type Labels = BTreeMap<String, String>;

/// One series of one run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Series {
    pub(crate) labels: Labels,
    pub(crate) value: f64,
    step: f64,
    /// First and last sample of each stretch.
    spans: Vec<[f64; 2]>,
}

impl Series {
    fn of_json(value: &Value) -> Option<Self> {
        let spans = value["spans"].as_array()?.iter();
        Some(Self {
            labels: labels_of(&value["labels"]),
            value: value["value"].as_f64()?,
            step: value["step"].as_f64()?,
            spans: spans
                .map(|s| Some([s[0].as_f64()?, s[1].as_f64()?]))
                .collect::<Option<_>>()?,
        })
    }

    /// The time of the last sample in `(at - window, at]`.
    pub(crate) fn last(&self, at: f64, window: f64) -> Option<f64> {
        let last = self.spans.iter().filter_map(|[from, to]| {
            let end = to.min(at);
            (end >= *from).then(|| from + ((end - from) / self.step).floor() * self.step)
        });
        last.fold(None, |a: Option<f64>, b| Some(a.map_or(b, |a| a.max(b))))
            .filter(|t| *t > at - window)
    }

    /// How many samples are in `(at - window, at]`.
    pub(crate) fn count(&self, at: f64, window: f64) -> f64 {
        self.spans
            .iter()
            .map(|[from, to]| {
                let upto = |t: f64| ((t.min(*to) - from) / self.step).floor().max(-1.0) + 1.0;
                upto(at) - upto(at - window)
            })
            .sum()
    }
}

pub(crate) fn labels_of(value: &Value) -> Labels {
    value
        .as_object()
        .into_iter()
        .flatten()
        .map(|(k, v)| (k.clone(), v.as_str().unwrap_or("").to_owned()))
        .collect()
}

/// All series: those found on the volume, and those of this run in a part of their own.
pub(crate) struct Store {
    found: Vec<Series>,
    live: HashMap<Labels, Series>,
    part: PathBuf,
}

impl Store {
    /// Reads every part below `folder`; what is not there is not known any more.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let mut found = Vec::new();
        read_parts(&folder.join("data"), &mut found)?;
        let part = folder.join(format!("data/small/run/{:016X}", super::now().to_bits()));
        Ok(Self {
            found,
            live: HashMap::new(),
            part,
        })
    }

    #[cfg(test)]
    pub(crate) fn of(found: Vec<Value>) -> Self {
        let found = found.iter().filter_map(Series::of_json).collect();
        Self {
            found,
            live: HashMap::new(),
            part: PathBuf::new(),
        }
    }

    pub(crate) fn series(&self) -> Vec<&Series> {
        self.found.iter().chain(self.live.values()).collect()
    }

    /// Takes one sample of each target.
    pub(crate) fn scraped(&mut self, targets: &[Value], at: f64, step: u64) {
        for target in targets {
            let labels = labels_of(&target["labels"]);
            let value = target["value"].as_f64().unwrap_or(0.0);
            let series = self.live.entry(labels.clone()).or_insert_with(|| Series {
                labels,
                value,
                step: step as f64,
                spans: Vec::new(),
            });
            // The series changed its value: a span has one, so what was before is cut off.
            if series.value.to_bits() != value.to_bits() {
                series.value = value;
                series.spans.clear();
            }
            match series.spans.last_mut() {
                Some([_, to]) if at - *to < 3.0 * step as f64 => *to = at,
                _ => series.spans.push([at, at]),
            }
        }
    }

    /// Writes this run's part.
    pub(crate) fn flush(&self) -> Result<()> {
        if self.live.is_empty() {
            return Ok(());
        }
        fs_err::create_dir_all(&self.part)?;
        let series: Vec<_> = self
            .live
            .values()
            .map(|s| json!({ "labels": s.labels, "value": s.value, "step": s.step, "spans": s.spans }))
            .collect();
        let path = self.part.join("standin.json");
        let fresh = path.with_extension("tmp");
        fs_err::write(&fresh, json!({ "series": series }).to_string())?;
        fs_err::rename(fresh, path)?;
        Ok(())
    }
}

fn read_parts(folder: &Path, found: &mut Vec<Series>) -> Result<()> {
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
                part["series"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(Series::of_json),
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series() -> Series {
        Series {
            labels: Labels::new(),
            value: 1.0,
            step: 60.0,
            spans: vec![[1000.0, 1600.0]],
        }
    }

    #[test]
    fn the_last_sample_is_the_one_before_and_goes_out_of_sight() {
        assert_eq!(series().last(1130.0, LOOKBACK), Some(1120.0));
        assert_eq!(series().last(1899.0, LOOKBACK), Some(1600.0));
        assert_eq!(series().last(1900.0, LOOKBACK), None);
        assert_eq!(series().last(999.0, LOOKBACK), None);
    }

    #[test]
    fn samples_are_counted_in_a_half_open_window() {
        assert_eq!(series().count(1300.0, 300.0), 5.0);
        assert_eq!(series().count(9999.0, 9999.0), 11.0);
        assert_eq!(series().count(900.0, 300.0), 0.0);
    }
}
