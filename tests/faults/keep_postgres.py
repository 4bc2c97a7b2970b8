"""Run the embedded Postgres on the folder that is given, until it ends or standard input does.

A process of its own: starting Postgres forks, and a test's process has threads of gRPC, whose
library does not survive every fork.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from tracequill_collector.errors import StartError
from tracequill_collector.stack.postgres import EmbeddedPostgres


async def main(folder: Path) -> int:
    """Give 0 when the server ended after it had answered."""
    server = EmbeddedPostgres(folder)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_reader(sys.stdin.fileno(), stop.set)
    try:
        await server.start(lambda line: None)
    except StartError as error:
        print(error, file=sys.stderr)
        return 1
    async with asyncio.TaskGroup() as tasks:
        ended = tasks.create_task(server.wait())
        stopped = tasks.create_task(stop.wait())
        await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            await server.stop()
        ended.cancel()
        stopped.cancel()
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(Path(sys.argv[1]))))
