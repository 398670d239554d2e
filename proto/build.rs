//! Compiles the protobuf sources with `protox`, so that no `protoc` needs to be installed.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

const SOURCES: [&str; 5] = [
    "ferry/v1/plan.proto",
    "ferry/v1/facts.proto",
    "ferry/v1/event.proto",
    "ferry/v1/agent.proto",
    "ferry/v1/tree.proto",
];

/// Written by hand, so that nothing derives a way to print it.
const SECRET: &str = ".ferry.v1.Secret";

fn main() -> Result<(), Box<dyn Error>> {
    for source in SOURCES {
        println!("cargo:rerun-if-changed={source}");
    }
    let files = protox::compile(SOURCES, ["."])?;
    // Encoded before the code generator consumes the set: the reflection service and the JSON
    // mapping need it too.
    let encoded = files.encode_to_vec();
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("ferry_descriptor.bin"), &encoded)?;

    tonic_prost_build::configure()
        .extern_path(".google.protobuf", "::pbjson_types")
        .extern_path(SECRET, "crate::Secret")
        .compile_well_known_types(true)
        .compile_fds(files)?;
    pbjson_build::Builder::new()
        .register_descriptors(&encoded)?
        .preserve_proto_field_names()
        // A plan or a journal written by a newer release must stay readable.
        .ignore_unknown_fields()
        .exclude([SECRET])
        .build(&[".ferry.v1"])?;
    Ok(())
}
