//! The rehearsal: the steps of the crossing on a copy, beside a server that goes on serving. Whatever the crossing does to
//! the server itself (stop, fence, replace) has no place in it; what it does to the data is done to the copy.
//!
//! PostgreSQL of the copy is the proven scratch cluster: a copy of a running one is torn.

use ferry_proto::v1::{self as v1, Place, Step, action::Kind};

use super::{
    roles_to_heal,
    steps::{Ground, Refine as _, SETTLE_SECONDS, step},
};
use crate::{
    recipes::{Wishes, estimate, space::Space},
    units::{bytes, estimate as duration},
};

impl Ground<'_> {
    pub(super) fn rehearsal_steps(&self, wishes: &Wishes, keep: bool) -> Vec<Step> {
        let (container, data) = (self.container.name.clone(), self.data.destination.clone());
        let prepare = Kind::PrepareRehearsal(v1::PrepareRehearsal {
            container: container.clone(),
            data_destination: data.clone(),
        });
        let baseline = Kind::CaptureBaseline(v1::CaptureBaseline {});
        let copy = Kind::CopyVolume(v1::CopyVolume {
            final_pass: false,
            bytes_per_second: wishes.bytes_per_second.unwrap_or_default(),
        });
        let needs = format!(
            "needs {}, {} free",
            bytes(Space::of_rehearsal(self.server, self.data).at_backup()),
            bytes(self.data.backup_free_bytes)
        );
        let mut steps = vec![
            self.pull(),
            step(
                Place::Host,
                "prepare a copy beside the server",
                estimate::LAUNCH,
                prepare,
            ),
            step(
                Place::Container,
                "capture baseline",
                estimate::BASELINE,
                baseline,
            ),
            self.dump(wishes),
            step(
                Place::Volume,
                "copy volume, read-only → new volume",
                estimate::copy(self.data.bytes, self.data.entries, wishes.bytes_per_second),
                copy,
            )
            .remark(needs),
            self.proof_to_use(wishes),
            step(
                Place::Volume,
                "put the proven databases in place",
                estimate::ENGINE_CALL,
                Kind::PlaceDatabases(v1::PlaceDatabases {}),
            ),
        ];
        steps.extend(self.set_aside());
        steps.extend(self.transfer());
        steps.extend(self.target_on_the_copy(wishes, keep));
        steps
    }

    /// The proof whose cluster the copy is started with, in the copy and with the server's programs.
    fn proof_to_use(&self, wishes: &Wishes) -> Step {
        let mut proof = self.proof(wishes);
        proof.place = Place::Volume.into();
        // What it needs is counted with the copy.
        proof.remark.clear();
        let kind = proof.action.as_mut().and_then(|it| it.kind.as_mut());
        if let Some(Kind::ProveDumps(prove)) = kind {
            prove.keep = true;
            prove.heal_roles = roles_to_heal(self.server);
        }
        proof
    }

    fn target_on_the_copy(&self, wishes: &Wishes, keep: bool) -> Vec<Step> {
        let (container, data) = (self.container.name.clone(), self.data.destination.clone());
        let target = self.target;
        let start = Kind::StartRehearsal(v1::StartRehearsal {
            container: container.clone(),
            image_id: target.id.clone(),
            reference: target.reference.clone(),
            target_version: target.version.clone(),
            data_destination: data.clone(),
            settle_seconds: SETTLE_SECONDS,
        });
        let ready_seconds = self.ready_seconds(wishes);
        let wait = Kind::WaitUntilReady(v1::WaitUntilReady {
            version: target.version.clone(),
            timeout_seconds: ready_seconds,
        });
        let compare = Kind::CompareBaseline(v1::CompareBaseline {
            timeout_seconds: wishes.compare_seconds,
            isolated: true,
            ..v1::CompareBaseline::default()
        });
        let end = Kind::EndRehearsal(v1::EndRehearsal {
            container,
            data_destination: data,
            keep,
        });
        let last = if keep {
            "search its log, keep it"
        } else {
            "search its log, discard it"
        };
        vec![
            step(
                Place::Host,
                "start the target on the copy, isolated",
                u64::from(SETTLE_SECONDS) * 1000 + estimate::REPLACE,
                start,
            ),
            step(Place::Copy, "wait until ready", estimate::FIRST_BOOT, wait).remark(format!(
                "at most {}",
                duration(u64::from(ready_seconds) * 1000)
            )),
            step(
                Place::Copy,
                "compare with the baseline",
                estimate::COMPARE,
                compare,
            ),
            step(Place::Host, last, estimate::LAUNCH, end),
        ]
    }
}
