# SPDX-License-Identifier: Apache-2.0
"""The agent beside a router in its pod."""

import base64
import json
import signal
import stat
import time

import pytest
from proton import Delivery, Message

from cluster import NOBODY
from pods import PEER, Site, TIMEOUT, amqp, free_port, wait
from collector import (END, IDENTITY, MODE, NAME, NAMESPACE, PARENT, PLATFORM, PROCESS_RECORD, SITE,
                       SOURCE_HOST, TYPE, beacon_of, is_in_turn)
from harness import Management, Router, inter_router, link_to
from proxy import Proxy
from services import Server, connect, echo

RESIDENT_MAX_KIB = 10 * 1024
STATUS = "skupper-network-status"


@pytest.fixture
def site(cluster, namespace, tmp_path):
    return Site(cluster, namespace, tmp_path)


@pytest.fixture
def pod(site):
    made = site.make_pod()
    yield made
    made.stop()


@pytest.fixture
def service():
    """A server, and the entities of a service that leads to it from a port."""
    server, port = Server(echo), free_port()
    yield port, [["tcpConnector", {"name": "connector/echo@127.0.0.1", "host": "127.0.0.1",
                                   "port": str(server.port), "address": "echo"}],
                 ["tcpListener", {"name": "listener/echo", "host": "127.0.0.1", "port": str(port),
                                  "address": "echo"}]]
    server.close()


def say(connection, text=b"hello"):
    connection.sendall(text)
    got = b""
    while len(got) < len(text):
        got += connection.recv(len(text))
    assert got == text


def listener(number):
    """One that opens no port, as nobody is at its address."""
    return ["tcpListener", {"name": "listener/n%d" % number, "host": "127.0.0.1",
                            "port": str(free_port()), "address": "nobody-%d" % number}]


def check_rests_small(pod, what):
    """What was needed for work goes back when there is none."""
    wait(lambda: pod.resident_kib() <= RESIDENT_MAX_KIB, lambda: "%d KiB" % pod.resident_kib())
    print("%s: %.1f MiB resident" % (what, pod.resident_kib() / 1024))


# -------------------------------------------------------------------------------------------- init


def test_init_waits_for_the_whole_secret_and_writes_files(site, pod):
    site.secret("local", keys=("ca.crt", "tls.crt"))
    pod.configure(pod.profile("local"),
                  ["listener", {"name": "amqps", "host": "127.0.0.1", "port": free_port(),
                                "sslProfile": "local", "saslMechanisms": "EXTERNAL",
                                "authenticatePeer": True}])
    init = pod.init(wait_for_end=False)
    init.log.wait("waiting: local: Secret local has no tls.key yet")
    assert not (pod.folder / "skrouterd.json").exists()
    assert not (pod.folder / "local").exists()
    site.secret("local", fresh=False)
    assert init.wait(TIMEOUT) == 0, init.log.lines
    modes = {"ca.crt": 0o644, "tls.crt": 0o644, "tls.key": 0o600}
    for name, mode in modes.items():
        path = pod.folder / "local" / name
        assert stat.S_IMODE(path.stat().st_mode) == mode
        assert path.read_text() == site.content("ca" if name == "ca.crt" else "local",
                                                "." + name[-3:])
    assert sorted(p.name for p in (pod.folder / "local").iterdir()) == sorted(modes)
    written = json.loads((pod.folder / "skrouterd.json").read_text())
    assert [e[0] for e in written] == ["router", "listener", "address", "sslProfile", "listener"]
    pod.start_router()  # the file is one that it takes


def test_init_waits_for_the_revision_that_is_wanted(site, pod):
    site.secret("local", {"local": 1})
    pod.configure(pod.profile("local", ordinal=2))
    init = pod.init(wait_for_end=False)
    init.log.wait("waiting: local: Secret local is of revision 1, and 2 is wanted")
    site.secret("local", {"local": 2})
    assert init.wait(TIMEOUT) == 0, init.log.lines
    assert (pod.folder / "local" / "tls.crt").read_text() == site.content("local")


def test_init_waits_for_the_configuration(site, pod):
    init = pod.init(wait_for_end=False)
    init.log.wait("waiting: there is no ConfigMap skupper-router in namespace " + site.namespace)
    pod.configure()
    assert init.wait(TIMEOUT) == 0, init.log.lines


