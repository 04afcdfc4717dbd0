"""A small TCP proxy: one address for the API servers of all hosts.

It runs as a process of its own, takes the backends in turn, and leaves out those that do not answer.
"""

import asyncio
import itertools

# How long a backend may take to answer, in seconds.
PATIENCE = 1.0


async def serve(address, port, backends):
    turns = itertools.count()

    async def connect():
        first = next(turns)
        for offset in range(len(backends)):
            backend = backends[(first + offset) % len(backends)]
            try:
                return await asyncio.wait_for(asyncio.open_connection(*backend), PATIENCE)
            except (OSError, asyncio.TimeoutError):
                continue
        return None

    async def pipe(reader, writer):
        try:
            while piece := await reader.read(1 << 16):
                writer.write(piece)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def client(reader, writer):
        backend = await connect()
        if backend is None:
            writer.close()
            return
        await asyncio.gather(pipe(reader, backend[1]), pipe(backend[0], writer))

    server = await asyncio.start_server(client, address, port)
    async with server:
        await server.serve_forever()
