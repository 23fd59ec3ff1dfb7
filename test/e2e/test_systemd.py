# SPDX-License-Identifier: Apache-2.0
"""A site whose processes systemd keeps. A stand-in of systemctl keeps them here: it starts what a unit
says, and writes down what it was asked. Each site is on a machine of its own (a mount and a network
namespace), where systemd seems to run and whose units are in a directory of the test."""

import json
import os
import pathlib
import subprocess
import sys

import pytest
import sites as s

UNITS = pathlib.Path("/etc/systemd/system")
SYSTEMCTL = '''#!%s
import os, pathlib, shlex, signal, subprocess, sys, time
home = pathlib.Path(%r)
verb, unit = sys.argv[1], (sys.argv + [""])[2]
with open(home / "asked", "a") as asked:
    asked.write(" ".join(sys.argv[1:]) + "\\n")
pid, enabled = home / "pids" / unit, home / "enabled" / unit

def running():
    try:
        state = open("/proc/%%s/stat" %% pid.read_text()).read().rpartition(")")[2].split()[0]
        return state != "Z"
    except OSError:
        return False

def start():
    if running():
        return
    lines = (home / "units" / unit).read_text().splitlines()
    told = dict(line.split("=", 1) for line in lines if "=" in line)
    environment = dict(os.environ)
    name, _, value = told.get("Environment", "NOTHING=").partition("=")
    environment[name] = value
    with open(home / (unit + ".log"), "a") as log:
        process = subprocess.Popen(shlex.split(told["ExecStart"]), env=environment, stdout=log,
                                   stderr=log, start_new_session=True)
    pid.write_text(str(process.pid))

def stop():
    if running():
        os.kill(int(pid.read_text()), signal.SIGTERM)
    while running():
        time.sleep(0.01)

if verb == "enable":
    enabled.touch()
elif verb == "disable":
    enabled.unlink(missing_ok=True)
elif verb == "start":
    start()
elif verb == "stop":
    stop()
elif verb == "restart":
    stop()
    start()
'''
MACHINE = ("set -e; mount --make-rprivate /; mount -t tmpfs none /run; "
           "mkdir -p /run/systemd/system; mount --bind %s " + str(UNITS) + "; ip link set lo up; "
           "echo up; exec cat")

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not UNITS.is_dir() or
    subprocess.run(["unshare", "--mount", "--net", "true"], capture_output=True).returncode != 0,
    reason="it takes root, namespaces and %s" % UNITS)


class Machine:
    def __init__(self, folder):
        self.folder = folder
        for name in ("units", "pids", "enabled", "bin", "home"):
            (folder / name).mkdir()
        tool = folder / "bin" / "systemctl"
        tool.write_text(SYSTEMCTL % (sys.executable, str(folder)))
        tool.chmod(0o755)
        self.environment = dict(os.environ, SKUPPER_OUTPUT_PATH=str(folder / "home"),
                                SKUPPER_PLATFORM="linux",
                                PATH="%s:%s" % (folder / "bin", os.environ["PATH"]))
        self.environment.pop("KUBECONFIG", None)
        # Goes down with its standard input.
        self.process = subprocess.Popen(
            ["unshare", "--mount", "--net", "sh", "-c", MACHINE % (folder / "units")], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == "up\n"

    def do(self, *words):
        done = subprocess.run(
            ["nsenter", "--target", str(self.process.pid), "--mount", "--net", *words],
            capture_output=True, text=True, env=self.environment, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def run(self, *words):
        return self.do(s.SKUPPER, *words)

    def asked(self):
        return (self.folder / "asked").read_text().splitlines()

    def unit(self, name):
        return (self.folder / "units" / name).read_text()

    def pid(self, name):
        return int((self.folder / "pids" / name).read_text())

    def boot(self):
        """What is enabled is started."""
        for unit in sorted((self.folder / "enabled").iterdir()):
            self.do("systemctl", "start", unit.name)

    def site(self):
        return json.loads(self.run("site", "status", "-o", "json"))

    def is_running(self):
        conditions = self.site().get("status", {}).get("conditions", [])
        return any(c["type"] == "Running" and c["status"] == "True" for c in conditions)


AGENT, ROUTER = "skupper-default-agent.service", "skupper-default.service"


@pytest.fixture
def machine(tmp_path):
    m = Machine(tmp_path)
    try:
        m.run("site", "create", "west")
        m.run("system", "start")
        yield m
    finally:
        m.run("system", "uninstall", "--force")
        m.process.communicate("")


def test_a_site_is_two_units_that_start_with_the_machine(machine):
    s.until("it runs", machine.is_running)
    started = [a for a in machine.asked() if not a.startswith("daemon-reload")]
    assert started[:4] == ["enable " + AGENT, "start " + AGENT, "enable " + ROUTER,
                           "start " + ROUTER]
    for unit in (AGENT, ROUTER):
        assert "Restart=always" in machine.unit(unit)
        assert "WantedBy=default.target" in machine.unit(unit)
    # The machine goes down, and comes up again.
    before = {unit: machine.pid(unit) for unit in (AGENT, ROUTER)}
    for unit, pid in before.items():
        os.kill(pid, 9)
        s.until("it has ended", lambda pid=pid: s.has_ended(pid))
    machine.boot()
    s.until("it runs again", machine.is_running)
    assert all(machine.pid(unit) != pid for unit, pid in before.items())


def test_a_reload_interrupts_nothing(machine):
    s.until("it runs", machine.is_running)
    before = [machine.pid(unit) for unit in (AGENT, ROUTER)]
    machine.run("listener", "create", "db", "5432", "--host", "127.0.0.1")
    machine.run("system", "reload")
    resource = machine.folder / "home/namespaces/default/runtime/resources/Listener-db.yaml"
    s.until("it is taken up", resource.exists)
    assert [machine.pid(unit) for unit in (AGENT, ROUTER)] == before
    assert not any(a.startswith("restart") for a in machine.asked())


def test_nothing_is_left_of_the_units(machine):
    s.until("it runs", machine.is_running)
    pids = [machine.pid(unit) for unit in (AGENT, ROUTER)]
    machine.run("system", "stop")
    assert all(s.has_ended(pid) for pid in pids)
    for folder in ("units", "enabled"):
        assert not list((machine.folder / folder).iterdir())
