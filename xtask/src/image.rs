//! Container images, by the classic builder that every engine has.
//!
//! The programs are built first and staged in a small folder of their own: the builder sends the whole folder to the engine,
//! and the repository with its `target` is gigabytes.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::build::{self, Profile};
use crate::error::{Error, Result};
use crate::{docker, doubles, place, say};

/// `cargo xtask image`
#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(value_enum)]
    kind: Kind,
    /// The image to build on: any PMM server for `inside`, anything with a shell you like for `ctl`
    #[arg(long)]
    base: Option<String>,
    /// What to call the image [default: ferry-KIND:VERSION]
    #[arg(long)]
    tag: Option<String>,
    /// The user that the server's supervisor runs as, for `inside` [default: read from the image]
    #[arg(long)]
    uid: Option<u32>,
    /// Optimise fully
    #[arg(long)]
    release: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// `ferryd` alone, in an empty image
    Agent,
    /// `ferryctl` with `ferryd` beside it
    Ctl,
    /// A PMM server with the agent as one of its supervised programs
    Inside,
    /// The servers that tests and demo use
    Doubles,
}

impl Kind {
    fn target(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Ctl => "ctl",
            Self::Inside => "inside",
            Self::Doubles => "doubles",
        }
    }
}

/// Builds the image, and prints what it is called.
pub(crate) fn run(args: &Args) -> Result<()> {
    if args.kind == Kind::Doubles {
        let images = doubles::ensure()?;
        say::data(&images.pmm2);
        say::data(&images.pmm3);
        return Ok(());
    }
    let variables = variables(args)?;
    let binaries = build::ensure(Profile::of(args.release))?;
    // Of this process alone: two may build at once.
    let context = place::ours(&format!("image-{}", std::process::id()))?;
    stage(&binaries, &context)?;
    let built = build_image(args, variables, &context);
    fs_err::remove_dir_all(&context)?;
    built
}

fn build_image(args: &Args, variables: Vec<String>, context: &Path) -> Result<()> {
    let target = args.kind.target();
    let tag = args
        .tag
        .clone()
        .unwrap_or_else(|| format!("ferry-{target}:{}", env!("CARGO_PKG_VERSION")));
    let mut tool = docker::docker(["build", "--target", target, "--tag", &tag, "--file"])
        .arg(place::root()?.join("Dockerfile"));
    for variable in variables {
        tool = tool.args(["--build-arg", &variable]);
    }
    tool.arg(context).show()?;
    say::data(&tag);
    Ok(())
}

/// Builds the agent's image under a name.
pub(crate) fn agent(tag: &str, profile: Profile) -> Result<()> {
    run(&Args {
        kind: Kind::Agent,
        base: None,
        tag: Some(tag.to_owned()),
        uid: None,
        release: profile == Profile::Release,
    })
}

/// What the Dockerfile has to be told, looked up before anything is built.
fn variables(args: &Args) -> Result<Vec<String>> {
    match (args.kind, &args.base) {
        (Kind::Inside, None) => Err(Error::with_hint(
            "`inside` needs the PMM server image to build on",
            "cargo xtask image inside --base percona/pmm-server:2.44.1",
        )),
        (Kind::Inside, Some(base)) => {
            let uid = match args.uid {
                Some(uid) => uid,
                None => docker::image_uid(base)?,
            };
            Ok(vec![
                format!("PMM_IMAGE={base}"),
                format!("FERRY_UID={uid}"),
            ])
        }
        (Kind::Ctl, Some(base)) => Ok(vec![format!("CTL_BASE={base}")]),
        _ => Ok(Vec::new()),
    }
}

/// The folder that the engine gets: two programs, one file for the supervisor, one empty folder.
fn stage(binaries: &build::Binaries, folder: &Path) -> Result<()> {
    fs_err::remove_dir_all(folder)?;
    let socket_folder = folder.join("run/ferry");
    fs_err::create_dir_all(&socket_folder)?;
    // The builder keeps modes: whoever is not the agent's user has no business at its socket.
    fs_err::set_permissions(&socket_folder, Permissions::from_mode(0o700))?;
    link_or_copy(&binaries.ferryd, &folder.join("ferryd"))?;
    link_or_copy(&binaries.ferryctl, &folder.join("ferryctl"))?;
    fs_err::copy(
        place::root()?.join("deploy/zz-ferry.ini"),
        folder.join("zz-ferry.ini"),
    )?;
    Ok(())
}

/// Megabytes need not be written again where a second name does.
fn link_or_copy(from: &Path, to: &Path) -> Result<()> {
    if fs_err::hard_link(from, to).is_err() {
        fs_err::copy(from, to)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::stage;
    use crate::build::Binaries;

    #[test]
    fn the_context_holds_what_the_dockerfile_copies_and_nothing_of_before() {
        let program = std::env::current_exe().unwrap();
        let binaries = Binaries {
            ferryd: program.clone(),
            ferryctl: program,
        };
        let folder = std::env::temp_dir().join(format!("xtask-image-{}", std::process::id()));
        fs_err::create_dir_all(folder.join("old")).unwrap();
        stage(&binaries, &folder).unwrap();
        let mut names: Vec<_> = fs_err::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["ferryctl", "ferryd", "run", "zz-ferry.ini"]);
        let dockerfile =
            fs_err::read_to_string(crate::place::root().unwrap().join("Dockerfile")).unwrap();
        assert!(
            names
                .iter()
                .all(|name| dockerfile.contains(name.to_str().unwrap()))
        );
        let mode = fs_err::metadata(folder.join("run/ferry"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o700);
        fs_err::remove_dir_all(&folder).unwrap();
    }
}