def test_a_certificate_that_never_comes_does_not_hold_up_the_router(site, pod):
    pod.configure(pod.profile("east"), listener(1),
                  ["connector", {"name": "east", "role": "inter-router", "host": "127.0.0.1",
                                 "port": str(free_port()), "sslProfile": "east"}])
    init = pod.init(SKUPPER_INIT_SECONDS="1")
    init.log.wait("the router starts without: east: there is no Secret east")
    pod.start_router()
    pod.start_agent()
    pod.wait_names("tcpListener", "listener/n1")
    site.secret("east")
    pod.wait_names("connector", "east")


def test_init_ends_when_it_is_told_to(pod):
    init = pod.init(wait_for_end=False)
    init.log.wait("waiting: ")
    init.terminate()
    assert init.wait(TIMEOUT) == 128 + signal.SIGTERM


def test_init_without_a_configuration_fails_with_words(pod):
    init = pod.init(wait_for_end=False, SKUPPER_INIT_SECONDS="0")
    assert init.wait(TIMEOUT) == 1
    init.log.wait("kube-adaptor: ")


# ----------------------------------------------------------------------------------- configuration


def test_a_change_reaches_the_running_router(pod, service):
    port, entities = service
    pod.configure()
    pod.start()
    pod.configure(*entities)
    with connect(port) as c:
        say(c)
    pod.configure()
    pod.wait_names("tcpListener")
    pod.wait_names("tcpConnector")
    written = json.loads((pod.folder / "skrouterd.json").read_text())
    assert [e[0] for e in written] == ["router", "listener", "address"]


def test_what_the_router_started_with_is_not_touched(pod, service):
    pod.configure(*service[1], ["log", {"module": "ROUTER_CORE", "enable": "error+"}])
    pod.start()
    wait(lambda: pod.metric("settled") == 1 and pod.metric("plans_total") > 0,
         lambda: pod.agent.log.lines)
    assert pod.metric("operations_total") == 0
    page = pod.get(pod.metrics, "/metrics")[1]
    assert 'skupper_kubernetes_client_http_requests_total{status_code="200"}' in page
    assert 'skupper_kubernetes_client_http_request_duration_seconds_count{endpoint="leases"}' in page
    assert "\nprocess_cpu_seconds_total " in page


def test_a_connection_lives_through_a_hundred_edits(pod, service):
    port, entities = service
    pod.configure(*entities)
    pod.start()
    with connect(port) as c:
        say(c)
        for i in range(100):
            pod.configure(*entities, listener(i))
            if i % 10 == 0:
                say(c, b"%d" % i)
        pod.wait_names("tcpListener", "listener/echo", "listener/n99")
        say(c, b"still here")
    check_rests_small(pod, "agent")


def test_five_hundred_listeners(pod):
    pod.configure()
    pod.start()
    many = [["tcpListener", {"name": "listener/n%d" % i, "host": "127.0.0.1",
                             "port": str(30000 + i), "address": "nobody-%d" % i}]
            for i in range(500)]
    many += [["tcpConnector", {"name": "connector/n%d@10.0.0.1" % i, "host": "127.0.0.1",
                               "port": "1", "address": "some-%d" % i}] for i in range(500)]
    pod.configure(*many)
    wait(lambda: pod.metric("operations_total") == 1000, lambda: pod.agent.log.lines[-5:])
    assert len(pod.names("tcpListener")) == 500
    check_rests_small(pod, "agent with 1,000 entities")


def test_a_configuration_that_cannot_be_read_changes_nothing(site, pod, service):
    port, entities = service
    pod.configure(*entities)
    pod.start()
    old = site.admin.get("configmaps", pod.group, site.namespace)
    site.admin.update("configmaps", {**old, "data": {"skrouterd.json": "[[\"router\""}},
                      site.namespace)
    pod.agent.log.wait("ConfigMap skupper-router: skrouterd.json:1:")
    site.admin.delete("configmaps", pod.group, site.namespace)
    pod.agent.log.wait("there is no ConfigMap skupper-router")
    with connect(port) as c:
        say(c)
    pod.configure(*entities, listener(1))
    pod.agent.log.wait("nothing is missing any more")
    pod.wait_names("tcpListener", "listener/echo", "listener/n1")


