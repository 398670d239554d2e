//! How a container engine is reached, and what is done with it.
//!
//! Why a module of its own: everything that touches the engine on an operator's host goes through here, so that what Ferry can do to
//! it can be read in one place. Nothing here kills, forces, or removes a volume together with a container.
//!
//! - [`endpoint`]: which engine is meant, as the `docker` client would answer; `connector`, `tls`, `client`: how it is reached.
//! - [`labels`]: what Ferry's own things on an engine are known by.
//! - [`containers`], [`images`], [`volumes`], [`archive`], [`streams`]: what is asked of it; `remove`: what it is asked to remove; [`inspect`]: its answers.
//! - [`agent_image`], [`agents`], [`tunnel`]: Ferry's own containers beside a server, and how they are reached; [`helper`]: one that lives for a moment.
//! - `kind`: which engine it is, and what it lets be done; `podman`: Podman's answers in Docker's words, `ids`: what owners mean in a
//!   container of its; `gate`: what keeps a container
//!   from being started.
//! - [`probe`]: what an image is. [`carry_over`]: a container made again; [`environment`]: a PMM 2 environment in the words of PMM 3; pure.

pub mod agent_image;
pub mod agents;
pub mod archive;
mod ask;
pub mod carry_over;
mod client;
mod connector;
pub mod containers;
pub mod endpoint;
pub mod environment;
mod error;
mod gate;
pub mod helper;
mod ids;
pub mod images;
pub mod info;
pub mod inspect;
mod kind;
pub mod labels;
pub mod networks;
mod podman;
pub mod probe;
mod remove;
pub mod streams;
mod tls;
pub mod tunnel;
pub mod users;
pub mod volumes;

pub use client::Engine;
pub use endpoint::{Endpoint, EndpointConfig};
pub use error::EngineError;
pub use info::EngineInfo;
pub use inspect::{ContainerInspect, ImageInspect, RestartPolicy};
pub use kind::EngineKind;
