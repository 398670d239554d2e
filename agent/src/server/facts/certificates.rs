//! Certificates and keys that PMM 3 could not read.
//!
//! Why: PMM 3 runs as uid 1000 and gid 0. The transfer of ownership gives it the files of the volume, but not those that
//! are mounted one by one, which Ferry does not touch (`facts/pmm.md` 6 row 10).

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::super::{Result, ServerError, ServerRoot};

const DIR: &str = "/srv/nginx";
/// Whom PMM 3 runs as.
const UID: u32 = 1000;

/// A file below `/srv/nginx` that PMM 3 could not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateProblem {
    /// The file, in the server's names.
    pub path: PathBuf,
    /// Why not, in a sentence.
    pub why: String,
    /// Whether it is mounted by itself, so that its owner is not Ferry's to change.
    pub mounted: bool,
}

pub(super) fn problems(root: &ServerRoot) -> Result<Vec<CertificateProblem>> {
    let mut problems = Vec::new();
    let volume = mount_of(&root.resolve("/srv")?);
    for name in root.list(DIR)? {
        let path = Path::new(DIR).join(name);
        let seen = root.join(&path);
        let fail = |source| ServerError::File {
            doing: "read",
            path: seen.clone(),
            source,
        };
        let mut problem = |why: &str, mounted| {
            problems.push(CertificateProblem {
                path: path.clone(),
                why: why.into(),
                mounted,
            });
        };
        let meta = std::fs::symlink_metadata(&seen).map_err(fail)?;
        if meta.is_symlink() {
            let target = root.resolve(&path)?;
            let Ok(meta) = std::fs::metadata(&target) else {
                problem("it is a symbolic link to nothing", false);
                continue;
            };
            // Only what lies on the volume changes its owner.
            let outside = root
                .inside(&target)
                .is_none_or(|inside| !inside.starts_with("/srv"));
            if outside && !others_can_read(meta.uid(), meta.gid(), meta.mode()) {
                problem(
                    "it is a symbolic link to a file that uid 1000 cannot read",
                    false,
                );
            }
            continue;
        }
        if !meta.is_file() {
            continue;
        }
        let mounted = mount_of(&seen) != volume;
        if mounted && !others_can_read(meta.uid(), meta.gid(), meta.mode()) {
            problem(
                "it is mounted, and uid 1000 with group 0 cannot read it",
                true,
            );
        } else if !mounted && meta.mode() & 0o400 == 0 {
            problem("its own owner may not read it", false);
        }
    }
    Ok(problems)
}

/// Whether uid 1000 with group 0 can read a file.
fn others_can_read(uid: u32, gid: u32, mode: u32) -> bool {
    // The first class that fits decides, as the kernel has it.
    let bit = if uid == UID {
        0o400
    } else if gid == 0 || gid == UID {
        0o040
    } else {
        0o004
    };
    mode & bit != 0
}

/// What tells mounts apart: the mount's own number, which also tells bind mounts of one file system; its device where
/// the kernel is too old for that.
fn mount_of(path: &Path) -> Option<(u64, u64)> {
    use rustix::fs::{AtFlags, CWD, StatxFlags};
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    if let Ok(stat) = rustix::fs::statx(CWD, path, flags, StatxFlags::MNT_ID) {
        let known = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::MNT_ID);
        let device = u64::from(stat.stx_dev_major) << 32 | u64::from(stat.stx_dev_minor);
        return Some((device, if known { stat.stx_mnt_id } else { 0 }));
    }
    Some((std::fs::symlink_metadata(path).ok()?.dev(), 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn what_stays_unreadable_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let nginx = dir.path().join("srv/nginx");
        std::fs::create_dir_all(&nginx).unwrap();
        std::fs::create_dir_all(dir.path().join("certs")).unwrap();
        let put = |path: &Path, mode| {
            std::fs::write(path, "x").unwrap();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        put(&nginx.join("certificate.key"), 0o600);
        put(&nginx.join("odd.key"), 0o040);
        put(&dir.path().join("certs/hidden.key"), 0o600);
        symlink("/certs/hidden.key", nginx.join("link.key")).unwrap();
        symlink("/nothing", nginx.join("broken.key")).unwrap();
        let found = problems(&ServerRoot::new(dir.path())).unwrap();
        let names: Vec<_> = found.iter().map(|p| p.path.file_name().unwrap()).collect();
        assert_eq!(names, ["broken.key", "link.key", "odd.key"]);
        assert!(found.iter().all(|problem| !problem.mounted));
    }

    #[test]
    fn the_first_class_decides() {
        assert!(others_can_read(0, 0, 0o640));
        assert!(!others_can_read(0, 0, 0o604));
        assert!(!others_can_read(0, 5, 0o640));
        assert!(others_can_read(1000, 5, 0o400));
    }
}
