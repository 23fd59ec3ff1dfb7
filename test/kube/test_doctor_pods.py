# SPDX-License-Identifier: Apache-2.0
"""`skupper link doctor` in a cluster: its steps are taken by the agent in the router's pod."""

import base64
import contextlib
import datetime
import json
import shutil
import socket

import pytest
from proton import Message

import certificates
import control
from cli import Cli
from control import kind
from harness import Management, Router, free_port, wait_port
from pods import PEER, Site, wait
from strangers import tls_server

ADDRESS, KEY = "_local/skupper.link-doctor", "Lskupper.link-doctor"
NOT_A_NAME = "a" * 64 + ".example.org"  # which no DNS needs to be asked for
READ = [{"apiGroups": [""], "resources": ["pods", "secrets"], "verbs": ["get", "list"]},
        {"apiGroups": ["skupper.io"], "resources": ["*"], "verbs": ["get", "list"]}]


@pytest.fixture(scope="module")
def papers(tmp_path_factory):
    """Certificates of the CA of the link, and of a foreign one."""
    folder = tmp_path_factory.mktemp("papers")
    day = datetime.timedelta(days=1)
    now = datetime.datetime.now(datetime.timezone.utc)
    certificates.make_at(folder, "ca", "ca", now - 3 * day, now + 3 * day)
    certificates.make_authority(folder, "foreign")
    certificates.make_certificate(folder, "ca", "server")
    certificates.make_certificate(folder, "ca", "client")
    certificates.make_at(folder, "ca", "ended", now - 2 * day, now - day)
    certificates.make_certificate(folder, "foreign", "stranger")
    return folder


def start_agent(pod):
    """Until it can be asked."""
    pod.start_agent()
    pod.wait_ready()
    management = pod.manage()
    wait(lambda: [a for a in management.query("router.address", ["key", "subscriberCount"])
                  if a["key"] == KEY and a["subscriberCount"]], lambda: pod.agent.log.lines)
    management.close()


class Place:
    """A site with a link "out" that is shown the certificate `client`, as its controller has it."""

    def __init__(self, cluster, ns, folder, papers):
        self.cluster, self.ns, self.folder, self.papers = cluster, ns, folder, papers
        control.prepare(cluster)
        self.site = Site(cluster, ns, folder)
        self.cli = Cli(cluster, ns, home=folder)
        self.pods, self.others = [], []

    def secret(self, client="client"):
        for name in ("ca.crt", "ca.key"):
            shutil.copy(self.papers / name, self.site.authorities / name)
        for suffix in (".crt", ".key"):
            shutil.copy(self.papers / (client + suffix), self.site.authorities / ("out" + suffix))
        self.site.secret("out", {"out-profile": 0}, fresh=False)

    def link(self, host, port):
        self.cluster.admin.create(kind("links"), control.resource(
            "Link", "out", tlsCredentials="out",
            endpoints=[{"name": "inter-router", "host": host, "port": str(port)}]), self.ns)

    def pod(self, host, port, name="skupper-router-1", group="skupper-router", agent=True,
            existing=False, **attributes):
        """A router with the link, and its agent."""
        pod = self.site.make_pod(name, group=group)
        self.pods.append(pod)
        pod.configure(pod.profile("out-profile"), ["connector", {
            "name": "out", "role": "inter-router", "host": host, "port": str(port),
            "sslProfile": "out-profile", **attributes}])
        pod.init()
        if existing:
            pod.start_existing_router()
        else:
            pod.start_router()
        if agent:
            start_agent(pod)
        self.cluster.run_pod(self.ns, name, {"skupper.io/component": "router"}, "127.0.0.1")
        self.cluster.admin.patch("pods", name, {"metadata": {"annotations": {
            "standin/port-5672": str(pod.amqp)}}}, self.ns)
        return pod

    def router(self):
        """Of another site, that takes the link; its port."""
        port = free_port()
        self.others.append(Router(self.folder, "other", entities=[
            ["sslProfile", {"name": "p", **certificates.profile(self.papers, "server", "ca")}],
            ["listener", {"name": "in", "role": "inter-router", "host": "127.0.0.1", "port": port,
                          "sslProfile": "p", "saslMechanisms": "EXTERNAL",
                          "authenticatePeer": True}]]))
        wait_port(port)
        return port

    def report(self, cli=None, status=1):
        text = (cli or self.cli).run("link", "doctor", "out", "-o", "json", "--timeout", "30s",
                                     status=status)
        key = self.site.content("out", ".key").splitlines()[1]
        assert key not in text
        return json.loads(text)

    def close(self):
        for one in [*self.pods, *self.others]:
            one.stop()


