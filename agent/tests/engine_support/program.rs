//! A static program that plays the server and the agent in the tests of the engine. Compiled by the tests with plain `rustc`.

use std::{
    env,
    io::{self, Read, Write},
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    process, thread,
    time::Duration,
};

unsafe extern "C" {
    fn signal(number: i32, handler: usize) -> usize;
    fn _exit(code: i32) -> !;
}

extern "C" fn end(_: i32) {
    // SAFETY: `_exit` may be called from a signal handler.
    unsafe { _exit(7) }
}

fn copy(mut from: impl Read, mut to: impl Write) {
    let mut buffer = [0; 16384];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..read]).and_then(|()| to.flush()).is_err() {
            break;
        }
    }
}

fn dial(path: &str) -> ! {
    let socket = match UnixStream::connect(path) {
        Ok(socket) => socket,
        Err(error) => {
            eprintln!("nobody listens at {path}: {error}");
            process::exit(1)
        }
    };
    let writer = socket.try_clone().unwrap();
    thread::spawn(move || {
        copy(io::stdin(), &writer);
        let _ = writer.shutdown(Shutdown::Write);
    });
    copy(&socket, io::stdout());
    process::exit(0)
}

fn echo() -> ! {
    let _ = std::fs::remove_file("/run/ferry/agent.sock");
    let listener = UnixListener::bind("/run/ferry/agent.sock").unwrap();
    for connection in listener.incoming() {
        let connection = connection.unwrap();
        thread::spawn(move || copy(&connection, &connection));
    }
    process::exit(0)
}

fn main() {
    let args: Vec<String> = env::args().collect();
    let mode = args.get(1).map_or("", String::as_str);
    if mode == "late" {
        // As a shell that has not started the supervisor yet.
        thread::sleep(Duration::from_secs(2));
    }
    if mode != "ignore" {
        // SAFETY: the handler only ends the process.
        unsafe { signal(15, end as *const () as usize) };
    }
    match mode {
        "dial" => dial(&args[2]),
        "sidecar" | "volume" if !args.contains(&"--silent".to_owned()) => echo(),
        "exit" => process::exit(args[2].parse().unwrap()),
        _ => {
            println!("to stdout");
            eprintln!("to stderr");
            thread::sleep(Duration::from_secs(3600));
        }
    }
}
