//! `ferryd`: parse, build, serve, drain.

use std::{io::Write as _, process::ExitCode, sync::Arc, time::Duration};

use clap::Parser as _;
use ferry_agent::{
    args::{Arguments, Command, EngineName, Pull, Remote, Serve, ServeAppliance, ServeHost},
    dial,
    engine::{EndpointConfig, Engine},
    error::StepError,
    folder,
    ledger::Ledger,
    pod,
    policy::Policy,
    runner::{Runner, Works},
    serve,
    server::ServerRoot,
    state_dir::STATE_DIR_NAME,
    surroundings::{Client, Container, Host, Surroundings, Volume},
    tree::CancelFlag,
};
use ferry_proto::v1::Failure;
use futures_util::Stream;
use sd_notify::NotifyState;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    signal::unix::{SignalKind, signal},
};
use tracing_subscriber::EnvFilter;

/// `EX_CONFIG`'s neighbour: the arguments or the folder are wrong, nothing was started.
const EXIT_USAGE: u8 = 64;
/// What callers get to read the last events and hang up, once no step runs any more.
const HANG_UP: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_env("FERRY_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    // One thread serves and one works; trees are walked by threads of their own.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start: {error}")),
    };
    match arguments.command {
        Command::Sidecar(options) => runtime.block_on(run(&options, sidecar)),
        Command::Volume(options) => runtime.block_on(run(&options, volume)),
        Command::Workshop(options) => runtime.block_on(run(&options, workshop)),
        Command::Inside(options) => runtime.block_on(run(&options, inside)),
        Command::Host(options) => ended(&runtime.block_on(host(&options))),
        Command::Client(options) => ended(&runtime.block_on(client(&options))),
        Command::Appliance(options) => ended(&runtime.block_on(appliance(&options))),
        Command::Pull(options) => pulled(runtime.block_on(pull(&options))),
        Command::Folder { act } => {
            let (answer, code) = folder::act(&act);
            // The one thing that is data and not talk: whoever started this reads it.
            let written = std::io::stdout().write_all(answer.as_bytes());
            ExitCode::from(if written.is_ok() { code } else { 1 })
        }
        Command::Install { folder } => ended(&pod::install(&folder).map_err(Into::into)),
        Command::Describe { answer } => ended(&pod::describe(&answer).map_err(Into::into)),
        Command::End { socket } => ended(&runtime.block_on(pod::end(&socket)).map_err(Into::into)),
        Command::Dial { socket } => {
            let code = match runtime.block_on(dial::dial(&socket)) {
                Ok(()) => 0,
                Err(error) => {
                    tracing::error!("{error}");
                    1
                }
            };
            // Standard input is read by a thread that cannot be interrupted.
            std::process::exit(code)
        }
    }
}

fn sidecar(options: &Serve) -> Surroundings {
    let (root, data) = (ServerRoot::of_pid1(), options.data.clone());
    Surroundings::Container(Container {
        root,
        data,
        engine_disk: options.socket.parent().map(ToOwned::to_owned),
        own_program: None,
        state_apart: options.state.clone(),
        at_rest: false,
        gives_data: false,
    })
}

fn inside(options: &Serve) -> Surroundings {
    let (root, data) = (ServerRoot::new("/"), options.data.clone());
    Surroundings::Container(Container {
        root,
        data,
        engine_disk: None,
        own_program: Some(options.own_program.clone()),
        state_apart: options.state.clone(),
        at_rest: false,
        gives_data: false,
    })
}

fn workshop(options: &Serve) -> Surroundings {
    let container = Container {
        root: ServerRoot::new("/"),
        data: options.data.clone(),
        engine_disk: None,
        own_program: None,
        state_apart: None,
        at_rest: true,
        gives_data: false,
    };
    let volume = Volume {
        data: options.data.clone(),
        backup: options.backup.clone(),
        live: Some(options.live.clone()),
    };
    Surroundings::Workshop(container, volume)
}

fn volume(options: &Serve) -> Surroundings {
    Surroundings::Volume(Volume {
        data: options.data.clone(),
        backup: options.backup.clone(),
        live: None,
    })
}

async fn run(options: &Serve, place: fn(&Serve) -> Surroundings) -> ExitCode {
    ended(&start(options, place(options)).await)
}

/// On a machine where a server runs under systemd, without a container: reached over TCP, like a host agent.
async fn appliance(options: &ServeAppliance) -> Result<(), Box<dyn std::error::Error>> {
    let policy = Policy::read(&options.remote.policy)?;
    let surroundings = Surroundings::Container(Container {
        root: ServerRoot::new("/"),
        data: options.data.clone(),
        engine_disk: None,
        own_program: None,
        // Nothing is written in the data: it stays the way back.
        state_apart: Some(options.remote.state.clone()),
        at_rest: false,
        gives_data: true,
    });
    serve_remotely(&options.remote, surroundings, "appliance", policy).await
}

/// Ends at a safe place when it is told to: a server that was stopped for it is not left so.
async fn pull(options: &Pull) -> Result<String, StepError> {
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let cancel = CancelFlag::new();
    let told = cancel.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::warn!("ending at a safe place");
        told.cancel();
    });
    ferry_agent::pull::run(options, cancel).await
}

