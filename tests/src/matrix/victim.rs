//! Who may be hit. An agent is a victim at the moments at which an undisturbed run is seen to have it.

use crate::engine::Containers;

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Victim {
    /// `ferryctl`.
    Controller,
    /// The agent beside the server's processes.
    Sidecar,
    /// The agent with the server's data alone.
    VolumeAgent,
    /// The agent beside the second server, of a rehearsal.
    SecondAgent,
    /// The agent on a client's host.
    ClientAgent,
    /// The agent on an appliance, the old machine.
    ApplianceAgent,
    /// A cluster's API server, which is away for a moment.
    ApiServer,
    /// The engine's daemon.
    Engine(Containers),
    /// All there is, as when a host is switched off: the controller, the engine, its containers.
    Machine,
    /// What the engine, or a cluster's API server, answers, which is an error once; itself it lives.
    Answer,
}

impl Victim {
    /// Those that are hit where no private engine is: the machine's own must not be killed.
    pub const ON_OWN_ENGINE: [Self; 8] = [
        Self::Controller,
        Self::Sidecar,
        Self::VolumeAgent,
        Self::SecondAgent,
        Self::ClientAgent,
        Self::ApplianceAgent,
        Self::ApiServer,
        Self::Answer,
    ];
    /// Those that are there at some moments, or on some scenes, only.
    pub const PASSING: [Self; 6] = [
        Self::Sidecar,
        Self::VolumeAgent,
        Self::SecondAgent,
        Self::ClientAgent,
        Self::ApplianceAgent,
        Self::ApiServer,
    ];
    /// The agents, which live at some moments only.
    pub const AGENTS: [Self; 5] = [
        Self::Sidecar,
        Self::VolumeAgent,
        Self::SecondAgent,
        Self::ClientAgent,
        Self::ApplianceAgent,
    ];
    /// A private engine's daemon, in both ways that it may treat its containers, and alone or with all else.
    pub const ENGINES: [Self; 3] = [
        Self::Engine(Containers::Die),
        Self::Engine(Containers::Live),
        Self::Machine,
    ];
    pub(super) const ALL: [Self; 11] = [
        Self::Controller,
        Self::Sidecar,
        Self::VolumeAgent,
        Self::SecondAgent,
        Self::ClientAgent,
        Self::ApplianceAgent,
        Self::ApiServer,
        Self::ENGINES[0],
        Self::ENGINES[1],
        Self::ENGINES[2],
        Self::Answer,
    ];

    /// The word for it in a case's name.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Controller => "controller",
            Self::Sidecar => "sidecar",
            Self::VolumeAgent => "volume-agent",
            Self::SecondAgent => "second-agent",
            Self::ClientAgent => "client-agent",
            Self::ApplianceAgent => "appliance-agent",
            Self::ApiServer => "api-server",
            Self::Engine(Containers::Die) => "engine",
            Self::Engine(Containers::Live) => "engine-live-restore",
            Self::Machine => "machine",
            Self::Answer => "answer",
        }
    }
}
