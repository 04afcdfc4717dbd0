//! The engine's half of the capsule on a host: it sends `host.sh` with every call and reads its answers.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use openssh::{ChildStderr, ChildStdin, ChildStdout};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::time::timeout;

use crate::capsule::answer::{self, Answer};
use crate::capsule::capped::Capped;
use crate::capsule::watch::{Stream, Watched};
use crate::capsule::{CapsuleState, Holder, cut_off, shell};
use crate::crossing::crossing;
use crate::fault::{Fault, FaultKind};
use crate::name::{AttemptId, RunId};
use crate::site::{CAPSULE_ROOT, Host};
use crate::transport::ssh::{Ending, Errand, OpenError};
use crate::world::{HostFacts, Output, Script, SeenFence, Stdin, World};

/// The script that runs on the host.
const HOST: &str = include_str!("host.sh");
/// What runs it and lets it hand itself on; `host.sh` has the same text.
const BOOT: &str = r#"me=$1; shift; eval "$me""#;
/// How long a lost connection is tried again while a command may be running.
const RECONNECT: Duration = Duration::from_mins(1);
/// How long a launch may take once all is sent: the host syncs what it received.
const LAUNCH: Duration = Duration::from_mins(5);
/// How long sending may stand still.
const STALL: Duration = Duration::from_mins(1);

/// The capsules and the fence of one host.
pub(crate) struct HostCapsules<'w> {
    world: &'w World,
    host: &'w Host,
}

/// Says why a call has no answer.
enum Trouble {
    /// The script on the host said no; an attempt that it said so of has not begun.
    Answered(Fault),
    /// The host did not even run the script, or this machine said no.
    Fault(Fault),
    /// There is no connection; nothing was sent.
    NotConnected(Fault),
    /// The connection was lost; the call may have arrived. Whether the attempt had begun by then is known or not.
    Lost {
        /// Why.
        why: String,
        /// Whether the host had said that it has begun.
        begun: bool,
    },
}

impl Trouble {
    fn lost(why: impl Into<String>) -> Self {
        Self::Lost { why: why.into(), begun: false }
    }

    /// Takes it for a fault of a call that may be made again at will.
    fn into_fault(self) -> Fault {
        match self {
            Self::Answered(fault) | Self::Fault(fault) | Self::NotConnected(fault) => fault,
            Self::Lost { why, .. } => Fault::unreachable("the SSH connection was lost").seen(why),
        }
    }
}

impl<'w> HostCapsules<'w> {
    pub(crate) fn new(world: &'w World, host: &'w Host) -> Self {
        Self { world, host }
    }

    /// Greets the host; see [`World::greet`].
    pub(crate) async fn greet(&self) -> Result<HostFacts, Fault> {
        let before = now_ms();
        let (answer, at) = self.ask_timed("greet", &[self.root()]).await?;
        let Answer::Hello { boot_id, user, in_memory, clock_ms } = answer else { return Err(unexpected(&answer)) };
        if in_memory {
            // After a reboot nothing there would tell that an attempt had begun, and it would be launched again.
            let what = format!(
                "the capsule root {} would be in memory, and a reboot would forget what has begun",
                self.root()
            );
            let fault =
                Fault::refused(what).expected("a directory on a disk").hint("set another `capsule_root` in the site");
            return Err(self.on(fault));
        }
        Ok(HostFacts { boot_id, user, clock_ahead_ms: clock_ms - i64::midpoint(before, at) })
    }

    /// Reads the fence.
    pub(crate) async fn see_fence(&self) -> Result<Option<SeenFence>, Fault> {
        match self.ask("fence-see", &[self.root(), self.cluster()]).await? {
            Answer::Fence(seen) => Ok(seen),
            other => Err(unexpected(&other)),
        }
    }