/// Says what was brought here, or why it was not.
fn pulled(result: Result<String, StepError>) -> ExitCode {
    let error = match result {
        Ok(said) => {
            tracing::info!("done: {said}");
            return ExitCode::SUCCESS;
        }
        Err(error) => Failure::from(error),
    };
    tracing::error!("{} [{}]", error.message, error.code);
    for line in &error.details {
        tracing::error!("  {line}");
    }
    if !error.hint.is_empty() {
        tracing::error!("{}", error.hint);
    }
    ExitCode::FAILURE
}

fn ended(result: &Result<(), Box<dyn std::error::Error>>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string()),
    }
}

async fn start(
    options: &Serve,
    surroundings: Surroundings,
) -> Result<(), Box<dyn std::error::Error>> {
    let state = options.state.as_ref().unwrap_or(&options.data);
    let ledger = Ledger::at(state, STATE_DIR_NAME);
    let policy = Policy::of_steps(&options.allow_step);
    let runner = Runner::bounded(Arc::new(surroundings), ledger, Works::default(), policy);
    if let Some(folder) = options.socket.parent() {
        fs_err::create_dir_all(folder)?;
    }
    let connections = serve::unix_connections(&options.socket)?;
    tracing::info!(socket = %options.socket.display(), "ready");
    serve_until_told(runner, connections).await?;
    fs_err::remove_file(&options.socket)?;
    Ok(())
}

async fn host(options: &ServeHost) -> Result<(), Box<dyn std::error::Error>> {
    let policy = Policy::read(&options.remote.policy)?;
    let get = |name: &str| std::env::var(name).ok();
    let endpoint = match options.engine {
        EngineName::Docker => EndpointConfig::from_env(get),
        EngineName::Podman => EndpointConfig::podman(get, users::get_effective_uid()),
    };
    let agent_binary = match &options.agent_binary {
        Some(binary) => binary.clone(),
        None => std::env::current_exe()?,
    };
    let engine = Engine::connect(&endpoint).await?;
    let surroundings = Surroundings::Host(Host {
        engine,
        agent_binary,
        tls: options.remote.tls.clone(),
        agent_arguments: policy.arguments(),
    });
    serve_remotely(&options.remote, surroundings, "host", policy).await
}

async fn client(remote: &Remote) -> Result<(), Box<dyn std::error::Error>> {
    let policy = Policy::read(&remote.policy)?;
    serve_remotely(remote, Surroundings::Client(Client), "client", policy).await
}

/// Serves callers on other machines; the ledger is in a folder of that name.
async fn serve_remotely(
    remote: &Remote,
    surroundings: Surroundings,
    name: &'static str,
    policy: Policy,
) -> Result<(), Box<dyn std::error::Error>> {
    fs_err::create_dir_all(&remote.state)?;
    let ledger = Ledger::at(&remote.state, name);
    let works = Works::default();
    let runner = Runner::bounded(Arc::new(surroundings), ledger, works, policy.clone());
    let files = serve::Files::in_folder(&remote.tls);
    let (address, connections) = serve::tls_connections(remote.listen, files, policy).await?;
    tracing::info!(%address, "ready");
    serve_until_told(runner, connections).await
}

/// Serves until systemd or a person says that it is enough, and lets running steps end at a safe place.
async fn serve_until_told<S, C>(
    runner: Arc<Runner>,
    connections: S,
) -> Result<(), Box<dyn std::error::Error>>
where
    S: Stream<Item = std::io::Result<serve::Connection<C>>>,
    C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    notify(&[NotifyState::Ready, NotifyState::Status("waiting for steps")]);
    tokio::spawn(watchdog());
    let drained = Arc::clone(&runner);
    let (told, asked_to_end) = tokio::sync::oneshot::channel();
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        notify(&[
            NotifyState::Stopping,
            NotifyState::Status("stopping running steps"),
        ]);
        drained.drain().await;
        tracing::info!("drained");
        let _serving_has_failed = told.send(());
    };
    // No step runs any more. Callers are told and hang up; one that is stuck must not hold us.
    let too_long = async {
        match asked_to_end.await {
            Ok(()) => tokio::time::sleep(HANG_UP).await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        served = serve::serve(runner, connections, shutdown) => served?,
        () = too_long => tracing::warn!("a caller did not hang up"),
    }
    Ok(())
}

/// Tells systemd that the agent is alive, where systemd asks for it.
async fn watchdog() {
    let Some(interval) = sd_notify::watchdog_enabled() else {
        return;
    };
    let mut tick = tokio::time::interval((interval / 2).max(Duration::from_millis(100)));
    loop {
        tick.tick().await;
        notify(&[NotifyState::Watchdog]);
    }
}

/// Not under systemd this does nothing; a lost notification is systemd's to notice.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("systemd was not notified: {error}");
    }
}

fn fail(message: &str) -> ExitCode {
    tracing::error!("{message}");
    ExitCode::from(EXIT_USAGE)
}
