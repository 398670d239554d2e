//! Steps that fail rather than die. Each fault is real, met by the real programs, and told in `docs/faults.md`, which is made from
//! the table here: the run ends rolled back, or held with the way on; its message names the cause; and the server is as it was.

mod beside;
mod copies;
mod disk;
mod engine;
mod programs;
mod scene;
mod table;
