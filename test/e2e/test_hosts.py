# SPDX-License-Identifier: Apache-2.0
"""Sites on hosts of their own: private addresses, one way through the firewall, cables pulled,
hosts that lose their power."""

import glob
import json
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import hosts
import pytest
import sites as s
from harness import ROOT

ECHO = str(pathlib.Path(__file__).parent / "echo.py")
PSQL = "psql -h localhost -p 5432"
QUERY = "select 6 * 7;\n"


@pytest.fixture
def net(tmp_path):
    hosts.needs()
    made = hosts.Net(tmp_path)
    yield made
    made.close()


@pytest.fixture
def postgres():
    """Starts a PostgreSQL server on a host."""
    programs = glob.glob("/usr/lib/postgresql/*/bin")
    if not programs or not shutil.which("psql"):
        yield stand_in
        return
    data = pathlib.Path(tempfile.mkdtemp(prefix="skupper-db-"))
    user = pwd.getpwnam("postgres")
    as_user = {} if os.getuid() else {"user": user.pw_uid, "group": user.pw_gid}
    if as_user:
        os.chown(data, user.pw_uid, user.pw_gid)
    subprocess.run([programs[0] + "/initdb", "-D", data / "db", "-A", "trust", "-U", "postgres",
                    "-N"], check=True, capture_output=True, cwd=data, **as_user)

    def start(host):
        host.popen("setpriv", *(["--reuid=%d" % user.pw_uid, "--clear-groups"] if as_user else []),
                   programs[0] + "/postgres", "-D", data / "db", "-p", "5432", "-h", "127.0.0.1",
                   "-k", "", "-F", cwd=data)
        s.until("the database runs", lambda: "42" in typed(host, PSQL, QUERY)[1])

    yield start
    shutil.rmtree(data, ignore_errors=True)


def stand_in(host):
    """Where there is no PostgreSQL: what answers each line with 42, and a psql that asks it."""
    program = pathlib.Path(host.path("../bin")) / "psql"
    program.parent.mkdir(exist_ok=True)
    program.write_text("#!/bin/sh\nexec %s %s ask \"$2\" \"$4\" \"$(cat)\"\n" % (sys.executable, ECHO))
    program.chmod(0o755)
    serve(host, 5432, "42")


def typed(host, command, stdin=""):
    """Typed by a user of the host; (status, what was printed)."""
    path = os.pathsep.join([host.path("../bin"), str(pathlib.Path(s.SKUPPER).resolve().parent),
                            os.environ["PATH"]])
    done = subprocess.run(host.command("sh", "-c", command), input=stdin, timeout=60, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          cwd=pathlib.Path(host.path(".")),
                          env=dict(host.sites.environment, PATH=path, PGUSER="postgres"))
    return done.returncode, done.stdout


def published(heading):
    """The lines of the first example below a heading of README.md: (host, command)."""
    text = (ROOT / "README.md").read_text().split("\n## %s\n" % heading)[1]
    return [line.split("$ ", 1) for line in text.split("```\n")[1].splitlines()]


def ask(host, port, line="x"):
    """One line to a port of the host itself; None: nobody answers."""
    status, said = host.shell(sys.executable, ECHO, "ask", "127.0.0.1", port, line)
    return said.rstrip("\n") if status == 0 else None


def serve(host, port, name):
    host.popen(sys.executable, ECHO, port, name)
    s.until("%s serves" % name, lambda: ask(host, port) == name + " x")


def sites_seen(host):
    return json.loads(host.run("site", "status", "-o", "json"))["status"].get("sitesInNetwork")


def west_of(net):
    west = net.host("west", is_public=True)
    west.run("site", "create", "west", "--enable-link-access")
    west.run("system", "start")
    return west


def join(net, west, name):
    """Another site, on a private host, linked to west."""
    host = net.host(name)
    token = west.path("for-%s.yaml" % name)
    west.run("token", "issue", token)
    host.run("site", "create", name)
    host.run("token", "redeem", west.carry(host, token))
    host.run("system", "start")
    return host


def test_two_machines_are_one_network_by_the_commands_that_are_published(net, postgres):
    west, east = net.host("west", is_public=True), net.host("east")
    postgres(east)
    lines = published("Two machines, one network")
    assert len(lines) == 5 and lines[-1] == ["west", PSQL + "                 # it is there"]
    for name, command in lines[:-1]:
        status, said = typed({"west": west, "east": east}[name], command)
        assert status == 0, said
        if "copy the file over" in command:
            west.carry(east, west.path("token.yaml"))
    s.until("the database is at west", lambda: "42" in typed(west, lines[-1][1], QUERY)[1])
    s.until("west sees who offers it", lambda: "offers db" in west.run("network", "status"))


