# SPDX-License-Identifier: Apache-2.0
"""Our client of the API: watches and what may happen to them, leases."""

import os
import shutil
import signal
import subprocess
import threading
import time

import pytest
import yaml

import foreign
from pods import free_port
from talk import TIMEOUT, Talk, name_of, names_told

CM = {"apiVersion": "v1", "kind": "ConfigMap"}
READER = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"]}]


def config_map(name, labels=None, **data):
    return {**CM, "metadata": {"name": name, "labels": labels or {}}, "data": data}


class World:
    """Objects of one namespace, and a watch that follows them."""

    def __init__(self, cluster, namespace, kubeconfig=None, **more):
        self.cluster, self.admin, self.namespace = cluster, cluster.admin, namespace
        self.talk = Talk(kubeconfig or cluster.kubeconfig)
        self.more = more

    def put(self, name, **data):
        return self.admin.create("configmaps", config_map(name, {"t": "w"}, **data), self.namespace)

    def change(self, name, **data):
        self.admin.patch("configmaps", name, {"data": data}, self.namespace)

    def delete(self, name):
        self.admin.delete("configmaps", name, self.namespace)

    def watch(self):
        self.talk.watch("v1", "ConfigMap", namespace=self.namespace, labels="t=w", **self.more)
        self.talk.until("SYNCED")
        return self

    def mark(self):
        self.talk.seen.clear()
        return self.cluster.mark()

    def asked(self, mark):
        """The verbs it asked with since then."""
        return [r["verb"] for r in self.cluster.requests(mark, agent="kubeclient")]

    def follows(self, name):
        """Something new is told; everything told up to then."""
        self.put(name)
        self.talk.until("ADDED", name)
        return self.talk.seen

    def __enter__(self):
        return self

    def __exit__(self, kind, *more):
        self.talk.__exit__(kind, *more)


@pytest.fixture
def world(cluster, namespace):
    with World(cluster, namespace) as one:
        yield one


@pytest.fixture
def troubled(standin, namespace):
    with World(standin, namespace) as one:
        one.put("a", k="1")
        one.put("b", k="1")
        mark = standin.mark()
        one.watch()
        end = time.monotonic() + TIMEOUT
        while "watch" not in one.asked(mark):  # which it does when it has told what there is
            assert time.monotonic() < end
            threading.Event().wait(0.01)
        yield one


# ------------------------------------------------------------------------------------- watches

def test_what_is_there_is_told_then_what_happens(world):
    world.put("a", k="1")
    world.put("b")
    world.watch()
    assert sorted(names_told(world.talk.seen, "ADDED")) == ["a", "b"]
    world.change("a", k="2")
    changed = world.talk.until("CHANGED", "a")["object"]
    assert changed["data"] == {"k": "2"} and "managedFields" not in changed["metadata"]
    world.delete("b")
    world.talk.until("DELETED", "b")
    assert world.talk.cache()["names"] == ["a"]


def test_only_what_is_kept_is_told(cluster, namespace):
    with World(cluster, namespace, keep=["data.seen", "metadata.labels[t]"]) as world:
        world.put("a", seen="1", unseen="1")
        world.watch()
        world.change("a", unseen="2")
        told = world.follows("z")
        assert names_told(told, "CHANGED") == []
        world.change("a", seen="2")
        one = world.talk.until("CHANGED", "a")["object"]
        assert one["data"] == {"seen": "2"} and one["metadata"]["labels"] == {"t": "w"}
        assert one["metadata"]["resourceVersion"] == world.admin.get(
            "configmaps", "a", namespace)["metadata"]["resourceVersion"]


def test_what_no_longer_matches_is_gone(world):
    world.put("a")
    world.watch()
    world.admin.patch("configmaps", "a", {"metadata": {"labels": {"t": "x"}}}, world.namespace)
    world.talk.until("DELETED", "a")


