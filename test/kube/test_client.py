# SPDX-License-Identifier: Apache-2.0
"""Our client of the API: requests and their failures, who we are."""

import base64
import json
import os
import pathlib
import socket
import stat
import subprocess
import threading
import time

import pytest
import yaml

from talk import Talk, call, program, run

CM = {"apiVersion": "v1", "kind": "ConfigMap"}


def config_map(name, labels=None, **data):
    return {**CM, "metadata": {"name": name, **({"labels": labels} if labels else {})}, "data": data}


# -------------------------------------------------------------------------------------- verbs

def test_each_verb_does_what_it_says(cluster, namespace):
    a = dict(namespace=namespace, **CM)
    k = cluster.kubeconfig
    made = call(k, verb="create", body=config_map("x", a="1"), **a)
    assert (made["result"], made["code"]) == ("OK", 201)
    assert call(k, verb="create", body=config_map("x"), **a)["result"] == "EXISTS"
    assert call(k, verb="get", name="x", **a)["value"]["data"] == {"a": "1"}
    merged = call(k, verb="merge", name="x", body={"data": {"b": "2", "a": None}}, **a)
    assert merged["value"]["data"] == {"b": "2"}
    patched = call(k, verb="json", name="x",
                   body=[{"op": "add", "path": "/data/c", "value": "3"}], **a)
    assert patched["value"]["data"] == {"b": "2", "c": "3"}
    stale = made["value"]
    answer = call(k, verb="update", body=stale, **a)
    assert (answer["result"], answer["reason"]) == ("CONFLICT", "Conflict")
    fresh = {**patched["value"], "data": {"d": "4"}}
    assert call(k, verb="update", body=fresh, **a)["value"]["data"] == {"d": "4"}
    assert call(k, verb="delete", name="x", uid="another", **a)["result"] == "CONFLICT"
    assert call(k, verb="delete", name="x", uid=made["value"]["metadata"]["uid"],
                **a)["result"] == "OK"
    gone = call(k, verb="get", name="x", **a)
    assert (gone["result"], gone["code"], gone["reason"]) == ("NOT_FOUND", 404, "NotFound")
    assert "cannot get configmaps/x in namespace " + namespace in gone["words"]


def test_what_another_manager_owns_is_not_taken(cluster, namespace):
    a = dict(namespace=namespace, verb="apply", **CM)
    k = cluster.kubeconfig
    assert call(k, manager="one", body=config_map("x", a="1"), **a)["code"] == 201
    owned = call(k, manager="two", body=config_map("x", a="2"), **a)
    assert (owned["result"], owned["code"]) == ("OWNED", 409)
    assert '"one"' in owned["words"]
    forced = call(k, manager="two", force=True, body=config_map("x", a="2"), **a)
    assert forced["value"]["data"] == {"a": "2"}
    assert call(k, manager="one", body=config_map("x", b="1"), **a)["value"]["data"] == {
        "a": "2", "b": "1"}


def test_status_is_written_apart(cluster, namespace):
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
                  "spec": {"replicas": 0, "selector": {"matchLabels": {"a": "b"}},
                           "template": {"metadata": {"labels": {"a": "b"}},
                                        "spec": {"containers": [{"name": "c", "image": "i"}]}}}}
    a = dict(namespace=namespace, apiVersion="apps/v1", kind="Deployment")
    k = cluster.kubeconfig
    assert call(k, verb="create", body=deployment, **a)["result"] == "OK"
    answer = call(k, verb="merge", name="d", subresource="status", **a,
                  body={"spec": {"replicas": 5}, "status": {"observedGeneration": 77}})
    assert answer["value"]["spec"]["replicas"] == 0
    assert answer["value"]["status"]["observedGeneration"] == 77


def test_a_list_comes_in_pages_and_as_one(cluster, namespace):
    admin = cluster.admin
    for i in range(3):
        admin.create("configmaps", config_map("m%d" % i, {"l": "x"}, k="v", other="w"), namespace)
    answer = call(cluster.kubeconfig, verb="list", namespace=namespace, labels="l=x",
                  keep=["data.k"], **CM)
    items = answer["value"]["items"]
    assert [i["metadata"]["name"] for i in items] == ["m0", "m1", "m2"]
    assert items[0]["data"] == {"k": "v"} and items[0]["kind"] == "ConfigMap"
    assert items[0]["metadata"]["resourceVersion"]
    by_field = call(cluster.kubeconfig, verb="list", namespace=namespace,
                    fields="metadata.name=m1", **CM)
    assert [i["metadata"]["name"] for i in by_field["value"]["items"]] == ["m1"]


