#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""soak.py [CONNECTIONS]: a million short connections through two routers, each with a request and
its answer, and what the routers hold meanwhile. Fails when that grows."""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

from conftest import makes_routers
from harness import ROOT, TIMEOUT, Management, free_port, wait_port
from services import descriptors, wait

BATCH_SECONDS = 5
GROWTH_KIB = 1024
WARM = 2000  # connections: with fewer, on a busy machine, not all is there yet that will stay
STREAMS = pathlib.Path(os.environ.get("BUILD", ROOT / "build")) / "streams"


class Server:
    """The other half of bench/streams.c."""

    def __init__(self):
        self.port = free_port()
        self.process = subprocess.Popen([STREAMS, "serve", str(self.port)])
        wait_port(self.port)

    def close(self):
        self.process.kill()
        self.process.wait(TIMEOUT)


def batch(port, seconds):
    """Connections that were made, each of which got its answer."""
    out = subprocess.run([STREAMS, "connect", "127.0.0.1:%d" % port, "--streams", "32",
                          "--seconds", str(seconds)], capture_output=True, text=True,
                         timeout=seconds + 2 * TIMEOUT)
    assert out.returncode == 0, out.stdout + out.stderr
    return int(re.search(r'"operations": (\d+)', out.stdout).group(1))


def soak(made, port, total, seconds=BATCH_SECONDS, tell=lambda line: None):
    """Connections until there were `total` of them. Returns, after each batch: how many there were,
    and KiB of each router; the first batches warm up."""
    rows, done = [], 0
    idle = [descriptors(r) for r in made]
    while done < total or len(rows) < 2:
        done += batch(port, seconds)
        wait(lambda: [descriptors(r) for r in made] == idle)
        if done < WARM:
            continue
        rows.append((done, [r.resident_kib() for r in made]))
        tell("%9d connections   %s KiB" % (done, "   ".join("%6d" % k for k in rows[-1][1])))
    m = Management(made[0])
    (row,) = m.query("tcpListener")
    assert row["connectionsOpened"] == row["connectionsClosed"] >= done
    assert m.query("tcpConnection") == []
    m.close()
    return rows


def growth(rows):
    """KiB, of the router that grew most since it was warm."""
    return max(last - first for first, last in zip(rows[0][1], rows[-1][1]))


def main():
    from services import listener, connector  # what follows is for people
    from harness import inter_router, link_to
    total = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as directory:
        making = makes_routers(directory)
        make, server, port, link = next(making), Server(), free_port(), free_port()
        try:
            made = [make("A", entities=[inter_router(link), listener(port)]),
                    make("B", entities=[link_to(link), connector(server.port)])]
            made[0].log.wait("listening name=l-echo")
            rows = soak(made, port, total, tell=lambda line: print(line, flush=True))
        finally:
            server.close()
            next(making, None)
    print("%d connections, %+d KiB since the first %d" % (rows[-1][0], growth(rows), rows[0][0]))
    return growth(rows) > GROWTH_KIB


if __name__ == "__main__":
    sys.exit(main())
