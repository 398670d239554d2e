//! The crash matrix (`ferry_tests::matrix`): a slice of it in every run of the tests, all of it when the ignored tests are asked for.
//!
//! All of it by two workers, because each case is a whole crossing and return; two more have engines of their own, whose daemons may die.

use ferry_tests::Result;
use ferry_tests::client_host::Manager;
use ferry_tests::engine::PrivateEngine;
use ferry_tests::matrix::{
    ApplianceScene, Case, ClientScene, ClusterScene, Ending, EndingScene, Journey, ServerScene,
    UpkeepScene, Way, slice, work,
};
use ferry_tests::server::Options;

/// A journey by a unit's server; the program stands for `systemctl`.
const EDITED_UNIT: Journey = Journey::EditedUnit(env!("CARGO_BIN_EXE_systemctl-double"));

/// And one by a unit that starts its container.
const STARTED_BY_UNIT: Journey = Journey::StartedByUnit(env!("CARGO_BIN_EXE_systemctl-double"));

/// Cases of a slice that are played on the machine's own engine.
const FEW: usize = 4;
/// Cases of a slice with an engine that dies: one for each way that it may treat its containers, and one with all else.
const FEW_ENGINES: usize = 3;
/// Cases that are in every run beside the slice: where the last step finds no engine, or a server that the engine has stopped, it must not end well.
const AT_THE_END: [&str; 2] = [
    "keep-encryption-key:finished:engine:resume",
    "retire-agents:intended:engine-live-restore:resume",
];
/// Cases of a slice of the other scenes, each of which has an undisturbed run and return before it. The other journeys are played whole or not.
const FEW_OF_OTHERS: usize = 2;

#[test]
fn a_slice() -> Result<()> {
    of_server(Journey::InPlace, 0, 1, None, |all| slice(&all, FEW))
}

#[test]
fn a_slice_with_an_engine_that_dies() -> Result<()> {
    let engine = PrivateEngine::start()?;
    of_server(Journey::InPlace, 0, 1, Some(&engine), |all| {
        let mut chosen = slice(&all, FEW_ENGINES);
        let at_the_end = |case: &Case| AT_THE_END.contains(&case.to_string().as_str());
        chosen.extend(all.into_iter().filter(at_the_end));
        chosen
    })
}

#[test]
#[ignore = "hundreds of crossings"]
fn all_of_it_first_worker() -> Result<()> {
    of_server(Journey::InPlace, 0, 2, None, |all| all)
}

#[test]
#[ignore = "hundreds of crossings"]
fn all_of_it_second_worker() -> Result<()> {
    of_server(Journey::InPlace, 1, 2, None, |all| all)
}

#[test]
#[ignore = "hundreds of crossings"]
fn all_of_it_with_an_engine_that_dies_first_worker() -> Result<()> {
    let engine = PrivateEngine::start()?;
    of_server(Journey::InPlace, 0, 2, Some(&engine), |all| all)
}

#[test]
#[ignore = "hundreds of crossings"]
fn all_of_it_with_an_engine_that_dies_second_worker() -> Result<()> {
    let engine = PrivateEngine::start()?;
    of_server(Journey::InPlace, 1, 2, Some(&engine), |all| all)
}