def test_a_page_that_breaks_off_leaves_nothing_behind(standin, namespace):
    for i in range(600):
        standin.admin.create("configmaps", config_map("m%03d" % i, {"l": "x"}), namespace)
    standin.control("fault", match={"verb": "list", "resource": "configmaps"}, drop="half", skip=1,
                    count=1)
    standin.control("fault", match={"verb": "list", "resource": "configmaps"}, code=410, skip=2,
                    count=1)
    answer = call(standin.kubeconfig, verb="list", namespace=namespace, labels="l=x", keep=[], **CM)
    assert [i["metadata"]["name"] for i in answer["value"]["items"]] == [
        "m%03d" % i for i in range(600)]


def test_what_makes_no_sense_is_not_sent(recorded, namespace):
    mark = recorded.mark()
    for request in ({"verb": "get", **CM}, {"verb": "create", **CM},
                    {"verb": "get", "apiVersion": "v9", "kind": "X", "name": "x"},
                    {"verb": "delete", "path": "/version"}, {"verb": "get", "path": "version"}):
        answer = call(recorded.kubeconfig, **request)
        assert (answer["result"], answer["code"]) == ("REFUSED", 0), request
    assert recorded.requests(mark, agent="kubeclient") == []


def test_a_path_is_asked_for_as_it_is(cluster):
    assert "gitVersion" in call(cluster.kubeconfig, verb="get", path="/version")["value"]
    assert call(cluster.kubeconfig, verb="get", path="/nowhere")["result"] == "NOT_FOUND"


# ------------------------------------------------------------------------------------ failures

def fault(standin, verb, **what):
    standin.control("fault", match={"verb": verb, "resource": "configmaps"}, **what)


def configmap_requests(standin, mark, verb):
    return [r for r in standin.requests(mark, agent="kubeclient")
            if r["resource"] == "configmaps" and r["verb"] == verb]


def test_a_busy_server_is_asked_when_it_says(standin, namespace):
    a = dict(namespace=namespace, **CM)
    fault(standin, "create", code=429, retry_after=1, count=2)
    mark = standin.mark()
    answer = call(standin.kubeconfig, verb="create", body=config_map("x"), **a)
    assert answer["result"] == "OK"
    times = [r["time"] for r in configmap_requests(standin, mark, "create")]
    assert len(times) == 3
    assert times[1] - times[0] >= 0.99 and times[2] - times[1] >= 0.99


def test_what_stays_busy_is_told_in_the_end(standin, namespace):
    fault(standin, "get", code=429, retry_after=1, count=1)
    fault(standin, "get", code=429, retry_after=60)
    mark = standin.mark()
    answer = call(standin.kubeconfig, verb="get", name="x", namespace=namespace, ms=30000, **CM)
    assert (answer["result"], answer["code"]) == ("BUSY", 429)
    assert "try again later" in answer["words"]
    assert len(configmap_requests(standin, mark, "get")) == 2


def test_an_error_inside_is_tried_three_times_unless_it_creates(standin, namespace):
    a = dict(namespace=namespace, **CM)
    for verb, request, tries in (("get", dict(verb="get", name="x"), 3),
                                 ("create", dict(verb="create", body=config_map("x")), 1)):
        fault(standin, verb, code=500)
        mark = standin.mark()
        answer = call(standin.kubeconfig, **request, **a)
        assert (answer["result"], answer["code"]) == ("BUSY", 500)
        assert len(configmap_requests(standin, mark, verb)) == tries


def test_a_lost_answer_does_not_create_twice(standin, namespace):
    a = dict(namespace=namespace, **CM)
    fault(standin, "create", drop="after", count=1)
    mark = standin.mark()
    answer = call(standin.kubeconfig, verb="create", body=config_map("x"), **a)
    assert (answer["result"], answer["code"]) == ("UNREACHABLE", 0)
    assert len(configmap_requests(standin, mark, "create")) == 1
    assert call(standin.kubeconfig, verb="get", name="x", **a)["result"] == "OK"


@pytest.mark.parametrize("drop", ["before", "after", "half"])
def test_a_lost_answer_is_asked_for_again(standin, namespace, drop):
    a = dict(namespace=namespace, **CM)
    fault(standin, "patch", drop=drop, count=2)
    mark = standin.mark()
    answer = call(standin.kubeconfig, verb="apply", body=config_map("x", a="1"), **a)
    assert answer["result"] == "OK" and answer["value"]["data"] == {"a": "1"}
    assert len(configmap_requests(standin, mark, "patch")) == 3


