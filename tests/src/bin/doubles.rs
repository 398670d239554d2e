//! Makes the images of the doubles when they are missing or out of date, and prints how they are
//! called: `pmm2=REFERENCE`, `pmm3=REFERENCE`. `cargo xtask` calls it before whatever needs them.

#![allow(
    clippy::print_stdout,
    reason = "the references on standard output are what this program is for"
)]

fn main() -> std::process::ExitCode {
    match ferry_tests::images::ensure() {
        Ok(images) => {
            println!("pmm2={}\npmm3={}", images.pmm2, images.pmm3);
            std::process::ExitCode::SUCCESS
        }
        Err(error) => {
            tell(&error.to_string());
            std::process::ExitCode::FAILURE
        }
    }
}

#[allow(
    clippy::print_stderr,
    reason = "the one place where this program says what went wrong"
)]
fn tell(why: &str) {
    eprintln!("the images of the doubles cannot be made: {why}");
}
