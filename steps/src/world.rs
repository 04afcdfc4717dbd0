//! The world of one run: the site, the connections to it, and the two ways to touch it.
//!
//! A [`Reader`] can only look. A [`Writer`] is made for one attempt whose intent is durable, and is the only way to change
//! something: an action gets one in `act`, a check never does.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use zeroize::Zeroizing;

use crate::capsule::capped::CAP;
use crate::capsule::here::LocalCapsules;
use crate::capsule::remote::HostCapsules;
use crate::capsule::supervisors::Supervisors;
use crate::capsule::watch::Watched;
use crate::capsule::{CapsuleState, Holder, Watch, look};
use crate::fault::Fault;
use crate::name::{AttemptId, HostName};
use crate::redact::{Given, Redactor};
use crate::site::{Host, Site};
use crate::transport::etcd::EtcdPool;
use crate::transport::kube::KubePool;
use crate::transport::{local, ssh::SshPool};

/// What is given to a command's standard input.
#[derive(Debug, Clone, Default)]
pub enum Stdin {
    /// Nothing.
    #[default]
    Empty,
    /// These bytes.
    Bytes(Vec<u8>),
    /// These bytes, which must never be shown nor touch a persistent disk.
    Secret(Zeroizing<Vec<u8>>),
    /// The content of a file of this machine, streamed.
    File(PathBuf),
}

impl Stdin {
    /// Writes it to a command, which need not read it: that it stopped reading is no error.
    pub(crate) async fn feed(&self, to: Option<impl AsyncWrite + Unpin>) {
        let Some(mut to) = to else { return };
        let written = match self {
            Self::Empty => Ok(()),
            Self::Bytes(bytes) => to.write_all(bytes).await,
            Self::Secret(bytes) => to.write_all(bytes).await,
            Self::File(path) => match tokio::fs::File::open(path).await {
                Ok(mut file) => tokio::io::copy(&mut file, &mut to).await.map(drop),
                Err(error) => Err(error),
            },
        };
        if let Err(error) = written {
            tracing::debug!(%error, "a command did not read its whole standard input");
        }
    }
}

/// A command for a POSIX shell.
#[derive(Debug, Clone, Default)]
pub struct Script {
    /// The shell text. It is visible to other users of the host while it runs; it must not hold a secret.
    pub text: String,
    /// `$1`, `$2`, …
    pub args: Vec<String>,
    /// Exported before the text runs, over the site's `env`; visible as the text is.
    pub env: Vec<(String, String)>,
    /// Standard input. In a capsule it is spooled first, and `$REQUORUM_STDIN` names the spooled file, which the script may
    /// move away.
    pub stdin: Stdin,
    /// The directory to run in; the home directory of the user where it is left out.
    pub cwd: Option<String>,
    /// Whether what it writes is meant for people and shown while it runs. The answers of a kind's own script are not.
    pub shown: bool,
}

impl Script {
    /// Makes a script of shell text and its arguments.
    pub fn new<A: Into<String>>(text: impl Into<String>, args: impl IntoIterator<Item = A>) -> Self {
        Self { text: text.into(), args: args.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// Gives it a standard input.
    #[must_use]
    pub fn with_stdin(mut self, stdin: Stdin) -> Self {
        self.stdin = stdin;
        self
    }
}

/// How a command ended and what it wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// The exit status; 128 + n where signal n ended it.
    pub status: i32,
    /// Standard output: the beginning and the end, where it was longer than the cap.
    pub stdout: Vec<u8>,
    /// Standard error, likewise.
    pub stderr: Vec<u8>,
    /// Whether the middle of either was dropped.
    pub truncated: bool,
}

impl Output {
    /// Returns standard output as text, without the final line breaks.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end_matches(['\n', '\r']).to_owned()
    }

    /// Returns the last lines of standard error, or of standard output where that is empty: what to show of a failure.
    #[must_use]
    pub fn tail(&self, lines: usize) -> String {
        let from = if self.stderr.iter().all(u8::is_ascii_whitespace) { &self.stdout } else { &self.stderr };
        let text = String::from_utf8_lossy(from);
        let all: Vec<&str> = text.trim_end().lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// Takes out the halves of secrets where the middle of a stream was dropped: they cannot be told from other text later.
    fn mended(mut self, redactor: &Redactor) -> Self {
        if self.truncated {
            for stream in [&mut self.stdout, &mut self.stderr] {
                if stream.len() == 2 * CAP {
                    redactor.mend(stream, CAP);
                }
            }
        }
        self
    }
}

/// What a host told when it was greeted, before anything was changed on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFacts {
    /// The kernel's boot id: another one means that the host rebooted.
    pub boot_id: String,
    /// The user that commands run as, after `become`.
    pub user: String,
    /// Its clock minus this machine's, in milliseconds, as seen through the connection.
    pub clock_ahead_ms: i64,
}

