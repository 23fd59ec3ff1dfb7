#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Sites on this machine: how long they take to start, to link, to share, and what they need.

  sites.py [--sites N] [--services M] [--pair P] [--rounds R] [--only start,link,expose,pair,one,many]

start   "skupper system start" to a running site
link    "skupper token redeem" to a link that is up
expose  "skupper expose" to an answer at another site
pair    P services of one site, applied at once, to all of them at the other
one     one site among N - 1 that are played to it (crowd.c), with M services each
many    N sites with M services each, started together, to all services at all sites

Each site is an agent and a router; memory is what is resident, CPU what was used until then. On a
machine that others use too, CPU says more than time does."""

import argparse
import concurrent.futures
import json
import os
import pathlib
import resource
import shutil
import signal
import socketserver
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "test" / "e2e"))
import sites as s  # noqa: E402

FIRST_PORT = 10000
TICK = os.sysconf("SC_CLK_TCK")


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = allow_reuse_address = True
    request_queue_size = 1024

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            for line in self.rfile:
                self.wfile.write(line)

    def __init__(self):
        super().__init__(("127.0.0.1", 0), self.Handler)
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, daemon=True).start()


def connector(name, port, target):
    return ("apiVersion: skupper.io/v2alpha1\nkind: Connector\nmetadata:\n  name: %s\n"
            "  annotations:\n    skupper.io/proxy: tcp\n    skupper.io/port: \"%d:%d\"\nspec:\n"
            "  routingKey: %s\n  host: 127.0.0.1\n  port: %d\n" % (name, port, target, name,
                                                                  target))


def count_shared(site):
    """How many services of others the site has at its own ports."""
    try:
        told = json.loads((site.root / "runtime" / "shared" / "services.json").read_text())
    except (OSError, ValueError):
        return 0
    return sum(one["state"] == "shared" for one in told)


def network(site):
    path = site.root / "runtime" / "resources" / "ConfigMap-skupper-network-status.yaml"
    try:
        text = path.read_text()
        line = next(x for x in text.splitlines() if x.strip().startswith("NetworkStatus:"))
        quoted = line.split(":", 1)[1].strip()
        return json.loads(quoted[1:-1].replace("''", "'"))["siteStatus"]
    except (OSError, ValueError, KeyError, StopIteration):
        return []


def connectors_seen(site):
    """How many shared ports the site sees offered at each of the sites it sees."""
    return [sum(":" in connector["address"] for router in one.get("routerStatus") or []
                for connector in router.get("connectors") or [])
            for one in network(site)]


def needs(site):
    """(agent's MiB, router's MiB, agent's CPU s, router's CPU s)"""
    memory, cpu = [], []
    for which in ("agent", "router"):
        pid = site.pid(which)
        pages = int(pathlib.Path("/proc/%d/statm" % pid).read_text().split()[1])
        memory.append(pages * os.sysconf("SC_PAGE_SIZE") / 2 ** 20)
        words = pathlib.Path("/proc/%d/stat" % pid).read_text().rsplit(")", 1)[1].split()
        cpu.append((int(words[11]) + int(words[12])) / TICK)
    return (*memory, *cpu)


def say(what, seconds, wanted, more=""):
    print("%-44s %8.3f s   (wanted: %5.1f)  %s" % (what, seconds, wanted, more), flush=True)


def most(site):
    """MiB that the agent has taken at most."""
    status = pathlib.Path("/proc/%d/status" % site.pid("agent")).read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def commands_cpu():
    """CPU s of the commands that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def say_needs(all_sites):
    rows = [needs(site) for site in all_sites]
    print("  agent at most: mean %.1f MiB, most %.1f MiB" % (
        statistics.mean(map(most, all_sites)), max(map(most, all_sites))), flush=True)
    for index, name in enumerate(("agent", "router")):
        print("  %-8s resident: mean %.1f MiB, most %.1f MiB; CPU: mean %.2f s, all %.1f s" % (
            name, statistics.mean(r[index] for r in rows), max(r[index] for r in rows),
            statistics.mean(r[index + 2] for r in rows), sum(r[index + 2] for r in rows)),
            flush=True)


def await_all(what, questions, seconds):
    """Until all are true; how long it took. What is true once is not asked again."""
    began = time.monotonic()
    while questions:
        questions = [q for q in questions if not q()]
        if time.monotonic() - began > seconds:
            sys.exit("%s: not after %d s, %d are missing" % (what, seconds, len(questions)))
        time.sleep(0.005 if len(questions) < 5 else 0.05)
    return time.monotonic() - began


def link_is_up(site):
    for file in (site.root / "runtime" / "resources").glob("Link-*.yaml"):
        text = file.read_text()
        if "status: Ready" in text:
            return True
    return False


def west_of(home):
    return home.site("west", "--enable-link-access")


def bench_start(home, options, server):
    del server
    took = []
    for number in range(options.rounds):
        site = s.Site(home, "start%d" % number, home.host())
        site.run("site", "create", site.name, "--service-host", site.host,
                 "--enable-link-access")
        began = time.monotonic()
        site.run("system", "start")
        took.append(time.monotonic() - began)
        if number == options.rounds - 1:
            say("system start", statistics.median(took), 1, "most %.3f" % max(took))
            say_needs([site])
        site.run("system", "stop")


def bench_link(home, options, server):
    del server
    west, took = west_of(home), []
    for number in range(options.rounds):
        east = home.site("east%d" % number)
        token = home.home.parent / "token.yaml"
        west.run("token", "issue", str(token))
        began = time.monotonic()
        east.run("token", "redeem", str(token))
        await_all("link", [lambda: link_is_up(east)], 30)
        took.append(time.monotonic() - began)
        east.run("system", "stop")
    say("token redemption to a link that is up", statistics.median(took), 1,
        "most %.3f" % max(took))
    west.run("system", "stop")