def test_a_server_that_is_away_is_waited_for_and_told(standin, namespace):
    a = dict(verb="get", name="kube-root-ca.crt", namespace=namespace, **CM)
    with Talk(standin.kubeconfig) as talk:
        standin.control("stop")
        try:
            answer = call(standin.kubeconfig, ms=1500, **a)
            talk.wish(call=a)
            talk.wish(call=dict(verb="create", namespace=namespace, body=config_map("y"), **CM))
        finally:
            standin.control("start")
        assert talk.until("ANSWER")["answer"]["result"] == "OK"
        assert talk.until("ANSWER")["answer"]["result"] == "OK"
    assert answer["result"] == "UNREACHABLE"
    assert "is the cluster running, and reachable from here?" in answer["words"]
    assert "context standin of " + standin.kubeconfig in answer["words"]


def test_many_requests_at_once_are_all_answered(standin, namespace):
    with Talk(standin.kubeconfig) as talk:
        for i in range(200):
            talk.wish(call=dict(verb="create", namespace=namespace,
                                body=config_map("n%d" % i), **CM))
        for _ in range(200):
            assert talk.until("ANSWER", timeout=60)["answer"]["result"] == "OK"
    assert len([n for n in standin.admin.list("configmaps", namespace)["items"]
                if n["metadata"]["name"].startswith("n")]) == 200


def test_rights_are_told_apart_from_credentials(cluster, namespace):
    client = cluster.account(namespace, "reader", [{"apiGroups": [""], "resources": ["configmaps"],
                                                    "verbs": ["get"]}])
    config = cluster.kubeconfig_for(client.token, namespace)
    got = call(config, verb="get", name="kube-root-ca.crt", **CM)
    assert got["result"] == "OK" and got["value"]["metadata"]["namespace"] == namespace
    refused = call(config, verb="delete", name="kube-root-ca.crt", **CM)
    assert (refused["result"], refused["reason"]) == ("FORBIDDEN", "Forbidden")
    assert "system:serviceaccount:%s:reader" % namespace in refused["words"]
    unknown = call(cluster.kubeconfig_for("nobody"), verb="get", name="x", **CM)
    assert (unknown["result"], unknown["code"]) == ("UNAUTHORIZED", 401)
    assert "log in again" in unknown["words"]


# ---------------------------------------------------------------------------------- who we are

def changed_config(cluster, tmp_path, user=None, cluster_fields=None):
    config = yaml.safe_load(open(cluster.kubeconfig, encoding="utf-8"))
    for c in config["clusters"]:
        c["cluster"].update(cluster_fields or {})
        c["cluster"] = {k: v for k, v in c["cluster"].items() if v is not None}
    for u in config["users"]:
        u["user"] = u["user"] if user is None else user
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


