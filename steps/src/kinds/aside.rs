//! What was set aside and is no longer wanted.

use super::shell;
use crate::fault::Fault;
use crate::name::RunId;
use crate::world::Reader;

/// Removes what a run set aside, or only looks at it; see [`crate::World::purge`].
pub(crate) async fn purge(reader: &Reader<'_>, run: &RunId, path: &str, remove: bool) -> Result<Option<u64>, Fault> {
    let path = shell::host_path("path", path).map_err(|bad| Fault::refused(bad.message))?;
    let how = if remove { "remove" } else { "look" };
    let script = shell::script(include_str!("sh/purge.sh"), [path.as_str(), run.as_str(), how]);
    let answer = shell::look(reader, &script, Some(shell::HASH_BOUND)).await?;
    Ok(answer.get("kib").parse::<u64>().ok().map(|kib| kib * 1024))
}
