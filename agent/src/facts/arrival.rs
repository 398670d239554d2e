//! The place for a server that comes from another machine.

use ferry_proto::v1::{ArrivalFacts, ContainerFacts, Facts, GetFactsRequest, NewServer};

use super::{data, host};
use crate::{
    arrival,
    error::StepError,
    pull,
    surroundings::Host,
    tree::{Root, fs_space},
};

pub(super) async fn observe(
    host: &Host,
    wanted: &NewServer,
    request: &GetFactsRequest,
) -> Result<Facts, StepError> {
    let engine = &host.engine;
    let info = engine.info().await?;
    let folder = arrival::volumes(&info);
    let space = crate::blocking::run(move || fs_space(&Root::open(&folder, None)?))
        .await
        .ok();
    let target = host::image_facts(engine, &request.target_image, request.pull).await;
    let names = match target.present {
        true => engine.probe_image(&target.id).await?.names,
        false => Default::default(),
    };
    let taken = wanted.ports.iter().filter(|port| arrival::is_taken(port));
    let taken = taken.map(|port| host::port(&arrival::published(port)));
    let facts = ArrivalFacts {
        volume: wanted.volume.clone(),
        container_taken: engine.find_container(&wanted.container).await?.is_some(),
        volume_taken: engine.find_volume(&wanted.volume).await?.is_some(),
        obstacle: arrival::obstacle(engine, &info),
        refusal: pull::run::refusal(&wanted.origin, &host.tls).await,
        free_bytes: space.map_or(0, |it| it.free_bytes),
        free_inodes: space.map_or(0, |it| it.free_inodes),
        reserve_bytes: space.map_or(0, |it| it.reserve_bytes()),
        ports: wanted.ports.clone(),
        ports_taken: taken.collect(),
        users: data::users(&names),
        groups: data::groups(&names),
        selinux: info.has_selinux(),
    };
    Ok(Facts {
        engine: Some(host::engine_facts(engine, info)),
        container: Some(ContainerFacts {
            name: wanted.container.clone(),
            ..ContainerFacts::default()
        }),
        target: Some(target),
        arrival: Some(facts),
        ..Facts::default()
    })
}
