//! What holds for any facts, however odd: no panic, no plan with a blocker, and the shape that the
//! driver and the undo rely on.

use std::collections::BTreeSet;

use ferry_proto::v1::{
    CarryOverNote, Facts, Finding, MountFact, OwnerCount, Plan, RoleFact, Severity, Unobserved,
    action::Kind,
};
use pbjson_types::Timestamp;
use proptest::prelude::*;

use super::{Wishes, compare_facts, count_of, findings, plan, pmm_move_data};
use crate::samples;

/// What a word or a number in the facts is replaced by.
#[derive(Debug, Clone)]
struct Material {
    word: String,
    number: u64,
    small: u32,
}

type Spoil = fn(&mut Facts, &Material);

macro_rules! spoil {
    ($part:ident, |$it:ident, $with:ident| $change:expr) => {
        |facts: &mut Facts, $with: &Material| {
            let _ = $with;
            if let Some($it) = facts.$part.as_mut() {
                $change;
            }
        }
    };
}

const SPOILS: &[Spoil] = &[
    |f, _| f.engine = None,
    |f, _| f.container = None,
    |f, _| f.image = None,
    |f, _| f.target = None,
    |f, _| f.server = None,
    |f, _| f.data = None,
    spoil!(engine, |e, m| e.kind = m.word.clone()),
    spoil!(container, |c, m| c.name = m.word.clone()),
    spoil!(container, |c, m| c.id = m.word.clone()),
    spoil!(container, |c, m| c.status = m.word.clone()),
    spoil!(container, |c, m| c.running = false),
    spoil!(container, |c, m| c.auto_remove = true),
    spoil!(container, |c, m| c.managed_by = m.word.clone()),
    spoil!(container, |c, m| c.carry_over_refusal = m.word.clone()),
    spoil!(container, |c, m| c.networks.push("host".into())),
    spoil!(container, |c, m| c.mounts.clear()),
    spoil!(container, |c, m| c
        .mounts
        .iter_mut()
        .for_each(|mount| mount.kind = "bind".into())),
    spoil!(container, |c, m| c
        .mounts
        .iter_mut()
        .for_each(|mount| mount.read_only = true)),
    spoil!(container, |c, m| for change in &mut c.environment {
        change.kind = i32::try_from(m.small % 9).unwrap_or(0);
    }),
    spoil!(image, |i, m| i.version = m.word.clone()),
    spoil!(image, |i, m| i.pmm_major = m.small),
    spoil!(target, |t, m| t.version = m.word.clone()),
    spoil!(target, |t, m| t.version =
        format!("3.{}.{}", m.small % 15, m.small % 3)),
    spoil!(target, |t, m| t.reference = m.word.clone()),
    spoil!(target, |t, m| t.pmm_major = m.small),
    spoil!(target, |t, m| (t.uid, t.gid) = (m.small, m.small)),
    spoil!(target, |t, m| t.present = false),
    spoil!(target, |t, m| t.id = m.word.clone()),
    spoil!(target, |t, m| t.failure = m.word.clone()),
    spoil!(server, |s, m| s.version = m.word.clone()),
    spoil!(server, |s, m| s.version =
        format!("2.{}.{}", m.small % 50, m.small % 2)),
    spoil!(server, |s, m| s.ready = false),
    spoil!(server, |s, m| s.nodes = m.small % 2),
    spoil!(server, |s, m| s.api_keys = m.small),
    spoil!(server, |s, m| s.last_metric_age_seconds =
        f64::from_bits(m.number)),
    spoil!(server, |s, m| s.external_postgres = true),
    spoil!(server, |s, m| s.external_clickhouse = true),
    spoil!(server, |s, m| s.postgres_local_trust = false),
    spoil!(server, |s, m| s.clickhouse_dirty = true),
    spoil!(server, |s, m| s.update_running = true),
    spoil!(server, |s, m| s.scheduled_backups = m.small),
    spoil!(server, |s, m| s.used = None),
    spoil!(server, |s, m| s.used = Some(samples::used())),
    spoil!(server, |s, m| if let Some(logins) =
        s.used.as_mut().and_then(|used| used.logins.as_mut())
    {
        (logins.outside, logins.local_admins) = (m.small, m.small % 2);
    }),
    spoil!(server, |s, m| if let Some(used) = s.used.as_mut() {
        used.dashboards.push(m.word.clone());
        used.dashboards_count = m.small;
        used.leftovers.push(m.word.clone());
    }),
    spoil!(container, |c, m| c.updaters.push(m.word.clone())),
    spoil!(container, |c, m| c.restarters.push(m.word.clone())),
    spoil!(container, |c, m| c.carry_over_notes.push(CarryOverNote {
        code: m.word.clone(),
        text: "not as before".into(),
    })),
    spoil!(server, |s, m| s.custom_rule_files.push(m.word.clone())),
    spoil!(server, |s, m| s.unreadable_files.push(m.word.clone())),
    spoil!(server, |s, m| s.roles.clear()),
    spoil!(server, |s, m| s
        .databases
        .iter_mut()
        .for_each(|d| d.bytes = m.number)),
    spoil!(server, |s, m| s.roles.push(RoleFact {
        name: "grafana".into(),
        password_kind: m.word.clone(),
        default_password: m.small.is_multiple_of(2),
    })),
    spoil!(server, |s, m| s.unobserved.push(Unobserved {
        what: m.word.clone(),
        why: m.word.clone()
    })),
    spoil!(data, |d, m| d.destination = m.word.clone()),
    spoil!(data, |d, m| d.bytes = m.number),
    spoil!(data, |d, m| d.entries = m.number),
    spoil!(data, |d, m| d.backup_free_bytes = m.number),
    spoil!(data, |d, m| d.backup_free_inodes = m.number),
    spoil!(data, |d, m| d.hard_links_outside_count = m.number),
    spoil!(data, |d, m| d.hard_links_outside.push(m.word.clone())),
    spoil!(data, |d, m| d.immutable_count = m.number),
    spoil!(data, |d, m| d.immutable.push(m.word.clone())),
    spoil!(data, |d, m| d.read_only = true),
    spoil!(data, |d, m| d.open_run = m.word.clone()),
    spoil!(data, |d, m| d.new_volume = None),
    spoil!(data, |d, m| if let Some(volume) = d.new_volume.as_mut() {
        volume.name = m.word.clone();
    }),
    spoil!(data, |d, m| if let Some(volume) = d.new_volume.as_mut() {
        volume.free_bytes = m.number;
    }),
    spoil!(data, |d, m| if let Some(volume) = d.new_volume.as_mut() {
        volume.taken = true;
    }),
    spoil!(data, |d, m| d.other_containers.push(m.word.clone())),
    spoil!(data, |d, m| d.owners.push(OwnerCount {
        uid: m.small,
        gid: m.small,
        entries: m.number
    })),
    spoil!(data, |d, m| d.mounts_below.push(MountFact {
        destination: m.word.clone(),
        read_only: m.small.is_multiple_of(2),
        ..MountFact::default()
    })),
];

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        "\\PC{0,12}",
        prop::sample::select(vec![
            "Podman",
            "paused",
            "restarting",
            "compose",
            "md5",
            "scram",
            "none",
            "/srv",
            "/srv/nginx",
            "inventory",
            "nginx/certificate.key",
            "2.44.1",
            "3.7.0",
            "3",
            "pmm-old (exited)",
        ])
        .prop_map(str::to_owned),
    ]
}