@pytest.mark.skipif(not PEER, reason="PEER_SKROUTERD names no existing router")
def test_the_existing_router_is_driven_as_well(site, pod, service):
    port, entities = service
    site.secret("web", {"web": 1})
    web = ["tcpListener", {"name": "listener/tls", "host": "127.0.0.1", "port": str(free_port()),
                           "address": "echo", "sslProfile": "web"}]
    log = ["log", {"module": "ROUTER_CORE", "enable": "error+"}]
    pod.configure(log, pod.profile("web", ordinal=1), *entities, web)
    pod.init()
    pod.start_existing_router()
    pod.start_agent()
    pod.wait_ready()
    wait(lambda: pod.metric("settled") == 1 and pod.metric("plans_total") > 0,
         lambda: pod.agent.log.lines)
    assert pod.metric("operations_total") == 0
    with connect(port) as c:
        say(c)
        pod.configure(log, pod.profile("web", ordinal=2), *entities, web, listener(1))
        pod.wait_names("tcpListener", "listener/echo", "listener/tls", "listener/n1")
        site.secret("web", {"web": 2})
        wait(lambda: pod.names("sslProfile")["web"]["ordinal"] == 2, lambda: pod.agent.log.lines)
        pod.configure(log, *entities)
        pod.wait_names("tcpListener", "listener/echo")
        say(c, b"still here")


# ------------------------------------------------------------------------------------ certificates


def test_half_a_secret_holds_up_only_what_needs_it(site, pod):
    pod.configure()
    pod.start()
    site.secret("east", keys=("ca.crt", "tls.key"))
    link = ["connector", {"name": "east", "role": "inter-router", "host": "127.0.0.1",
                          "port": str(free_port()), "sslProfile": "east"}]
    pod.configure(pod.profile("east"), link, listener(1))
    pod.agent.log.wait("without what is missing: east: Secret east has no tls.crt yet")
    pod.wait_names("tcpListener", "listener/n1")
    pod.wait_names("connector")
    assert not (pod.folder / "east").exists()
    assert pod.metric("waiting") == 1
    site.secret("east", fresh=False)
    pod.agent.log.wait("nothing is missing any more")
    pod.wait_names("connector", "east")
    assert (pod.folder / "east" / "tls.crt").read_text() == site.content("east")


def test_a_certificate_is_rotated_with_its_revision(site, pod):
    """Files and entity move together, whichever is written first; what is connected stays."""
    tls, plain = free_port(), free_port()
    server = Server(echo)
    site.secret("web", {"web": 1})
    entities = [["tcpConnector", {"name": "connector/x", "host": "127.0.0.1",
                                  "port": str(server.port), "address": "x"}],
                ["tcpListener", {"name": "listener/tls", "host": "127.0.0.1", "port": str(tls),
                                 "address": "x", "sslProfile": "web"}],
                ["tcpListener", {"name": "listener/x", "host": "127.0.0.1", "port": str(plain),
                                 "address": "x"}]]
    pod.configure(pod.profile("web", ordinal=1), *entities)
    pod.start()
    first = site.content("web")
    with connect(plain) as c:
        say(c)
        pod.configure(pod.profile("web", ordinal=2), *entities)
        pod.agent.log.wait("web: Secret web is of revision 1, and 2 is wanted")
        assert (pod.folder / "web" / "tls.crt").read_text() == first
        assert pod.names("sslProfile")["web"]["ordinal"] == 1
        assert set(pod.names("tcpListener")) == {"listener/tls", "listener/x"}
        site.secret("web", {"web": 2})
        wait(lambda: pod.names("sslProfile")["web"]["ordinal"] == 2, lambda: pod.agent.log.lines)
        assert (pod.folder / "web" / "tls.crt").read_text() == site.content("web") != first
        say(c, b"still here")
    pod.configure(entities[0], entities[2])
    wait(lambda: not (pod.folder / "web").exists(), "its files to be removed")
    pod.wait_names("sslProfile")
    server.close()


# ----------------------------------------------------------------------------------------- trouble