/// Settings of a world that are not the site's.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where attempts on this machine keep their capsules: a directory of the run's own.
    pub local_capsules: PathBuf,
    /// The program that supervises local attempts when it is started as `PROGRAM capsule-supervise`.
    pub supervisor: PathBuf,
    /// The kubeconfig files of the environment, for a site that names none; merged as kubectl does.
    pub kubeconfig: Vec<PathBuf>,
    /// The bound for one remote look or API call that has none of its own.
    pub call_timeout: Duration,
    /// The bound for connecting to a host or server.
    pub connect_timeout: Duration,
}

/// The site and the open connections to it.
pub struct World {
    pub(crate) site: Arc<Site>,
    pub(crate) settings: Settings,
    pub(crate) supervisors: Supervisors,
    pub(crate) ssh: SshPool,
    pub(crate) etcd: EtcdPool,
    pub(crate) kube: KubePool,
    redactor: Arc<Redactor>,
}

/// What a fence on a host says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenFence {
    /// The holder.
    pub holder: Holder,
    /// Whether that run has ended and gives way to any other.
    pub finished: bool,
}

impl World {
    /// Makes a world; nothing is connected yet.
    #[must_use]
    pub fn new(site: Arc<Site>, settings: Settings) -> Self {
        let ssh = SshPool::new(settings.connect_timeout);
        let supervisors = Supervisors::of(settings.supervisor.clone());
        let (etcd, kube) = (EtcdPool::default(), KubePool::default());
        Self { site, settings, supervisors, ssh, etcd, kube, redactor: Arc::default() }
    }

    /// Lets it know the secrets of the run.
    #[must_use]
    pub fn with_redactor(self, redactor: Arc<Redactor>) -> Self {
        Self { redactor, ..self }
    }

    /// Returns the site.
    #[must_use]
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// Connects to a host and checks what capsules need there. Changes nothing.
    pub async fn greet(&self, host: &HostName) -> Result<HostFacts, Fault> {
        self.on(host)?.greet().await
    }

    /// Reads the fence of the site's cluster on a host.
    pub async fn see_fence(&self, host: &HostName) -> Result<Option<SeenFence>, Fault> {
        self.on(host)?.see_fence().await
    }

    /// Raises the fence on a host for this holder, or refuses with [`crate::FaultKind::Fenced`].
    pub async fn raise_fence(&self, host: &HostName, holder: &Holder, take_over: bool) -> Result<(), Fault> {
        self.on(host)?.raise_fence(holder, take_over).await
    }

    /// Marks the fence of this holder as finished.
    pub async fn lower_fence(&self, host: &HostName, holder: &Holder) -> Result<(), Fault> {
        self.on(host)?.lower_fence(holder).await
    }

    /// Returns what only looks: at a host, or at this machine where none is given.
    #[must_use]
    pub fn reader(&self, host: Option<&HostName>) -> Reader<'_> {
        Reader { world: self, host: host.and_then(|name| self.site.hosts.get(name)) }
    }

    /// Returns what may change something, for one attempt. The caller has made the attempt's intent durable.
    #[must_use]
    pub fn writer(&self, host: Option<&HostName>, attempt: AttemptId, holder: Holder) -> Writer<'_> {
        Writer { reader: self.reader(host), attempt, holder, watched: Watched::default() }
    }

    /// Asks what is known of an attempt on a host, or on this machine.
    pub async fn capsule_state(&self, host: Option<&HostName>, attempt: &AttemptId) -> Result<CapsuleState, Fault> {
        match host {
            Some(host) => self.on(host)?.state(attempt).await,
            None => LocalCapsules::new(&self.settings, &self.supervisors).state(attempt),
        }
    }

    /// Makes sure that an attempt which has not begun never does, and says what is known of it. On a host the fence that this
    /// process has raised there refuses a launch that is still on its way.
    pub async fn call_off(&self, host: Option<&HostName>, attempt: &AttemptId) -> Result<CapsuleState, Fault> {
        match host {
            Some(host) => self.on(host)?.state(attempt).await,
            None => LocalCapsules::new(&self.settings, &self.supervisors).call_off(attempt),
        }
    }

    /// Stops an attempt: its whole session is told to end, killed after `grace`, and seen dead, or the state says otherwise.
    pub async fn stop_attempt(
        &self,
        host: Option<&HostName>,
        attempt: &AttemptId,
        grace: Duration,
    ) -> Result<CapsuleState, Fault> {
        match host {
            Some(host) => self.on(host)?.stop(attempt, grace).await,
            None => LocalCapsules::new(&self.settings, &self.supervisors).stop(attempt, grace).await,
        }
    }

    /// Takes secrets out of the files in which an attempt on this machine has kept its output. A mark in their place cannot be
    /// told from one that the command wrote itself, so whoever reads them again does not get the secret back.
    pub fn redact_here(&self, attempt: &AttemptId, given: &Given) -> Result<(), Fault> {
        if self.redactor.secrets().is_empty() {
            return Ok(());
        }
        LocalCapsules::new(&self.settings, &self.supervisors).redact(attempt, &self.redactor, given)
    }

    /// Closes all connections and waits until their processes have ended. Capsules go on.
    pub async fn close(&self) {
        self.supervisors.dismiss();
        self.ssh.close().await;
    }

    fn on(&self, name: &HostName) -> Result<HostCapsules<'_>, Fault> {
        Ok(HostCapsules::new(self, self.host(name)?))
    }

    pub(crate) fn host(&self, name: &HostName) -> Result<&Host, Fault> {
        let host = self.site.hosts.get(name);
        host.ok_or_else(|| {
            Fault::refused(format!("the site has no host `{name}`")).hint("look at `hosts` in the site file")
        })
    }
}