@pytest.fixture
def place(standin, namespace, tmp_path, papers):
    made = Place(standin, namespace, tmp_path, papers)
    yield made
    made.close()


def failed(report):
    """{step: (message, next)} of what failed, other than what the router itself says."""
    for step in report["steps"]:
        assert step["pod"] and step["result"] in ("ok", "failed"), step
    return {s["step"]: (s["message"], s["next"]) for s in report["steps"]
            if s["result"] == "failed" and s["step"] != "router"}


# ------------------------------------------------------------------------------------------- steps


def test_a_link_that_is_well(place):
    port = place.router()
    place.secret()
    place.link("127.0.0.1", port)
    pod = place.pod("127.0.0.1", port)
    wait(lambda: pod.names("connector")["out"]["connectionStatus"] == "SUCCESS", "the link")
    report = place.report(status=0)
    assert report["result"] == "ok" and not failed(report)
    assert {s["pod"] for s in report["steps"]} == {pod.name}
    assert [s["step"] for s in report["steps"]] == [
        "router", "credentials", "expiry", "name", "route", "port", "tls", "certificate", "expiry",
        "accepted", "protocol"]
    assert 'router "other"' in report["steps"][-1]["message"]
    text = place.cli.run("link", "doctor", "--timeout", "30s")
    assert "  in the pod %s\n" % pod.name in text and "from this machine" not in text
    assert "  to inter-router 127.0.0.1:%d\n" % port in text and "  at 127.0.0.1\n" in text
    assert text.endswith("All is well.\n")


def nowhere(host):
    return lambda _: (contextlib.nullcontext(), host, free_port())


def showing(name):
    def serve(papers):
        server = tls_server(papers, name, b"")
        return contextlib.closing(server), "127.0.0.1", server.port
    return serve


@pytest.mark.parametrize("trouble, client, step, words, next_words", [
    (nowhere(NOT_A_NAME), "client", "name", "has no address", "NetworkPolicy"),
    (nowhere("127.0.0.1"), "client", "port", "is refused", "does it accept links"),
    (showing("stranger"), "client", "certificate", "is the CA that is trusted", "a new token"),
    (showing("ended"), "client", "expiry", "(theirs) has ended", "have it renewed there"),
    (showing("server"), "ended", "expiry", "(ours) has ended", "link anew"),
], ids=["no such name", "refused", "foreign", "ended", "ours ended"])
def test_each_trouble_is_found_at_its_step(place, papers, trouble, client, step, words, next_words):
    server, host, port = trouble(papers)
    place.secret(client)
    place.link("127.0.0.1", free_port())  # what stands there is not what the pod goes by
    place.pod(host, port)
    with server:
        report = place.report()
        found = failed(report)
        assert words in found[step][0] and next_words in found[step][1], report
        # Who is no router does not speak as one, which is told too.
        assert set(found) <= {step, "accepted", "protocol"}, report
        text = place.cli.run("link", "doctor", "--timeout", "30s", status=1)
        assert words in text and "from this machine" not in text


def test_each_of_two_routers_tells_what_it_meets(place):
    port, gone = place.router(), free_port()
    place.secret()
    place.link("127.0.0.1", port)
    place.pod("127.0.0.1", port, name="skupper-router-1")
    place.pod("127.0.0.1", gone, name="skupper-router-2", group="skupper-router-2")
    report = place.report()
    assert report["result"] == "failed"
    said = {(s["pod"], s["step"]): s for s in report["steps"]}
    assert said["skupper-router-1", "protocol"]["result"] == "ok"
    assert said["skupper-router-2", "port"]["result"] == "failed"
    text = place.cli.run("link", "doctor", "--timeout", "30s", status=1)
    first, second = text.index("in the pod skupper-router-1"), text.index("pod skupper-router-2")
    assert first < text.index("127.0.0.1:%d" % port) < second < text.index("127.0.0.1:%d" % gone)


# ------------------------------------------------------------------------------ if it is not asked