def test_a_link_goes_through_a_proxy_once_its_password_is_there(site, pod, tmp_path):
    def secret(password):
        data = {"password": base64.b64encode(password.encode()).decode()}
        body = {"metadata": {"name": "out"}, "type": "kubernetes.io/basic-auth", "data": data}
        if site.admin.find("secrets", "out", site.namespace):
            site.admin.patch("secrets", "out", body, site.namespace)
        else:
            site.admin.create("secrets", body, site.namespace)

    port, path = free_port(), pod.folder / "proxies" / "out" / "password.txt"
    other = Router(tmp_path, "other", entities=[inter_router(port)])
    with Proxy(credentials="u:s3cret-W0rd") as proxy:
        proxy.names["far.invalid:55671"] = port
        pod.configure()
        pod.start()
        pod.configure(proxy.profile(username="u", password="file:%s" % path),
                      ["connector", {"name": "east", "host": "far.invalid", "port": "55671",
                                     "role": "inter-router", "proxyProfile": "out"}])
        pod.agent.log.wait("Secret out has no password for the proxy")
        assert pod.names("connector") == {}
        secret("wrong-W0rd")
        wait(lambda: "refuses the credentials" in (pod.names("connector").get("east") or {}).get(
            "connectionMsg", ""), lambda: pod.names("connector"))
        secret("s3cret-W0rd")
        wait(lambda: pod.names("connector")["east"]["connectionStatus"] == "SUCCESS",
             lambda: pod.names("connector"))
        assert path.read_text() == "s3cret-W0rd" and stat.S_IMODE(path.stat().st_mode) == 0o600
        assert not [x for x in pod.agent.log.lines + pod.router.log.lines if "W0rd" in x]
        pod.configure()
        pod.wait_names("proxyProfile")
        wait(lambda: not path.exists(), "the password to go")
    assert other.stop() == 0


def test_an_agent_that_was_killed_finds_its_way(pod, service):
    port, entities = service
    pod.configure(*entities, listener(1))
    pod.start()
    with connect(port) as c:
        say(c)
        pod.agent.send_signal(signal.SIGKILL)
        pod.agent.wait()
        pod.configure(*entities, listener(2))
        pod.start_agent()
        pod.wait_names("tcpListener", "listener/echo", "listener/n2")
        say(c, b"still here")


def test_a_router_that_was_killed_starts_with_the_newest_configuration(pod, service):
    port, entities = service
    pod.configure()
    pod.start()
    pod.configure(*entities)
    pod.wait_names("tcpListener", "listener/echo")
    pod.router.send_signal(signal.SIGKILL)
    pod.router.wait()
    pod.agent.log.wait("the router is gone")
    pod.start_router()
    with connect(port) as c:
        say(c)
    pod.configure(*entities, listener(7))
    pod.wait_names("tcpListener", "listener/echo", "listener/n7")


def test_an_api_server_that_is_away_takes_nothing(standin, pod, service):
    port, entities = service
    pod.configure(*entities)
    pod.start()
    standin.control("restart")
    with connect(port) as c:
        say(c)
    pod.configure(*entities, listener(3))
    pod.wait_names("tcpListener", "listener/echo", "listener/n3")
    assert pod.get(pod.health, "/healthz")[0] == 200


def test_rights_that_are_taken_away_take_nothing_from_the_router(standin, site, pod, service):
    port, entities = service
    pod.configure(*entities)
    pod.start()
    binding = site.admin.get("rolebindings", "skupper-router", site.namespace)
    site.admin.delete("rolebindings", "skupper-router", site.namespace)
    standin.control("drop_watches", clean=False)
    pod.agent.log.wait("forbidden")
    with connect(port) as c:
        say(c)
    pod.configure(*entities, listener(4))
    for key in ("uid", "resourceVersion", "creationTimestamp"):
        binding["metadata"].pop(key, None)
    site.admin.create("rolebindings", binding, site.namespace)
    pod.wait_names("tcpListener", "listener/echo", "listener/n4")


def test_faults_of_the_api_server_end_in_the_same_place(standin, site, pod, service):
    pod.configure(*service[1])
    pod.start()
    network(site)
    user = "system:serviceaccount:%s:skupper-router" % site.namespace
    standin.control("fault", code=500, count=3,
                    match={"user": user, "verb": "update", "resource": "configmaps"})
    pod.configure(*service[1], listener(6))
    site.admin.await_object("configmaps", STATUS, site.namespace,
                            lambda m: "listener/n6" in m["data"]["NetworkStatus"])
    standin.control("restart", forget=True)  # 410 for every watch
    pod.configure(*service[1], listener(8))
    pod.wait_names("tcpListener", "listener/echo", "listener/n8")


