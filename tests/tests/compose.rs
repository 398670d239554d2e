//! A server that Compose made: it crosses by choice only, Compose goes on knowing the new container for its own, and a way
//! back gives Compose its container again.

use std::path::Path;

use ferry_tests::Result;
use ferry_tests::compose::Project;
use ferry_tests::ferryctl::Ferryctl;
use ferry_tests::server::{Fault, Options, TestServer};
use ferry_tests::witness::{self, Seen};

const TO: &str = "ferry-test/pmm-server:3.8.1";
/// A variable's value, which nobody has to know.
const SECRET: &str = "correct-horse-battery";

/// The container that has the server's name.
fn id(server: &TestServer) -> Result<String> {
    let id = server.inspect()?["Id"].take();
    Ok(id.as_str().unwrap_or_default().to_owned())
}

#[test]
fn by_choice_the_container_alone_crosses_and_compose_keeps_it() -> Result<()> {
    let server = &TestServer::used(Options::default())?;
    let project = Project::of(server, "    environment:\n      DATA_RETENTION: 720h\n")?;
    let tool = Ferryctl::new()?;
    let (seen, was) = (Seen::of(server)?, id(server)?);
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
    assert_eq!(id(server)?, was);
    let said = project.up()?;
    assert!(said.contains("up-to-date"), "{said}");
    assert_eq!(id(server)?, was);

    let again = Ferryctl::new()?;
    let done = again.run(&by_choice)?;
    assert_eq!(done.code, 0, "{}", done.shown());
    let new = id(server)?;
    assert_ne!(new, was);
    let old = server.named(&format!("{}-2.44.1-{}", server.name, again.only_run()?));
    assert_eq!(old.inspect()?["Id"], was.as_str());
    // As the page about Compose says: the old container goes, the new one stays.
    project.up()?;
    assert_eq!(id(server)?, new);
    assert!(old.inspect().is_err(), "Compose has left the old container");
    assert_eq!(witness::version(server)?, "3.8.1");
    assert_eq!(seen.lost(&Seen::of(server)?), [""; 0]);
    Ok(())
}

/// Whether a file below the folder has the secret in it.
fn tells_the_secret(folder: &Path) -> Result<bool> {
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        let tells = if path.is_dir() {
            tells_the_secret(&path)?
        } else {
            let bytes = fs_err::read(&path)?;
            bytes
                .windows(SECRET.len())
                .any(|it| it == SECRET.as_bytes())
        };
        if tells {
            return Ok(true);
        }
    }
    Ok(false)
}