def test_without_an_agent_that_knows_it_the_steps_are_taken_from_here(place):
    gone = free_port()
    place.secret()
    place.link("127.0.0.1", gone)
    place.pod("127.0.0.1", gone, agent=False)
    report = place.report()
    said = {s["step"]: s for s in report["steps"]}
    assert said["agent"]["result"] == "skipped" and said["agent"]["pod"] == "skupper-router-1"
    assert "of an older release" in said["agent"]["message"]
    assert said["port"]["result"] == "failed" and "pod" not in said["port"]
    text = place.cli.run("link", "doctor", "--timeout", "30s", status=1)
    assert text.index("in the pod") < text.index("from this machine") < text.index("port %d" % gone)


@pytest.mark.skipif(not PEER, reason="PEER_SKROUTERD names no existing router")
def test_the_existing_router_leads_to_its_agent_as_well(place):
    gone = free_port()
    place.secret()
    place.link("127.0.0.1", gone)
    pod = place.pod("127.0.0.1", gone, agent=False, existing=True)
    said = {s["step"]: s for s in place.report()["steps"]}
    assert "of an older release" in said["agent"]["message"] and "pod" not in said["port"]
    start_agent(pod)
    assert list(failed(place.report())) == ["port"]


def test_who_may_not_come_to_the_router_may_not_ask(place):
    port = place.router()
    place.secret()
    place.link("127.0.0.1", port)
    pod = place.pod("127.0.0.1", port)
    place.cluster.account(place.ns, "reader", READ)
    account = place.cluster.kubeconfig_for(place.cluster.token(place.ns, "reader"), place.ns)
    reader = Cli(place.cluster, place.ns, home=place.folder, kubeconfig=account)
    said = {s["step"]: s for s in place.report(reader, status=0)["steps"]}
    assert said["router"]["result"] == "skipped"
    assert "pods/portforward" in said["router"]["message"]
    assert said["protocol"]["result"] == "ok" and "pod" not in said["protocol"]
    assert not [line for line in pod.agent.log.lines if "takes the steps" in line]


# ----------------------------------------------------------------------------------------- requests


def ask(management, name, operation="EXAMINE-LINK"):
    answer = management.request(operation, "org.amqp.management", name=name)
    return answer.properties["statusCode"], answer.body


def test_nothing_but_a_link_of_the_router_can_be_named(place):
    place.secret()
    pod = place.pod("127.0.0.1", free_port())
    management = Management(None, ADDRESS, connection=pod.manage().connection)
    for name in ("in", "amqp", "127.0.0.1:22", "other.example.org", "../out", "-help"):
        assert ask(management, name) == (404, None), name
    for name in ("", "two words", "line\nline", "x" * 254):
        assert ask(management, name) == (400, None), name
    assert ask(management, "out", "READ") == (501, None)
    status, told = ask(management, "out")
    assert status == 200 and {s["step"] for s in told["steps"]} >= {"credentials", "port"}
    key = base64.b64encode(pod.site.content("out", ".key").encode()).decode()
    assert key not in json.dumps(told) and "PRIVATE" not in "".join(pod.agent.log.lines)


def test_nobody_is_answered_elsewhere(place):
    """The answer goes to clients of this router, not to an address that others hear."""
    place.secret()
    pod = place.pod("127.0.0.1", free_port())
    management = Management(None, ADDRESS, connection=pod.manage().connection)
    management.sender.post(Message(properties={"operation": "EXAMINE-LINK", "name": "out"}, body={},
                                   reply_to="somebody", correlation_id="0"))
    management.sender.post(Message(properties={"operation": "EXAMINE-LINK", "name": "out"}, body={},
                                   correlation_id="0"))
    assert ask(management, "nobody")[0] == 404
    pod.agent.log.wait("link=nobody")
    assert [line.split("link=")[1].split()[0] for line in pod.agent.log.lines
            if "takes the steps" in line] == ["nobody"]


def test_one_at_a_time_and_an_agent_that_ends_meanwhile(place):
    """The other side takes the connections and says nothing, so that each step lasts."""
    silent = socket.create_server(("127.0.0.1", 0))
    port = silent.getsockname()[1]
    place.secret()
    pod = place.pod("127.0.0.1", port, alternates=",".join(4 * ["127.0.0.1:%d" % port]))
    management = Management(None, ADDRESS, connection=pod.manage().connection)
    management.sender.post(Message(properties={"operation": "EXAMINE-LINK", "name": "out"}, body={},
                                   reply_to=management.reply_to, correlation_id="0"))
    assert ask(management, "out") == (503, None)
    pod.agent.terminate()
    assert pod.agent.wait(60) == 0, pod.agent.log.lines
    silent.close()
