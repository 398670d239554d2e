//! The ways in which people run a PMM 2 on Docker: each crosses, comes back by command, and comes back by itself when PMM 3
//! fails; and what holds the data is the same all along. A server that has its data on nothing is in `data_to_volume.rs`.

use ferry_tests::failing_image::FailingImage;
use ferry_tests::ferryctl::{Ferryctl, Finished};
use ferry_tests::server::{Container, Data, Options, TestServer};
use ferry_tests::snapshot::Entry;
use ferry_tests::witness::{self, Seen};
use ferry_tests::{Result, docker};
use serde_json::Value;

const TO: &str = "ferry-test/pmm-server:3.8.1";

/// A server of one way, and how it was.
struct Way {
    server: TestServer,
    data: Data,
    recipe: &'static str,
    tree: Vec<Entry>,
    seen: Seen,
    was: Value,
    mount: Value,
    /// How often PMM 2 has run since `tree`.
    starts: usize,
}

/// A crossing that succeeded.
struct Crossed {
    tool: Ferryctl,
    run: String,
    /// The old container.
    old: Container,
}

impl Way {
    fn of(data: Data) -> Result<Self> {
        let server = TestServer::used(Options {
            data,
            ..Options::default()
        })?;
        let tree = server.snapshot_between()?;
        assert!(tree.len() > 50, "{} entries", tree.len());
        Ok(Self {
            seen: Seen::of(&server)?,
            was: server.inspect()?,
            mount: server.data_mount()?,
            starts: 1,
            server,
            data,
            recipe: "pmm-in-place",
            tree,
        })
    }

    /// Its databases go into a new cluster.
    fn by_dumps(self) -> Self {
        Self {
            recipe: "pmm-dump-restore",
            ..self
        }
    }

    /// Names beside the server that are there from the beginning.
    fn holder(&self) -> Vec<String> {
        let holder = format!("container {}-holder", self.server.name);
        Vec::from_iter((self.data == Data::Container).then_some(holder))
    }

    fn migrate(&self, tool: &Ferryctl, to: &str) -> Result<Finished> {
        let address = self.server.address();
        let words = ["migrate", &address, "--to", to, "--yes"];
        let how = ["--recipe", self.recipe, "--ready-timeout", "180"];
        tool.run(&[&words[..], &how].concat())
    }

    fn cross(&self) -> Result<Crossed> {
        let tool = Ferryctl::new()?;
        let done = self.migrate(&tool, TO)?;
        assert_eq!(done.code, 0, "{}", done.shown());
        let run = tool.only_run()?;
        let server = &self.server;
        assert_eq!(witness::version(server)?, "3.8.1");
        assert_eq!(self.seen.lost(&Seen::of(server)?), [""; 0]);

        // By its name, and nothing beside it that the engine made up.
        let (is, mount) = (server.inspect()?, server.data_mount()?);
        assert_eq!(is["Mounts"].as_array().map(Vec::len), Some(1), "{is:#}");
        assert!(is["HostConfig"]["VolumesFrom"].is_null(), "{is:#}");
        let mut beside = vec![
            format!("container {}-2.44.1-{run}", server.name),
            format!("volume {}", self.backup(&run)),
        ];
        beside.extend(self.holder());
        for key in ["Type", "Name", "Source", "RW"] {
            assert_eq!(mount[key], self.mount[key], "{key}");
        }
        beside.sort();
        assert_eq!(witness::beside(&server.name)?, beside);
        let source = mount["Source"].as_str().unwrap_or_default();
        assert_eq!(witness::strangers(source.as_ref(), (1000, 0))?, [""; 0]);
        let old = server.named(&format!("{}-2.44.1-{run}", server.name));
        Ok(Crossed { tool, run, old })
    }

    /// A backup is called by the data's own name, where it has one that a person gave.
    fn backup(&self, run: &str) -> String {
        let name = &self.server.name;
        match self.data {
            Data::Volume => format!("{name}-data-ferry-{run}"),
            _ => format!("{name}-ferry-{run}"),
        }
    }