def test_an_agent_at_rest_asks_for_nothing_but_its_lease(recorded, site, pod):
    pod.configure(listener(1))
    pod.start()
    network(site)
    user = "system:serviceaccount:%s:skupper-router" % site.namespace
    start = recorded.mark()
    renewals = wait(lambda: [r for r in recorded.requests(start, user=user)
                             if r["resource"] == "leases"][2:] or None, "its lease")
    assert renewals
    assert {r["resource"] for r in recorded.requests(start, user=user)} == {"leases"}
    assert pod.metric("operations_total") == 0


def test_nobody_is_ready_before_the_router_is_there(pod):
    pod.configure()
    pod.init()
    pod.start_agent()
    wait(lambda: pod.get(pod.health, "/healthz")[0] == 503, lambda: pod.agent.log.lines)
    pod.start_router()
    pod.wait_ready()


# ----------------------------------------------------------------------------------------- leading


def network(site):
    """The status, once it names the site and its router."""
    def is_told(map_):
        status = json.loads(map_["data"]["NetworkStatus"]) if map_ else {"siteStatus": []}
        return any(s["site"].get("name") == site.namespace and s["routerStatus"]
                   for s in status["siteStatus"])
    found = site.admin.await_object("configmaps", STATUS, site.namespace, is_told)
    return found, json.loads(found["data"]["NetworkStatus"])


def test_the_leader_tells_the_network_and_hands_over(site, pod, service):
    deployment = site.admin.create("deployments", {
        "metadata": {"name": "skupper-router"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "replicas": 0,
                 "template": {"metadata": {"labels": {"a": "b"}},
                              "spec": {"containers": [{"name": "router", "image": "x"}]}}}},
        site.namespace)
    pod.configure(*service[1])
    pod.start()
    other = site.make_pod("skupper-router-7d4b9-fghij")
    try:
        found, status = network(site)
        owner = found["metadata"]["ownerReferences"][0]
        assert (owner["kind"], owner["uid"]) == ("Deployment", deployment["metadata"]["uid"])
        site.admin.await_object(
            "leases", "skupper-site-leader", site.namespace,
            lambda o: o and o["metadata"].get("ownerReferences") == [owner])
        told = next(s for s in status["siteStatus"] if s["site"]["name"] == site.namespace)
        assert told["site"]["identity"] == site.id
        assert told["site"]["platform"] == "kubernetes"
        assert [r["name"] for r in told["routerStatus"][0]["listeners"]] == ["listener/echo"]
        assert pod.metric("leads") == 1

        other.amqp = pod.amqp  # beside the same router
        other.start_agent()
        other.wait_ready()
        assert other.metric("leads") == 0
        pod.agent.terminate()
        assert pod.agent.wait(TIMEOUT) == 0
        wait(lambda: other.metric("leads") == 1, lambda: other.agent.log.lines)
        pod.configure(*service[1], listener(5))
        site.admin.await_object("configmaps", STATUS, site.namespace,
                                lambda m: "listener/n5" in m["data"]["NetworkStatus"])
        check_rests_small(other, "leading agent")
    finally:
        other.stop()


def test_a_status_that_was_deleted_is_there_again(site, pod, service):
    pod.configure(*service[1])
    pod.start()
    found, status = network(site)
    for _ in range(2):
        site.admin.delete("configmaps", STATUS, site.namespace)
        again = site.admin.await_object(
            "configmaps", STATUS, site.namespace,
            lambda o: o and o["metadata"]["uid"] != found["metadata"]["uid"])
        assert json.loads(again["data"]["NetworkStatus"]) == status
        found = again


def test_a_status_that_was_deleted_before_its_write_was_answered_is_there_again(standin, site, pod):
    """The watch tells that it is gone before the answer comes, which says that it is there."""
    pod.configure()
    pod.start()
    network(site)
    standin.control("fault", hold="after", match={
        "verb": "update", "resource": "configmaps", "namespace": site.namespace,
        "user": "system:serviceaccount:%s:skupper-router" % site.namespace})
    one = listener(1)
    pod.configure(one)
    found = site.admin.await_object("configmaps", STATUS, site.namespace,
                                    lambda m: "listener/n1" in m["data"]["NetworkStatus"])
    site.admin.delete("configmaps", STATUS, site.namespace)
    # Until the agent has been told of that as well, by something of which the status says nothing.
    pod.configure(one, ["address", {"name": "later", "prefix": "later"}])
    wait(lambda: "later" in pod.names("router.config.address"), lambda: pod.agent.log.lines)
    standin.control("clear")
    again = site.admin.await_object("configmaps", STATUS, site.namespace,
                                    lambda o: o and o["metadata"]["uid"] != found["metadata"]["uid"])
    assert "listener/n1" in again["data"]["NetworkStatus"]


