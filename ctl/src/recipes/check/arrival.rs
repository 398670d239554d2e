//! A server that moves to this machine from another one: whether the place is free, whether the data can come, and whose numbers differ.

use std::collections::BTreeSet;

use ferry_proto::v1::{
    ArrivalFacts, DataFacts, Facts, Finding, NameFact, NewVolumeFacts, Renumber,
};

use super::{
    Notebook, Subject,
    catalogue::{arrival as codes, data as data_codes},
    layer, names, server, told,
};
use crate::{
    recipes::{Version, pmm_move_appliance::MoveWishes, policy},
    units::counted,
};

/// Users and groups whose numbers are others on the new machine.
#[derive(Debug, Default, PartialEq)]
pub(in crate::recipes) struct Numbers {
    pub(in crate::recipes) users: Vec<Renumber>,
    pub(in crate::recipes) groups: Vec<Renumber>,
}

/// Whose numbers differ, by their names on the old machine and in the image; what was given by hand counts before both.
pub(in crate::recipes) fn renumbered(facts: &Facts, wishes: &MoveWishes) -> Numbers {
    let (data, arrival) = parts(facts);
    Numbers {
        users: differing(&data.users, &arrival.users, &wishes.users),
        groups: differing(&data.groups, &arrival.groups, &wishes.groups),
    }
}

fn parts(facts: &Facts) -> (DataFacts, ArrivalFacts) {
    let data = facts.data.clone().unwrap_or_default();
    (data, facts.arrival.clone().unwrap_or_default())
}

fn differing(there: &[NameFact], here: &[NameFact], given: &[Renumber]) -> Vec<Renumber> {
    let mut seen: BTreeSet<u32> = given.iter().map(|it| it.from).collect();
    let mut all = given.to_vec();
    for user in there {
        // The first name that a number has is the one that it is known by.
        if !seen.insert(user.number) {
            continue;
        }
        let same = here.iter().find(|it| it.name == user.name);
        all.extend(same.map(|same| Renumber {
            from: user.number,
            to: same.number,
        }));
    }
    all.retain(|it| it.from != it.to);
    all
}

/// What stands in the way of a move, and what is worth knowing; blockers first.
#[must_use]
pub fn arrival_findings(facts: &Facts, wishes: &MoveWishes) -> Vec<Finding> {
    let mut notebook = Notebook::default();
    let subject = Subject {
        name: "the old machine".to_owned(),
        ..Subject::new(facts)
    };
    let (data, arrival) = parts(facts);
    check_place(&arrival, wishes, &mut notebook);
    check_origin(facts, &arrival, wishes, &mut notebook);
    check_image(facts, &subject, &mut notebook);
    server::check(facts, &subject, &mut notebook);
    if facts.data.is_some() {
        check_data(&data, &arrival, &mut notebook);
        check_owners(&data, &arrival, wishes, &mut notebook);
    }
    told(facts, notebook.findings)
}

fn check_place(arrival: &ArrivalFacts, wishes: &MoveWishes, notebook: &mut Notebook) {
    let (container, volume) = (&wishes.new.container, &wishes.new.volume);
    if arrival.container_taken {
        notebook.blocker(
            codes::CONTAINER_TAKEN,
            format!("there is a container `{container}` already, and the moved server becomes a new one"),
            "name another by `--onto`; where an earlier run has moved the server into it, go on with `ferryctl migrate` of that container",
        );
    }
    if arrival.volume_taken {
        notebook.blocker(
            data_codes::DATA_VOLUME_TAKEN,
            format!("there is a volume `{volume}` already, and data is never brought over one"),
            &format!(
                "name another by `--data-to-volume NAME`; or look what it holds, and `docker volume rm {volume}` when nobody needs it"
            ),
        );
    }
    if !arrival.ports_taken.is_empty() {
        let taken = arrival.ports_taken.iter().map(String::as_str);
        notebook.blocker(
            codes::PORT_TAKEN,
            format!(
                "somebody listens on this machine where the server shall: {}",
                names(taken, arrival.ports_taken.len() as u64)
            ),
            "end that program, or publish other ports by `--publish`",
        );
    }
    if arrival.selinux {
        notebook.note(
            codes::SELINUX_ON,
            "this machine's engine confines its containers by SELinux, which appliances do not enforce: the new volume gets its label from the engine",
            "a folder for backups needs the label `container_file_t`: `chcon -R -t container_file_t FOLDER`",
        );
    }
    if !arrival.obstacle.is_empty() {
        notebook.blocker(
            codes::VOLUMES_OUT_OF_REACH,
            format!("what volumes hold cannot be written here: {}", arrival.obstacle),
            "run `ferryctl` as root on the machine that has the engine, or use a host agent there that may (docs/appliance.md); \
             by hand `ferryd pull` goes into any folder",
        );
    }
}

