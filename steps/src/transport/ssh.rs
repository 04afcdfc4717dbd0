//! SSH: multiplexed connections to hosts, made when they are first needed and made again when they were lost.
//!
//! One connection per host is enough, unless its sshd allows few sessions on each (`MaxSessions`): then there are more.
//!
//! The master of a connection is an `ssh` of the user's own, so that `ssh_config`, agents, jump hosts and known hosts work as
//! in a shell. It has no session of its own. A small shell keeps it, which ends it with its own standard input: it cannot
//! outlive this process, not even a killed one. It has a process group of its own, so that a Ctrl-C in the terminal does not
//! reach it.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use openssh::{Child, ChildStderr, ChildStdin, ChildStdout, ForwardType, Session, Socket, Stdio};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child as Process, ChildStdin as ProcessStdin, Command};
use tokio::sync::{Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::fault::{Fault, FaultKind};
use crate::name::HostName;
use crate::site::Host;

/// How many channels may be open on a host at once. The usual `MaxSessions` of sshd is 10.
const CHANNELS: usize = 8;
/// How many of them may belong to running capsules, so that looking and stopping always find one.
const CAPSULES: usize = 5;
/// What the master prints when the connection stands.
const READY: &str = "requorum-ready";
/// What ssh says where sshd allows no more sessions on the connection.
const REFUSED: &str = "Session open refused by peer";
/// The pause before a refused session is asked for again where no open one is the reason: sshd may still hold one that ended.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// Keeps the master that its arguments start: it ends when the standard input does, and this shell ends with it.
const KEEPER: &str = r#"exec 3<&0 </dev/null
"$@" 3<&- &
ssh=$!
(read -r _; kill "$ssh" 2>/dev/null) <&3 &
watch=$!
exec 3<&-
wait "$ssh"
status=$?
kill "$watch" 2>/dev/null
exit "$status""#;

/// The connections to all hosts.
pub struct SshPool {
    connect_timeout: Duration,
    links: Mutex<HashMap<HostName, Arc<Link>>>,
}

/// What a channel is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Errand {
    /// Something short.
    Look,
    /// Following a capsule for as long as it takes.
    Capsule,
}

/// Says why a channel could not be opened.
pub(crate) enum OpenError {
    /// There is no connection; nothing was sent.
    NotConnected(Fault),
    /// The connection was lost on the way; the command may have been sent.
    Lost(String),
}

impl OpenError {
    /// Takes it for a fault of something that may be sent again at will.
    pub(crate) fn into_fault(self) -> Fault {
        match self {
            Self::NotConnected(fault) => fault,
            Self::Lost(why) => Fault::unreachable("the SSH connection was lost").seen(why),
        }
    }
}

/// An open channel: a command that runs on the host.
pub(crate) struct Channel {
    child: Child<Arc<Session>>,
    /// Its standard input.
    pub(crate) stdin: Option<ChildStdin>,
    /// Its standard output.
    pub(crate) stdout: ChildStdout,
    /// Its standard error.
    pub(crate) stderr: ChildStderr,
    seat: Seat,
    permits: (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>),
}

/// What remains to be known of a channel after its streams were taken.
pub(crate) struct Ending {
    child: Child<Arc<Session>>,
    seat: Seat,
    _permits: (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>),
}

struct Link {
    host: Host,
    connections: AsyncMutex<Vec<Arc<Connection>>>,
    channels: Arc<Semaphore>,
    capsules: Arc<Semaphore>,
}

struct Connection {
    session: Arc<Session>,
    master: AsyncMutex<Master>,
    last_words: Arc<Mutex<String>>,
    forwards: AsyncMutex<HashMap<(String, u16), PathBuf>>,
    directory: tempfile::TempDir,
    sessions: Mutex<Sessions>,
}

/// The sessions of a connection.
struct Sessions {
    open: usize,
    /// How many there may be, as far as is known.
    most: usize,
}

/// A session's place in a connection.
struct Seat {
    connection: Arc<Connection>,
}

struct Master {
    keeper: Process,
    stdin: Option<ProcessStdin>,
}

impl SshPool {
    /// Makes a pool without connections. `connect_timeout` bounds each attempt to connect.
    #[must_use]
    pub fn new(connect_timeout: Duration) -> Self {
        Self { connect_timeout, links: Mutex::default() }
    }

