"""Runs the waves of steps.json as one durable workflow of DBOS, and goes on with it if it was cut off."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

from dbos import DBOS, SetWorkflowID

path = Path(sys.argv[1])
given = json.loads(path.read_text())
places = asyncio.Semaphore(given["parallel"])
DBOS(
    config={
        "name": "bench",
        "system_database_url": f"sqlite:///{path.parent / 'dbos.sqlite'}",
        "run_admin_server": False,
        "log_level": "CRITICAL",
    }
)


@DBOS.step()
def act(command):
    if command is not None:
        subprocess.run(["sh", "-c", command], check=True)


@DBOS.step()
async def act_beside(command):
    if command is None:
        return
    async with places:
        process = await asyncio.create_subprocess_exec("sh", "-c", command)
        if await process.wait():
            raise RuntimeError(f"`{command}` failed")


@DBOS.workflow()
def one_by_one():
    for wave in given["waves"]:
        for command in wave:
            act(command)


@DBOS.workflow()
async def beside_each_other():
    for wave in given["waves"]:
        await asyncio.gather(*(act_beside(command) for command in wave))


async def beside():
    with SetWorkflowID("bench"):
        handle = await DBOS.start_workflow_async(beside_each_other)
    await handle.get_result()


# A workflow that was cut off is recovered from here on; starting it once more only waits for it.
DBOS.launch()
if given["parallel"] > 1:
    asyncio.run(beside())
else:
    with SetWorkflowID("bench"):
        one_by_one()
DBOS.destroy()
