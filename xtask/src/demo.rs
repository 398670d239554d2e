//! A whole migration on this machine, and a proof that does not come from the one who did it.
//!
//! A server shaped like PMM 2 is started and filled, `ferryctl migrate` carries it to PMM 3 on this terminal, and then the
//! server is asked from outside, by HTTP and by looking into its files, whether it is all there.

pub(crate) mod load;
pub(crate) mod proof;
pub(crate) mod server;

use std::time::Instant;

use crate::build::{self, Profile};
use crate::demo::load::Load;
use crate::demo::proof::Seen;
use crate::demo::server::Server;
use crate::doubles::Choice;
use crate::error::{Error, Result};
use crate::sh::Tool;
use crate::{docker, place, say, setup};

/// What everything that the demo makes is called, or begins with.
const NAME: &str = "ferry-demo";

/// `cargo xtask demo`
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    images: Choice,
    /// Files under /srv, in thousands
    #[arg(long, default_value_t = 50)]
    kilofiles: u32,
    /// Bytes in these files, in MiB
    #[arg(long, default_value_t = 1024)]
    mebibytes: u32,
    /// Services in the inventory
    #[arg(long, default_value_t = 400)]
    services: u32,
    /// Leave the server and its backup where they are
    #[arg(long)]
    keep: bool,
    /// Optimise fully
    #[arg(long)]
    release: bool,
}

/// Runs it all.
pub(crate) fn run(args: &Args) -> Result<()> {
    setup::run()?;
    say::line("building ferryd and ferryctl");
    let binaries = build::ensure(Profile::of(args.release))?;
    say::line("looking for the images of the two servers");
    let images = args.images.images()?;

    let mut named = docker::Named::claim(NAME)?;
    if args.keep {
        named.keep();
    }
    say::line(format!("starting {NAME} from {}", images.pmm2));
    let server = Server::start(NAME, &images.pmm2)?;
    let load = Load {
        files: args.kilofiles * 1000,
        mebibytes: args.mebibytes,
        services: args.services,
    };
    say::line(format!("filling it: {load}"));
    load.put(&server)?;
    let before = Seen::of(&server, 2)?;
    say::line(format!("before: {before}"));
    if before.services.len() < usize::try_from(load.services).unwrap_or(usize::MAX) {
        return Err(Error::new(
            "the server does not show the services that were put into it",
        ));
    }

    // A state folder of its own: the demo is no part of the user's history.
    let state = place::ours("demo")?;
    say::line(format!(
        "\n$ ferryctl migrate docker:{NAME} --to {} --yes\n",
        images.pmm3
    ));
    let start = Instant::now();
    Tool::new(&binaries.ferryctl)
        .args([
            "migrate",
            &format!("docker:{NAME}"),
            "--to",
            &images.pmm3,
            "--yes",
        ])
        .env("FERRY_STATE_DIR", &state)
        .show()?;
    let took = start.elapsed();

    server.wait_ready(3)?;
    let after = Seen::of(&server, 3)?;
    say::line(format!("\nafter:  {after}"));
    let version = proof::prove(&before, &after)?;
    say::line(format!(
        "proved from outside: version {version}, {} services, {} files with the same bytes, in {}",
        after.services.len(),
        after.files,
        say::took(took)
    ));
    if args.keep {
        say::line(format!(
            "kept: container {NAME}, http://127.0.0.1:{}",
            server.port()
        ));
    } else {
        named.remove()?;
        fs_err::remove_dir_all(&state)?;
    }
    Ok(())
}