    fn and_back(&mut self) -> Result<()> {
        let crossed = self.cross()?;
        let back = crossed.tool.run(&["rollback", &crossed.run, "--yes"])?;
        assert_eq!(back.code, 0, "{}", back.shown());
        self.assert_as_before()
    }

    fn fails(&mut self) -> Result<()> {
        let image = FailingImage::of(&self.server.name)?;
        let tool = Ferryctl::new()?;
        let failed = self.migrate(&tool, &image.name)?;
        assert_eq!(failed.code, 1, "{}", failed.shown());
        assert!(failed.shown().contains("FATAL"), "{}", failed.shown());
        self.assert_as_before()
    }

    /// The same container with the same settings and the same data, and it runs again.
    fn assert_as_before(&mut self) -> Result<()> {
        let server = &self.server;
        server.wait_ready()?;
        let is = server.inspect()?;
        for part in ["Id", "Name", "Image", "HostConfig", "Config", "Mounts"] {
            assert_eq!(is[part], self.was[part], "{part}");
        }
        assert_eq!(witness::version(server)?, "2.44.1");
        assert_eq!(self.seen.lost(&Seen::of(server)?), [""; 0]);
        assert_eq!(server.unclean()?, [""; 0]);
        let mut beside = self.holder();
        beside.sort();
        assert_eq!(witness::beside(&server.name)?, beside);
        self.starts += 1;
        server.stop(60)?;
        let tree = server.tree_snapshot()?;
        let found = witness::not_as_before(&self.tree, &tree, self.starts);
        assert_eq!(found, [""; 0]);
        server.restart_after_stop()?;
        server.wait_ready()?;
        self.starts += 1;
        Ok(())
    }

    /// The old container is removed, and the data stays: PMM 3 has it, now and after a start.
    fn and_is_finished(self) -> Result<()> {
        let Crossed { tool, run, old } = self.cross()?;
        let mount = self.server.data_mount()?;
        let done = tool.run(&["finish", &run, "--yes"])?;
        assert_eq!(done.code, 0, "{}", done.shown());
        assert!(old.inspect().is_err(), "the old container is still there");
        let volume = mount["Name"].as_str().unwrap_or_default();
        if !volume.is_empty() {
            docker(&["volume", "inspect", volume])?;
        }
        self.server.stop(60)?;
        self.server.restart_after_stop()?;
        self.server.wait_ready()?;
        assert_eq!(self.server.data_mount()?, mount);
        assert_eq!(self.seen.lost(&Seen::of(&self.server)?), [""; 0]);
        Ok(())
    }
}

/// What each way is asked in every run of the tests. All that can be asked of a named volume is asked in other files.
#[test]
fn an_anonymous_volume() -> Result<()> {
    Way::of(Data::Anonymous)?.and_is_finished()
}

#[test]
fn a_data_container() -> Result<()> {
    Way::of(Data::Container)?.and_is_finished()
}

#[test]
fn a_folder_of_the_host() -> Result<()> {
    Way::of(Data::Folder)?.and_back()
}

#[test]
#[ignore = "each way fails, crosses, comes back, crosses again and is finished: twelve crossings"]
fn each_way_there_back_and_failed() -> Result<()> {
    for data in [Data::Volume, Data::Anonymous, Data::Container, Data::Folder] {
        let mut way = Way::of(data)?;
        way.fails()?;
        way.and_back()?;
        way.and_is_finished()?;
    }
    Ok(())
}

#[test]
#[ignore = "what is restored is the same on each; nine crossings"]
fn each_way_into_a_new_cluster_there_back_and_failed() -> Result<()> {
    for data in [Data::Anonymous, Data::Container, Data::Folder] {
        let mut way = Way::of(data)?.by_dumps();
        way.fails()?;
        way.and_back()?;
        way.and_is_finished()?;
    }
    Ok(())
}
