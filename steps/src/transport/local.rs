//! This machine: commands that only look, in a process group of their own.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::capsule::capped::Capped;
use crate::capsule::shell;
use crate::fault::{Fault, FaultKind};
use crate::world::{Output, Script, Stdin};

/// Runs a script that only looks and returns its output; kills it, with all that it started, when the time is up.
pub(crate) async fn look(script: &Script, within: Duration) -> Result<Output, Fault> {
    let text = shell::text(script, &std::collections::BTreeMap::new())?;
    let mut command = Command::new("sh");
    command.arg("-c").arg(&text).arg("sh").args(&script.args).process_group(0).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child =
        command.spawn().map_err(|error| Fault::refused("sh could not be started").seen(error.to_string()))?;
    let mut group = Group(child.id().and_then(|id| Pid::from_raw(id.cast_signed())));
    if let Ok(output) = timeout(within, finish(&mut child, &script.stdin)).await {
        // What it left in the background is not ours to kill.
        group.0 = None;
        return output.map_err(|error| Fault::failed("the command could not be followed").seen(error.to_string()));
    }
    drop(group);
    let _ = child.wait().await;
    Err(Fault::new(FaultKind::TimedOut, format!("no end within {within:?}")).hint("it was killed"))
}

/// A process group that is killed when this is dropped.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

async fn finish(child: &mut Child, stdin: &Stdin) -> std::io::Result<Output> {
    let (input, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (mut out, mut err) = (Capped::default(), Capped::default());
    let read_out = async { if let Some(from) = stdout { out.read(from).await } else { Ok(()) } };
    let read_err = async { if let Some(from) = stderr { err.read(from).await } else { Ok(()) } };
    let ((), out_read, err_read) = tokio::join!(stdin.feed(input), read_out, read_err);
    out_read.and(err_read)?;
    let status = crate::capsule::status_number(child.wait().await?);
    let ((stdout, cut_out), (stderr, cut_err)) = (out.into_bytes(), err.into_bytes());
    Ok(Output { status, stdout, stderr, truncated: cut_out || cut_err })
}
