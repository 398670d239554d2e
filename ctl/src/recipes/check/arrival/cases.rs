//! What makes a place one that no server can move to.

use ferry_proto::v1::{ArrivalFacts, DataFacts, Facts, MountFact, OwnerCount, Severity};

/// A finding's code, its severity, and how facts come to deserve it.
pub(crate) type Case = (&'static str, Severity, fn(&mut Facts));

fn arrival(facts: &mut Facts) -> &mut ArrivalFacts {
    facts.arrival.as_mut().unwrap()
}

fn data(facts: &mut Facts) -> &mut DataFacts {
    facts.data.as_mut().unwrap()
}

pub(crate) const CASES: &[Case] = {
    use Severity::{Blocker, Note, Warning};
    &[
        ("container-taken", Blocker, |f| {
            arrival(f).container_taken = true
        }),
        ("data-volume-taken", Blocker, |f| {
            arrival(f).volume_taken = true
        }),
        ("port-taken", Blocker, |f| {
            arrival(f).ports_taken = vec!["0.0.0.0:443 → 443/tcp".into()]
        }),
        ("volumes-out-of-reach", Blocker, |f| {
            arrival(f).obstacle = "this user is not root".into()
        }),
        ("selinux-on", Note, |f| arrival(f).selinux = true),
        ("origin-refuses", Blocker, |f| {
            arrival(f).refusal = "the connection was closed".into()
        }),
        ("origin-unobserved", Blocker, |f| f.server = None),
        ("origin-unobserved", Blocker, |f| f.data = None),
        ("move-image", Blocker, |f| {
            let image = f.target.as_mut().unwrap();
            (image.present, image.failure) = (false, "not found".into());
        }),
        ("move-image", Blocker, |f| {
            f.target.as_mut().unwrap().version = "2.43.0".into()
        }),
        ("move-image", Blocker, |f| {
            f.target.as_mut().unwrap().version.clear()
        }),
        ("move-image", Blocker, |f| {
            f.server.as_mut().unwrap().version = "3.4.0".into();
            f.target.as_mut().unwrap().version = "3.4.0".into();
        }),
        ("server-not-ready", Blocker, |f| {
            f.server.as_mut().unwrap().ready = false
        }),
        ("origin-mounts-below", Blocker, |f| {
            data(f).mounts_below = vec![MountFact {
                destination: "/srv/backup".into(),
                ..MountFact::default()
            }];
        }),
        ("data-empty", Blocker, |f| data(f).entries = 0),
        ("data-volume-room", Blocker, |f| {
            arrival(f).free_bytes = 40 << 30
        }),
        ("data-volume-room", Blocker, |f| arrival(f).free_inodes = 1),
        ("data-volume-room", Blocker, |f| {
            arrival(f).reserve_bytes = 120 << 30
        }),
        ("data-volume-room", Note, |_| {}),
        ("owners-renumbered", Note, |_| {}),
        ("owner-not-in-image", Warning, |f| {
            data(f).owners.push(OwnerCount {
                uid: 4242,
                gid: 0,
                entries: 3,
            });
        }),
    ]
};