def test_the_status_survives_other_writers_and_names_pods(site, pod, service):
    """A conflict is read again, what others have put there stays; servers have their pod's name."""
    pod.configure(*service[1])
    pod.start()
    found, _ = network(site)
    site.admin.patch("configmaps", STATUS, {
        "metadata": {"labels": {"somebody": "else"}}, "data": {"note": "kept"}}, site.namespace)
    server = site.admin.create("pods", {
        "metadata": {"name": "backend-7d"},
        "spec": {"schedulerName": NOBODY, "containers": [
            {"name": "app", "image": "registry.example:5000/app/backend:1"}]}},
        site.namespace)
    site.admin.update("pods", {**server, "status": {"podIP": "192.0.2.7", "phase": "Running"}},
                      site.namespace, sub="status")
    pod.configure(*service[1], ["tcpConnector", {
        "name": "connector/db@192.0.2.7", "host": "192.0.2.7", "port": "5432", "address": "db",
        "processId": server["metadata"]["uid"]}])
    written = site.admin.await_object("configmaps", STATUS, site.namespace,
                                      lambda m: '"target":"backend-7d"' in m["data"]["NetworkStatus"])
    assert written["metadata"]["labels"] == {"somebody": "else"}
    assert written["data"]["note"] == "kept"
    assert written["metadata"]["uid"] == found["metadata"]["uid"]


PROVIDER, IMAGE, NODE, VERSION, GROUP = 10, 20, 22, 32, 46
PODS = (  # labels of app.kubernetes.io, image; group and mode that are told
    ({"part-of": "shop", "name": "a", "component": "b"}, "x/y:1", "shop", "external"),
    ({"part-of": "skupper", "name": "a"}, "x/y:1", "skupper", "internal"),
    ({"part-of": "skupper-network-observer"}, "y", "skupper-network-observer", "internal"),
    ({"name": "a", "component": "b"}, "x/y:1", "a", "external"),
    ({"component": "b"}, "x/y:1", "b", "external"),
    ({}, "registry.example:5000/app/backend:1", "backend", "external"),
    ({}, "app/backend@sha256:0123", "backend", "external"))


def make_server(site, number, labels, image):
    """A pod that runs on a node of which nobody knows."""
    made = site.admin.create("pods", {
        "metadata": {"name": "pod-%d" % number, "labels": {
            "app.kubernetes.io/" + k: v for k, v in labels.items()}},
        "spec": {"nodeName": "node-%d" % number, "containers": [
            {"name": "app", "image": image}, {"name": "other", "image": "other"}]}},
        site.namespace)
    return site.admin.update("pods", {**made, "status": {
        "podIP": "192.0.2.%d" % (number + 1), "phase": "Running"}}, site.namespace, sub="status")


def test_a_site_tells_of_itself_and_of_its_pods_as_processes(standin, site, pod):
    servers = [make_server(site, i, row[0], row[1]) for i, row in enumerate(PODS)]
    pod.configure()
    pod.start()
    network(site)
    here = amqp.connect("amqp://127.0.0.1:%d" % pod.amqp)
    beacon = beacon_of(site.id, here.receiver("mc/sfe.all"))
    direct = "sfe." + site.id
    assert {k: beacon.properties[k] for k in ("sourceType", "address", "direct")} == {
        "sourceType": "CONTROLLER", "address": "mc/" + direct, "direct": direct}
    receiver, told = here.receiver("mc/" + direct), {}
    here.sender(direct, settled=True).post(Message(address=direct, subject="FLUSH"))

    def take(until):
        while not until():
            message = receiver.get().accept().message
            for record in message.body if message.subject == "RECORD" else ():
                told.setdefault(record[IDENTITY], {}).update(record)

    take(lambda: len(told) == 1 + len(PODS))
    itself = told.pop(site.id)
    assert itself[VERSION]
    assert {k: itself[k] for k in (TYPE, NAME, NAMESPACE, PLATFORM, PROVIDER)} == {
        TYPE: SITE, NAME: site.name, NAMESPACE: site.namespace, PLATFORM: "kubernetes",
        PROVIDER: "kubernetes"}
    for i, (_, image, group, mode) in enumerate(PODS):
        record = told[servers[i]["metadata"]["uid"]]
        want = {TYPE: PROCESS_RECORD, PARENT: site.id, NAME: "pod-%d" % i,
                SOURCE_HOST: "192.0.2.%d" % (i + 1), IMAGE: image, NODE: "node-%d" % i,
                GROUP: group, MODE: mode}
        assert {k: record.get(k) for k in want} == want
    for server, phase in zip(servers, ("Succeeded", "Failed")):
        server["status"]["phase"] = phase
        site.admin.update("pods", server, site.namespace, sub="status")
        take(lambda: END in told[server["metadata"]["uid"]])
    assert len([r for r in told.values() if END in r]) == 2
    here.close()