#[test]
fn by_choice_the_file_is_edited_with_the_container_and_comes_back_with_it() -> Result<()> {
    let service = format!(
        "    environment:   # ours\n      DATA_RETENTION: '720h'  # a month\n      DISABLE_UPDATES: 1\n      \
         GF_SMTP_PASSWORD: \"{SECRET}\"\n      LESS_LOG_NOISE: \"1\"\n    ports:\n      - \"127.0.0.1::443\"   # https\n"
    );
    let server = &TestServer::used(Options::default())?;
    let project = Project::of(server, &service)?;
    let tool = Ferryctl::new()?;
    let (before, was) = (project.text()?, id(server)?);
    let address = server.address();
    let words = ["--to", TO, "--compose", "edit"];

    // A file that was changed since describes another container.
    fs_err::write(project.path(), before.replace("720h", "721h"))?;
    let refused = tool.run(&[&["check", &address][..], &words].concat())?;
    assert_eq!(refused.code, 3, "{}", refused.shown());
    assert!(
        refused.shown().contains("compose-file-refused"),
        "{}",
        refused.shown()
    );
    fs_err::write(project.path(), &before)?;

    let migrate = [&["migrate", &address, "--yes"][..], &words].concat();
    let done = tool.run(&migrate)?;
    assert_eq!(done.code, 0, "{}", done.shown());
    let mut wanted = before.clone();
    for (old, new) in [
        ("ferry-test/pmm-server:2.44.1", TO),
        ("      DATA_RETENTION:", "      PMM_DATA_RETENTION:"),
        ("DISABLE_UPDATES: 1", "PMM_ENABLE_UPDATES: \"false\""),
        ("      LESS_LOG_NOISE: \"1\"\n", ""),
        ("::443\"", "::8443\""),
    ] {
        assert!(wanted.contains(old), "{old}");
        wanted = wanted.replace(old, new);
    }
    assert_eq!(project.text()?, wanted);
    let kept = format!("docker-compose.yml.ferry-{}", tool.only_run()?);
    let with_copy = [("docker-compose.yml", &wanted), (kept.as_str(), &before)];
    let with_copy = with_copy.map(|(name, text)| (name.to_owned(), text.clone()));
    assert_eq!(project.files()?, with_copy.into());
    assert!(done.shown().contains(&kept), "{}", done.shown());
    assert!(!done.shown().contains(SECRET), "{}", done.shown());
    assert!(!tells_the_secret(tool.state())?, "a record has the secret");

    let back = tool.run(&["rollback", &tool.only_run()?, "--yes"])?;
    assert_eq!(back.code, 0, "{}", back.shown());
    let alone = ("docker-compose.yml".to_owned(), before.clone());
    assert_eq!(project.files()?, [alone].into());
    server.wait_ready()?;
    let said = project.up()?;
    assert!(said.contains("up-to-date"), "{said}");
    assert_eq!(id(server)?, was);

    let again = Ferryctl::new()?;
    let done = again.run(&migrate)?;
    assert_eq!(done.code, 0, "{}", done.shown());
    assert_eq!(project.text()?, wanted);
    let new = id(server)?;
    assert_ne!(new, was);
    let hash = server.inspect()?["Config"]["Labels"]["com.docker.compose.config-hash"].take();
    let (answer, _) = project.compose(&["config", "--hash", "pmm"])?;
    assert_eq!(
        Some(answer.trim()),
        hash.as_str().map(|hash| format!("pmm {hash}")).as_deref()
    );
    // As the page about Compose says: once the old container is gone, the file and PMM 3 are one.
    let finished = again.run(&["finish", &again.only_run()?, "--yes"])?;
    assert_eq!(finished.code, 0, "{}", finished.shown());
    let said = project.up()?;
    assert!(said.contains("up-to-date"), "{said}");
    assert_eq!(id(server)?, new);
    assert_eq!(witness::version(server)?, "3.8.1");
    Ok(())
}

/// PMM 3 does not stay up, and Compose finds what it has made.
fn back_by_itself(choice: &str) -> Result<()> {
    let server = &TestServer::used(Options::default())?;
    // PMM 3 in which something is wrong from the start.
    let fault = Fault::Exit.word();
    let service = format!("    environment:\n      STANDIN_FAULT: {fault}\n");
    let project = Project::of(server, &service)?;
    let tool = Ferryctl::new()?;
    let (before, was, seen) = (project.files()?, id(server)?, Seen::of(server)?);
    let address = server.address();
    let words = ["migrate", &address, "--to", TO, "--yes"];
    let failed = tool.run(&[&words[..], &["--compose", choice]].concat())?;
    assert_eq!(failed.code, 1, "{}", failed.shown());
    assert!(failed.shown().contains("FATAL"), "{}", failed.shown());
    assert_eq!(project.files()?, before);
    assert_eq!(id(server)?, was);
    server.wait_ready()?;
    assert_eq!(witness::version(server)?, "2.44.1");
    assert_eq!(seen.lost(&Seen::of(server)?), [""; 0]);
    assert_eq!(witness::beside(&server.name)?, [""; 0]);
    let said = project.up()?;
    assert!(said.contains("up-to-date"), "{said}");
    assert_eq!(id(server)?, was);
    Ok(())
}

#[test]
fn a_new_server_that_does_not_stay_up_gives_compose_its_file_and_container_again() -> Result<()> {
    back_by_itself("edit")
}

#[test]
fn a_container_alone_that_does_not_stay_up_is_composes_again() -> Result<()> {
    back_by_itself("container-only")
}
