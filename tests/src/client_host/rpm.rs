//! Packages of RPM's. They are built where they are installed, so that the machine that runs the tests needs no rpm.

use super::{ClientHost, LIBRARY, Package, double, lay_out, put};
use crate::{Result, command::docker};

/// Scripts of packages need a shell, and no package of RPM's has brought the one that is there.
pub(super) const PREPARE: &str = "mkdir -p /build; \
    printf 'Name: shell\\nVersion: 1\\nRelease: 1\\nSummary: sh\\nLicense: none\\nBuildArch: noarch\\nProvides: /bin/sh\\n%%description\\nsh\\n%%files\\n' > /build/spec; \
    rpmbuild -bb --quiet --define '_topdir /build/top' --define '_rpmdir /build' /build/spec; rpm --upgrade /build/noarch/shell-1-1.noarch.rpm";
pub(super) const INSTALLED: &str =
    "rpm --query --all --queryformat '%{NAME} %{EVR}\\n' 'pmm*-client'";
/// The same package is the same build each time: Ferry takes the digest of the installed one's header for its name.
const BUILD: &str = "SOURCE_DATE_EPOCH=1700000000 rpmbuild -bb --quiet --target x86_64 --define '_topdir /build/top' \
    --define '_rpmdir /repo' --define '_build_id_links none' --define '_buildhost double' \
    --define 'use_source_date_epoch_as_buildtime 1' --define 'clamp_mtime_to_source_date_epoch 1' /build/package/spec";

/// As rpm has it.
pub(super) fn version(package: &Package) -> String {
    format!("{}.el9", package.version)
}

/// Makes these packages the repository.
pub(super) fn offer(host: &ClientHost, packages: &[Package]) -> Result<()> {
    host.sh("rm -rf /repo/x86_64 /repo/repodata")?;
    for package in packages {
        build(host, package, &spec(package)?)?;
        if package.needy {
            let spec = format!(
                "Name: {LIBRARY}\nVersion: 1\nRelease: 1\nSummary: A double\nLicense: none\n%description\nA double.\n%files\n"
            );
            build(host, package, &spec)?;
        }
    }
    host.sh("createrepo_c --quiet /repo; dnf clean --quiet all; dnf makecache --quiet")?;
    Ok(())
}

fn build(host: &ClientHost, package: &Package, spec: &str) -> Result<()> {
    let folder = host.folder.path().join("package");
    lay_out(package, &folder.join("tree"))?;
    put(&folder, "spec", spec, 0o644)?;
    host.sh("rm -rf /build/package")?;
    docker(&[
        "cp",
        &folder.to_string_lossy(),
        &format!("{}:/build/package", host.container.name),
    ])?;
    host.sh(BUILD).map(drop)
}

fn spec(package: &Package) -> Result<String> {
    let new = package.name == "pmm-client";
    let mut relations = "Conflicts: pmm-client".to_owned();
    if new {
        relations.push_str("\nObsoletes: pmm2-client < 3.0.0");
    }
    if package.needy {
        relations.push_str(&format!("\nRequires: {LIBRARY}"));
    }
    let scripts = if new {
        double("trans", package)?
    } else {
        String::new()
    };
    let version = version(package);
    let (_, release) = version.split_once('-').unwrap_or_default();
    Ok(double("spec", package)?
        .replace("@RELEASE@", release)
        .replace("@RELATIONS@", &relations)
        .replace("@TRANS@", &scripts))
}
