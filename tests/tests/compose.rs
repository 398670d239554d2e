//! A server that Compose made: it crosses by choice only, Compose goes on knowing the new container for its own, and a way
//! back gives Compose its container again.

use ferry_tests::ferryctl::Ferryctl;
use ferry_tests::server::{Options, TestServer};
use ferry_tests::witness::{self, Seen};
use ferry_tests::{Error, Result};

const TO: &str = "ferry-test/pmm-server:3.8.1";

/// A project of one service.
struct Project {
    folder: tempfile::TempDir,
    server: TestServer,
}

impl Project {
    /// The container of a server with data is made anew by Compose, on the same volume.
    fn of_used_server() -> Result<Self> {
        let server = TestServer::used(Options::default())?;
        let volume = server.data_mount()?["Name"].clone();
        let image = server.inspect()?["Config"]["Image"].clone();
        server.stop(60)?;
        ferry_tests::docker(&["rm", &server.name])?;
        let folder = tempfile::tempdir()?;
        let file = format!(
            "version: '3'\nservices:\n  pmm:\n    image: {image}\n    container_name: {name}\n    \
             network_mode: bridge\n    environment:\n      DATA_RETENTION: 720h\n    volumes:\n      - data:/srv\n\
             volumes:\n  data:\n    external: true\n    name: {volume}\n",
            name = server.name,
        );
        fs_err::write(folder.path().join("docker-compose.yml"), file)?;
        let project = Self { folder, server };
        project.up()?;
        project.server.wait_ready()?;
        Ok(project)
    }

    /// What Compose says to `up`.
    #[expect(
        clippy::disallowed_methods,
        reason = "what a person types beside the tool"
    )]
    fn up(&self) -> Result<String> {
        let done = std::process::Command::new("docker-compose")
            .args(["--project-name", &self.server.name, "up", "--detach"])
            .current_dir(self.folder.path())
            .output()?;
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        if done.status.success() {
            return Ok(said);
        }
        Err(Error::of(said))
    }

    fn id(&self) -> Result<String> {
        let id = self.server.inspect()?["Id"].take();
        Ok(id.as_str().unwrap_or_default().to_owned())
    }
}

#[test]
fn by_choice_the_container_alone_crosses_and_compose_keeps_it() -> Result<()> {
    let project = Project::of_used_server()?;
    let (server, tool) = (&project.server, Ferryctl::new()?);
    let (seen, was) = (Seen::of(server)?, project.id()?);
    let address = server.address();
    let words = ["migrate", &address, "--to", TO, "--yes"];
    let refused = tool.run(&words)?;
    assert_eq!(refused.code, 3, "{}", refused.shown());
    assert!(
        refused.shown().contains("--compose container-only"),
        "{}",
        refused.shown()
    );

    let by_choice = [&words[..], &["--compose", "container-only"]].concat();
    let done = tool.run(&by_choice)?;
    assert_eq!(done.code, 0, "{}", done.shown());
    assert!(
        done.shown().contains("PMM_DATA_RETENTION"),
        "{}",
        done.shown()
    );
    let back = tool.run(&["rollback", &tool.only_run()?, "--yes"])?;
    assert_eq!(back.code, 0, "{}", back.shown());
    server.wait_ready()?;
    assert_eq!(project.id()?, was);
    let said = project.up()?;
    assert!(said.contains("up-to-date"), "{said}");
    assert_eq!(project.id()?, was);

    let again = Ferryctl::new()?;
    let done = again.run(&by_choice)?;
    assert_eq!(done.code, 0, "{}", done.shown());
    let new = project.id()?;
    assert_ne!(new, was);
    let old = server.named(&format!("{}-2.44.1-{}", server.name, again.only_run()?));
    assert_eq!(old.inspect()?["Id"], was.as_str());
    // As the page about Compose says: the old container goes, the new one stays.
    project.up()?;
    assert_eq!(project.id()?, new);
    assert!(old.inspect().is_err(), "Compose has left the old container");
    assert_eq!(witness::version(server)?, "3.8.1");
    assert_eq!(seen.lost(&Seen::of(server)?), [""; 0]);
    Ok(())
}
