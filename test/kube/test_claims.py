# SPDX-License-Identifier: Apache-2.0
"""Claims of version 1 at sites without resource definitions: given, redeemed, refused."""

import base64
import concurrent.futures
import http.client
import json
import socket
import ssl
import subprocess

import pytest
import yaml

from cli import Cli
from pods import free_port
from test_grants import access_token, issue, serve, two_routers  # noqa: F401 (fixtures)
from test_trouble import event_of
from test_version_1 import Place

PASSWORD = "a very secret password"
URL, MADE, LEFT = ("skupper.io/" + w for w in ("url", "claims-made", "claims-remaining"))
END, BY = "skupper.io/claim-expiration", "skupper.io/generated-by"
FAILED, STATUS = "internal.skupper.io/last-failed", "internal.skupper.io/status"


def encoded(text):
    return base64.b64encode(text.encode()).decode()


def notes_of(secret):
    return (secret or {}).get("metadata", {}).get("annotations", {})


class Site(Place):
    """A site of version 1, its claims, and who redeems them as a site of version 1 would."""

    def begin(self, name):
        self.uid = self.site(name=name, ingress="none")["metadata"]["uid"]

    def record(self, name, **notes):
        """What `skupper token create` of version 1 keeps of a claim; waits until it is served."""
        self.admin.create("secrets", {
            "metadata": {"name": name, "labels": {"skupper.io/type": "token-claim-record"},
                         "annotations": {"skupper.io/" + k.replace("_", "-"): v
                                         for k, v in notes.items()}},
            "data": {"password": encoded(PASSWORD)}}, self.ns)
        made = self.admin.await_object("secrets", name, self.ns, lambda o: URL in notes_of(o), 120)
        return notes_of(made)[URL]

    def notes(self, name):
        return notes_of(self.admin.get("secrets", name, self.ns))

    def ask(self, url, password=PASSWORD, method="POST", query="?site-version=1.9.6"):
        """(status, text) of one request."""
        ca = self.admin.get("secrets", "skupper-site-ca", self.ns)["data"]["tls.crt"]
        tls = ssl.create_default_context(cadata=base64.b64decode(ca).decode())
        tls.minimum_version = ssl.TLSVersion.TLSv1_3
        place, _, path = url.removeprefix("https://").partition("/")
        connection = http.client.HTTPSConnection(place, context=tls, timeout=60)
        try:
            connection.request(method, "/" + path + query, body=password.encode(),
                               headers={"skupper-site-name": "the-other-site"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()


@pytest.fixture
def west(cluster):
    return Site(cluster)


def test_whoever_has_the_password_gets_a_token_and_is_counted(west):
    with west.redeeming() as c:
        west.begin("west")
        url = west.record("mine", claims_remaining="2")
        status, text = west.ask(url)
        assert status == 200, text
        token = yaml.safe_load(text)
        assert (token["apiVersion"], token["kind"]) == ("v1", "Secret")
        assert token["metadata"]["labels"] == {"skupper.io/type": "connection-token"}
        assert token["metadata"]["annotations"] == {
            BY: west.uid, "skupper.io/site-version": "1.9.6",  # sites of version 1 refuse what is old
            "inter-router-host": "skupper-router." + west.ns, "inter-router-port": "55671",
            "edge-host": "skupper-router." + west.ns, "edge-port": "45671"}
        assert sorted(token["data"]) == ["ca.crt", "tls.crt", "tls.key"]
        assert (west.notes("mine")[MADE], west.notes("mine")[LEFT]) == ("1", "1")
        assert west.ask(url)[0] == 200
        assert west.ask(url) == (404, "No such claim\n")
        assert (west.notes("mine")[MADE], west.notes("mine")[LEFT]) == ("2", "0")
        assert PASSWORD not in c.text()


def test_a_refusal_is_never_counted(west):
    with west.redeeming():
        west.begin("west")
        url = west.record("mine", claims_remaining="1")
        old = west.record("old", claim_expiration="2020-01-01T00:00:00Z")
        broken = west.record("broken", claims_remaining="few")
        refusals = [
            (west.ask(url, "another"), (403, "Claim refused\n")),
            (west.ask(url, method="GET"), (405, "Only POST is supported\n")),
            (west.ask(url + "x"), (404, "No such claim\n")),
            (west.ask(url.replace("mine", "skupper-site-ca")), (404, "No such claim\n")),
            (west.ask(old), (404, "No such claim\n")),
            (west.ask(broken), (500, "Corrupted claim\n"))]
        for got, wanted in refusals:
            assert got == wanted
        assert west.ask(url, query="?site-version=0.7.3")[0] == 400
        for name in ("mine", "old", "broken"):
            assert MADE not in west.notes(name)
        assert west.ask(url)[0] == 200
        # Without a limit, and for ever.
        free = west.record("free")
        assert [west.ask(free)[0] for _ in range(3)] == [200] * 3
        assert west.notes("free")[MADE] == "3" and LEFT not in west.notes("free")


def test_of_many_at_once_only_as_many_as_are_allowed_get_one(west):
    with west.redeeming():
        west.begin("west")
        url = west.record("mine", claims_remaining="3")
        with concurrent.futures.ThreadPoolExecutor(8) as several:
            given = sorted(s for s, _ in several.map(lambda _: west.ask(url), range(8)))
        # Who was told to come again may do so: there is nothing left, or there is.
        while given.count(200) < 3 and 503 in given:
            given.remove(503)
            given.append(west.ask(url)[0])
        assert given.count(200) == 3 and set(given) <= {200, 404, 503, 429}
        assert (west.notes("mine")[MADE], west.notes("mine")[LEFT]) == ("3", "0")


def test_a_claim_becomes_a_link(cluster, west, tmp_path):
    cluster.run_deployments()
    a, other = west.admin, Site(cluster)
    cli, far = (Cli(cluster, p.ns, home=tmp_path) for p in (west, other))
    with west.redeeming(), other.redeeming():
        cli.run("init", "--site-name", "west", "--ingress", "none")
        far.run("init", "--site-name", "east", "--ingress", "none")
        said = cli.run("token", "create", "claim.yaml", "--name", "for-east")
        assert said.endswith("(Note: token will only be valid for local cluster)\n"
                             "Token written to claim.yaml \n")
        claim = yaml.safe_load((tmp_path / "claim.yaml").read_text(encoding="utf-8"))
        assert claim["metadata"]["labels"] == {"skupper.io/type": "token-claim"}
        assert sorted(claim["metadata"]["annotations"]) == [
            END, BY, "skupper.io/site-version", URL]
        assert sorted(claim["data"]) == ["ca.crt", "password"]
        assert far.run("link", "create", "claim.yaml", "--cost", "4").endswith(
            'Token "link1" has been redeemed.\n'
            "Check the status of the link using 'skupper link status'.\n")
        link = a.get("secrets", "link1", other.ns)
        assert link["metadata"]["labels"]["skupper.io/type"] == "connection-token"
        assert sorted(link["data"]) == ["ca.crt", "tls.crt", "tls.key"]
        assert not {URL, END, STATUS, FAILED} & set(notes_of(link))
        assert notes_of(link)["skupper.io/cost"] == "4"

        def is_linked(o):
            return bool(o) and ["connector", "link1", "skupper-router." + west.ns, 4] in [
                [t, e.get("name"), e.get("host"), e.get("cost")]
                for t, e in json.loads(o["data"]["skrouterd.json"])]

        a.await_object("configmaps", "skupper-router", other.ns, is_linked, 120)
        assert "Already connected to" in far.run("link", "create", "claim.yaml", status=2)
        assert "to self" in cli.run("link", "create", "claim.yaml", status=2)
        # Used up: as kubectl would apply it, once more and under another name.
        claim["metadata"]["name"] = "again"
        a.create("secrets", claim, other.ns)
        lost = notes_of(a.await_object("secrets", "again", other.ns,
                                       lambda o: FAILED in notes_of(o), 120))
        assert "404 No such claim" in lost[STATUS]
        row = next(r for r in far.run("link", "status").splitlines() if r.startswith("again"))
        assert row.split()[1] == "Error"


def test_a_token_of_version_2_becomes_a_link_without_our_kinds(west, serve, tmp_path):
    """There is no AccessToken to be made here: the claim's Secret says that it is one."""
    west.cluster.run_deployments()
    server, a = serve(allowed=1), west.admin
    code, cli = server.code, Cli(west.cluster, west.ns, home=tmp_path)
    with west.redeeming() as c:
        cli.run("init", "--site-name", "west", "--ingress", "none")
        assert 'Token "link1" has been redeemed.' in cli.run(
            "link", "create", "token.yaml", "--cost", "3")
        link = a.get("secrets", "link1", west.ns)
        assert link["metadata"]["labels"]["skupper.io/type"] == "connection-token"
        assert sorted(link["data"]) == ["ca.crt", "tls.crt", "tls.key"]
        # It was redeemed as what it is: the other site was told for whom the link is.
        subject = subprocess.run(["openssl", "x509", "-noout", "-subject"], check=True,
                                 input=base64.b64decode(link["data"]["tls.crt"]),
                                 capture_output=True).stdout.decode()
        site = a.get("configmaps", "skupper-site", west.ns)["metadata"]["uid"]
        assert subject.strip().endswith("CN = " + site)
        notes = notes_of(link)
        assert notes["inter-router-port"] == "55671" and notes["skupper.io/cost"] == "3"
        assert not {URL, STATUS, FAILED, "internal.skupper.io/claim-kind"} & set(notes)
        assert server.used() == 1 and code not in c.text()
        # Once it is used up it will never make a link again, and that is said.
        said = cli.run("token", "redeem", "token.yaml", status=1)
        assert "has not been redeemed" in said


def test_a_token_of_a_site_with_two_routers_becomes_a_link_to_each(west, issue, tmp_path):
    west.cluster.run_deployments()
    a, cli = west.admin, Cli(west.cluster, west.ns, home=tmp_path)
    (tmp_path / "token.yaml").write_text(access_token(tmp_path, issue(two_routers)),
                                         encoding="utf-8")
    with west.redeeming():
        cli.run("init", "--site-name", "west", "--ingress", "none")
        cli.run("link", "create", "token.yaml", "--cost", "3")
        first, second = (a.get("secrets", n, west.ns) for n in ("link1", "link1-2"))
        for number, secret in (1, first), (2, second):
            assert secret["metadata"]["labels"]["skupper.io/type"] == "connection-token"
            assert secret["data"] == {"ca.crt": "Q0E=", "tls.crt": "Q0VSVA==", "tls.key": "S0VZ"}
            assert notes_of(secret).items() >= {
                "inter-router-host": "r%d.example" % number, "inter-router-port": "55671",
                "skupper.io/cost": "3"}.items()

        def is_linked(o):
            return bool(o) and {("link1", "r1.example"), ("link1-2", "r2.example")} <= {
                (e.get("name"), e.get("host")) for t, e in json.loads(o["data"]["skrouterd.json"])
                if t == "connector"}

        a.await_object("configmaps", "skupper-router", west.ns, is_linked, 120)
        # What bears the name of a further link stays, and the first is made without it.
        a.create("secrets", {"metadata": {"name": "link2-2"}, "data": {"mine": "eA=="}}, west.ns)
        cli.run("link", "create", "token.yaml")
        assert a.get("secrets", "link2-2", west.ns)["data"] == {"mine": "eA=="}
        # Who deletes the link that the token became deletes all of it.
        cli.run("link", "delete", "link1")
        a.await_gone("secrets", "link1-2", west.ns)


def test_what_may_be_put_right_is_tried_again(cluster, west):
    """The other site is away: that is told, and no end of it."""
    with west.redeeming():
        west.begin("west")
        west.admin.create("secrets", {
            "metadata": {"name": "far", "labels": {"skupper.io/type": "token-claim"},
                         "annotations": {URL: "https://127.0.0.1:1/far"}},
            "data": {"password": encoded(PASSWORD), "ca.crt": west.admin.await_object(
                "secrets", "skupper-site-ca", west.ns, bool, 120)["data"]["tls.crt"]}}, west.ns)
        told = west.admin.await_object("secrets", "far", west.ns,
                                       lambda o: STATUS in notes_of(o), 120)
        assert "is it reachable from here" in notes_of(told)[STATUS]
        assert FAILED not in notes_of(told)


def test_a_claim_of_its_own_is_not_redeemed(west):
    with west.redeeming():
        west.begin("west")
        west.admin.create("secrets", {
            "metadata": {"name": "own", "labels": {"skupper.io/type": "token-claim"},
                         "annotations": {URL: "https://127.0.0.1:1/own", BY: west.uid}},
            "data": {"password": encoded(PASSWORD), "ca.crt": encoded("x")}}, west.ns)
        told = west.admin.await_object("secrets", "own", west.ns,
                                       lambda o: FAILED in notes_of(o), 120)
        assert "to self" in notes_of(told)[STATUS]


def test_a_port_for_claims_that_is_taken_is_told_and_waited_for(west):
    with socket.create_server(("0.0.0.0", free_port())) as taken, west.redeeming(
            taken.getsockname()[1]) as c:
        west.begin("west")
        made = west.admin.create("secrets", {
            "metadata": {"name": "mine", "labels": {"skupper.io/type": "token-claim-record"}},
            "data": {"password": encoded(PASSWORD)}}, west.ns)
        event_of(west, made, "port %d: Address already in use" % taken.getsockname()[1])
        assert c.text().count("claims cannot be redeemed") == 1
        assert URL not in west.notes("mine")
        taken.close()
        told = west.admin.await_object("secrets", "mine", west.ns, lambda o: URL in notes_of(o),
                                       120)
        assert west.ask(notes_of(told)[URL])[0] == 200


def test_who_cannot_be_reached_says_so(west):
    """The controller is no pod, and was not told where it is reached."""
    with west.controller():
        west.begin("west")
        made = west.admin.create("secrets", {
            "metadata": {"name": "mine", "labels": {"skupper.io/type": "token-claim-record"}},
            "data": {"password": encoded(PASSWORD)}}, west.ns)
        event_of(west, made, "-claims-base-url")
