# SPDX-License-Identifier: Apache-2.0
"""A namespace with many resources: how soon the controller and the agent have done them, with how
many writes, what they need, and that they rest afterwards."""

import json
import os
import pathlib
import time

import pytest

import control
from control import Controller, Site, kind, one_listener, settled, whole, writes
from pods import SANITIZED, Pod, Site as PodSite, wait

COUNT = 500  # Listeners, and as many Connectors
PODS = 50    # that the Connectors select
CONNECTIONS_MAX = 120
CONVERGED_MAX_S = 20
SECONDS = 120  # until a test gives up
RESIDENT_MAX_KIB = {"controller": 20 * 1024, "agent": 10 * 1024}


def resident_kib(process):
    for line in pathlib.Path("/proc/%d/status" % process.pid).read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def cpu_s(pid):
    """Of a process, and of those it has seen the end of."""
    fields = pathlib.Path("/proc/%d/stat" % pid).read_text().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def busy_s():
    """Of all CPUs together, with what the host of a virtual machine keeps of them."""
    user, nice, system, _, _, *others = map(
        int, pathlib.Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + sum(others)) / os.sysconf("SC_CLK_TCK")


class Stopwatch:
    """How long it takes, but for what programs that have no part in it take of the CPUs."""

    def __init__(self, *pids):
        self.begin, self.others = time.monotonic(), busy_s() - sum(map(cpu_s, pids))

    def read(self, *pids):
        """`pids`: with those that have been started since."""
        others = busy_s() - sum(map(cpu_s, pids)) - self.others
        return time.monotonic() - self.begin - others / os.cpu_count()


def check_rests_small(process, who):
    """What was needed for work goes back when there is none."""
    most = RESIDENT_MAX_KIB[who]
    wait(lambda: SANITIZED or resident_kib(process) <= most,
         lambda: "%s: %d KiB" % (who, resident_kib(process)))
    print("%s at rest: %.1f MiB resident" % (who, resident_kib(process) / 1024))


def check_rests(cluster, agent):
    """Nothing is asked but for the lease, while that is renewed three times."""
    start = cluster.mark()
    wait(lambda: [r for r in cluster.requests(start, agent=agent) if r["resource"] == "leases"][2:],
         "the lease to be renewed")
    asked = {(r["verb"], r["resource"]) for r in cluster.requests(start, agent=agent)}
    assert {resource for _, resource in asked} == {"leases"}, asked


is_configured = control.is_so("Configured", "True")


def fill(site):
    for i in range(PODS):
        site.pod("p%d" % i, "app%d" % i, "10.9.0.%d" % (i + 1))
    for i in range(COUNT):
        name = "s%d" % i
        site.create("listeners", "Listener", name, routingKey=name, host=name, port=80)
        site.create("connectors", "Connector", name, routingKey=name,
                    selector="app=app%d" % (i % PODS), port=80)


def await_configured(site, plural):
    """Told by watches: a real server takes its time to list so many."""
    end, waiting = time.monotonic() + SECONDS, True
    while waiting:
        assert time.monotonic() < end, waiting
        listed = site.admin.list(kind(plural), site.ns)
        waiting = {o["metadata"]["name"] for o in listed["items"] if not is_configured(o)}
        with site.admin.watch(kind(plural), site.ns, SECONDS,
                              resourceVersion=listed["metadata"]["resourceVersion"]) as watch:
            while waiting and (event := watch.next()) and event[0] != "ERROR":
                if is_configured(event[1]):
                    waiting.discard(event[1]["metadata"]["name"])


def await_done(site):
    """All is in the router's configuration, and every resource says so."""
    site.await_config(lambda c: all(
        ("tcpListener", "listener/s%d" % i) in c and
        ("tcpConnector", "connector/s%d@10.9.0.%d" % (i, i % PODS + 1)) in c
        for i in range(COUNT)))
    await_configured(site, "listeners")
    await_configured(site, "connectors")


@pytest.fixture
def pod(cluster, tmp_path):
    """A router's pod in a namespace of its own, whose ConfigMap the test writes."""
    one = Pod(PodSite(cluster, cluster.namespace("pod"), tmp_path), "skupper-router-7d4b9-abcde")
    yield one
    one.stop()


def services_of(site):
    return [[type_, attributes] for (type_, _), attributes in site.config().items()
            if type_ in ("tcpListener", "tcpConnector")]


def in_pod(site, pod):
    """What the controller wrote, in a router; how long the agent took."""
    pod.configure()
    pod.start()
    entities = services_of(site)
    assert len(entities) == 2 * COUNT
    begin = time.monotonic()
    pod.configure(*entities)
    wait(lambda: pod.metric("operations_total") == 2 * COUNT and pod.metric("settled") == 1,
         lambda: pod.agent.log.lines[-5:])
    took = time.monotonic() - begin
    assert len(pod.names("tcpListener")) == len(pod.names("tcpConnector")) == COUNT
    return took


def test_five_hundred_listeners_and_connectors(recorded, pod):
    control.prepare(recorded)
    site = Site(recorded)
    fill(site)
    mark = recorded.mark()
    begin = time.monotonic()
    stands = [os.getpid()] + ([recorded.standin.process.pid] if recorded.standin else [])
    watch = Stopwatch(*stands)
    with Controller(recorded, name="many", image=None) as c:
        await_done(site)
        whole(site)
        took = time.monotonic() - begin
        agent_took = in_pod(site, pod)
        alone = watch.read(*stands, c.process.pid, pod.agent.pid, pod.router.pid)
        print("%d Listeners and %d Connectors: settled %.1f s after the controller's start, in the "
              "router %.1f s later; %.1f s in all without others" % (COUNT, COUNT, took,
                                                                     agent_took, alone))
        # (In a real cluster most of the time is other programs', which hear of each Service.)
        assert SANITIZED or recorded.is_real or alone <= CONVERGED_MAX_S
        check_rests(recorded, "skupper-controller")
        check_rests(recorded, "skupper-agent")
        done = writes(site, mark)
        if not recorded.is_real:  # whose record does not tell connections
            # A request does not make a connection of its own: these are for the watches, and for as
            # many requests as are under way at a time.
            assert len({r["connection"] for r in
                        recorded.requests(mark, agent="skupper-controller")}) <= CONNECTIONS_MAX
        check_rests_small(c.process, "controller")
        check_rests_small(pod.agent, "agent")
    assert done["create", "services"] == COUNT  # the Site's own is applied
    for i in range(COUNT):
        assert done["update", "listeners/s%d/status" % i] == 1
        assert done["update", "connectors/s%d/status" % i] == 1
    assert done["patch", "deployments/skupper-router"] == 1  # applied
    print(json.dumps({" ".join(k): n for k, n in done.items() if n > 1}))
    mark = recorded.mark()
    with Controller(recorded, name="many", image=None):
        settled(site, "again")
        assert writes(site, mark) == one_listener("again")
