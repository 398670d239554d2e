//! The text of a file of the operator's, Compose's or a unit's, with new words at some places and every other byte as it was.
//!
//! Why one module for both: what PMM 3 asks of a file is the same wherever it stands. Where it stands, and what proves that it was put in
//! rightly, is for those who know the format.
//!
//! Pure: no file, no engine.

use std::ops::Range;

/// What has to change in the description of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Changes {
    /// The image it shall have.
    pub(crate) image: String,
    /// The variables that do not stay as they are.
    pub(crate) variables: Vec<Variable>,
    /// 80 becomes 8080 and 443 becomes 8443 on the container's side.
    pub(crate) ports: bool,
}

/// A variable that does not stay as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Variable {
    /// Its name in the file.
    pub(crate) name: String,
    /// What becomes of it.
    pub(crate) fate: Fate,
}

/// What becomes of a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// This name, the same value.
    Renamed(String),
    /// This name, the opposite value.
    Inverted(String),
    /// It goes.
    Dropped,
}

impl Fate {
    pub(crate) fn new_name(&self) -> Option<&str> {
        match self {
            Self::Renamed(name) | Self::Inverted(name) => Some(name),
            Self::Dropped => None,
        }
    }
}

/// The new text, and what of it may be shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Edited {
    /// The whole file.
    pub(crate) text: String,
    /// The changed entries, before and after, without the value of any variable.
    pub(crate) diff: Vec<String>,
}

impl std::fmt::Debug for Edited {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The text has the values of variables.
        f.debug_struct("Edited")
            .field("diff", &self.diff)
            .finish_non_exhaustive()
    }
}

/// New words in the place of old ones.
pub(crate) struct Splice {
    pub(crate) range: Range<usize>,
    pub(crate) with: String,
    pub(crate) line: usize,
    /// What is shown; empty: nothing, as of an entry that goes.
    pub(crate) before: String,
    pub(crate) after: String,
}

/// The text with all of it put in. `None` where two places overlap, which cannot be if each is an entry of its own.
pub(crate) fn spliced(text: &str, mut splices: Vec<Splice>) -> Option<Edited> {
    splices.sort_by_key(|splice| splice.range.start);
    let mut new = String::with_capacity(text.len() + 64 * splices.len());
    let mut diff = Vec::new();
    let mut at = 0;
    for splice in splices {
        new.push_str(text.get(at..splice.range.start)?);
        new.push_str(&splice.with);
        at = splice.range.end;
        for (sign, shown) in [('-', &splice.before), ('+', &splice.after)] {
            if !shown.is_empty() {
                diff.push(format!("{sign} {:>4}  {shown}", splice.line));
            }
        }
    }
    new.push_str(text.get(at..)?);
    Some(Edited { text: new, diff })
}