def script(path, text):
    path.write_text("#!/usr/bin/python3\n" + text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


VERSION = dict(verb="get", path="/api/v1/namespaces/default")


def test_the_server_must_be_who_it_should_be(cluster, tmp_path, certificates):
    elsewhere = changed_config(cluster, tmp_path, cluster_fields={
        "certificate-authority-data": base64.b64encode(
            (certificates / "admin.crt").read_bytes()).decode()})
    answer = call(elsewhere, **VERSION)
    assert answer["result"] == "UNREACHABLE"
    assert "is certificate-authority that of this cluster?" in answer["words"]
    blind = changed_config(cluster, tmp_path, cluster_fields={
        "certificate-authority-data": None, "insecure-skip-tls-verify": True})
    assert call(blind, **VERSION)["result"] == "OK"


def test_another_name_may_be_expected_of_it(standin, tmp_path):
    right = changed_config(standin, tmp_path, cluster_fields={
        "tls-server-name": "kubernetes.default.svc"})
    assert call(right, **VERSION)["result"] == "OK"
    wrong = changed_config(standin, tmp_path, cluster_fields={"tls-server-name": "example.com"})
    assert call(wrong, **VERSION)["result"] == "UNREACHABLE"


def test_certificates_may_stand_in_files_beside(standin, tmp_path, certificates):
    for name in ("admin.crt", "admin.key", "ca.crt"):
        (tmp_path / name).write_bytes((certificates / name).read_bytes())
    config = changed_config(standin, tmp_path,
                            {"client-certificate": "admin.crt", "client-key": "admin.key"},
                            {"certificate-authority-data": None, "certificate-authority": "ca.crt"})
    assert call(config, **VERSION)["result"] == "OK"
    (tmp_path / "admin.key").unlink()
    answer = call(config, **VERSION)
    assert answer["result"] == "UNAUTHORIZED"
    assert "admin.key: No such file" in answer["words"]


def test_a_token_in_a_file_is_read_again(standin, namespace, tmp_path):
    def token():
        return standin.control("token", user="admin", groups=["system:masters"])["token"]

    old, new = token(), token()
    (tmp_path / "token").write_text(old)
    config = changed_config(standin, tmp_path, {"tokenFile": "token"})
    with Talk(config) as talk:
        assert talk.ask(**VERSION)["result"] == "OK"
        (tmp_path / "token.new").write_text(new + "\n")
        os.rename(tmp_path / "token.new", tmp_path / "token")
        standin.control("revoke", token=old)
        assert talk.ask(**VERSION)["result"] == "OK"
        standin.control("revoke", token=new)
        assert talk.ask(**VERSION)["result"] == "UNAUTHORIZED"


PLUGIN = """
import json, os, sys, pathlib
here = pathlib.Path(sys.argv[0]).resolve().parent
info = json.loads(os.environ["KUBERNETES_EXEC_INFO"])
with open(here / "runs", "a") as runs:
    runs.write(json.dumps({"info": info, "args": sys.argv[1:], "a": os.environ.get("A"),
                           "home": os.environ.get("HOME")}) + "\\n")
exec((here / "how.py").read_text()) if (here / "how.py").exists() else None
print(json.dumps({"apiVersion": info["apiVersion"], "kind": "ExecCredential",
                  "status": json.loads((here / "status").read_text())}))
"""


def plugin_config(standin, tmp_path, status, **more):
    script(tmp_path / "plugin", PLUGIN)
    (tmp_path / "status").write_text(json.dumps(status))
    return changed_config(standin, tmp_path, {"exec": {
        "apiVersion": "client.authentication.k8s.io/v1", "command": "./plugin",
        "args": ["a b", "$(touch x)"], "env": [{"name": "A", "value": "b"}],
        "interactiveMode": "Never", **more}})


def runs(tmp_path):
    path = tmp_path / "runs"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def admin_token(standin):
    return standin.control("token", user="admin", groups=["system:masters"])["token"]


def test_a_plugin_says_who_we_are_once(standin, tmp_path):
    config = plugin_config(standin, tmp_path, {"token": admin_token(standin)},
                           provideClusterInfo=True)
    with Talk(config) as talk:
        for _ in range(3):
            talk.wish(call=VERSION)
        for _ in range(3):
            assert talk.until("ANSWER")["answer"]["result"] == "OK"
    (one,) = runs(tmp_path)
    assert one["args"] == ["a b", "$(touch x)"] and one["a"] == "b"
    assert one["home"] == os.environ.get("HOME")
    spec = one["info"]["spec"]
    assert one["info"]["kind"] == "ExecCredential" and spec["interactive"] is False
    assert spec["cluster"]["server"].startswith("https://127.0.0.1:")
    assert base64.b64decode(spec["cluster"]["certificate-authority-data"]).startswith(b"-----")


def test_a_plugins_certificate_is_shown(standin, tmp_path, certificates):
    config = plugin_config(standin, tmp_path, {
        "clientCertificateData": (certificates / "admin.crt").read_text(),
        "clientKeyData": (certificates / "admin.key").read_text()},
        apiVersion="client.authentication.k8s.io/v1beta1")
    assert call(config, **VERSION)["result"] == "OK"


def test_a_plugin_is_run_again_when_its_answer_is_over(standin, tmp_path):
    first, second = admin_token(standin), admin_token(standin)
    config = plugin_config(standin, tmp_path, {"token": first})
    with Talk(config) as talk:
        assert talk.ask(**VERSION)["result"] == "OK"
        standin.control("revoke", token=first)
        (tmp_path / "status").write_text(json.dumps({"token": second}))
        assert talk.ask(**VERSION)["result"] == "OK"
    assert len(runs(tmp_path)) == 2
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 5))
    (tmp_path / "status").write_text(json.dumps({"token": second, "expirationTimestamp": soon}))
    answer = call(config, **VERSION)
    assert answer["result"] == "UNAUTHORIZED" and "has expired" in answer["words"]


@pytest.mark.parametrize("how,words", [
    ("sys.exit(3)", "failed (exit 3)"),
    ("os.kill(os.getpid(), 9)", "failed (signal 9)"),
    ("print('hello'); sys.exit(0)", "its answer is no ExecCredential"),
    ("print('x' * 2000000); sys.exit(0)", "answers more than 1 MiB"),
])
def test_a_plugin_that_fails_is_told(standin, tmp_path, how, words):
    config = plugin_config(standin, tmp_path, {"token": "t"})
    (tmp_path / "how.py").write_text(how)
    answer = call(config, **VERSION)
    assert answer["result"] == "UNAUTHORIZED"
    assert words in answer["words"] and "plugin" in answer["words"]