    /// Raises the fence.
    pub(crate) async fn raise_fence(&self, holder: &Holder, take_over: bool) -> Result<(), Fault> {
        let (epoch, label) = (holder.epoch.to_string(), one_line(&holder.label));
        let how = if take_over { "take-over" } else { "raise" };
        let args = [self.root(), self.cluster(), holder.run.as_str(), &epoch, &holder.token, &label, how];
        match self.ask("fence-raise", &args).await? {
            Answer::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Marks the fence as finished.
    pub(crate) async fn lower_fence(&self, holder: &Holder) -> Result<(), Fault> {
        let epoch = holder.epoch.to_string();
        let args = [self.root(), self.cluster(), holder.run.as_str(), &epoch, &holder.token];
        match self.ask("fence-lower", &args).await? {
            Answer::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Removes the capsules of a run that is over, or only refuses where that cannot be done.
    pub(crate) async fn forget(&self, run: &RunId, remove: bool) -> Result<(), Fault> {
        let how = if remove { "remove" } else { "look" };
        match self.ask("forget", &[self.root(), self.cluster(), run.as_str(), how]).await? {
            Answer::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Asks for the state of an attempt.
    pub(crate) async fn state(&self, attempt: &AttemptId) -> Result<CapsuleState, Fault> {
        let directory = attempt.directory();
        let args = [self.root(), self.cluster(), attempt.run.as_str(), &directory];
        self.state_answer("state", &args, self.world.settings.call_timeout).await
    }

    /// Stops an attempt.
    pub(crate) async fn stop(&self, attempt: &AttemptId, grace: Duration) -> Result<CapsuleState, Fault> {
        let (directory, seconds) = (attempt.directory(), grace.as_secs().to_string());
        let args = [self.root(), self.cluster(), attempt.run.as_str(), &directory, &seconds];
        // The host kills for up to 25 s after the grace.
        self.state_answer("stop", &args, grace + Duration::from_secs(30) + self.world.settings.call_timeout).await
    }

    async fn state_answer(&self, operation: &str, args: &[&str], within: Duration) -> Result<CapsuleState, Fault> {
        match self.call(operation, args, within).await? {
            Answer::State(state, _) => Ok(state),
            other => Err(unexpected(&other)),
        }
    }

    /// Runs a script in the attempt's capsule, or finds what became of it; see [`crate::Writer::run`].
    ///
    /// Launching is the same call as following: an attempt that has begun is followed, whoever asks. So a launch whose answer
    /// was lost is simply made again, and only when the host cannot be asked for [`RECONNECT`] is the outcome in doubt.
    pub(crate) async fn run(
        &self,
        attempt: &AttemptId,
        holder: &Holder,
        script: &Script,
        watched: &Watched,
    ) -> Result<Output, Fault> {
        if holder.run != attempt.run || holder.cluster != self.cluster() {
            let whose = format!("run {} of {}", holder.run, holder.cluster);
            return Err(self.on(Fault::refused(format!("the attempt {attempt} does not belong to {whose}"))));
        }
        let mut lost: Option<(Instant, bool)> = None;
        loop {
            let why = match self.launch(attempt, holder, script, watched, lost.is_some()).await {
                Ok((CapsuleState::Exited { .. }, output)) => return Ok(output),
                Ok((state, output)) => return Err(self.on(cut_off(&state, &output))),
                Err(Trouble::Answered(fault)) if !matches!(lost, Some((_, true))) => return Err(self.on(fault)),
                Err(Trouble::Fault(fault) | Trouble::NotConnected(fault)) if lost.is_none() => {
                    return Err(self.on(fault));
                }
                Err(Trouble::Answered(fault) | Trouble::Fault(fault) | Trouble::NotConnected(fault)) => {
                    fault.seen.unwrap_or(fault.what)
                }
                Err(Trouble::Lost { why, begun }) => {
                    tracing::warn!(
                        host = %self.host.name, attempt = attempt.directory(), why,
                        "the connection was lost; the command is looked for again for {} s", RECONNECT.as_secs()
                    );
                    // A connection that stood again gets the whole time again.
                    let (since, before) = lost.filter(|_| !begun).unwrap_or((Instant::now(), false));
                    lost = Some((since, before || begun));
                    why
                }
            };
            if let Some((since, begun)) = lost.filter(|(since, _)| since.elapsed() > RECONNECT) {
                return Err(self.on(link_lost(begun, &why, since.elapsed())));
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    async fn launch(
        &self,
        attempt: &AttemptId,
        holder: &Holder,
        script: &Script,
        watched: &Watched,
        again: bool,
    ) -> Result<(CapsuleState, Output), Trouble> {
        let (input, length) = announced(&script.stdin).await.map_err(Trouble::Fault)?;
        let text = shell::text(script, &self.world.site.env).map_err(Trouble::Fault)?;
        let (directory, epoch, length) = (attempt.directory(), holder.epoch.to_string(), length.to_string());
        let label = one_line(&holder.label);
        let mut args = vec![self.root(), self.cluster(), attempt.run.as_str(), &directory];
        args.extend([epoch.as_str(), &holder.token, &label, input, &length, &text, "sh"]);
        args.extend(script.args.iter().map(String::as_str));
        let at = |place: &str| crossing(|| format!("capsule {place} {directory}"));
        at("before launch");
        let mut call = self.open("launch", &args, Errand::Capsule).await?;
        let mut answer = within(self.world.settings.call_timeout + STALL, call.next()).await?;
        if answer == Answer::Send {
            call.send(&script.stdin).await?;
            answer = within(LAUNCH, call.next()).await?;
        }
        if answer != Answer::Begun {
            return Err(Trouble::Fault(unexpected(&answer)));
        }
        at("begun");
        if again {
            tracing::info!(host = %self.host.name, attempt = attempt.directory(), "connected again, and found the command");
        }
        let begun = |trouble| match trouble {
            Trouble::Lost { why, .. } => Trouble::Lost { why, begun: true },
            other => other,
        };
        let ended = call.follow(watched).await.map_err(begun)?;
        at("ended");
        Ok(ended)
    }

    async fn ask(&self, operation: &str, args: &[&str]) -> Result<Answer, Fault> {
        self.call(operation, args, self.world.settings.call_timeout).await
    }

    /// Asks, and says when the answer came; the clock starts when the connection stands.
    async fn ask_timed(&self, operation: &str, args: &[&str]) -> Result<(Answer, i64), Fault> {
        let answer = self.ask(operation, args).await?;
        Ok((answer, now_ms()))
    }

    /// Makes a call that may be made again at will, once more if the connection turns out to be lost.
    async fn call(&self, operation: &str, args: &[&str], bound: Duration) -> Result<Answer, Fault> {
        let mut lost_before = false;
        loop {
            let once = async { self.open(operation, args, Errand::Look).await?.next().await };
            match timeout(bound + self.world.settings.connect_timeout, once).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(Trouble::Lost { .. })) if !lost_before => lost_before = true,
                Ok(Err(trouble)) => return Err(self.on(trouble.into_fault())),
                Err(_) => {
                    let fault = Fault::unreachable(format!("the host did not answer `{operation}` within {bound:?}"));
                    return Err(self.on(fault.hint("look whether the host is overloaded or its disk hangs")));
                }
            }
        }
    }

    async fn open(&self, operation: &str, args: &[&str], errand: Errand) -> Result<Call, Trouble> {
        let nonce = nonce();
        let mut words = vec!["sh", "-c", BOOT, "sh", HOST, &nonce, operation];
        words.extend(args);
        let line = shell::line(self.host.ssh.elevate, &words).map_err(Trouble::Fault)?;
        let channel = match self.world.ssh.open(self.host, &line, errand).await {
            Ok(channel) => channel,
            Err(OpenError::NotConnected(fault)) => return Err(Trouble::NotConnected(fault)),
            Err(OpenError::Lost(why)) => return Err(Trouble::lost(why)),
        };
        let (stdin, stdout, stderr, ending) = channel.split();
        let cluster = self.cluster().to_owned();
        Ok(Call {
            nonce,
            cluster,
            stdin,
            stdout: BufReader::new(stdout),
            ends: Some((stderr, ending)),
            answered: false,
            chatter: String::new(),
        })
    }

    fn root(&self) -> &'w str {
        let root = self.host.capsule_root.as_deref().unwrap_or(&self.world.site.capsule_root);
        if root.is_empty() { CAPSULE_ROOT } else { root.trim_end_matches('/') }
    }

    fn cluster(&self) -> &'w str {
        &self.world.site.cluster
    }

    fn on(&self, fault: Fault) -> Fault {
        fault.on(&self.host.name)
    }
}

/// A call under way.
struct Call {
    nonce: String,
    cluster: String,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    ends: Option<(ChildStderr, Ending)>,
    /// Whether there was an answer: the script runs on the host.
    answered: bool,
    /// What the login shell printed last.
    chatter: String,
}

impl Call {
    /// Returns the next answer. What the host refuses is a fault.
    async fn next(&mut self) -> Result<Answer, Trouble> {
        let mut line = Vec::new();
        loop {
            line.clear();
            let mut limited = (&mut self.stdout).take(64 * 1024);
            let read = limited.read_until(b'\n', &mut line).await.map_err(|error| Trouble::lost(error.to_string()))?;
            if read == 0 {
                return Err(self.no_answer().await);
            }
            // A line without its end was cut off.
            let Some(text) = line.strip_suffix(b"\n") else { continue };
            match answer::parse(&String::from_utf8_lossy(text), &self.nonce, &self.cluster) {
                None => String::from_utf8_lossy(text).trim().clone_into(&mut self.chatter),
                Some(Answer::Refused(why)) => return Err(Trouble::Answered(Fault::refused(why))),
                Some(Answer::Fenced(seen)) => return Err(Trouble::Answered(fenced(&seen))),
                Some(answer) => {
                    self.answered = true;
                    return Ok(answer);
                }
            }
        }
    }

    /// Says why the answers ended: the connection was lost, or the host would not even run the script.
    async fn no_answer(&mut self) -> Trouble {
        let Some((stderr, ending)) = self.ends.take() else { return Trouble::lost("the answer is not complete") };
        self.stdin = None;
        let mut said = Capped::default();
        let _ = timeout(Duration::from_secs(10), said.read(stderr)).await;
        let said = String::from_utf8_lossy(&said.into_bytes().0).trim().to_owned();
        match timeout(Duration::from_secs(10), ending.status()).await {
            // 126 and 127: a shell could not run `sh`; 1: a login shell such as nologin, or sudo.
            Ok(Ok(status @ (1 | 126 | 127))) if !self.answered => {
                Trouble::Fault(shell::not_run(if said.is_empty() { &self.chatter } else { &said }, status))
            }
            Ok(Ok(status)) => Trouble::lost(format!("the host's shell ended early with {status}: {said}")),
            Ok(Err(why)) => Trouble::lost(why),
            Err(_) => Trouble::lost("the connection does not end"),
        }
    }

    /// Waits for the end of an attempt that has begun, and tells meanwhile what it writes.
    async fn follow(&mut self, watched: &Watched) -> Result<(CapsuleState, Output), Trouble> {
        loop {
            match self.next().await? {
                Answer::Chunk { stream, offset, length } => {
                    watched.take(stream, offset, &within(LAUNCH, self.bytes(length)).await?);
                }
                Answer::State(state, sizes) => {
                    let bytes = within(LAUNCH, self.bytes(sizes.iter().sum())).await?;
                    let status = if let CapsuleState::Exited { status } = state { status } else { -1 };
                    let (out, err) = bytes.split_at(sizes[0] + sizes[1]);
                    watched.take(Stream::Out, 0, &out[..sizes[0]]);
                    watched.take(Stream::Err, 0, &err[..sizes[2]]);
                    return Ok((state, answer::output(status, &bytes, sizes)));
                }
                other => return Err(Trouble::Fault(unexpected(&other))),
            }
        }
    }

    async fn bytes(&mut self, count: usize) -> Result<Vec<u8>, Trouble> {
        let mut bytes = vec![0; count];
        self.stdout.read_exact(&mut bytes).await.map_err(|error| Trouble::lost(error.to_string()))?;
        Ok(bytes)
    }

    async fn send(&mut self, stdin: &Stdin) -> Result<(), Trouble> {
        let Some(mut to) = self.stdin.take() else { return Err(Trouble::lost("the channel has no standard input")) };
        match stdin {
            Stdin::Empty => Ok(()),
            Stdin::Bytes(bytes) => write(&mut to, bytes).await,
            Stdin::Secret(bytes) => write(&mut to, bytes).await,
            Stdin::File(path) => {
                let unreadable = |error: std::io::Error| {
                    Trouble::Fault(
                        Fault::refused(format!("{} could not be read", path.display())).seen(error.to_string()),
                    )
                };
                let mut file = tokio::fs::File::open(path).await.map_err(unreadable)?;
                let mut buffer = vec![0; 256 * 1024];
                loop {
                    match file.read(&mut buffer).await.map_err(unreadable)? {
                        0 => return Ok(()),
                        count => write(&mut to, &buffer[..count]).await?,
                    }
                }
            }
        }
    }
}

/// Writes bytes in pieces, none of which may stand still for long.
async fn write(to: &mut ChildStdin, bytes: &[u8]) -> Result<(), Trouble> {
    for piece in bytes.chunks(64 * 1024) {
        let written = timeout(STALL, to.write_all(piece)).await;
        written
            .map_err(|_| Trouble::lost("sending stands still"))?
            .map_err(|error| Trouble::lost(error.to_string()))?;
    }
    Ok(())
}

/// Returns how a standard input is announced: its sort and its length in bytes.
async fn announced(stdin: &Stdin) -> Result<(&'static str, u64), Fault> {
    let length = |bytes: &[u8]| bytes.len() as u64;
    Ok(match stdin {
        Stdin::Empty => ("empty", 0),
        Stdin::Bytes(bytes) => ("bytes", length(bytes)),
        Stdin::Secret(bytes) => ("secret", length(bytes)),
        Stdin::File(path) => {
            let data = tokio::fs::metadata(path).await;
            let data = data.map_err(|error| {
                Fault::refused(format!("{} could not be read", path.display())).seen(error.to_string())
            })?;
            ("bytes", data.len())
        }
    })
}

async fn within<T>(bound: Duration, call: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
    timeout(bound, call).await.unwrap_or_else(|_| Err(Trouble::lost(format!("no answer within {bound:?}"))))
}

fn fenced(seen: &SeenFence) -> Fault {
    let Holder { run, epoch, label, .. } = &seen.holder;
    Fault::new(FaultKind::Fenced, "another operator holds this cluster")
        .expected("no fence, or this run's own")
        .seen(format!("run {run}, epoch {epoch}, held by {label}"))
        .hint("ask them; if that process is gone for good, take over with `--take-over --reason …`")
}

fn link_lost(begun: bool, why: &str, after: Duration) -> Fault {
    let what = if begun {
        "the connection was lost; the command goes on on the host"
    } else {
        "the connection was lost; whether the command began is not known"
    };
    Fault::in_doubt(what)
        .seen(format!("{why}; tried again for {} s", after.as_secs()))
        .hint("resume the run when the host can be reached: it will find the command and its outcome")
}

fn unexpected(answer: &Answer) -> Fault {
    Fault::failed("the host gave an answer that does not fit").seen(format!("{answer:?}"))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns a word that nothing on the host can know before.
pub(crate) fn nonce() -> String {
    format!("rq{:016x}", RandomState::new().build_hasher().finish())
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
