# SPDX-License-Identifier: Apache-2.0
"""Programs that people run, through two routers and through three."""

import glob
import hashlib
import json
import os
import pathlib
import pwd
import re
import shutil
import subprocess
import tempfile
import time

import pytest
from harness import SANITIZED, TIMEOUT, Lines, free_port, inter_router, link_to
from services import connect, connector, listener

BINARIES = os.pathsep.join([os.environ["PATH"], "/usr/sbin",
                            *glob.glob("/usr/lib/postgresql/*/bin")])


def program(name):
    path = shutil.which(name, path=BINARIES)
    if not path:
        pytest.skip("%s is not installed (script/setup does that)" % name)
    return path


def run(*words, **kwargs):
    done = subprocess.run([program(words[0]), *map(str, words[1:])], capture_output=True,
                          text=True, timeout=4 * TIMEOUT, **kwargs)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def programs():
    """Starts servers, and ends them with the test."""
    started = []

    def start(*words, **kwargs):
        p = subprocess.Popen([program(words[0]), *map(str, words[1:])], text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **kwargs)
        started.append(p)
        return Lines(p.stdout)

    yield start
    for p in started:
        p.terminate()
        p.wait(TIMEOUT)


@pytest.fixture(params=[2, 3])
def through(request, routers):
    """The port that leads to a server's port, over so many routers."""
    def make(port):
        made, entrance, link = [], free_port(), None
        for i in range(request.param):
            entities = [] if link is None else [link_to(link)]
            link = free_port()
            entities.append(inter_router(link))
            if i == 0:
                entities.append(listener(entrance))
            if i == request.param - 1:
                entities.append(connector(port))
            made.append(routers("ABC"[i], entities=entities))
        made[0].log.wait("listening name=l-echo")
        made[-1].wait_reaches("A")  # till then a server may see a connection that ends at once
        return entrance

    return make


def test_nginx_serves_wrk(programs, through, tmp_path):
    port = free_port()
    (tmp_path / "index.html").write_bytes(bytes(range(256)) * 40)
    (tmp_path / "nginx.conf").write_text("""
        daemon off; pid %(dir)s/pid; error_log stderr; worker_processes 1; user root;
        events { worker_connections 512; }
        http { access_log off; server { listen 127.0.0.1:%(port)d; root %(dir)s; } }
    """ % {"dir": tmp_path, "port": port})
    programs("nginx", "-p", tmp_path, "-c", tmp_path / "nginx.conf")
    connect(port).close()
    url, served, end = "http://127.0.0.1:%d/" % through(port), 0, time.monotonic() + TIMEOUT
    while served <= 100:  # a busy machine takes more than one turn
        assert time.monotonic() < end, served
        out = run("wrk", "-t", 1, "-c", 32, "-d", 2, "--timeout", "60s", url)
        assert "Socket errors" not in out and "Non-2xx" not in out, out
        served += int(re.search(r"(\d+) requests in", out).group(1))


def test_redis_answers_its_benchmark(programs, through):
    port = free_port()
    programs("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "")
    connect(port).close()
    out = run("redis-benchmark", "-p", through(port), "-n", 5000, "-c", 20, "-q", "-t",
              "ping,set,get,lpush,mset")
    assert len(re.findall(r"requests per second", out)) >= 5, out


@pytest.fixture
def home():
    """A folder that others may enter: those of pytest are closed to them again and again."""
    with tempfile.TemporaryDirectory() as name:
        path = pathlib.Path(name)
        path.chmod(0o755)
        yield path


def test_postgresql_serves_pgbench(home, programs, through):
    port, data = free_port(), home / "data"
    owner = {}
    if os.getuid() == 0:  # which the server refuses to be
        user = pwd.getpwnam("postgres")
        owner = {"user": user.pw_uid, "group": user.pw_gid, "cwd": "/"}
        data.mkdir()
        os.chown(data, user.pw_uid, user.pw_gid)
    run("initdb", "-D", data, "-U", "bench", "-A", "trust", "--no-sync", **owner)
    programs("postgres", "-D", data, "-p", port, "-h", "127.0.0.1", "-k", "", "-F",
             **owner).wait("ready to accept connections")
    entrance = through(port)
    to = ["-h", "127.0.0.1", "-p", entrance, "-U", "bench"]
    run("pgbench", *to, "-i", "-q", "postgres")
    out = run("pgbench", *to, "-c", 8, "-t", 25, "postgres")
    assert "number of transactions actually processed: 200/200" in out, out


@pytest.fixture
def ssh(programs, tmp_path):
    """A server of our own user's, and what its clients say to reach it at a port."""
    port = free_port()
    for key in ("host", "user"):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / key)
    (tmp_path / "config").write_text("""
        ListenAddress 127.0.0.1:%(port)d
        HostKey %(dir)s/host
        PidFile none
        AuthorizedKeysFile %(dir)s/user.pub
        StrictModes no
        UsePAM no
        PasswordAuthentication no
        PermitRootLogin yes
        Subsystem sftp internal-sftp
    """ % {"port": port, "dir": tmp_path})
    if os.getuid() == 0:
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
    programs("sshd", "-D", "-e", "-f", tmp_path / "config").wait("Server listening")
    return port, lambda entrance: [
        "-F", "none", "-i", tmp_path / "user", "-o", "StrictHostKeyChecking=no", "-o",
        "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "Port=%d" % entrance]


def sha256(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def test_scp_carries_a_gibibyte_there_and_back(ssh, through, tmp_path):
    port, to = ssh
    how = to(through(port))
    user = pwd.getpwuid(os.getuid()).pw_name
    sent, there, back = (tmp_path / name for name in ("sent", "there", "back"))
    block = os.urandom(1 << 20)
    with open(sent, "wb") as f:
        for i in range(1 << (4 if SANITIZED else 10)):
            f.write(i.to_bytes(8, "big") + block[8:])
    assert run("ssh", *how, user + "@127.0.0.1", "echo it works") == "it works\n"
    run("scp", *how, sent, "%s@127.0.0.1:%s" % (user, there))
    assert sha256(there) == sha256(sent)
    run("scp", *how, "%s@127.0.0.1:%s" % (user, there), back)
    assert sha256(back) == sha256(sent)
    for path in (sent, there, back):
        path.unlink()


@pytest.mark.parametrize("direction", [(), ("-R",), ("-P", "4"), ("--bidir",)])
def test_iperf3_ends_well_whichever_way_the_bytes_go(programs, through, direction):
    port = free_port()
    programs("iperf3", "-s", "--forceflush", "-B", "127.0.0.1", "-p", port).wait("listening")
    out = json.loads(run("iperf3", "-c", "127.0.0.1", "-p", through(port), "-t", "1", "-J",
                         *direction))
    assert "error" not in out
    # It counts what has arrived when its client stops; what is still on its way does not count.
    for stream in out["end"]["streams"]:
        assert stream["receiver"]["bytes"] > 0