def test_who_joins_hears_a_beacon_of_the_site_out_of_turn(site, pod, tmp_path):
    link = free_port()
    pod.configure(inter_router(link))
    pod.start()
    here = amqp.connect("amqp://127.0.0.1:%d" % pod.amqp)
    records, beacons = here.receiver("mc/sfe." + site.id), here.receiver("mc/sfe.all")
    last = beacon_of(site.id, beacons)
    other = Router(tmp_path, "X", entities=[link_to(link)])
    try:
        other.connect().receiver("mc/sfe.all")
        assert not is_in_turn(beacon_of(site.id, beacons), last, records)
    finally:
        other.stop()
        here.close()


def test_who_asks_for_beacons_hears_one_of_the_site_out_of_turn(site, pod):
    pod.configure()
    pod.start()
    here = amqp.connect("amqp://127.0.0.1:%d" % pod.amqp)
    records, beacons = here.receiver("mc/sfe." + site.id), here.receiver("mc/sfe.all")
    last = beacon_of(site.id, beacons)
    here.sender("mc/sfe.joined").send(amqp.Message())
    try:
        assert not is_in_turn(beacon_of(site.id, beacons), last, records)
    finally:
        here.close()


# ------------------------------------------------------------------------------------- sharing


AGENT_MAPS = 3  # ConfigMaps it watches: the configuration, services, the network's status
SYNC, REPEATED_S = "mc/$skupper-service-sync", 5  # a site repeats what it shares so often


def test_a_site_that_is_silent_for_as_long_as_the_map_says_is_forgotten(site, pod):
    """Otherwise that takes three minutes."""
    site.admin.create("configmaps", {"metadata": {"name": "skupper-services", "annotations": {
        "skupper.io/service-sync-site-ttl": "1s"}}, "data": {}}, site.namespace)
    pod.configure()
    pod.start()
    here = amqp.connect("amqp://127.0.0.1:%d" % pod.amqp)
    heard_from(here.receiver(SYNC), site.id)  # it listens
    here.sender(SYNC).post(Message(
        subject="service-sync-update-v2", properties={"origin": "far", "version": "1.8.7"},
        body=json.dumps([{"address": "web", "protocol": "tcp", "ports": [80], "targets": []}])))
    for is_there in True, False:
        site.admin.await_object("configmaps", "skupper-services", site.namespace,
                                lambda o, want=is_there: ("web" in o.get("data", {})) == want, 100)
    here.close()


def share(connection, receiver, origin, address):
    """Until all who listen have taken it, the receiver too."""
    sent = connection.sender(SYNC).post(Message(
        subject="service-sync-update-v2", properties={"origin": origin, "version": "1.8.7"},
        body=json.dumps([{"address": address, "protocol": "tcp", "ports": [80], "targets": []}])))
    heard_from(receiver, origin)
    assert sent.outcome() == Delivery.ACCEPTED


def test_what_is_heard_while_services_are_written_is_written_too(standin, site, pod):
    """The watch tells of the write before its answer comes, and of nothing later."""
    site.admin.create("configmaps", {"metadata": {"name": "skupper-services"}, "data": {}},
                      site.namespace)
    pod.configure()
    pod.start()
    here = amqp.connect("amqp://127.0.0.1:%d" % pod.amqp)
    receiver = here.receiver(SYNC)
    heard_from(receiver, site.id)
    standin.control("fault", hold="after", match={
        "verb": "update", "resource": "configmaps", "namespace": site.namespace,
        "name": "skupper-services"})
    share(here, receiver, "far", "web")
    site.admin.await_object("configmaps", "skupper-services", site.namespace,
                            lambda o: "web" in o.get("data", {}))
    # Until the agent has been told of that as well, by what comes after it.
    site.admin.patch("configmaps", "skupper-services", {"data": {"own": json.dumps(
        {"address": "own", "protocol": "tcp", "ports": [80], "targets": []})}}, site.namespace)
    while "own" not in heard_from(receiver, site.id).body:
        pass
    share(here, receiver, "farther", "db")
    standin.control("clear")
    site.admin.await_object("configmaps", "skupper-services", site.namespace,
                            lambda o: {"web", "db"} <= set(o.get("data", {})))
    here.close()