    /// Runs a command on a host: text for the login shell of the SSH user.
    pub(crate) async fn open(&self, host: &Host, command: &str, errand: Errand) -> Result<Channel, OpenError> {
        let link = self.link(host);
        let capsule = match errand {
            Errand::Capsule => link.capsules.clone().acquire_owned().await.ok(),
            Errand::Look => None,
        };
        let closed = |_| OpenError::NotConnected(Fault::unreachable("the connections are closed").on(&host.name));
        let channel = link.channels.clone().acquire_owned().await.map_err(closed)?;
        let (mut child, seat) = link.spawn(command, self.connect_timeout).await?;
        match (child.stdin().take(), child.stdout().take(), child.stderr().take()) {
            (stdin, Some(stdout), Some(stderr)) => {
                Ok(Channel { child, stdin, stdout, stderr, seat, permits: (channel, capsule) })
            }
            (_, _, _) => Err(OpenError::Lost("the channel has no streams".to_owned())),
        }
    }

    /// Forwards a Unix socket of this machine, which it returns, to a TCP port as the host reaches it. A forward that is
    /// there already is returned again; it ends with the connection, so callers ask anew after an error.
    pub(crate) async fn forward(&self, host: &Host, target: &str, port: u16) -> Result<PathBuf, Fault> {
        let link = self.link(host);
        let connection = link.connected(self.connect_timeout).await?;
        let mut forwards = connection.forwards.lock().await;
        let key = (target.to_owned(), port);
        if let Some(path) = forwards.get(&key) {
            return Ok(path.clone());
        }
        let path = connection.directory.path().join(format!("f{}", forwards.len()));
        let here = Socket::UnixSocket { path: path.clone().into() };
        let there = Socket::TcpSocket { host: target.to_owned().into(), port };
        let asked = connection.session.request_port_forward(ForwardType::Local, here, there);
        let fault = |seen: String| {
            Fault::unreachable(format!("{target}:{port} could not be forwarded")).seen(seen).on(&host.name)
        };
        timeout(self.connect_timeout, asked)
            .await
            .map_err(|_| fault("the host does not answer".to_owned()))?
            .map_err(|error| fault(chain(&error)))?;
        forwards.insert(key, path.clone());
        Ok(path)
    }

    /// Closes all connections and waits for their masters to end.
    pub(crate) async fn close(&self) {
        let links: Vec<_> = self.links().drain().map(|(_, link)| link).collect();
        for link in links {
            for connection in link.connections.lock().await.drain(..) {
                connection.close().await;
            }
        }
    }

    fn link(&self, host: &Host) -> Arc<Link> {
        let new = || {
            Arc::new(Link {
                host: host.clone(),
                connections: AsyncMutex::default(),
                channels: Arc::new(Semaphore::new(CHANNELS)),
                capsules: Arc::new(Semaphore::new(CAPSULES)),
            })
        };
        self.links().entry(host.name.clone()).or_insert_with(new).clone()
    }

    fn links(&self) -> std::sync::MutexGuard<'_, HashMap<HostName, Arc<Link>>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Link {
    /// Runs a command in a session of its own, on a connection that has room for it.
    async fn spawn(&self, command: &str, within: Duration) -> Result<(Child<Arc<Session>>, Seat), OpenError> {
        let deadline = Instant::now() + within;
        loop {
            let seat = self.seat(within).await.map_err(OpenError::NotConnected)?;
            let mut spawn = seat.connection.session.clone().arc_raw_command(command);
            spawn.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let why = match timeout(within, spawn.spawn()).await {
                Ok(Ok(child)) => return Ok((child, seat)),
                Ok(Err(error)) => chain(&error),
                Err(_) => "the host does not answer".to_owned(),
            };
            if !why.contains(REFUSED) {
                return Err(OpenError::Lost(self.give_up(&seat.connection, &why).await));
            }
            if Instant::now() >= deadline {
                return Err(OpenError::NotConnected(no_session(&self.host)));
            }
            if seat.refused() {
                tokio::time::sleep(REFUSED_PAUSE).await;
            }
        }
    }

    /// Returns a place in a connection that has room, a new one where none has.
    async fn seat(&self, within: Duration) -> Result<Seat, Fault> {
        let mut connections = self.alive().await;
        if let Some(seat) = connections.iter().find_map(Connection::seat) {
            return Ok(seat);
        }
        let connection = self.connect(&mut connections, within).await?;
        connection.seat().ok_or_else(|| no_session(&self.host))
    }

    /// Returns a connection, a new one where there is none or the last was lost.
    async fn connected(&self, within: Duration) -> Result<Arc<Connection>, Fault> {
        let mut connections = self.alive().await;
        match connections.first() {
            Some(connection) => Ok(connection.clone()),
            None => self.connect(&mut connections, within).await,
        }
    }

