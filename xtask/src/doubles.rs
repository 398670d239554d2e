//! The images of the doubles: servers that are shaped like PMM 2 and PMM 3. The crate `ferry-tests` builds them; here it is
//! only asked to, and to say what they are called. It is asked as a program so that this one stays small.

use crate::error::{Error, Result};
use crate::sh::Tool;

/// The images to go from and to, for who has real ones.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Choice {
    /// A PMM 2 image to start from [default: the double]
    #[arg(long, requires = "to", value_name = "IMAGE")]
    from: Option<String>,
    /// A PMM 3 image to go to [default: the double]
    #[arg(long, requires = "from", value_name = "IMAGE")]
    to: Option<String>,
}

impl Choice {
    /// The images that were chosen, or else the doubles, built where they are missing.
    pub(crate) fn images(&self) -> Result<Images> {
        match (&self.from, &self.to) {
            (Some(from), Some(to)) => Ok(Images {
                pmm2: from.clone(),
                pmm3: to.clone(),
            }),
            _ => ensure(),
        }
    }
}

/// What the images are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Images {
    /// A server shaped like PMM 2.
    pub(crate) pmm2: String,
    /// A server shaped like PMM 3.
    pub(crate) pmm3: String,
}

/// Builds what is missing, and prints a line `NAME=REFERENCE` for each image.
pub(crate) fn ensure_tool() -> Tool {
    // The whole workspace's features, as everywhere: what the tests have built is used.
    Tool::cargo().args([
        "run",
        "--quiet",
        "--locked",
        "--package",
        "ferry-tests",
        "--bin",
        "doubles",
    ])
}

/// Builds what is missing, and says what the images are called.
pub(crate) fn ensure() -> Result<Images> {
    parse(&ensure_tool().read()?)
}

fn parse(text: &str) -> Result<Images> {
    Ok(Images {
        pmm2: value(text, "pmm2")?,
        pmm3: value(text, "pmm3")?,
    })
}

fn value(text: &str, name: &str) -> Result<String> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
        .map(|value| value.trim().to_owned())
        .ok_or_else(|| {
            Error::new(format!(
                "the doubles name no image `{name}`; they said: {text}"
            ))
        })
}

#[cfg(test)]
mod tests {
    #[test]
    fn images_are_read_by_name() {
        let images = super::parse("base=x\npmm2=a:2.44.1\npmm3=a:3.8.1\n").unwrap();
        assert_eq!(
            (images.pmm2.as_str(), images.pmm3.as_str()),
            ("a:2.44.1", "a:3.8.1")
        );
        assert!(
            super::parse("pmm2=a:2.44.1\n")
                .unwrap_err()
                .to_string()
                .contains("pmm3")
        );
    }
}
