//! Brings the data of a server on another machine to the volume that the run has made, from agent to agent: once while the server runs,
//! all of it read back, and once more, what changed, behind the stop of its programs. Nothing is changed there, no time and no owner.
//!
//! A connection that stays away ends the step with `origin-lost`, which takes nothing back: what is here is not sent again.

use async_trait::async_trait;
use ferry_proto::v1::{self, Outcome};

use crate::{
    arrival,
    context::Context,
    error::StepError,
    pull::{
        self, Renumber,
        run::{Passing, Turn, Wanted},
    },
    steps::{Work, count, done, volume::watched},
};

pub(in crate::steps) struct PullData(pub(in crate::steps) v1::PullData);

#[async_trait]
impl Work for PullData {
    async fn apply(&self, cx: &Context) -> Result<Outcome, StepError> {
        let host = cx.surroundings.host()?;
        if self.0.look_only {
            pull::run::at_rest(&self.0.origin, &host.tls).await?;
            return Ok(done("its programs are stopped"));
        }
        let limit = self.0.bytes_per_second;
        let wanted = Wanted {
            from: self.0.origin.clone(),
            into: arrival::folder_of(host, &self.0.volume, &cx.run).await?,
            tls: host.tls.clone(),
            users: renumbered(&self.0.users),
            groups: renumbered(&self.0.groups),
            bytes_per_second: (!self.0.final_pass && limit > 0).then_some(limit),
        };
        let turn = match (self.0.final_pass, cx.first_kept::<bool>()?) {
            (false, _) => Turn::Live,
            (true, None) => Turn::Last,
            (true, Some(_)) => Turn::LastAgain,
        };
        cx.keep(&true)?;
        let pass = Passing::begin(wanted, &cx.run).await?.pass(turn);
        let report = watched(cx, 0, pass).await?;
        let here = report.files_known + report.files_same;
        Ok(done(format!(
            "{}, {} MiB{}{}",
            count(report.files_received, "file"),
            report.bytes_received.div_ceil(1 << 20),
            match here {
                0 => String::new(),
                here => format!(", {} here before", count(here, "file")),
            },
            match report.vanished + report.changed_meanwhile {
                0 => String::new(),
                moving => format!(", {moving} in motion"),
            }
        )))
    }

    /// Reading it back was the verification, and behind the stop the comparison with what the other machine says then.
    async fn verify(&self, _cx: &Context) -> Result<(), StepError> {
        Ok(())
    }

    /// The volume is the run's own, and goes as a whole.
    async fn undo(&self, _cx: &Context) -> Result<Outcome, StepError> {
        Ok(done("what was pulled is the volume's"))
    }
}

fn renumbered(all: &[v1::Renumber]) -> Vec<Renumber> {
    all.iter().map(|it| Renumber::of(it.from, it.to)).collect()
}