fn check_origin(
    facts: &Facts,
    arrival: &ArrivalFacts,
    wishes: &MoveWishes,
    notebook: &mut Notebook,
) {
    let origin = &wishes.new.origin;
    if !arrival.refusal.is_empty() {
        notebook.blocker(
            codes::ORIGIN_REFUSES,
            format!("the agent at {origin} does not give its data to this machine: {}", arrival.refusal),
            "the policy there must name this machine's certificate among the `readers`; its log says whom it refused",
        );
    }
    if facts.server.is_none() || facts.data.is_none() {
        notebook.blocker(
            codes::ORIGIN_UNOBSERVED,
            format!("the agent at {origin} says nothing of a server, or of its data"),
            "start `ferryd appliance` there, of this release, and see that PMM runs",
        );
    }
}

fn check_image(facts: &Facts, subject: &Subject, notebook: &mut Notebook) {
    let image = facts.target.clone().unwrap_or_default();
    let asked = &image.reference;
    if !image.present {
        let why = match image.failure.as_str() {
            "" => "the engine does not have it",
            why => why,
        };
        return notebook.blocker(
            codes::MOVE_IMAGE,
            format!("the image `{asked}`, which the moved server shall run, cannot be had: {why}"),
            &format!(
                "`docker pull {asked}`, or name another of the same version by `--from-image`"
            ),
        );
    }
    let Some(from) = subject.from else { return };
    let fits = Version::parse(&image.version) == Some(from);
    if from.major != 2 {
        notebook.blocker(
            codes::MOVE_IMAGE,
            format!("the old machine runs PMM {from}, and only a PMM 2 is moved"),
            "name the machine that has the PMM 2",
        );
    } else if !fits {
        let is = match image.version.as_str() {
            "" => "is no PMM that says its version".to_owned(),
            version => format!("is PMM {version}"),
        };
        notebook.blocker(
            codes::MOVE_IMAGE,
            format!("the old machine runs PMM {from}, and the image `{asked}` {is}"),
            &format!(
                "name one of the same version by `--from-image {}`",
                policy::image_of(asked, from)
            ),
        );
    }
}

fn check_data(data: &DataFacts, arrival: &ArrivalFacts, notebook: &mut Notebook) {
    if data.entries == 0 || data.bytes == 0 {
        notebook.blocker(
            data_codes::DATA_EMPTY,
            format!(
                "`{}` on the old machine is empty or was not measured",
                data.destination
            ),
            "see that `ferryd appliance` there has the right folder (`--data`)",
        );
    }
    let below: Vec<&str> = data
        .mounts_below
        .iter()
        .map(|it| &*it.destination)
        .collect();
    if !below.is_empty() {
        let number = below.len() as u64;
        notebook.blocker(
            codes::ORIGIN_MOUNTS,
            format!(
                "{} mounted below the data on the old machine, and is not moved: {}",
                if number == 1 { "something is" } else { "several things are" },
                names(below, number)
            ),
            "copy what is needed of it into the data itself there and unmount it, or move by hand (docs/appliance.md)",
        );
    }
    let room = NewVolumeFacts {
        free_bytes: arrival.free_bytes,
        free_inodes: arrival.free_inodes,
        reserve_bytes: arrival.reserve_bytes,
        ..NewVolumeFacts::default()
    };
    layer::new_volume_room(data, &room, notebook);
}