fn spoilt(whole: Facts) -> impl Strategy<Value = Facts> {
    let material =
        (word(), any::<u64>(), any::<u32>()).prop_map(|(word, number, small)| Material {
            word,
            number,
            small,
        });
    let one = (0..SPOILS.len(), material);
    prop::collection::vec(one, 0..6).prop_map(move |spoils| {
        let mut facts = whole.clone();
        for (index, material) in spoils {
            SPOILS[index](&mut facts, &material);
        }
        facts
    })
}

fn well_written(findings: &[Finding]) -> Result<(), TestCaseError> {
    let mut last = Severity::Blocker;
    for finding in findings {
        prop_assert!(finding.severity() <= last, "not sorted");
        last = finding.severity();
        prop_assert!(!finding.code.is_empty() && !finding.text.is_empty());
        if last == Severity::Blocker {
            prop_assert!(!finding.hint.is_empty(), "{} has no hint", finding.code);
        }
    }
    Ok(())
}

fn well_formed(plan: &Plan) -> Result<(), TestCaseError> {
    prop_assert_eq!(count_of(&plan.findings, Severity::Blocker), 0);
    ferry_proto::verify(plan).map_err(|error| TestCaseError::fail(error.to_string()))?;
    let ids: BTreeSet<&str> = plan.steps.iter().map(|step| step.id.as_str()).collect();
    prop_assert_eq!(ids.len(), plan.steps.len(), "ids are not unique");
    let position = |wanted: fn(&Kind) -> bool| {
        plan.steps.iter().position(|step| {
            step.action
                .as_ref()
                .and_then(|action| action.kind.as_ref())
                .is_some_and(wanted)
        })
    };
    let returns: Vec<usize> = (0..plan.steps.len())
        .filter(|index| plan.steps[*index].point_of_no_return)
        .collect();
    let start = position(|kind| matches!(kind, Kind::StartServer(_))).unwrap();
    let moves = plan.recipe == pmm_move_data::NAME;
    // Where the data stays in the old container there is none.
    prop_assert_eq!(returns, Vec::from_iter((!moves).then_some(start)));
    prop_assert_eq!(pmm_move_data::volume_of(plan).is_some(), moves);
    let down: Vec<usize> = (0..plan.steps.len())
        .filter(|index| plan.steps[*index].downtime)
        .collect();
    let first = position(|kind| matches!(kind, Kind::StopServices(_))).unwrap();
    let last = position(|kind| matches!(kind, Kind::WaitUntilReady(_))).unwrap();
    prop_assert_eq!(
        down,
        (first..=last).collect::<Vec<_>>(),
        "downtime has a hole"
    );
    // A PMM 2 keeps its owners. What it is its files tell, whatever version it calls itself.
    let target = plan.facts.as_ref().and_then(|facts| facts.target.as_ref());
    prop_assert_eq!(
        plan.owner.is_none(),
        target.is_some_and(|target| target.pmm_major == 2)
    );
    prop_assert!(plan.owner.is_none_or(|owner| owner.uid != 0));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn any_facts_give_findings_and_perhaps_a_plan(facts in spoilt(samples::facts())) {
        found_and_planned(&facts, &samples::wishes())?;
    }

    /// The same of a server without a volume: looked at for its crossing, and for the run that moves its data.
    #[test]
    fn any_facts_of_data_in_a_layer_do_too(facts in spoilt(samples::in_the_layer().0), moves in any::<bool>()) {
        let mut wishes = samples::in_the_layer().1;
        if !moves {
            wishes.recipe = super::Recipe::PmmInPlace;
        }
        found_and_planned(&facts, &wishes)?;
    }
}