    /// Returns the connections that stand. Nobody else connects meanwhile.
    async fn alive(&self) -> AsyncMutexGuard<'_, Vec<Arc<Connection>>> {
        let mut connections = self.connections.lock().await;
        let mut alive = Vec::new();
        for connection in connections.drain(..) {
            if connection.alive().await {
                alive.push(connection);
            } else {
                tracing::debug!(host = %self.host.name, "an SSH connection was lost");
            }
        }
        *connections = alive;
        connections
    }

    async fn connect(&self, all: &mut Vec<Arc<Connection>>, within: Duration) -> Result<Arc<Connection>, Fault> {
        let connection = Arc::new(connect(&self.host, within).await.map_err(|fault| fault.on(&self.host.name))?);
        all.push(connection.clone());
        Ok(connection)
    }

    /// Makes the next use take another connection, and returns what is known of the reason.
    async fn give_up(&self, connection: &Arc<Connection>, error: &str) -> String {
        self.connections.lock().await.retain(|other| !Arc::ptr_eq(other, connection));
        connection.explain(error)
    }
}

impl Connection {
    async fn alive(&self) -> bool {
        matches!(self.master.lock().await.keeper.try_wait(), Ok(None))
    }

    fn explain(&self, error: &str) -> String {
        let words = self.last_words.lock().unwrap_or_else(PoisonError::into_inner);
        if words.trim().is_empty() { error.to_owned() } else { format!("{error}; ssh says: {}", words.trim()) }
    }

    /// Takes a place, if there is room.
    fn seat(self: &Arc<Self>) -> Option<Seat> {
        let mut sessions = self.sessions();
        (sessions.open < sessions.most).then(|| {
            sessions.open += 1;
            Seat { connection: self.clone() }
        })
    }

    fn sessions(&self) -> std::sync::MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn close(&self) {
        self.master.lock().await.end().await;
    }
}

impl Seat {
    /// Notes that sshd refused a session here, so that others go elsewhere. Says whether no session but this one was known.
    fn refused(&self) -> bool {
        let mut sessions = self.connection.sessions();
        let others = sessions.open - 1;
        sessions.most = sessions.most.min(others.max(1));
        others == 0
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.connection.sessions().open -= 1;
    }
}

impl Master {
    async fn end(&mut self) {
        drop(self.stdin.take());
        if timeout(Duration::from_secs(1), self.keeper.wait()).await.is_err() {
            let _ = self.keeper.kill().await;
        }
    }
}

impl Channel {
    /// Parts it into its streams and what tells how it ended.
    pub(crate) fn split(self) -> (Option<ChildStdin>, ChildStdout, ChildStderr, Ending) {
        let Self { child, stdin, stdout, stderr, seat, permits } = self;
        (stdin, stdout, stderr, Ending { child, seat, _permits: permits })
    }
}

impl Ending {
    /// Returns the exit status, or the reason why there is none: the connection was lost.
    pub(crate) async fn status(self) -> Result<i32, String> {
        match self.child.wait().await {
            Ok(status) => Ok(status.code().unwrap_or(255)),
            // The crate takes 127 for a command that is not there; it may as well be the command's own.
            Err(openssh::Error::Remote(_)) => Ok(127),
            Err(error) => Err(self.seat.connection.explain(&chain(&error))),
        }
    }
}

async fn connect(host: &Host, within: Duration) -> Result<Connection, Fault> {
    let directory = control_directory()?;
    let socket = directory.path().join("s");
    let mut keeper = master_command(host, &socket, within)
        .spawn()
        .map_err(|error| Fault::refused("ssh could not be started on this machine").seen(error.to_string()))?;
    let (stdin, stdout, stderr) = (keeper.stdin.take(), keeper.stdout.take(), keeper.stderr.take());
    let mut master = Master { keeper, stdin };
    let last_words = Arc::new(Mutex::new(String::new()));
    let listening = tokio::spawn(listen(stderr, last_words.clone()));
    if matches!(timeout(within + Duration::from_secs(1), ready(stdout)).await, Ok(true)) {
        return Ok(Connection {
            session: Arc::new(Session::resume_mux(socket.into_boxed_path(), None)),
            master: AsyncMutex::new(master),
            last_words,
            forwards: AsyncMutex::default(),
            directory,
            sessions: Mutex::new(Sessions { open: 0, most: CHANNELS }),
        });
    }
    master.end().await;
    let _ = timeout(Duration::from_secs(1), listening).await;
    let words = last_words.lock().unwrap_or_else(PoisonError::into_inner);
    if matches!(master.keeper.try_wait(), Ok(Some(status)) if status.code() == Some(127)) {
        let fault = Fault::refused("ssh could not be started on this machine").seen(words.trim());
        return Err(fault.hint("install OpenSSH's client"));
    }
    Err(refusal(host, words.trim(), within))
}

/// Makes the directory of the control socket, 0700. A socket's path must be shorter than 108 bytes, and ssh adds 17.
fn control_directory() -> Result<tempfile::TempDir, Fault> {
    let usual = std::env::temp_dir();
    let base = if usual.as_os_str().len() <= 60 { usual } else { PathBuf::from("/tmp") };
    let private = std::fs::Permissions::from_mode(0o700);
    tempfile::Builder::new().prefix("rq").rand_bytes(8).permissions(private).tempdir_in(&base).map_err(|error| {
        Fault::refused(format!("no directory for SSH sockets could be made in {}", base.display()))
            .seen(error.to_string())
    })
}

