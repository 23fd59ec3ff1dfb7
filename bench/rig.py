# SPDX-License-Identifier: Apache-2.0
"""What benchmarks share: certificates, programs that are started and awaited, CPU time, tables."""

import contextlib
import os
import pathlib
import random
import signal
import socket
import statistics
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
BUILD = pathlib.Path(os.environ.get("BUILD", ROOT / "build"))


def free_port():
    """Below the ports that the system gives to clients: one that polls such a port before anybody
    listens there can connect to itself."""
    while True:
        with socket.socket() as s:
            with contextlib.suppress(OSError):
                s.bind(("127.0.0.1", random.randrange(15000, 30000)))
                return s.getsockname()[1]


def make_certificates(directory):
    """A CA and two parties it has signed: ca.crt, and NAME.crt, NAME.key, NAME.pem (both)."""
    def openssl(*words):
        subprocess.run(["openssl", *words], cwd=directory, check=True, capture_output=True)

    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", "ca.key", "-out", "ca.crt", "-days", "2", "-subj", "/CN=bench ca")
    for name in ("west", "east"):
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                name + ".key", "-out", name + ".csr", "-subj", "/CN=" + name)
        (directory / "san").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        openssl("x509", "-req", "-in", name + ".csr", "-CA", "ca.crt", "-CAkey", "ca.key",
                "-CAcreateserial", "-out", name + ".crt", "-days", "2", "-extfile", "san")
        (directory / (name + ".pem")).write_text(
            (directory / (name + ".crt")).read_text() + (directory / (name + ".key")).read_text())


def settled(kib, still=3, most=15):
    """What `kib` tells when it has told the same for so many seconds."""
    end = time.monotonic() + most
    last, since = kib(), time.monotonic()
    while time.monotonic() < min(end, since + still):
        time.sleep(0.1)
        now = kib()
        if now != last:
            last, since = now, time.monotonic()
    return last


class Program:
    """A contender's process with all its children."""

    def __init__(self, words, log, **kwargs):
        self.started = time.monotonic()
        self.process = subprocess.Popen([str(w) for w in words], stdout=log, stderr=log,
                                        start_new_session=True, **kwargs)

    def wait_port(self, port, timeout=30, words=lambda: ""):
        """Seconds from the start until something accepts there."""
        while self.process.poll() is None and time.monotonic() - self.started < timeout:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                return time.monotonic() - self.started
            time.sleep(0.0005)
        raise SystemExit("%s does not start\n%s" % (" ".join(self.process.args), words()))

    def pids(self):
        todo, found = [self.process.pid], []
        while todo:
            pid = todo.pop()
            found.append(pid)
            with contextlib.suppress(OSError):
                for task in os.listdir("/proc/%d/task" % pid):
                    children = pathlib.Path("/proc/%d/task/%s/children" % (pid, task)).read_text()
                    todo += [int(child) for child in children.split()]
        return found

    def cpu_seconds(self):
        """User and system time of all threads, those that have ended among them."""
        ticks = 0
        for pid in self.pids():
            fields = pathlib.Path("/proc/%d/stat" % pid).read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def status_kib(self, key):
        total = 0
        for pid in self.pids():
            for line in pathlib.Path("/proc/%d/status" % pid).read_text().splitlines():
                if line.startswith(key + ":"):
                    total += int(line.split()[1])
        return total

    def resident_kib(self):
        return self.status_kib("VmRSS")

    def settled_kib(self):
        """Resident memory at rest: when it has not changed for three seconds."""
        return settled(self.resident_kib)

    def stop(self):
        """In peace if it can within ten seconds."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def system_calls(programs, seconds_of_work):
    """Runs `seconds_of_work` and returns how many system calls the programs made meanwhile; None
    where perf cannot count them."""
    pids = ",".join(str(pid) for p in programs for pid in p.pids())
    counter = subprocess.Popen(["perf", "stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "-p", pids],
                               stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    seconds_of_work()
    counter.send_signal(signal.SIGINT)
    text = counter.communicate()[1]
    for line in text.splitlines():
        fields = line.split(",")
        if len(fields) > 2 and "sys_enter" in line and fields[0].isdigit():
            return int(fields[0])
    return None


def spread(values, digits=2):
    """Median (least - most) as text."""
    if not values:
        return "-"
    def short(v):
        if v >= 1000:
            return "{:,.0f}".format(v)
        return "%.*f" % (digits if v < 100 else 0, v)
    return "%s (%s - %s)" % (short(statistics.median(values)), short(min(values)),
                             short(max(values)))


def print_table(title, heads, rows):
    widths = [max(len(str(r[i])) for r in [heads] + rows) for i in range(len(heads))]
    print("\n" + title)
    for row in [heads, ["-" * w for w in widths]] + rows:
        print("  ".join(str(cell).ljust(w) for cell, w in zip(row, widths)).rstrip())