/// Looks, and cannot change anything.
///
/// There is no way from a reader to a writer: what tries to change something with a reader alone does not compile.
///
/// ```compile_fail
/// async fn observe(reader: &requorum_steps::Reader<'_>) {
///     let script = requorum_steps::Script::new("rm -rf /var/lib/etcd", [""; 0]);
///     let _ = reader.run(script).await;
/// }
/// ```
///
/// Looking does:
///
/// ```
/// async fn observe(reader: &requorum_steps::Reader<'_>) {
///     let script = requorum_steps::Script::new("ls /var/lib/etcd", [""; 0]);
///     let _ = reader.look(&script).await;
/// }
/// ```
#[derive(Clone, Copy)]
pub struct Reader<'w> {
    pub(crate) world: &'w World,
    pub(crate) host: Option<&'w Host>,
}

impl<'w> Reader<'w> {
    /// Returns the site.
    #[must_use]
    pub fn site(&self) -> &'w Site {
        &self.world.site
    }

    /// Returns the host that it looks at.
    pub fn host(&self) -> Result<&'w Host, Fault> {
        self.host.ok_or_else(|| Fault::refused("this kind works on a host, and the step names none with `on`"))
    }

    /// Returns a reader for another host of the site.
    pub fn at(&self, name: &HostName) -> Result<Self, Fault> {
        Ok(Self { world: self.world, host: Some(self.world.host(name)?) })
    }

    /// Runs a command that only looks, on the host or on this machine, without a capsule, within the call timeout.
    pub async fn look(&self, script: &Script) -> Result<Output, Fault> {
        self.look_within(script, self.world.settings.call_timeout).await
    }

    /// Runs a command that only looks, within a bound of its own.
    pub async fn look_within(&self, script: &Script, within: Duration) -> Result<Output, Fault> {
        let output = match self.host {
            Some(host) => look::look(self.world, host, script, within).await,
            None => local::look(script, within).await,
        };
        output.map(|output| output.mended(&self.world.redactor))
    }

    /// Reads a small file: a path of this machine, or `HOST:/path`, through `become`. At most 1 MiB.
    pub async fn read(&self, place: &str) -> Result<Zeroizing<Vec<u8>>, Fault> {
        let (name, path) = match place.split_once(':') {
            Some((name, path)) if path.starts_with('/') => (HostName::new(name).ok(), path),
            Some(_) | None => (None, place),
        };
        match name {
            Some(name) => look::read(self.world, Some(self.world.host(&name)?), path).await,
            None => look::read(self.world, None, place).await,
        }
    }
}

/// Changes something, within one attempt.
pub struct Writer<'w> {
    pub(crate) reader: Reader<'w>,
    pub(crate) attempt: AttemptId,
    pub(crate) holder: Holder,
    watched: Watched,
}

impl<'w> Writer<'w> {
    /// Has a watch told what the command writes while it runs, if its script is [`Script::shown`].
    #[must_use]
    pub fn watched_by(mut self, watch: Watch) -> Self {
        self.watched = Watched::by(watch);
        self
    }

    /// Returns what looks at the same host.
    #[must_use]
    pub fn reader(&self) -> Reader<'w> {
        self.reader
    }

    /// Returns the attempt.
    #[must_use]
    pub fn attempt(&self) -> &AttemptId {
        &self.attempt
    }

    /// Runs a command in the attempt's capsule, on the host or on this machine, and waits until it has ended.
    ///
    /// The attempt runs at most one command. If the capsule is there already, the command given is ignored: what runs is
    /// waited for, what has ended is returned, and what died without a status is [`crate::FaultKind::InDoubt`].
    pub async fn run(&self, script: Script) -> Result<Output, Fault> {
        let nobody = Watched::default();
        let watched = if script.shown { &self.watched } else { &nobody };
        let world = self.reader.world;
        let output = match self.reader.host {
            Some(host) => HostCapsules::new(world, host).run(&self.attempt, &self.holder, &script, watched).await,
            None => LocalCapsules::new(&world.settings, &world.supervisors).run(&self.attempt, script, watched).await,
        };
        output.map(|output| output.mended(&world.redactor))
    }
}
