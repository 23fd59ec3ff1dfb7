# SPDX-License-Identifier: Apache-2.0
"""A router's pod without a kubelet: the processes of its containers on this machine, with the rights
of the Role skupper-router, its volume a folder."""

import base64
import json
import os
import pathlib
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "test" / "e2e"))

from certificates import make_authority, make_certificate  # noqa: E402
from harness import (Lines, Management, PEER, SANITIZED, SKROUTERD, TIMEOUT,  # noqa: E402
                     free_port, wait_port)
import client as amqp  # noqa: E402
import transcript  # noqa: E402,F401

SKUPPER = pathlib.Path(SKROUTERD).with_name("skupper")
CONTEXT = "internal.skupper.io/tls-profile-context"
# As an existing controller grants them.
ROLE = [
    {"apiGroups": [""], "resources": ["secrets", "pods"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": [""], "resources": ["configmaps"],
     "verbs": ["get", "list", "watch", "create", "update", "delete"]},
    {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["update", "delete"]},
    {"apiGroups": [""], "resources": ["services"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"],
     "verbs": ["get", "list", "watch", "create", "update", "delete"]},
]


def wait(condition, what):
    """Until it holds; what is asked answers, it tells nobody of changes."""
    end = time.monotonic() + TIMEOUT
    while not (found := condition()):
        assert time.monotonic() < end, "waited for %s" % (what() if callable(what) else what)
        threading.Event().wait(0.02)
    return found


class Site:
    """What the controller makes in a namespace, made by hand."""

    def __init__(self, cluster, namespace, folder, account="skupper-router"):
        self.cluster, self.namespace, self.admin = cluster, namespace, cluster.admin
        self.folder = folder
        self.id, self.name = str(uuid.uuid4()), namespace  # until a test has those of a Site
        cluster.account(namespace, account, ROLE)
        self.kubeconfig = cluster.kubeconfig_for(cluster.token(namespace, account), namespace)
        self.authorities = folder / "made"
        self.authorities.mkdir()
        make_authority(self.authorities, "ca")

    def make_pod(self, name="skupper-router-7d4b9-abcde", **how):
        return Pod(self, name, **how)

    def secret(self, name, ordinals=None, keys=("ca.crt", "tls.crt", "tls.key"), fresh=True):
        """Makes it, or writes it anew; `ordinals` by profile."""
        if fresh:
            make_certificate(self.authorities, "ca", name)
        files = {"ca.crt": "ca.crt", "tls.crt": name + ".crt", "tls.key": name + ".key"}
        data = {k: base64.b64encode((self.authorities / files[k]).read_bytes()).decode()
                for k in keys}
        context = [{"profileName": p, "ordinal": n} for p, n in (ordinals or {name: 0}).items()]
        body = {"metadata": {"name": name, "annotations": {CONTEXT: json.dumps(context)}},
                "type": "Opaque", "data": data}
        old = self.admin.find("secrets", name, self.namespace)
        if old:
            self.admin.update("secrets", {**old, **body, "metadata": {
                **old["metadata"], **body["metadata"]}}, self.namespace)
        else:
            self.admin.create("secrets", body, self.namespace)

    def content(self, name, suffix=".crt"):
        return (self.authorities / (name + suffix)).read_text()


class Pod:
    """Its files, its router and its agent."""

    def __init__(self, site, name, group="skupper-router"):
        self.site, self.name, self.group = site, name, group
        self.folder = site.folder / name
        self.folder.mkdir()
        self.amqp, self.health, self.metrics = free_port(), free_port(), free_port()
        self.adaptor = site.folder / "kube-adaptor"
        if not self.adaptor.exists():
            self.adaptor.symlink_to(SKUPPER)
        self.router = self.agent = None
        self.entities = [
            ["router", {"id": "%s-${HOSTNAME}" % site.namespace, "mode": "interior",
                        "metadata": json.dumps({"id": site.id, "version": "2.2.1"})}],
            ["listener", {"name": "amqp", "host": "localhost", "port": self.amqp}],
            ["address", {"prefix": "mc", "distribution": "multicast"}]]

    # ------------------------------------------------------------------------------ the controller

    def profile(self, name, ordinal=0, ca_only=False):
        place = self.folder / name
        files = {"caCertFile": str(place / "ca.crt")}
        if not ca_only:
            files.update(certFile=str(place / "tls.crt"), privateKeyFile=str(place / "tls.key"))
        return ["sslProfile", {"name": name, **files, **({"ordinal": ordinal} if ordinal else {})}]

    def configure(self, *more):
        """The ConfigMap, with these entities besides the usual ones."""
        data = {"skrouterd.json": json.dumps(self.entities + list(more), indent=4)}
        body = {"metadata": {"name": self.group}, "data": data}
        admin, ns = self.site.admin, self.site.namespace
        old = admin.find("configmaps", self.group, ns)
        if old:
            admin.update("configmaps", {**old, "data": data}, ns)
        else:
            admin.create("configmaps", body, ns)

    # --------------------------------------------------------------------------------- containers

    def environment(self, **more):
        return {"PATH": os.environ["PATH"], "KUBECONFIG": self.site.kubeconfig,
                "SKUPPER_CONFIG_DIR": str(self.folder), "SKUPPER_ROUTER_CONFIG": self.group,
                "SKUPPER_PROXY_DIR": str(self.folder / "proxies"),
                "HOSTNAME": self.name, "SKUPPER_SITE_ID": self.site.id, **more}

    def init(self, wait_for_end=True, **more):
        process = subprocess.Popen([self.adaptor, "-init"], env=self.environment(**more),
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        process.log = Lines(process.stdout)
        if wait_for_end:
            assert process.wait(TIMEOUT) == 0, process.log.lines
        return process

    def start_router(self):
        self.router = subprocess.Popen(
            [SKROUTERD], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={"PATH": os.environ["PATH"], "HOSTNAME": self.name, "SKUPPER_SITE_ID": self.site.id,
                 "QDROUTERD_CONF": str(self.folder / "skrouterd.json")})
        self.router.log = Lines(self.router.stdout)
        self.router.log.wait("is running")

    def start_existing_router(self):
        """Its image expands the environment in the file, and hands it over as another."""
        text = (self.folder / "skrouterd.json").read_text().replace("${HOSTNAME}", self.name)
        (self.folder / "expanded.json").write_text(text)
        self.router = subprocess.Popen(
            [PEER, "-c", str(self.folder / "expanded.json")], stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True)
        self.router.log = Lines(self.router.stdout)
        wait_port(self.amqp)

    def start_agent(self, **more):
        self.agent = subprocess.Popen(
            [self.adaptor], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=self.environment(SKUPPER_AMQP_PORT=str(self.amqp),
                                 SKUPPER_HEALTH_PORT=str(self.health),
                                 SKUPPER_METRICS_ADDRESS="127.0.0.1:%d" % self.metrics,
                                 SKUPPER_SITE_NAME=self.site.name,
                                 SKUPPER_ROUTER_DEPLOYMENT=self.group, **more))
        self.agent.log = Lines(self.agent.stdout)

    def start(self):
        self.init()
        self.start_router()
        self.start_agent()
        self.wait_ready()
        return self

    def stop(self):
        """Ends both in peace; a sanitizer would have told in their exit status."""
        ended = []
        for process in (self.agent, self.router):
            if process and process.poll() is None:
                process.terminate()
                try:
                    process.wait(TIMEOUT)
                except subprocess.TimeoutExpired:
                    process.kill()
                ended.append((process.wait(), process.log.lines[-20:]))
        assert all(status == 0 for status, _ in ended), ended

    # -------------------------------------------------------------------------------- what it says

    def get(self, port, path):
        try:
            with urllib.request.urlopen("http://127.0.0.1:%d%s" % (port, path), timeout=10) as a:
                return a.status, a.read().decode()
        except urllib.error.HTTPError as e:
            return e.code, e.read().decode()
        except OSError as e:
            return 0, str(e)

    def wait_ready(self):
        wait(lambda: self.get(self.health, "/healthz")[0] == 200, lambda: self.agent.log.lines)

    def metric(self, name):
        for line in self.get(self.metrics, "/metrics")[1].splitlines():
            if line.startswith("skupper_agent_%s " % name):
                return int(line.split()[1])
        return None

    def resident_kib(self):
        if SANITIZED:
            return 0
        for line in pathlib.Path("/proc/%d/status" % self.agent.pid).read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        return 0

    def manage(self):
        return Management(None, connection=amqp.connect("amqp://127.0.0.1:%d" % self.amqp))

    def names(self, type_):
        management = self.manage()
        try:
            return {row["name"]: row for row in management.query(type_)}
        finally:
            management.close()

    def wait_names(self, type_, *want):
        """Until the router has these entities and no others of the type."""
        wait(lambda: set(self.names(type_)) == set(want),
             lambda: (type_, want, self.names(type_), self.agent.log.lines))