#[test]
#[ignore = "dozens of crossings"]
fn the_other_journeys_with_an_engine_that_dies() -> Result<()> {
    let engine = PrivateEngine::start()?;
    let mut failed = Vec::new();
    for journey in [
        Journey::NewCluster,
        Journey::MoveData,
        Journey::EditedFile,
        EDITED_UNIT,
        STARTED_BY_UNIT,
        Journey::ToFolder,
        Journey::Update,
        Journey::Rehearsal,
    ] {
        // What one fails at says nothing of the next.
        if let Err(error) = of_server(journey, 0, 1, Some(&engine), |all| journey.own(all)) {
            failed.push(format!("{journey:?}: {error}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

#[test]
#[ignore = "dozens of crossings"]
fn a_new_cluster_first_worker() -> Result<()> {
    own(Journey::NewCluster, 0, 2, usize::MAX)
}

#[test]
#[ignore = "dozens of crossings"]
fn a_new_cluster_second_worker() -> Result<()> {
    own(Journey::NewCluster, 1, 2, usize::MAX)
}

#[test]
#[ignore = "dozens of runs"]
fn a_move_to_a_volume() -> Result<()> {
    own(Journey::MoveData, 0, 1, usize::MAX)
}

#[test]
#[ignore = "dozens of crossings"]
fn an_edited_file() -> Result<()> {
    own(Journey::EditedFile, 0, 1, usize::MAX)
}

#[test]
fn a_slice_of_an_edited_unit() -> Result<()> {
    own(EDITED_UNIT, 0, 1, FEW_OF_OTHERS)
}

#[test]
#[ignore = "dozens of crossings"]
fn an_edited_unit() -> Result<()> {
    own(EDITED_UNIT, 0, 1, usize::MAX)
}

#[test]
#[ignore = "dozens of crossings"]
fn a_unit_that_starts_its_container() -> Result<()> {
    own(STARTED_BY_UNIT, 0, 1, usize::MAX)
}

#[test]
#[ignore = "dozens of crossings"]
fn a_backup_in_a_folder() -> Result<()> {
    own(Journey::ToFolder, 0, 1, usize::MAX)
}

#[test]
#[ignore = "dozens of updates"]
fn an_update() -> Result<()> {
    own(Journey::Update, 0, 1, usize::MAX)
}

#[test]
#[ignore = "dozens of rehearsals"]
fn a_rehearsal() -> Result<()> {
    own(Journey::Rehearsal, 0, 1, usize::MAX)
}

#[test]
#[ignore = "dozens of proofs"]
fn a_proof_of_a_backup() -> Result<()> {
    work(|| UpkeepScene::new("verify"), 0, 1, None, |all| all)
}

#[test]
#[ignore = "dozens of restores"]
fn a_restore_of_a_backup() -> Result<()> {
    work(|| UpkeepScene::new("restore"), 0, 1, None, |all| all)
}

#[test]
#[ignore = "a crossing for each end of one"]
fn the_end_of_a_crossing() -> Result<()> {
    ends(Ending::Finish, None)?;
    ends(Ending::Prune, None)
}

#[test]
#[ignore = "dozens of crossings, proofs and restores"]
fn what_comes_after_a_crossing_with_an_engine_that_dies() -> Result<()> {
    let engine = PrivateEngine::start()?;
    let after = |verb| work(|| UpkeepScene::new(verb), 0, 1, Some(&engine), |all| all);
    // What one fails at says nothing of the next.
    let played = [
        after("verify"),
        after("restore"),
        ends(Ending::Finish, Some(&engine)),
        ends(Ending::Prune, Some(&engine)),
    ];
    let failed: Vec<String> = played
        .into_iter()
        .filter_map(|played| Some(played.err()?.to_string()))
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

#[test]
fn a_slice_of_a_client() -> Result<()> {
    a_client(Manager::Deb, FEW_OF_OTHERS)
}

#[test]
#[ignore = "dozens of upgrades"]
fn a_client_by_dpkg() -> Result<()> {
    a_client(Manager::Deb, usize::MAX)
}

#[test]
#[ignore = "dozens of upgrades"]
fn a_client_by_rpm() -> Result<()> {
    a_client(Manager::Rpm, usize::MAX)
}

#[test]
fn a_slice_of_an_appliance() -> Result<()> {
    work(ApplianceScene::start, 0, 1, None, |all| {
        slice(&all, FEW_OF_OTHERS)
    })
}

#[test]
#[ignore = "dozens of moves"]
fn an_appliance() -> Result<()> {
    work(ApplianceScene::start, 0, 1, None, |all| all)
}

#[test]
#[ignore = "dozens of moves"]
fn an_appliance_to_an_engine_that_dies() -> Result<()> {
    let engine = PrivateEngine::start()?;
    work(ApplianceScene::start, 0, 1, Some(&engine), |all| all)
}

#[test]
fn a_slice_in_a_cluster() -> Result<()> {
    work(ClusterScene::new, 0, 1, None, |all| {
        slice(&all, FEW_OF_OTHERS)
    })
}

#[test]
#[ignore = "hundreds of crossings"]
fn in_a_cluster() -> Result<()> {
    work(ClusterScene::new, 0, 1, None, |all| all)
}

fn of_server(
    journey: Journey,
    worker: usize,
    workers: usize,
    engine: Option<&PrivateEngine>,
    choose: impl Fn(Vec<Case>) -> Vec<Case>,
) -> Result<()> {
    let make = || ServerScene::new(journey, Options::default(), |_| Ok(()));
    work(make, worker, workers, engine, choose)
}

/// Nobody goes back from there: each case is gone on with.
fn ends(ending: Ending, engine: Option<&PrivateEngine>) -> Result<()> {
    let onward = |all: Vec<Case>| all.into_iter().filter(|it| it.way == Way::Resume).collect();
    work(|| EndingScene::new(ending), 0, 1, engine, onward)
}

/// So many of the cases that a journey has beside those of the first.
fn own(journey: Journey, worker: usize, workers: usize, number: usize) -> Result<()> {
    let choose = |all| slice(&journey.own(all), number);
    of_server(journey, worker, workers, None, choose)
}

fn a_client(manager: Manager, number: usize) -> Result<()> {
    work(
        || ClientScene::new(manager),
        0,
        1,
        None,
        |all| slice(&all, number),
    )
}