def test_a_kind_of_the_cluster_and_all_namespaces(cluster, namespace):
    with Talk(cluster.kubeconfig) as talk:
        talk.watch("v1", "Namespace", namespace="is-ignored")
        talk.until("SYNCED")
        assert namespace in talk.cache()["names"]
        talk.watch("v1", "ConfigMap", keep=[])
        talk.until("SYNCED", watch=1)
        cluster.admin.create("configmaps", config_map("everywhere"), namespace)
        one = talk.until("ADDED", "everywhere", watch=1)
        assert one["object"]["metadata"]["namespace"] == namespace
        talk.wish(unwatch=1)
        cluster.admin.create("configmaps", config_map("later"), namespace)
        cluster.admin.patch("namespaces", namespace, {"metadata": {"labels": {"x": "y"}}})
        talk.until("CHANGED", namespace)
        assert "later" not in names_told(talk.seen, "ADDED")


def test_a_long_list_comes_in_pages(standin, namespace):
    for i in range(1100):
        standin.admin.create("configmaps", config_map("m%d" % i, {"t": "w"}), namespace)
    with World(standin, namespace, keep=[]) as world:
        mark = world.mark()
        world.watch()
        assert world.talk.cache()["count"] == 1100
        assert world.asked(mark) == ["list"] * 3 + ["watch"] or world.asked(mark) == ["list"] * 3


def test_a_thousand_pods_take_little_memory(standin, namespace):
    if os.environ.get("E2E_SANITIZED"):
        pytest.skip("a sanitizer keeps memory of its own")
    for i in range(1000):
        standin.admin.create("pods", {
            "metadata": {"name": "p%d" % i, "labels": {"app": "x"}, "annotations": {"n": "x" * 3000}},
            "spec": {"containers": [{"name": "c", "image": "example.com/x:1", "env": [
                {"name": "V%d" % e, "value": "y" * 30} for e in range(40)]}]}}, namespace)
    with Talk(standin.kubeconfig) as talk:
        talk.watch("v1", "ConfigMap", namespace="default", keep=[])
        talk.until("RESTED")
        before = talk.cache()["kib"]
        talk.watch("v1", "Pod", namespace=namespace, keep=[
            "metadata.labels", "status.podIP", "status.phase", "status.conditions",
            "spec.containers.ports"])
        talk.until("SYNCED", watch=1)
        assert talk.cache(1)["count"] == 1000
        # It goes back when the watch has begun, too, and there is nothing to do.
        while talk.cache(1)["kib"] - before > 1536:
            talk.until("RESTED")


def test_an_idle_watch_asks_nothing(troubled):
    mark = troubled.mark()
    troubled.cluster.control("bookmark")
    troubled.follows("c")
    assert troubled.asked(mark) == []


# --------------------------------------------------------------------------------------- trouble

@pytest.mark.parametrize("clean", [True, False])
def test_a_lost_watch_goes_on_where_it_was(troubled, clean):
    mark = troubled.mark()
    troubled.cluster.control("drop_watches", clean=clean)
    told = troubled.follows("c")
    assert [e["event"] for e in told] == ["ADDED"]
    assert troubled.asked(mark) == ["watch"]


def test_a_bookmark_moves_the_place_to_go_on_from(troubled):
    troubled.cluster.admin.create("secrets", {"metadata": {"name": "s"}}, troubled.namespace)
    troubled.cluster.control("bookmark")
    troubled.follows("c")  # so the bookmark has been read
    mark = troubled.mark()
    troubled.cluster.control("drop_watches")
    troubled.follows("d")
    (watch,) = [r for r in troubled.cluster.requests(mark, agent="kubeclient")]
    assert watch["verb"] == "watch"


def test_lost_history_is_made_up_for_by_a_difference(troubled):
    mark = troubled.mark()
    troubled.cluster.control("stop")
    troubled.cluster.control("start", forget=True)
    troubled.delete("a")
    troubled.change("b", k="2")
    troubled.put("c")
    troubled.talk.until("SYNCED")
    told = {(e["event"], name_of(e)) for e in troubled.talk.seen if "object" in e}
    assert told == {("DELETED", "a"), ("CHANGED", "b"), ("ADDED", "c")}
    assert "list" in troubled.asked(mark)


def test_a_restart_loses_nothing(troubled):
    for i in range(3):
        troubled.mark()
        troubled.cluster.control("restart", forget=bool(i % 2))
        told = troubled.follows("r%d" % i)
        assert names_told(told, "DELETED") == []
    assert sorted(troubled.talk.cache()["names"]) == ["a", "b", "r0", "r1", "r2"]


