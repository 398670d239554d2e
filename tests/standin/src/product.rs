//! Which server this is: its version is what the image's dashboards say, the same file that the server itself goes by.

use crate::Result;

/// The version of the image, and what differs by it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Product {
    parts: [u32; 3],
}

impl Product {
    pub(crate) fn of_image() -> Result<Self> {
        let text = fs_err::read_to_string("/usr/share/percona-dashboards/VERSION")?;
        Self::parse(&text).ok_or_else(|| format!("not a version: {text:?}").into())
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = [0; 3];
        let mut fields = text.trim().split('.');
        for part in &mut parts {
            *part = fields.next()?.parse().ok()?;
        }
        Some(Self { parts })
    }

    pub(crate) fn is_v3(&self) -> bool {
        self.parts[0] >= 3
    }

    pub(crate) fn at_least(&self, major: u32, minor: u32, patch: u32) -> bool {
        self.parts >= [major, minor, patch]
    }
}

impl std::fmt::Display for Product {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [major, minor, patch] = self.parts;
        write!(f, "{major}.{minor}.{patch}")
    }
}

/// What was told to go wrong with a PMM 3. PMM 2 looks at none of them: settings are carried from the one to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Ready, and as empty as a new server, though the data are there.
    Empty,
    /// Ready with half of the inventory.
    Half,
    /// The maintenance page stays, and the server is never ready.
    Maintenance,
    /// Services take their time to stop, in both majors.
    SlowStop,
    /// Nothing is scraped any more.
    NoUp,
}

impl Fault {
    /// The fault of the environment, as far as it is meant for this program's major.
    pub(crate) fn of_environment(product: &Product) -> Option<Self> {
        let fault = match std::env::var("STANDIN_FAULT").ok()?.as_str() {
            "slow-stop" => return Some(Self::SlowStop),
            "empty" => Self::Empty,
            "half" => Self::Half,
            "maintenance" => Self::Maintenance,
            "no-up" => Self::NoUp,
            _ => return None,
        };
        product.is_v3().then_some(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::Product;

    #[test]
    fn versions_compare_by_number_not_by_letter() {
        let old = Product::parse("3.8.1\n").unwrap();
        let new = Product::parse("3.10.0").unwrap();
        assert!(old < new);
        assert!(new.at_least(3, 9, 9));
        assert!(!Product::parse("2.44.1").unwrap().is_v3());
        assert!(Product::parse("3.8").is_none());
    }
}
