//! Looking at a host: commands and files without a capsule.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::capsule::capped::Capped;
use crate::capsule::shell;
use crate::fault::{Fault, FaultKind};
use crate::site::Host;
use crate::transport::ssh::{Errand, OpenError};
use crate::world::{Output, Script, Stdin, World};

/// Runs a script that only looks on a host. If the connection turns out to be lost, it is made again, once.
pub(crate) async fn look(world: &World, host: &Host, script: &Script, within: Duration) -> Result<Output, Fault> {
    let line = shell::look_line(script, &world.site.env, host.ssh.elevate, within.as_secs() + 2)?;
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
            Ok(Err(LookError::Cut(why))) => Fault::unreachable("the SSH connection was lost").seen(why),
            Ok(Err(LookError::TooLate)) | Err(_) => {
                Fault::new(FaultKind::TimedOut, format!("no answer within {within:?}"))
                    .hint("look whether the host is overloaded, or the command waits for something")
            }
        };
        return Err(fault.on(&host.name));
    }
}

enum LookError {
    Open(OpenError),
    /// The connection was lost.
    Cut(String),
    TooLate,
}

async fn once(world: &World, host: &Host, line: &str, stdin: &Stdin, within: Duration) -> Result<Output, LookError> {
    let channel = world.ssh.open(host, line, Errand::Look).await.map_err(LookError::Open)?;
    let (input, stdout, stderr, ending) = channel.split();
    let (mut out, mut err) = (Capped::default(), Capped::default());
    let all = async { tokio::join!(stdin.feed(input), out.read(stdout), err.read(stderr)) };
    let ((), out_read, err_read) = timeout(within, all).await.map_err(|_| LookError::TooLate)?;
    out_read.and(err_read).map_err(|error| LookError::Cut(error.to_string()))?;
    let status = ending.status().await.map_err(LookError::Cut)?;
    let ((stdout, cut_out), (stderr, cut_err)) = (out.into_bytes(), err.into_bytes());
    Ok(Output { status, stdout, stderr, truncated: cut_out || cut_err })
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
