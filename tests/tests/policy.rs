//! The target policy: what moves and what is broken is refused before anything is fetched or changed; what is allowed all the same
//! is the image that the plan saw, whatever its name means later.

use ferry_tests::ferryctl::{Ferryctl, Finished};
use ferry_tests::server::{Options, TestServer};
use ferry_tests::witness::{self, Untouched};
use ferry_tests::{Result, docker};

/// A name that moves, for this test alone.
struct Moving {
    repository: String,
}

impl Moving {
    fn to(&self, image: &str) -> Result<()> {
        docker(&["tag", image, &self.name()]).map(drop)
    }

    fn name(&self) -> String {
        format!("{}:3", self.repository)
    }
}

impl Drop for Moving {
    fn drop(&mut self) {
        // Only the name goes; a failure must not hide the test's own.
        let _left = docker(&["rmi", &self.name()]);
    }
}

/// The only blocker is this one, and its hint has the words to type.
fn assert_found(finished: &Finished, code: &str, typed: &str) {
    let text = finished
        .stdout
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    assert!(
        text.contains(&format!("blocker {code} ")),
        "{}",
        finished.shown()
    );
    assert!(text.contains(typed), "{}", finished.shown());
    assert!(text.contains("1 blocker"), "{}", finished.shown());
}

#[test]
fn a_tag_that_moves_is_refused_or_taken_as_it_was_planned() -> Result<()> {
    let server = TestServer::used(Options::default())?;
    let moving = Moving {
        repository: format!("ferry-test-{:07}-moving", std::process::id()),
    };
    let (planned, later) = ("ferry-test/pmm-server:3.8.1", "ferry-test/pmm-server:3.0.0");
    moving.to(planned)?;
    let tool = Ferryctl::new()?;
    let before = Untouched::before(&server)?;
    let name = moving.name();
    let refused = tool.run(&["migrate", &server.address(), "--to", &name, "--yes"])?;
    assert_eq!(refused.code, 3, "{}", refused.shown());
    assert_found(
        &refused,
        "target-floating-tag",
        &format!("--to {}:3.8.1", moving.repository),
    );
    // It is not asked for at a registry either: nobody listens there, which would be the finding otherwise.
    let nowhere = "127.0.0.1:1/percona/pmm-server:dev-latest";
    let refused = tool.run(&["migrate", &server.address(), "--to", nowhere, "--yes"])?;
    assert_eq!(refused.code, 3, "{}", refused.shown());
    let typed = "--to 127.0.0.1:1/percona/pmm-server:3.8.1";
    assert_found(&refused, "target-floating-tag", typed);
    let mount = server.mountpoint()?;
    assert_eq!(before.changes(&server, Some(&mount))?, [""; 0]);

    let file = tool.state().join("plan.json");
    let path = file.to_string_lossy().into_owned();
    let words = ["plan", &server.address(), "--to", &name, "--out", &path];
    let made = tool.run(&[&words[..], &["--allow-floating-tag"]].concat())?;
    assert_eq!(made.code, 0, "{}", made.shown());
    let id = docker(&["image", "inspect", "--format", "{{.Id}}", planned])?;
    let short = id
        .trim_start_matches("sha256:")
        .get(..12)
        .unwrap_or_default();
    assert!(made.stdout.contains(short), "{}", made.shown());

    moving.to(later)?;
    let done = tool.run(&["apply", &path, "--yes"])?;
    assert_eq!(done.code, 0, "{}", done.shown());
    assert_eq!(witness::version(&server)?, "3.8.1");
    assert_eq!(server.inspect()?["Image"], id.as_str());
    Ok(())
}

#[test]
fn a_release_that_is_known_to_fail_needs_to_be_named() -> Result<()> {
    let server = TestServer::used(Options::default())?;
    let tool = Ferryctl::new()?;
    let out = tool.state().join("plan.json");
    let out = out.to_string_lossy().into_owned();
    let to = "ferry-test/pmm-server:3.7.0";
    let words = ["plan", &server.address(), "--to", to, "--out", &out];
    let refused = tool.run(&words)?;
    assert_eq!(refused.code, 3, "{}", refused.shown());
    assert_found(&refused, "target-3-7-0", "--allow-target target-3-7-0");
    let allowed = tool.run(&[&words[..], &["--allow-target", "target-3-7-0"]].concat())?;
    assert_eq!(allowed.code, 0, "{}", allowed.shown());
    let plan: serde_json::Value = serde_json::from_str(&fs_err::read_to_string(&out)?)?;
    let rule = &plan["policy"][1];
    assert_eq!(rule["rule"], "target-3-7-0", "{plan}");
    assert_eq!(
        (&rule["verdict"], &rule["overruled"]),
        (&"refused".into(), &true.into())
    );
    Ok(())
}