def test_three_sites_use_each_other_over_the_one_that_can_be_reached(net):
    west = west_of(net)
    east, south = join(net, west, "east"), join(net, west, "south")
    serve(east, 8080, "east")
    east.run("expose", "host", "localhost:8080", "--address", "web", "--port", "8081")
    for host in (west, south):
        s.until("web is at " + host.name, lambda: ask(host, 8081) == "east x")
        # And no other way leads there.
        status, said = host.shell(sys.executable, ECHO, "ask", east.address, 8080, "x")
        assert status != 0 and "refused" in said, said
    s.until("all see all", lambda: all(
        len(json.loads(host.run("network", "status", "-o", "json"))["siteStatus"]) == 3
        for host in net.hosts))


def test_what_a_lost_site_exposed_stays_and_comes_back_without_a_gap(net):
    west = west_of(net)
    east = join(net, west, "east")
    serve(east, 8080, "east")
    east.run("expose", "host", "localhost:8080", "--address", "web", "--port", "8081")
    s.until("web is at west", lambda: ask(west, 8081) == "east x")
    east.plug(False)
    s.until("the site is missed", lambda: sites_seen(west) == 1, 120)
    assert "web:8081" in west.run("service", "status")
    east.plug(True)
    s.until("web answers again", lambda: ask(west, 8081) == "east x")
    log = west.log("agent")
    assert log.count("service shared name=web") == 1 and "withdrawn" not in log


def test_a_connection_lives_through_a_cable_pulled_for_a_moment(net):
    west = west_of(net)
    east = join(net, west, "east")
    serve(east, 8080, "east")
    east.run("expose", "host", "localhost:8080", "--address", "web", "--port", "8081")
    s.until("web is at west", lambda: ask(west, 8081) == "east x")
    held = west.popen(sys.executable, ECHO, "hold", "127.0.0.1", 8081, stdin=subprocess.PIPE,
                      stdout=subprocess.PIPE, text=True)

    def say(line):
        held.stdin.write(line + "\n")
        held.stdin.flush()
        return held.stdout.readline().rstrip("\n")

    assert say("one") == "east one"
    east.plug(False)
    held.stdin.write("two\n")
    held.stdin.flush()
    east.plug(True)
    assert held.stdout.readline() == "east two\n"
    assert say("three") == "east three"
    held.kill()


@pytest.mark.parametrize("name", ["east", "west"])
def test_a_host_that_lost_its_power_is_in_the_network_again(net, name):
    west = west_of(net)
    east = join(net, west, "east")
    serve(east, 8080, "east")
    east.run("expose", "host", "localhost:8080", "--address", "web", "--port", "8081")
    s.until("web is at west", lambda: ask(west, 8081) == "east x")
    host = {"east": east, "west": west}[name]
    identity = json.loads((host.root / "internal" / "state.json").read_text())["siteId"]
    host.kill()
    assert not host.pids()
    host.run("system", "start")
    if host is east:
        serve(east, 8080, "east")
    s.until("web answers again", lambda: ask(west, 8081) == "east x")
    assert json.loads((host.root / "internal" / "state.json").read_text())["siteId"] == identity


def whole(host):
    """Every file of the input can be read."""
    for file in (host.root / "input").rglob("*"):
        if file.is_file() and not file.name.endswith(".tmp"):
            text = file.read_text()
            assert "kind:" in text and text.endswith("\n"), file


def cut(host, delay, *words):
    """A command, killed after a while. Whether it was."""
    process = host.popen(s.SKUPPER, *words)
    try:
        process.wait(delay)
        return False
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return True


def moments(length):
    """Moments spread over the time a command takes, and a little more."""
    return [length * k / 6 for k in range(8)]


def test_a_command_killed_half_way_leaves_files_whole_and_the_next_one_works(net):
    west = west_of(net)
    token = west.path("token.yaml")
    west.run("token", "issue", token, "--redemptions-allowed", "50")
    began = time.monotonic()
    first = net.host("first")
    token = west.carry(first, token)
    first.run("site", "create", "first")
    length, was_cut = time.monotonic() - began, 0
    for number, delay in enumerate(moments(length)):
        was_cut += cut(first, delay, "site", "create", "first")
        whole(first)
        first.run("site", "update", "first")
        was_cut += cut(first, delay, "token", "redeem", token)
        whole(first)
        was_cut += cut(first, delay, "expose", "host", "localhost:8080", "--address",
                       "web%d" % number)
        whole(first)
        first.run("service", "status")
        was_cut += cut(first, delay, "system", "start")
        whole(first)
        first.run("system", "reload")
        assert "Ready" in first.run("site", "status")
        first.kill()
    assert was_cut > 0
    first.run("token", "redeem", token)
    first.run("system", "start")
    first.run("expose", "host", "localhost:8080", "--address", "last", "--port", "8082")
    serve(first, 8080, "first")
    s.until("the service is there", lambda: ask(west, 8082) == "first x")
