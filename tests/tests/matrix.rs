//! The crash matrix (`ferry_tests::matrix`): a slice of it in every run of the tests, all of it when the ignored tests are asked for.
//!
//! Two workers, because each case is a whole crossing and return. The third has an engine of its own, whose daemon may die.

use ferry_tests::Result;
use ferry_tests::engine::PrivateEngine;
use ferry_tests::matrix::{Journey, slice, work};

/// Cases of a slice that are played on the machine's own engine, by both workers together.
const FEW: usize = 4;
/// Cases of a slice with an engine that dies: one for each way that it may treat its containers.
const FEW_ENGINES: usize = 2;
/// Cases of a slice of the other journeys.
const FEW_OF_OTHERS: usize = 2;

#[test]
fn a_slice_first_worker() -> Result<()> {
    work(Journey::InPlace, 0, 2, None, |all| slice(&all, FEW))
}

#[test]
fn a_slice_second_worker() -> Result<()> {
    work(Journey::InPlace, 1, 2, None, |all| slice(&all, FEW))
}

#[test]
fn a_slice_with_an_engine_that_dies() -> Result<()> {
    let engine = PrivateEngine::start()?;
    work(Journey::InPlace, 0, 1, Some(&engine), |all| {
        slice(&all, FEW_ENGINES)
    })
}

#[test]
#[ignore = "hundreds of crossings"]
fn all_of_it_first_worker() -> Result<()> {
    work(Journey::InPlace, 0, 2, None, |all| all)
}

#[test]
#[ignore = "hundreds of crossings"]
fn all_of_it_second_worker() -> Result<()> {
    work(Journey::InPlace, 1, 2, None, |all| all)
}

#[test]
#[ignore = "hundreds of crossings"]
fn all_of_it_with_an_engine_that_dies() -> Result<()> {
    let engine = PrivateEngine::start()?;
    work(Journey::InPlace, 0, 1, Some(&engine), |all| all)
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
fn a_slice_of_a_move_to_a_volume() -> Result<()> {
    own(Journey::MoveData, 0, 1, FEW_OF_OTHERS)
}

#[test]
#[ignore = "dozens of runs"]
fn a_move_to_a_volume() -> Result<()> {
    own(Journey::MoveData, 0, 1, usize::MAX)
}

#[test]
fn a_slice_of_an_edited_file() -> Result<()> {
    own(Journey::EditedFile, 0, 1, FEW_OF_OTHERS)
}

#[test]
#[ignore = "dozens of crossings"]
fn an_edited_file() -> Result<()> {
    own(Journey::EditedFile, 0, 1, usize::MAX)
}

/// So many of the cases that a journey has beside those of the first.
fn own(journey: Journey, worker: usize, workers: usize, number: usize) -> Result<()> {
    let choose = |all| slice(&journey.own(all), number);
    work(journey, worker, workers, None, choose)
}
