# SPDX-License-Identifier: Apache-2.0
"""Our client of the API (src/kube) as a program, see client/kubeclient.c."""

import json
import os
import pathlib
import queue
import subprocess
import threading

TOP = pathlib.Path(__file__).resolve().parents[2]
TIMEOUT = 60


def program():
    build = pathlib.Path(os.environ.get("SKUPPER", TOP / "build" / "skupper")).parent
    return str(build / "test" / "kube" / "client" / "kubeclient")


def run(kubeconfig, *words, env=None, status=0):
    """What it prints, by lines."""
    done = subprocess.run([program(), "--kubeconfig", str(kubeconfig), *words],
                          capture_output=True, text=True, timeout=90,
                          env={**os.environ, **(env or {})})
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    return done.stdout.splitlines()


def call(kubeconfig, env=None, **request):
    """One request without a loop, and its answer."""
    lines = run(kubeconfig, "call", json.dumps(request), env=env)
    return json.loads(lines[-1])


class Talk:
    """The program on its loop: wishes go in, events come out."""

    def __init__(self, kubeconfig, env=None):
        self.process = subprocess.Popen(
            [program(), "--kubeconfig", str(kubeconfig), "loop"], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, bufsize=1, env={**os.environ, **(env or {})})
        self.events = queue.Queue()
        self.seen = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.events.put(json.loads(line) if line.startswith("{") else {"event": line})
        self.events.put(None)

    def wish(self, **what):
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()

    def watch(self, version, kind, **more):
        self.wish(watch={"apiVersion": version, "kind": kind, **more})

    def next(self, timeout=TIMEOUT):
        try:
            event = self.events.get(timeout=timeout)
        except queue.Empty:
            raise AssertionError("no event in %d s; before it %s" % (timeout, self.seen[-10:]))
        assert event is not None, "the program has ended; before it %s" % self.seen[-10:]
        if event["event"] != "RESTED":  # at a time of its own
            self.seen.append(event)
        return event

    def until(self, event, name=None, timeout=TIMEOUT, **fields):
        """The first event that fits; those that come before it are in `seen`."""
        while True:
            one = self.next(timeout)
            if one["event"] == event and (name is None or name_of(one) == name) and all(
                    one.get(k) == v for k, v in fields.items()):
                return one

    def ask(self, timeout=60, **request):
        """A request on the loop, and its answer."""
        self.wish(call=request)
        return self.until("ANSWER", timeout=timeout)["answer"]

    def cache(self, watch=0):
        self.wish(cache=watch)
        return self.until("CACHE")

    def close(self):
        """Ends it in good order; that it does, and what a sanitizer says, is part of every test."""
        if self.process.poll() is None:
            self.process.stdin.close()
        assert self.process.wait(30) == 0

    def kill(self):
        self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind:
            self.kill()
        elif self.process.returncode is None:
            self.close()


def name_of(event):
    return ((event.get("object") or {}).get("metadata") or {}).get("name")


def names_told(events, kind):
    return [name_of(e) for e in events if e["event"] == kind]
