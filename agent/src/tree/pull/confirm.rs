//! Whether the source still is what a manifest says: asked once more when all has been pulled.

use std::collections::HashMap;

use ferry_proto::v1::TreeEntry;

use super::{
    super::{
        Manifest, Problems, Watch,
        error::show_in,
        manifest::{Entry, What, digest_of_attributes},
        meta::Kind,
        progress::Meter,
    },
    PullError, Source,
    told::{self, Told, Under},
    unsound,
};

/// Compares all that the source tells now with the manifest of what was pulled: nothing more, nothing less, nothing changed since.
///
/// # Errors
/// [`PullError`]; differences are in what it returns.
pub fn confirm(
    source: &mut dyn Source,
    manifest: &Manifest,
    watch: &Watch<'_>,
) -> Result<Problems, PullError> {
    let meter = Meter::new(watch);
    let mut differences = Problems::default();
    let (mut told, mut count) = (Vec::new(), 0);
    source.list()?;
    while let Some(part) = source.next_part()? {
        if part.gone {
            differences.add(|| format!("{}: it vanished", show_in(&part.dir, b"")));
            continue;
        }
        told.extend(part.entries);
        let Some(own) = part.own else { continue };
        count += directory(&part.dir, own, &mut told, manifest, &mut differences)?;
        meter.add(1, 0)?;
    }
    if differences.is_empty() && count != manifest.entries() {
        let known = manifest.entries();
        differences.add(|| format!("{known} entries were pulled, the source has {count}"));
    }
    Ok(differences)
}

/// Returns how many entries were looked at; a directory counts by its own part.
fn directory(
    dir: &[u8],
    own: TreeEntry,
    told: &mut Vec<TreeEntry>,
    manifest: &Manifest,
    differences: &mut Problems,
) -> Result<u64, PullError> {
    let told = std::mem::take(told);
    let sound = |what| unsound(dir, c"", what);
    let Some(part) = manifest.part(dir)? else {
        differences.add(|| format!("{}: it is new", show_in(dir, b"")));
        return Ok(1);
    };
    let own = Told::of(own).map_err(sound)?;
    if !part.own.as_ref().is_some_and(|entry| is(entry, &own)) {
        differences.add(|| format!("{}: it changed", show_in(dir, b"")));
    }
    let mut known: HashMap<_, _> = part.names.iter().zip(&part.entries).collect();
    let mut count = 1;
    for entry in told {
        let (name, under) = told::named(entry).map_err(sound)?;
        let same = match (under, known.remove(&*name)) {
            (Under::Entry(told), Some(None)) => told.meta.kind() == Kind::Dir,
            (Under::Entry(told), Some(Some(entry))) => {
                count += 1;
                is(entry, &told)
            }
            _ => false,
        };
        if !same {
            differences.add(|| format!("{}: it changed", show_in(dir, name.to_bytes())));
        }
    }
    for name in known.into_keys() {
        differences.add(|| format!("{}: it vanished", show_in(dir, name.to_bytes())));
    }
    Ok(count)
}

/// Whether a manifest's entry is what is told now.
fn is(entry: &Entry, told: &Told) -> bool {
    let target = match &entry.what {
        What::Symlink(target) => **target == *told.target.to_bytes(),
        _ => true,
    };
    target
        && entry.describes(&told.meta)
        && entry.owner == told.meta.owner
        // A directory's own are told with itself, a file's with its name.
        && entry.attributes == digest_of_attributes(&told.attributes)
}