def two(home):
    west, east = west_of(home), home.site("east")
    east.link_to(west)
    await_all("link", [lambda: link_is_up(east)], 30)
    return west, east


def answers(site, port):
    """A connection to it carries a line and back."""
    return s.talk(site.host, port, "x") == "x"


def bench_expose(home, options, server):
    west, east = two(home)
    took = []
    for number in range(options.rounds):
        port = FIRST_PORT + number
        began = time.monotonic()
        east.run("expose", "host", "localhost:%d" % server.port, "--address", "db%d" % number,
                 "--port", str(port))
        await_all("db%d" % number, [lambda: answers(west, port)], 30)
        took.append(time.monotonic() - began)
    say("exposed to reachable", statistics.median(took), 0.5, "most %.3f" % max(took))
    for site in (west, east):
        site.run("system", "stop")


def bench_pair(home, options, server):
    west, east = two(home)
    text = "---\n".join(connector("s%04d" % n, FIRST_PORT + n, server.port)
                        for n in range(options.pair))
    began = time.monotonic()
    east.apply(text)
    applied = time.monotonic() - began
    await_all("shared", [lambda: count_shared(west) == options.pair], 120)
    await_all("reachable", [lambda n=n: answers(west, FIRST_PORT + n)
                            for n in (0, options.pair // 2, options.pair - 1)], 60)
    say("%d services of one site at another" % options.pair, time.monotonic() - began, 5,
        "of it the command: %.3f" % applied)
    say_needs([west, east])
    for site in (west, east):
        site.run("system", "stop")


def prepare_many(home, options, server):
    """Sites that know each other by links and have services, not running; but the first is."""
    first = home.site("site0", "--enable-link-access", start=False)
    first.run("system", "start")
    token = home.home.parent / "token.yaml"
    first.run("token", "issue", str(token), "--redemptions-allowed", str(options.sites))
    made = [first]
    for number in range(1, options.sites):
        site = home.site("site%d" % number, start=False)
        site.run("token", "redeem", str(token))
        made.append(site)
    for number, site in enumerate(made):
        site.apply("---\n".join(
            connector("s%d-%d" % (number, k), FIRST_PORT + number * options.services + k,
                      server.port) for k in range(options.services)))
    return made


def bench_many(home, options, server):
    made = prepare_many(home, options, server)
    others = (options.sites - 1) * options.services
    began, used = time.monotonic(), commands_cpu()
    with concurrent.futures.ThreadPoolExecutor(4) as starters:
        list(starters.map(lambda site: site.run("system", "start"), made[1:]))
    started = time.monotonic() - began
    shared = await_all("shared", [lambda site=site: count_shared(site) == others
                                  for site in made], 600)
    seen = await_all("seen", [
        lambda site=site: connectors_seen(site) == [options.services] * options.sites
        for site in made], 600)
    say("%d sites x %d services, status complete" % (options.sites, options.services),
        time.monotonic() - began, 30, "started %.1f, shared + %.1f, seen + %.1f" % (
            started, shared, seen))
    print("  CPU of all until then: %.1f s, of it %.1f s of the commands" % (
        commands_cpu() - used + sum(sum(needs(site)[2:]) for site in made),
        commands_cpu() - used), flush=True)
    say_needs(made)
    time.sleep(2)
    say_needs(made)
    was = [needs(site) for site in made]
    time.sleep(10)
    now = [needs(site) for site in made]
    print("  at rest: agents %.2f %%, routers %.2f %% of a core each" % tuple(
        statistics.mean(b[k] - a[k] for a, b in zip(was, now)) * 10 for k in (2, 3)), flush=True)


def bench_one(home, options, server):
    del server
    site = west_of(home)
    before = needs(site)[0]
    certificates = site.root / "runtime" / "certs" / "skupper-local-client"
    config = json.loads((site.root / "runtime" / "router" / "skrouterd.json").read_text())
    port = next(e["port"] for kind, e in config
                if kind == "listener" and e["name"] == "skupper-local-normal")
    others = options.sites - 1
    began = time.monotonic()
    crowd = subprocess.Popen(
        [pathlib.Path(s.SKUPPER).parent / "crowd", "127.0.0.1", str(port),
         *(certificates / name for name in ("ca.crt", "tls.crt", "tls.key")), str(others),
         str(options.services)], stdin=subprocess.PIPE)
    try:
        shared = await_all("shared", [
            lambda: count_shared(site) == others * options.services], 600)
        await_all("seen", [lambda: sorted(connectors_seen(site)) == [0] + [
            options.services] * others], 600)
        say("one site among %d x %d, status complete" % (options.sites, options.services),
            time.monotonic() - began, 30, "shared + %.1f" % shared)
        for seconds in (0, 5, 20):
            time.sleep(seconds)
            print("  agent resident %d s later: %.1f MiB (before %.1f, at most %.1f); CPU %.2f s" % (
                seconds, needs(site)[0], before, most(site), needs(site)[2]), flush=True)
    finally:
        crowd.stdin.close()
        crowd.wait()


BENCHES = {"start": bench_start, "link": bench_link, "expose": bench_expose, "pair": bench_pair,
           "one": bench_one, "many": bench_many}


def main():
    words = argparse.ArgumentParser(description=__doc__,
                                    formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--sites", type=int, default=50)
    words.add_argument("--services", type=int, default=20)
    words.add_argument("--pair", type=int, default=1000)
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--only", default=",".join(BENCHES))
    options = words.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended from outside"))
    server = Server()
    for name in options.only.split(","):
        directory = tempfile.mkdtemp(prefix="skupper-sites-")
        home = s.Sites(directory)
        try:
            BENCHES[name](home, options, server)
        finally:
            home.close()
            shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
