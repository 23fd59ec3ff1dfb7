# SPDX-License-Identifier: Apache-2.0
"""python3 -m apiserver.main FOLDER: serves with the certificates in FOLDER (ca.crt, server.crt,
server.key), prints one line, {"port": …, "control": …}, and ends when its input does."""

import asyncio
import gc
import json
import sys

from . import boot, server
from .api import Api
from .collect import Collector
from .control import Control
from .custom import Definitions
from .faults import Faults
from .kinds import Kinds
from .objects import Objects
from .rbac import Authority
from .simulate import Simulation
from .store import Store
from .watch import Watches


async def serve(folder):
    store, kinds, faults = Store(), Kinds(), Faults()
    authority = Authority(store)
    objects = Objects(store, kinds, authority)
    watches = Watches(store)
    Definitions(objects)
    with open(folder + "/ca.crt", encoding="ascii") as f:
        Collector(objects, f.read())
    simulation = Simulation(objects)
    boot.boot(objects)
    main = server.Server(Api(objects, authority, watches), authority, watches, faults,
                         server.tls_context(folder))
    await main.start()
    control = Control(main, faults, simulation)
    await control.start()
    print(json.dumps({"port": main.port, "control": control.port}), flush=True)
    # Who started us holds the other end of our input; when it is gone, so are we.
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()


if __name__ == "__main__":
    gc.set_threshold(50000, 20, 20)
    asyncio.run(serve(sys.argv[1]))
