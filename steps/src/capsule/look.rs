//! Looking at a host: commands and files without a capsule.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::capsule::capped::Capped;
use crate::capsule::remote::nonce;
use crate::capsule::shell::{self, not_run};
use crate::fault::{Fault, FaultKind};
use crate::site::Host;
use crate::transport::ssh::{Errand, OpenError};
use crate::world::{Output, Script, Stdin, World};

/// Runs a script that only looks on a host. If the connection turns out to be lost, it is made again, once.
pub(crate) async fn look(world: &World, host: &Host, script: &Script, within: Duration) -> Result<Output, Fault> {
    let mark = nonce();
    let line = shell::look_line(script, &world.site.env, host.ssh.elevate, &mark, within.as_secs() + 2)?;
    let line = Line { text: line, mark };
    let mut again = true;
    loop {
        let bound = within + world.settings.connect_timeout;
        let fault = match timeout(bound, once(world, host, &line, &script.stdin, within)).await {
            Ok(Ok(output)) => return Ok(output),
            Ok(Err(LookError::Open(OpenError::Lost(_)) | LookError::Cut(_))) if again => {
                again = false;
                continue;
            }
            Ok(Err(LookError::Open(error))) => error.into_fault(),
            Ok(Err(LookError::NotRun(said))) => not_run(&said.tail(3), said.status),
            Ok(Err(LookError::Cut(why))) => Fault::unreachable("the SSH connection was lost").seen(why),
            Ok(Err(LookError::TooLate)) | Err(_) => {
                Fault::new(FaultKind::TimedOut, format!("no answer within {within:?}"))
                    .hint("look whether the host is overloaded, or the command waits for something")
            }
        };
        return Err(fault.on(&host.name));
    }
}

/// What the login shell runs, and the mark that it prints on both outputs before anything of the script's.
struct Line {
    text: String,
    mark: String,
}

enum LookError {
    Open(OpenError),
    /// The connection was lost.
    Cut(String),
    TooLate,
    /// The login shell said this instead of running the script.
    NotRun(Output),
}

async fn once(world: &World, host: &Host, line: &Line, stdin: &Stdin, within: Duration) -> Result<Output, LookError> {
    let channel = world.ssh.open(host, &line.text, Errand::Look).await.map_err(LookError::Open)?;
    let (input, stdout, stderr, ending) = channel.split();
    let all = async { tokio::join!(stdin.feed(input), after(&line.mark, stdout), after(&line.mark, stderr)) };
    let ((), out, err) = timeout(within, all).await.map_err(|_| LookError::TooLate)?;
    let cut = |error: std::io::Error| LookError::Cut(error.to_string());
    let ((out, ran), (err, _)) = (out.map_err(cut)?, err.map_err(cut)?);
    let status = ending.status().await.map_err(LookError::Cut)?;
    let ((stdout, cut_out), (stderr, cut_err)) = (out.into_bytes(), err.into_bytes());
    let output = Output { status, stdout, stderr, truncated: cut_out || cut_err };
    if ran { Ok(output) } else { Err(LookError::NotRun(output)) }
}

/// Reads what comes after the line that ends with the mark: what the login shell wrote before it is none of ours. Where there
/// is no mark, returns all, and `false`.
async fn after(mark: &str, from: impl AsyncRead + Unpin) -> std::io::Result<(Capped, bool)> {
    let mut from = BufReader::new(from);
    let (mut before, mut line) = (Capped::default(), Vec::new());
    loop {
        line.clear();
        if (&mut from).take(64 * 1024).read_until(b'\n', &mut line).await? == 0 {
            return Ok((before, false));
        }
        if line.strip_suffix(b"\n").is_some_and(|line| line.ends_with(mark.as_bytes())) {
            break;
        }
        before.push(&line);
    }
    let mut kept = Capped::default();
    kept.read(from).await?;
    Ok((kept, true))
}

/// The largest file that is read into memory, in bytes.
const LARGEST: u64 = 1024 * 1024;

/// Reads a small file of a host, through `become`, or of this machine.
pub(crate) async fn read(world: &World, host: Option<&Host>, path: &str) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let most = (LARGEST + 1).to_string();
    let bytes = match host {
        Some(host) => {
            let script = Script::new(r#"head -c "$2" <"$1""#, [path, &most]);
            let output = look(world, host, &script, world.settings.call_timeout).await?;
            if output.status != 0 {
                let fault = Fault::failed(format!("{path} could not be read")).seen(output.tail(3)).on(&host.name);
                return Err(fault.hint("look whether it is there and whether `become` is needed to read it"));
            }
            if output.truncated {
                return Err(too_large(path).on(&host.name));
            }
            Zeroizing::new(output.stdout)
        }
        None => read_here(path).await.map_err(|error| {
            Fault::failed(format!("{path} could not be read on this machine")).seen(error.to_string())
        })?,
    };
    if bytes.len() as u64 > LARGEST {
        return Err(host.map_or(too_large(path), |host| too_large(path).on(&host.name)));
    }
    Ok(bytes)
}

fn too_large(path: &str) -> Fault {
    Fault::refused(format!("{path} is too large to be read into memory")).expected("at most 1 MiB")
}

async fn read_here(path: &str) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    tokio::fs::File::open(path).await?.take(LARGEST + 1).read_to_end(&mut bytes).await?;
    Ok(bytes)
}
