//! The crash matrix (`ferry_tests::matrix`): a slice of it in every run of the tests, all of it when the ignored tests are asked for.
//!
//! Two workers, because each case is a whole crossing and return. The third has an engine of its own, whose daemon may die.

use ferry_tests::Result;
use ferry_tests::engine::PrivateEngine;
use ferry_tests::matrix::{Case, IN_PLACE, slice, work};

/// Cases of a slice that are played on the machine's own engine, by both workers together.
const FEW: usize = 4;
/// Cases of a slice with an engine that dies: one for each way that it may treat its containers.
const FEW_ENGINES: usize = 2;

#[test]
fn a_slice_first_worker() -> Result<()> {
    work(IN_PLACE, 0, 2, None, |all| slice(&all, FEW))
}

#[test]
fn a_slice_second_worker() -> Result<()> {
    work(IN_PLACE, 1, 2, None, |all| slice(&all, FEW))
}

#[test]
fn a_slice_with_an_engine_that_dies() -> Result<()> {
    let engine = PrivateEngine::start()?;
    work(IN_PLACE, 0, 1, Some(&engine), |all| {
        slice(&all, FEW_ENGINES)
    })
}

#[test]
#[ignore = "hundreds of crossings"]
fn all_of_it_first_worker() -> Result<()> {
    work(IN_PLACE, 0, 2, None, |all| all)
}

#[test]
#[ignore = "hundreds of crossings"]
fn all_of_it_second_worker() -> Result<()> {
    work(IN_PLACE, 1, 2, None, |all| all)
}

#[test]
#[ignore = "hundreds of crossings"]
fn all_of_it_with_an_engine_that_dies() -> Result<()> {
    let engine = PrivateEngine::start()?;
    work(IN_PLACE, 0, 1, Some(&engine), |all| all)
}

/// The steps that the recipe does not share with the other one, whose steps are played above.
fn of_its_own(all: Vec<Case>) -> Vec<Case> {
    let own = [
        "stop-services",
        "dump-at-rest",
        "restore-databases",
        "stop-database",
        "renew-cluster",
    ];
    let is_own = |case: &Case| own.contains(&case.step.as_str());
    all.into_iter().filter(is_own).collect()
}

#[test]
#[ignore = "dozens of crossings"]
fn a_new_cluster_first_worker() -> Result<()> {
    work("pmm-dump-restore", 0, 2, None, of_its_own)
}

#[test]
#[ignore = "dozens of crossings"]
fn a_new_cluster_second_worker() -> Result<()> {
    work("pmm-dump-restore", 1, 2, None, of_its_own)
}