fn master_command(host: &Host, socket: &std::path::Path, within: Duration) -> Command {
    let access = &host.ssh;
    let mut command = Command::new("sh");
    command.args(["-c", KEEPER, "sh", "ssh"]);
    if let Some(config) = &access.config {
        command.arg("-F").arg(config);
    }
    command.args(["-M", "-N", "-T", "-x", "-S"]).arg(socket);
    let seconds = within.as_secs().max(1);
    for option in ["ControlPersist=no", "BatchMode=yes", "StrictHostKeyChecking=yes", "UpdateHostKeys=no"] {
        command.args(["-o", option]);
    }
    for option in ["ServerAliveInterval=2", "ServerAliveCountMax=3", "TCPKeepAlive=yes", "LogLevel=ERROR"] {
        command.args(["-o", option]);
    }
    // What a person's ssh_config may ask for in a terminal would only be in the way here.
    for option in ["RequestTTY=no", "RemoteCommand=none", "ClearAllForwardings=yes", "PermitLocalCommand=yes"] {
        command.args(["-o", option]);
    }
    // It runs when the connection stands and the control socket is there.
    command.arg("-o").arg(format!("LocalCommand=echo {READY}"));
    command.arg("-o").arg(format!("ConnectTimeout={seconds}"));
    if let Some(user) = &access.user {
        command.arg("-l").arg(user);
    }
    if let Some(port) = access.port {
        command.arg("-p").arg(port.to_string());
    }
    if let Some(key) = &access.key {
        command.args(["-o", "IdentitiesOnly=yes", "-i"]).arg(key);
    }
    if let Some(known) = &access.known_hosts {
        command.arg("-o").arg(format!("UserKnownHostsFile=\"{}\"", known.display()));
    }
    command.arg("--").arg(&host.address);
    command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    command.process_group(0).kill_on_drop(true);
    command
}

/// Reads until the master says that it is ready.
async fn ready(stdout: Option<tokio::process::ChildStdout>) -> bool {
    let Some(stdout) = stdout else { return false };
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if line.trim_end() == READY {
            return true;
        }
    }
    false
}

/// Keeps the last words of the master's standard error until it ends.
async fn listen(stderr: Option<tokio::process::ChildStderr>, words: Arc<Mutex<String>>) {
    const KEPT: usize = 4096;
    let Some(mut stderr) = stderr else { return };
    let mut buffer = [0; 1024];
    while let Ok(count @ 1..) = stderr.read(&mut buffer).await {
        let mut words = words.lock().unwrap_or_else(PoisonError::into_inner);
        words.push_str(&String::from_utf8_lossy(&buffer[..count]).replace('\r', ""));
        let too_long = words.len().saturating_sub(KEPT);
        let cut = (too_long..words.len()).find(|&at| words.is_char_boundary(at)).unwrap_or(0);
        words.drain(..cut);
    }
}

/// Says that a host lets the user in, but opens no session.
fn no_session(host: &Host) -> Fault {
    Fault::refused(format!("{} lets the SSH user in, but opens no session", host.address))
        .expected("`MaxSessions` of at least 1 in the host's sshd_config")
        .seen(REFUSED)
        .hint("look at `MaxSessions` in sshd_config, also in its `Match` blocks")
        .on(&host.name)
}

/// Turns what ssh said into a fault that says what to do.
fn refusal(host: &Host, said: &str, within: Duration) -> Fault {
    let address = &host.address;
    let fault = if said.contains("Host key verification failed") || said.contains("REMOTE HOST IDENTIFICATION") {
        Fault::refused(format!("the host key of {address} is unknown or has changed"))
            .expected("a host key that the known-hosts file lists")
            .hint(
                "compare the key with the host's own, then add it to the known-hosts file; it is never added by itself",
            )
    } else if said.contains("Permission denied") || said.contains("Too many authentication failures") {
        Fault::refused(format!("{address} did not let the SSH user in"))
            .expected("a login without a password (key or agent)")
            .hint("check `ssh.user` and `ssh.key` of the site, and that the agent is running")
    } else if said.is_empty() {
        Fault::unreachable(format!("{address} did not answer within {within:?}"))
            .hint("check the address and port, the network, and that sshd runs")
    } else {
        Fault::unreachable(format!("{address} could not be reached by SSH"))
            .hint("check the address and port, and that sshd runs")
    };
    debug_assert!(matches!(fault.kind, FaultKind::Refused | FaultKind::Unreachable));
    let fault = fault.during(format!("ssh {address}"));
    if said.is_empty() { fault } else { fault.seen(said) }
}

/// Writes an error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}
