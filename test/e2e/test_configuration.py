# SPDX-License-Identifier: Apache-2.0
"""The daemon: its options, its configuration files, and what it says when they are wrong."""

import os
import pathlib
import pwd
import re
import select
import signal
import socket
import subprocess
import time

import pytest
from client import connect
from harness import SKROUTERD, TIMEOUT, Management, free_port


def run(*args, **kwargs):
    return subprocess.run([SKROUTERD, *map(str, args)], capture_output=True, text=True,
                          timeout=TIMEOUT, **kwargs)


def is_listening(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def daemon(tmp_path):
    """Runs a configuration in the background; ends it by its pid file."""
    pid_file = tmp_path / "pid"

    def start(text, *args, **kwargs):
        path = tmp_path / "router.conf"
        path.write_text(text)
        return run("-c", path, "-d", "-P", pid_file, *args, **kwargs)

    yield start
    if pid_file.exists():
        end(pid_file)
        assert not pid_file.exists()


def end(pid_file):
    """Ends the router by its pid file; returns when it has ended."""
    pid = int(pid_file.read_text())
    fd = os.pidfd_open(pid)
    os.kill(pid, signal.SIGTERM)
    assert select.select([fd], [], [], TIMEOUT)[0], "the router does not end"
    os.close(fd)


class Asked:
    """A router that Management can ask."""

    def __init__(self, port):
        self.port = port

    def connect(self):
        return connect("amqp://127.0.0.1:%d" % self.port)


# ------------------------------------------------------------------------------------------ options


def test_version_and_help():
    r = run("-v")
    assert (r.returncode, r.stderr) == (0, "")
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*\n", r.stdout)
    assert run("--version").stdout == r.stdout
    r = run("-h")
    assert (r.returncode, r.stderr) == (0, "")
    for option in "-c -d -P -U -v -h".split():
        assert option in r.stdout
    assert run("--help").stdout == r.stdout


@pytest.mark.parametrize("args, words", [
    ([], "-c FILE is needed"),
    (["-c", "x", "y"], "an argument too many"),
    (["-Z"], "invalid option"),
])
def test_wrong_arguments_are_told_with_the_right_ones(args, words):
    r = run(*args)
    assert r.returncode == 2
    assert words in r.stderr
    assert "Usage: skrouterd" in r.stderr
    assert r.stdout == ""


def test_in_the_background_it_listens_when_the_command_ends(daemon, tmp_path):
    port = free_port()
    r = daemon("router { id: D }\nlistener { host: 127.0.0.1\n port: %d }\n"
               "log { module: DEFAULT\n outputFile: %s }\n"
               "connector { host: localhost\n port: %d\n role: normal }\n"
               % (port, tmp_path / "log", port), "-I", "/usr/lib/python", "-T")
    assert (r.returncode, r.stdout, r.stderr) == (0, "", "")
    assert is_listening(port)
    pid = int((tmp_path / "pid").read_text())
    assert os.getsid(pid) == pid
    assert os.readlink("/proc/%d/fd/2" % pid) == "/dev/null"
    management = Management(Asked(port))
    assert management.query("router")[0]["id"] == "D"
    # Names are looked up in the background process too.
    end_at = time.monotonic() + TIMEOUT
    while management.query("connector")[0]["connectionStatus"] != "SUCCESS":
        assert time.monotonic() < end_at
    assert "router D" in (tmp_path / "log").read_text()


def test_in_the_background_it_fails_with_words_and_status(daemon, tmp_path):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        r = daemon("listener { name: mine\n host: 127.0.0.1\n port: %d }" % s.getsockname()[1])
    assert r.returncode == 1
    assert "router.conf:1: listener 'mine':" in r.stderr
    assert "Address already in use" in r.stderr
    assert not (tmp_path / "pid").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_it_becomes_another_user(daemon, tmp_path):
    port = free_port()
    r = daemon("listener { host: 127.0.0.1\n port: %d }" % port, "-U", "nobody")
    assert r.returncode == 0, r.stderr
    status = pathlib.Path("/proc/%s/status" % (tmp_path / "pid").read_text().strip()).read_text()
    nobody = pwd.getpwnam("nobody")
    assert re.search(r"^Uid:\t%d\t%d\t%d" % ((nobody.pw_uid,) * 3), status, re.M)
    assert re.search(r"^Gid:\t%d\t%d\t%d" % ((nobody.pw_gid,) * 3), status, re.M)
    end(tmp_path / "pid")
    assert not is_listening(port)
    (tmp_path / "pid").unlink()  # nobody may not


def test_an_unknown_user_is_told(daemon):
    r = daemon("listener { host: 127.0.0.1\n port: %d }" % free_port(), "-U", "no-such-user")
    assert r.returncode == 1
    assert "there is no user 'no-such-user'" in r.stderr


def test_a_pid_file_that_cannot_be_written_is_told(tmp_path):
    path = tmp_path / "router.conf"
    path.write_text("listener { host: 127.0.0.1\n port: %d }" % free_port())
    r = run("-c", path, "-P", tmp_path / "no" / "pid")
    assert r.returncode == 1
    assert "no/pid: No such file or directory" in r.stderr


# ------------------------------------------------------------------------------------------- files


def test_both_syntaxes_and_the_environment(daemon, tmp_path):
    port = free_port()
    env = {**os.environ, "WHO": "from-outside", "PORT": str(port)}
    r = daemon("# native\nrouter {\n id: ${WHO}-x # not this\n mode: interior\n}\n"
               "listener { host: 127.0.0.1\n port: $PORT }\n", env=env)
    assert r.returncode == 0, r.stderr
    [row] = Management(Asked(port)).query("router")
    assert (row["id"], row["mode"]) == ("from-outside-x", "interior")
    end(tmp_path / "pid")
    r = daemon('# as JSON\n[["router", {"id": "$WHO-y"}],\n["listener", {"host": "127.0.0.1", '
               '"port": "${PORT}"}]]', env=env)
    assert r.returncode == 0, r.stderr
    [row] = Management(Asked(port)).query("router")
    assert (row["id"], row["mode"]) == ("from-outside-y", "standalone")


def test_a_router_without_a_name_has_one(daemon):
    port = free_port()
    assert daemon("listener { host: 127.0.0.1\n port: %d }" % port).returncode == 0
    [row] = Management(Asked(port)).query("router")
    assert len(row["id"]) > 8
    assert row["identity"] == "router/" + row["id"]


BAD = {
    "a name that is too long": (
        "listener { host: 127.0.0.1\n port: PORT }\nrouter {\n mode: interior\n id: %s }" % ("x" * 256),
        ":3: router: id: it has 256 octets, and may have 255"),
    "line and column of a text that cannot be read": (
        '[["listener", {"host": "127.0.0.1", "port": PORT}],\n ["router" {}]]', r":2:\d+: .*'{'"),
    "line, entity and attribute of an unknown one": (
        '[["listener", {"name": "l", "host": "127.0.0.1", "port": PORT}],\n'
        ' ["listener", {"name": "m",\n   "hots": "x"}]]',
        ":3: listener 'm': unknown attribute 'hots'; did you mean 'host'\\?"),
    "the words that would be right": (
        "listener {\n host: 127.0.0.1\n port: PORT\n role: interior\n}",
        ":4: listener: role: 'interior' is not one of normal, inter-router, "),
    "the numbers that would be right": (
        "listener {\n host: 127.0.0.1\n port: PORT\n cost: 0\n}",
        ":4: listener: cost: 0 is not between 1 and 2147483647"),
    "a profile that is not there": (
        "listener { host: 127.0.0.1\n port: PORT }\nconnector { name: c\n sslProfile: p }",
        ":3: connector 'c': sslProfile: there is no sslProfile named 'p' in this file"),
    "a file that is not there": (
        "listener { host: 127.0.0.1\n port: PORT }\nsslProfile { name: p\n caCertFile: /no/ca }",
        ":3: sslProfile 'p': caCertFile /no/ca: no such file, or not readable"),
    "a host that is none": (
        "listener { host: 127.0.0.1\n port: PORT }\nlistener { name: n\n host: 300.1.1.1\n "
        "port: 1 }", ":3: listener 'n': host '300.1.1.1' port '1': "),
    "a role that does not fit the mode": (
        "listener { host: 127.0.0.1\n port: PORT }\nrouter {\n mode: edge }\n"
        "listener { name: n\n port: 0\n role: inter-router }",
        ":5: listener 'n': role: inter-router needs a router whose mode is interior; "
        "this one's is edge"),
    "an address that is there twice": (
        "listener { host: 127.0.0.1\n port: PORT }\naddress { prefix: a }\n"
        "address { name: b\n prefix: a }",
        ":4: router.config.address 'b': prefix: another address has the same"),
    "an address that is none": (
        "listener { host: 127.0.0.1\n port: PORT }\naddress { name: b\n prefix: // }",
        ":3: router.config.address 'b': prefix: it is empty, or too long"),
    "more addresses than a router takes": (
        "listener { host: 127.0.0.1\n port: PORT }\n"
        + "".join("address { prefix: p%d }\n" % i for i in range(10001)),
        ":10003: router.config.address .*: prefix: there are as many addresses as a router takes"),
    "a log level that is none": (
        "listener { host: 127.0.0.1\n port: PORT }\nlog { module: SERVER\n enable: loud }",
        ":3: log: enable: 'loud' is no level; "),
    "a log file that cannot be written": (
        "listener { host: 127.0.0.1\n port: PORT }\nlog { module: SERVER\n outputFile: /no/x }",
        ":3: log: outputFile: /no/x cannot be written: No such file or directory"),
    "an entity that cannot be configured": (
        "listener { host: 127.0.0.1\n port: PORT }\nconnection { }",
        ":3: entities of type 'connection' cannot be configured"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_configuration_says_where_and_starts_nothing(tmp_path, what):
    text, words = BAD[what]
    port = free_port()
    path = tmp_path / "bad.conf"
    path.write_text(text.replace("PORT", str(port)))
    with subprocess.Popen([SKROUTERD, "-c", str(path)], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True) as p:
        out = p.communicate(timeout=TIMEOUT)[0]
    assert p.returncode == 1
    said = [x for x in out.splitlines() if x.startswith("skrouterd: ")]
    assert len(said) == 1, out
    assert re.match(re.escape("skrouterd: %s" % path) + words, said[0]), said[0]
    assert "is running" not in out
    assert not is_listening(port)


def test_what_is_not_there_yet_is_told_and_passed_over(routers):
    r = routers("R", entities=[["policy", {"maxConnections": 10}], ["vhost", {"hostname": "h"}]])
    line = r.log.lines[r.log.wait("policy is not served")]
    assert "(warning)" in line
    assert "line " in line
    Management(r).query("router")