def test_a_plugin_that_is_not_there_says_how_to_get_it(standin, tmp_path):
    config = plugin_config(standin, tmp_path, {}, command="no-such-plugin",
                           installHint="brew install it")
    answer = call(config, **VERSION)
    assert "no-such-plugin cannot be started" in answer["words"]
    assert "brew install it" in answer["words"]


def test_a_plugin_ends_with_its_client(standin, tmp_path):
    config = plugin_config(standin, tmp_path, {})
    (tmp_path / "how.py").write_text(
        "(here / 'pid').write_text(str(os.getpid()))\nimport time\ntime.sleep(600)")
    with Talk(config) as talk:
        talk.wish(call=VERSION)
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            time.sleep(0.02)
        pid = int((tmp_path / "pid").read_text())
    assert not pathlib.Path("/proc/%d" % pid).exists()


# ------------------------------------------------------------------------------------ on the way

class Proxy(threading.Thread):
    """Serves CONNECT, and counts it."""

    def __init__(self):
        super().__init__(daemon=True)
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.asked = []
        self.start()

    def run(self):
        while True:
            try:
                near, _ = self.listening.accept()
            except OSError:
                return
            head = b""
            while b"\r\n\r\n" not in head:
                head += near.recv(4096)
            target = head.split()[1].decode()
            self.asked.append(target)
            host, _, port = target.rpartition(":")
            far = socket.create_connection((host, int(port)))
            near.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    @staticmethod
    def _pump(one, other):
        try:
            while data := one.recv(65536):
                other.sendall(data)
        except OSError:
            pass
        for s in (one, other):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def test_a_proxy_is_used_if_it_is_ours_to_use(standin, tmp_path):
    proxy = Proxy()
    url = "http://127.0.0.1:%d" % proxy.port
    config = changed_config(standin, tmp_path, cluster_fields={"proxy-url": url})
    assert call(config, **VERSION)["result"] == "OK"
    assert len(proxy.asked) == 1
    # One of the environment is not asked for what is on this machine.
    assert call(standin.kubeconfig, env={"HTTPS_PROXY": url, "https_proxy": url},
                **VERSION)["result"] == "OK"
    assert len(proxy.asked) == 1
    proxy.listening.close()


def test_a_watch_needs_no_loop(cluster, namespace):
    admin = cluster.admin
    admin.create("configmaps", config_map("x"), namespace)
    wish = {"namespace": namespace, "ms": 30000, **CM}
    told = [json.loads(line) for line in run(cluster.kubeconfig, "wait", json.dumps(wish))]
    assert {e["event"] for e in told} == {"ADDED", "SYNCED", "DONE"}
    late = run(cluster.kubeconfig, "wait", json.dumps({**wish, "deleted": "y", "ms": 300}))
    assert json.loads(late[-1])["event"] == "LATE"
    waiting = subprocess.Popen(
        [program(), "--kubeconfig", cluster.kubeconfig, "wait",
         json.dumps({**wish, "deleted": "x"})], stdout=subprocess.PIPE, text=True)
    while json.loads(waiting.stdout.readline())["event"] != "SYNCED":
        pass
    admin.delete("configmaps", "x", namespace)
    lines = waiting.communicate(timeout=60)[0].splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["DELETED", "DONE"]


# ----------------------------------------------------------------------------- configuration

def test_contexts_and_several_files(cluster, tmp_path):
    one = {"current-context": "far", "contexts": [
        {"name": "far", "context": {"cluster": "nowhere", "namespace": "out"}}],
        "clusters": [{"name": "nowhere", "cluster": {"server": "https://192.0.2.1:1"}}]}
    (tmp_path / "one").write_text(json.dumps(one))
    env = {"KUBECONFIG": "%s:%s" % (tmp_path / "one", cluster.kubeconfig)}
    name = yaml.safe_load(open(cluster.kubeconfig, encoding="utf-8"))["current-context"]

    def who(*words):
        done = subprocess.run([program(), *words, "who"], capture_output=True, text=True,
                              env={**os.environ, **env}, timeout=30)
        return done.returncode, done.stdout

    assert json.loads(who()[1]) == {"server": "https://192.0.2.1:1", "namespace": "out",
                                    "context": "far"}
    assert json.loads(who("--context", name, "--namespace", "x")[1])["namespace"] == "x"
    status, words = who("--context", "faar")
    assert status == 1 and 'there is no context "faar"' in words and "far, " in words


def test_a_file_that_is_not_there_is_named(tmp_path):
    (words,) = run(tmp_path / "absent", "who", status=1)
    assert "absent: No such file" in words