def test_what_was_written_is_not_read_again_while_the_watch_is_behind(standin, site, pod):
    """The answer to the write says what is there."""
    name = "skupper-services"
    site.admin.create("configmaps", {"metadata": {"name": name}, "data": {}}, site.namespace)
    pod.configure()
    pod.start()
    here = amqp.connect("amqp://127.0.0.1:%d" % pod.amqp)
    receiver = here.receiver(SYNC)
    heard_from(receiver, site.id)
    mark = standin.mark()
    standin.control("fault", hold=True, match={
        "verb": "watch", "resource": "configmaps",
        "user": "system:serviceaccount:%s:skupper-router" % site.namespace})
    standin.control("drop_watches", clean=True)
    wait(lambda: standin.control("held")["count"] == AGENT_MAPS, "the watches to be begun anew")
    for origin, address in ("far", "web"), ("farther", "db"):
        share(here, receiver, origin, address)
        site.admin.await_object("configmaps", name, site.namespace,
                                lambda o, there=address: there in o.get("data", {}))
    standin.control("clear")
    # Until the agent has been told of that, by what comes after it.
    site.admin.patch("configmaps", name, {"data": {"own": json.dumps(
        {"address": "own", "protocol": "tcp", "ports": [80], "targets": []})}}, site.namespace)
    while "own" not in heard_from(receiver, site.id).body:
        pass
    asked = [r["verb"] for r in standin.requests(mark, agent="skupper-agent")
             if r["resource"] == "configmaps" and r.get("name") == name and r["verb"] != "watch"]
    assert asked == ["get", "update"] * 2
    here.close()


def heard_from(receiver, origin):
    while True:
        message = receiver.get().accept().message
        if message.properties["origin"] == origin:
            return message


def gap(site, pod, come):
    """Between something that the site said and what it said next, to whom `come` makes come."""
    here = amqp.connect("amqp://127.0.0.1:%d" % pod.amqp)
    heard_from(here.receiver(SYNC), site.id)
    since = time.monotonic()
    message = heard_from(come(here), site.id)
    assert json.loads(message.body)[0]["address"] == "web"
    here.close()
    return time.monotonic() - since


@pytest.mark.parametrize("who", ["a listener", "a link", "a site"])
def test_who_comes_hears_of_services_before_they_are_repeated(site, pod, tmp_path, who):
    """Nothing is said twice within less than the time between repetitions otherwise, so one time
    is proof; some more are tried, as this machine may stand still for a while."""
    link, made = free_port(), []
    site.admin.create("configmaps", {"metadata": {"name": "skupper-services"}, "data": {
        "web": json.dumps({"address": "web", "protocol": "tcp", "ports": [80],
                           "exposeIngress": "", "targets": []})}}, site.namespace)
    pod.configure(inter_router(link))
    pod.start()

    def come(here):
        if who == "a site":
            receiver, origin = here.receiver(SYNC), "site-%d" % len(made)
            made.append(origin)
            here.sender(SYNC).post(Message(subject="service-sync-update-v2", body="[]",
                                           properties={"origin": origin, "version": "1.8.7"}))
            return receiver
        receiver = made[-1].connect().receiver(SYNC)
        if who == "a link":
            _, connector = link_to(link)
            Management(made[-1]).request("CREATE", "io.skupper.router.connector", connector,
                                         name=connector["name"])
        return receiver

    gaps = []
    try:
        while not gaps or gaps[-1] >= REPEATED_S * 0.9:
            assert len(gaps) < 5, gaps
            if who != "a site":
                made.append(Router(tmp_path, "X%d" % len(gaps),
                                   entities=[link_to(link)] * (who == "a listener")))
            if who == "a listener":
                made[-1].wait_reaches("%s-%s" % (site.namespace, pod.name))
            gaps.append(gap(site, pod, come))
    finally:
        for router in made if who != "a site" else ():
            router.stop()
