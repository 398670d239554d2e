//! Packages of dpkg's.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{ClientHost, LIBRARY, Package, double, lay_out, put};
use crate::Result;
use crate::command::run;

pub(super) const PREPARE: &str = "rm -rf /etc/apt/sources.list.d; echo 'deb [trusted=yes] file:/repo ./' > /etc/apt/sources.list";
pub(super) const INSTALLED: &str = "dpkg-query --show --showformat='${db:Status-Status} ${Package} ${Version}\\n' | sed -n 's/^installed \\(pmm.*\\)/\\1/p'";

/// As dpkg has it.
pub(super) fn version(package: &Package) -> String {
    format!("{}.bookworm", package.version)
}

/// Makes these packages the repository.
pub(super) fn offer(host: &ClientHost, packages: &[Package]) -> Result<()> {
    let (folder, mut index) = (host.folder.path(), String::new());
    for package in packages {
        let tree = folder.join(format!("{}-{}", package.name, package.version));
        lay_out(package, &tree)?;
        if package.name == "pmm-client" {
            put(&tree, "DEBIAN/preinst", &double("preinst", package)?, 0o755)?;
        }
        put(
            &tree,
            "DEBIAN/postinst",
            &double("postinst", package)?,
            0o755,
        )?;
        put(&tree, "DEBIAN/prerm", &double("prerm", package)?, 0o755)?;
        index.push_str(&add(folder, &tree, &control(package))?);
        if package.needy {
            let tree = folder.join(LIBRARY);
            let control = format!("Package: {LIBRARY}\nVersion: 1\n{REST}");
            index.push_str(&add(folder, &tree, &control)?);
        }
    }
    fs_err::write(folder.join("repo/Packages"), index)?;
    host.sh("apt-get update --quiet")?;
    Ok(())
}

const REST: &str =
    "Architecture: amd64\nMaintainer: nobody <nobody@example.com>\nDescription: a double\n";

fn control(package: &Package) -> String {
    let conflicts = match package.name {
        "pmm-client" => "Conflicts: pmm2-client\nReplaces: pmm2-client\n",
        // All that it says, though both have the unit.
        _ => "Breaks: pmm-client\n",
    };
    let needs = if package.needy {
        format!("Depends: {LIBRARY}\n")
    } else {
        String::new()
    };
    format!(
        "Package: {}\nVersion: {}\n{conflicts}{needs}{REST}",
        package.name,
        version(package)
    )
}

/// Builds one into the repository, and gives its part of the index.
fn add(folder: &Path, tree: &Path, control: &str) -> Result<String> {
    put(tree, "DEBIAN/control", control, 0o644)?;
    let name = tree.file_name().unwrap_or_default().to_string_lossy();
    let file: PathBuf = folder.join("repo").join(format!("{name}_amd64.deb"));
    run(Command::new("dpkg-deb")
        .args(["--root-owner-group", "-Znone", "--build"])
        .arg(tree)
        .arg(&file))?;
    let sum = run(Command::new("sha256sum").arg(&file))?;
    let sum = sum.split_whitespace().next().unwrap_or_default();
    let size = fs_err::metadata(&file)?.len();
    Ok(format!(
        "{control}Filename: ./{name}_amd64.deb\nSize: {size}\nSHA256: {sum}\n\n"
    ))
}