fn found_and_planned(facts: &Facts, wishes: &Wishes) -> Result<(), TestCaseError> {
    let found = findings(facts, wishes);
    well_written(&found)?;
    let created = Timestamp {
        seconds: 1,
        nanos: 0,
    };
    match plan("docker:pmm-server", facts.clone(), wishes, created) {
        Ok(plan) => well_formed(&plan)?,
        Err(refused) => {
            prop_assert!(count_of(&refused.findings, Severity::Blocker) > 0);
            well_written(&refused.findings)?;
        }
    }
    prop_assert_eq!(
        compare_facts(facts, facts).len(),
        usize::from(
            facts
                .data
                .as_ref()
                .is_some_and(|data| data.bytes > data.backup_free_bytes)
        )
    );
    let _ = compare_facts(&samples::facts(), facts);
    Ok(())
}

#[test]
fn the_spoiling_reaches_both_ends() {
    // Otherwise the property above could hold for want of plans, or of refusals.
    let wishes = samples::wishes();
    let mut plans = 0;
    let mut codes = BTreeSet::new();
    let material = Material {
        word: "x".into(),
        number: 7,
        small: 5,
    };
    for spoil in SPOILS {
        let mut facts = samples::facts();
        spoil(&mut facts, &material);
        let found = findings(&facts, &wishes);
        plans += usize::from(count_of(&found, Severity::Blocker) == 0);
        codes.extend(found.into_iter().map(|finding| finding.code));
    }
    assert!(plans > 10, "{plans} plans");
    assert!(codes.len() > 35, "{} codes", codes.len());
}