/// The owners that the data has: who gets another number, and who keeps one that may be somebody else's in the image.
fn check_owners(
    data: &DataFacts,
    arrival: &ArrivalFacts,
    wishes: &MoveWishes,
    notebook: &mut Notebook,
) {
    let users: BTreeSet<u32> = data.owners.iter().map(|it| it.uid).collect();
    let groups: BTreeSet<u32> = data.owners.iter().map(|it| it.gid).collect();
    let (mut renamed, mut nameless) = (Vec::new(), Vec::new());
    for (what, used, there, here, given) in [
        ("user", users, &data.users, &arrival.users, &wishes.users),
        (
            "group",
            groups,
            &data.groups,
            &arrival.groups,
            &wishes.groups,
        ),
    ] {
        let map = differing(there, here, given);
        for number in used {
            let name = there.iter().find(|it| it.number == number);
            let to = map.iter().find(|it| it.from == number);
            let is_given = given.iter().any(|it| it.from == number);
            let known = name.is_some_and(|name| here.iter().any(|it| it.name == name.name));
            let called = name.map_or_else(|| number.to_string(), |name| name.name.clone());
            match to {
                Some(to) => renamed.push(format!("{what} {called} {number} → {}", to.to)),
                None if !known && !is_given => nameless.push(format!("{what} {called} ({number})")),
                None => {}
            }
        }
    }
    if !renamed.is_empty() {
        notebook.note(
            codes::OWNERS_RENUMBERED,
            format!(
                "{} in the image's numbers: {}",
                owners_come(renamed.len()),
                renamed.join(", ")
            ),
            "",
        );
    }
    if !nameless.is_empty() {
        let number = nameless.len() as u64;
        notebook.warning(
            codes::OWNER_NOT_IN_IMAGE,
            format!(
                "{} of the data the image does not know by name, and they keep their numbers: {}",
                counted(number, "owner"),
                names(nameless.iter().map(String::as_str), number)
            ),
            "where such a number is somebody else's in the image, say whose it shall be by `--map-user OLD:NEW` or `--map-group OLD:NEW`",
        );
    }
}

fn owners_come(number: usize) -> &'static str {
    if number == 1 {
        "1 owner comes"
    } else {
        "owners come"
    }
}

#[cfg(test)]
pub(crate) mod cases;
#[cfg(test)]
mod tests {
    use ferry_proto::v1::Severity;

    use super::{cases::CASES, *};
    use crate::{recipes::has_blocker, samples};

    #[test]
    fn each_kind_of_bad_place_gets_its_finding() {
        let (facts, wishes) = samples::arriving();
        let found = arrival_findings(&facts, &wishes);
        let codes: Vec<&str> = found.iter().map(|it| it.code.as_str()).collect();
        assert_eq!(
            codes,
            ["moved-appliance", "data-volume-room", "owners-renumbered"]
        );
        let mut podman = facts.clone();
        podman.engine.as_mut().unwrap().kind = "Podman".into();
        podman.arrival.as_mut().unwrap().volume_taken = true;
        let taken = &arrival_findings(&podman, &wishes)[0];
        assert!(
            taken.hint.contains("`podman volume rm pmm-data`"),
            "{taken:?}"
        );
        for (code, severity, spoil) in CASES {
            let mut facts = facts.clone();
            spoil(&mut facts);
            let found = arrival_findings(&facts, &wishes);
            let hit = |it: &Finding| it.code == *code && it.severity() == *severity;
            assert!(found.iter().any(hit), "{code} is missing in {found:#?}");
            assert_eq!(
                has_blocker(&found),
                *severity == Severity::Blocker,
                "{found:#?}"
            );
            for it in found {
                assert!(!it.text.ends_with('.') && !it.hint.ends_with('.'), "{it:?}");
            }
        }
    }

    #[test]
    fn numbers_follow_names_unless_they_were_given() {
        let name = |name: &str, number| NameFact {
            name: name.into(),
            number,
        };
        let pair = |from, to| Renumber { from, to };
        let there = [
            name("root", 0),
            name("pmm", 1001),
            name("grafana", 998),
            name("alias", 1001),
            name("admin", 1000),
        ];
        let here = [
            name("root", 0),
            name("pmm", 994),
            name("grafana", 998),
            name("alias", 5),
        ];
        assert_eq!(differing(&there, &here, &[]), [pair(1001, 994)]);
        // Both at once, so that none is renumbered twice.
        let swapped = [name("a", 1), name("b", 2)];
        let back = [name("a", 2), name("b", 1)];
        assert_eq!(differing(&swapped, &back, &[]), [pair(1, 2), pair(2, 1)]);
        let given = [pair(1001, 77), pair(1000, 1000)];
        assert_eq!(differing(&there, &here, &given), [pair(1001, 77)]);
    }
}
