# SPDX-License-Identifier: Apache-2.0
"""The controller as a process, and what tests say of its resources."""

import os
import pathlib
import subprocess
import uuid

import yaml

from cluster import NOBODY
from kubeapi import path_of
from pods import free_port  # noqa: F401

ROOT = pathlib.Path(__file__).resolve().parents[2]
SKUPPER = os.environ.get("SKUPPER", str(ROOT / "build" / "skupper"))
API = "skupper.io/v2alpha1"
HOME = "skupper"  # the namespace of the controller
IMAGE = os.environ.get("SKUPPER_IMAGE")  # ours, where pods run


def definitions():
    for path in sorted((ROOT / "deploy" / "crds").glob("*.yaml")):
        if path.name != "kustomization.yaml":
            yield yaml.safe_load(path.read_text(encoding="utf-8"))


def kind(plural):
    return "%s.%s" % (plural, API)


def prepare(cluster):
    """The definitions, and the controller's namespace."""
    cluster.define(*definitions())
    if not cluster.admin.find("namespaces", HOME):
        cluster.make_global("namespaces", {"metadata": {"name": HOME}})


def rules():
    """The rights that the installation gives."""
    text = (ROOT / "deploy" / "skupper-cluster-scope.yaml").read_text(encoding="utf-8")
    for document in yaml.safe_load_all(text):
        if document and document["kind"] == "ClusterRole":
            return document["rules"]
    raise AssertionError("there is no ClusterRole")


class Controller:
    """One process; `close` ends it as a node would, `kill` as a machine that fails. Without an image no
    router runs, wherever it is, and a test may tell what its agent would."""

    def __init__(self, cluster, *flags, kubeconfig=None, name=None, image=IMAGE):
        self.name = name or "c-" + uuid.uuid4().hex[:8]
        self.log_path = cluster.scratch / (self.name + "-" + uuid.uuid4().hex[:6] + ".log")
        self.log = open(self.log_path, "w", encoding="utf-8")
        environment = {"PATH": os.environ["PATH"], "HOSTNAME": self.name,
                       "SKUPPER_ROUTER_IMAGE": image or "example.org/router:1",
                       "SKUPPER_KUBE_ADAPTOR_IMAGE": image or "example.org/agent:1"}
        environment.update({k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS")})
        self.process = subprocess.Popen(
            [SKUPPER, "controller", "--platform", "kubernetes", "--kubeconfig",
             kubeconfig or cluster.kubeconfig, "--namespace", HOME, "--name", self.name,
             *([] if any("metrics-address" in f for f in flags) else ["--disable-metrics"]),
             "-enabled-access-types=local,loadbalancer,nodeport",
             "--cluster-host", "node.example.org", *flags],
            env=environment, stdout=self.log, stderr=self.log)

    def text(self):
        return self.log_path.read_text(encoding="utf-8")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        self.process.terminate()
        status = self.process.wait(timeout=120)
        self.log.close()
        assert status == 0, self.text()

    def __enter__(self):
        return self

    def __exit__(self, kind_of_error, *_):
        if kind_of_error:
            self.process.kill()
            self.process.wait()
            print(self.text()[-5000:])
        elif self.process.poll() is None:
            self.close()


def grant_credentials(cluster):
    """A certificate for a server of tokens on this machine, which the controller makes."""
    def create(name, **spec):
        if not cluster.admin.find(kind("certificates"), name, HOME):
            cluster.admin.create(kind("certificates"), resource("Certificate", name, **spec), HOME)
    create("tests-ca", ca="", subject="tests", signing=True)
    create("tests-server", ca="tests-ca", subject="tests-server", hosts=["127.0.0.1"], server=True)
    return "tests-server"


def serving(cluster, credentials, port=None):
    """A controller that redeems tokens."""
    port = port or free_port()
    return Controller(cluster, "-enable-grants", "-grant-server-base-url=127.0.0.1:%d" % port,
                      "-grant-server-port=%d" % port,
                      "-grant-server-tls-credentials=" + credentials)


def condition(obj, type_):
    """(status, reason, message) of a condition; None without it."""
    for c in ((obj or {}).get("status") or {}).get("conditions") or ():
        if c["type"] == type_:
            return c["status"], c["reason"], c["message"]
    return None


def is_so(type_, status, message=None):
    """For await_object: the condition has that status, and that message."""
    def check(obj):
        c = condition(obj, type_)
        return bool(c) and c[0] == status and (message is None or c[2] == message)
    return check


def resource(kind_name, name, **spec):
    return {"apiVersion": API, "kind": kind_name, "metadata": {"name": name}, "spec": spec}


class Site:
    """A namespace with a Site, seen by the administrator."""

    def __init__(self, cluster, **spec):
        self.cluster = cluster
        self.admin = cluster.admin
        self.ns = cluster.namespace("site")
        if spec.pop("has_site", True):
            self.create("sites", "Site", "west", **spec)

    def create(self, plural, kind_name, name, **spec):
        return self.admin.create(kind(plural), resource(kind_name, name, **spec), self.ns)

    def await_condition(self, plural, name, type_, status, message=None, timeout=120):
        return self.admin.await_object(kind(plural), name, self.ns, is_so(type_, status, message),
                                       timeout)

    def config(self, obj=None):
        """The router's configuration as {(type, name): attributes}."""
        import json
        obj = obj or self.admin.get("configmaps", "skupper-router", self.ns)
        return {(t, a.get("name", a.get("prefix", a.get("module", "")))): a
                for t, a in json.loads(obj["data"]["skrouterd.json"])}

    def await_config(self, until, timeout=120):
        self.admin.await_object("configmaps", "skupper-router", self.ns,
                                lambda o: bool(o) and until(self.config(o)), timeout)

    def pod(self, name, app, ip, ready=True):
        """A pod with a status of our own: nothing runs it. (A StatefulSet may have made it.)"""
        made = self.admin.request("POST", path_of("pods", self.ns), {"metadata": {"name": name, "labels": {"app": app}}, "spec": {
            "schedulerName": NOBODY, "containers": [{"name": "c", "image": "i"}]}})
        assert made.code in (201, 409), made.message
        self.pod_status(name, ip, ready)

    def pod_status(self, name, ip, ready):
        self.admin.patch("pods", name, {"status": {
            "phase": "Running", "podIP": ip,
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}]}},
            self.ns, sub="status")


def writes(site, since):
    """What the controller changed in a namespace, as {(verb, resource, name): how often}; without
    Events, which are for people."""
    found = {}
    for r in site.cluster.requests(since, agent="skupper-controller"):
        parts = r["path"].split("?")[0].split("/namespaces/%s/" % site.ns)
        if r["method"] == "GET" or len(parts) < 2 or r["resource"] == "events":
            continue
        key = r["verb"], "/".join(parts[1].split("/"))
        found[key] = found.get(key, 0) + 1
    return found


def settled(site, name):
    """What a Listener that is made now leads to is done; so is then what came before."""
    site.create("listeners", "Listener", name, routingKey=name, host=name, port=1)
    site.await_config(lambda c: ("tcpListener", "listener/" + name) in c)
    site.await_condition("listeners", name, "Configured", "True")
    site.admin.await_object("services", name, site.ns)


def whole(site):
    """All certificates of a Site without link access are made and told."""
    for name in ("skupper-site-ca", "skupper-local-ca", "skupper-local-server"):
        site.await_condition("certificates", name, "Ready", "True")


# What one Listener takes.
def one_listener(name):
    return {("create", "services"): 1, ("patch", "configmaps/skupper-router"): 1,
            ("update", "listeners/%s/status" % name): 1}