@pytest.mark.parametrize("fault", [{"code": 500}, {"code": 429, "retry_after": 1}, {"code": 404},
                                   {"code": 403}, {"drop": "before"}, {"drop": "half"}])
def test_a_list_that_fails_deletes_nothing(troubled, fault):
    troubled.mark()
    troubled.cluster.control("fault", match={"verb": "list", "resource": "configmaps"}, **fault)
    troubled.cluster.control("restart", forget=True)
    trouble = troubled.talk.until("TROUBLE")
    assert "cannot list configmaps in namespace " + troubled.namespace in trouble["words"]
    assert troubled.talk.cache()["count"] == 2
    troubled.cluster.control("clear")
    troubled.talk.until("SYNCED", timeout=60)
    assert names_told(troubled.talk.seen, "DELETED") == []
    assert sorted(troubled.talk.cache()["names"]) == ["a", "b"]


def test_a_place_in_a_list_that_is_forgotten_is_no_dead_end(standin, namespace):
    for i in range(600):
        standin.admin.create("configmaps", config_map("m%d" % i, {"t": "w"}), namespace)
    standin.control("fault", match={"verb": "list", "resource": "configmaps"}, code=410, skip=1,
                    count=1)
    with World(standin, namespace, keep=[]) as world:
        world.watch()
        assert world.talk.cache()["count"] == 600


def test_a_server_that_stands_still_is_noticed(troubled):
    pid = troubled.cluster.standin.process.pid
    troubled.mark()
    os.kill(pid, signal.SIGSTOP)
    try:
        troubled.talk.wish(call=dict(verb="get", name="a", namespace=troubled.namespace, ms=15000,
                                     **CM))
        answer = troubled.talk.until("ANSWER", timeout=60)["answer"]
        assert answer["result"] == "UNREACHABLE"
        trouble = troubled.talk.until("TROUBLE", timeout=60)
        assert trouble["result"] == "UNREACHABLE"
        assert troubled.talk.cache()["count"] == 2
    finally:
        os.kill(pid, signal.SIGCONT)
    troubled.talk.until("WELL", timeout=60)
    assert names_told(troubled.follows("c"), "DELETED") == []


def test_rights_taken_away_and_given_back(standin, namespace):
    client = standin.account(namespace, "reader", READER)
    config = standin.kubeconfig_for(client.token, namespace)
    with World(standin, namespace, config) as world:
        world.put("a")
        world.watch()
        standin.admin.delete("rolebindings", "reader", namespace)
        standin.control("drop_watches")
        trouble = world.talk.until("TROUBLE")
        assert trouble["result"] == "FORBIDDEN"
        assert "system:serviceaccount:%s:reader" % namespace in trouble["words"]
        assert world.talk.cache()["names"] == ["a"]
        world.put("b")
        world.mark()
        standin.admin.create("rolebindings", {
            "metadata": {"name": "reader"},
            "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": namespace}],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role",
                        "name": "reader"}}, namespace)
        world.talk.until("WELL", timeout=60)
        world.talk.until("ADDED", "b")
        assert names_told(world.talk.seen, "DELETED") == []


def test_a_definition_that_is_missing_is_waited_for(standin, namespace):
    with Talk(standin.kubeconfig) as talk:
        talk.watch("projectcontour.io/v1", "HTTPProxy", namespace=namespace)
        trouble = talk.until("TROUBLE")
        assert trouble["result"] == "NOT_FOUND"
        standin.define(*foreign.CONTOUR)
        talk.until("SYNCED", timeout=60)


# --------------------------------------------------------------------------------------- HTTP/2

@pytest.fixture
def http2(standin, tmp_path, certificates):
    """nginx before the stand-in, which offers HTTP/2: its kubeconfig, its log, and how to reload."""
    port = free_port()
    config = yaml.safe_load(open(standin.kubeconfig, encoding="utf-8"))
    behind = config["clusters"][0]["cluster"]["server"]
    token = standin.control("token", user="admin", groups=["system:masters"])["token"]
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:%d" % port
    config["users"][0]["user"] = {"token": token}
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    (tmp_path / "nginx.conf").write_text(f"""
daemon off; pid {tmp_path}/pid; error_log {tmp_path}/error.log; worker_processes 1;
events {{ worker_connections 256; }}
http {{
  log_format x '$connection $server_protocol $request_uri'; access_log {tmp_path}/access.log x;
  client_body_temp_path {tmp_path}/b; proxy_temp_path {tmp_path}/p;
  fastcgi_temp_path {tmp_path}/f; uwsgi_temp_path {tmp_path}/u; scgi_temp_path {tmp_path}/s;
  server {{
    listen 127.0.0.1:{port} ssl http2;
    ssl_certificate {certificates}/server.crt; ssl_certificate_key {certificates}/server.key;
    location / {{ proxy_pass {behind}; proxy_http_version 1.1; proxy_set_header Connection "";
                  proxy_buffering off; proxy_read_timeout 600s; }}
  }}
}}
""")
    nginx = subprocess.Popen([shutil.which("nginx") or "/usr/sbin/nginx", "-c",
                              str(tmp_path / "nginx.conf"), "-e", str(tmp_path / "error.log")])
    yield standin, tmp_path / "kubeconfig", tmp_path / "access.log", nginx
    nginx.terminate()
    nginx.wait(10)


def test_with_http2_all_share_one_connection_and_survive_its_end(http2, namespace):
    standin, kubeconfig, log, nginx = http2
    get = dict(verb="get", name="a", namespace=namespace, **CM)
    with World(standin, namespace, kubeconfig) as world:
        world.put("a")
        world.watch()
        for kind in ("Secret", "Service", "Pod"):
            world.talk.watch("v1", kind, namespace=namespace)
            world.talk.until("SYNCED")
        for _ in range(5):
            assert world.talk.ask(**get)["result"] == "OK"
        lines = [line.split() for line in log.read_text().splitlines()]
        assert {line[1] for line in lines} == {"HTTP/2.0"}
        assert len({line[0] for line in lines}) == 1
        world.talk.seen.clear()
        nginx.send_signal(signal.SIGHUP)  # a new worker; the old one says GOAWAY and ends
        for _ in range(5):
            answer = world.talk.ask(**get)
            assert answer["result"] == "OK", answer
        told = world.follows("b")
        assert not [e for e in told if e["event"] in ("DELETED", "TROUBLE")], told
        assert [e["event"] for e in told if e.get("watch") == 0] == ["ADDED"]


# --------------------------------------------------------------------------------------- leases

def lease(talk, namespace, identity):
    talk.wish(lease={"namespace": namespace, "name": "leader", "identity": identity})


def test_a_lease_passes_on_when_its_holder_is_killed(cluster, namespace):
    with Talk(cluster.kubeconfig) as one, Talk(cluster.kubeconfig) as two:
        lease(one, namespace, "one")
        one.until("LEASE_HELD")
        lease(two, namespace, "two")
        cluster.admin.await_object("leases", "leader", namespace, lambda o: o and o["spec"][
            "holderIdentity"] == "one" and o["spec"]["leaseDurationSeconds"] == 15)
        one.kill()
        two.until("LEASE_HELD", timeout=60)
        spec = cluster.admin.get("leases", "leader", namespace)["spec"]
        assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("two", 1)


def test_a_lease_that_is_given_up_passes_on_at_once(cluster, namespace):
    with Talk(cluster.kubeconfig) as one, Talk(cluster.kubeconfig) as two:
        lease(one, namespace, "one")
        one.until("LEASE_HELD")
        lease(two, namespace, "two")
        one.wish(release=True)
        one.until("LEASE_LOST")
        one.until("RELEASED")
        two.until("LEASE_HELD", timeout=10)  # less than the 15 s it would have had to wait


def test_who_cannot_renew_is_no_holder(standin, namespace):
    with Talk(standin.kubeconfig) as one:
        lease(one, namespace, "one")
        one.until("LEASE_HELD")
        standin.control("fault", match={"verb": "update", "resource": "leases"}, code=500)
        one.until("LEASE_LOST", timeout=60)
        standin.control("clear")
        one.until("LEASE_HELD", timeout=60)
