# SPDX-License-Identifier: Apache-2.0
"""Sites on one host: linked by tokens, sharing services, surviving what happens to them."""

import contextlib
import json
import os
import socket
import socketserver
import threading
import time

import pytest
import sites as s
import yaml
from harness import free_port
from test_grants import access_token, issue, two_routers  # noqa: F401 (a fixture)


class Echo(socketserver.ThreadingTCPServer):
    """Answers each line with its own name and the line."""

    daemon_threads = allow_reuse_address = True

    def __init__(self, name, port=0):
        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                for line in self.rfile:
                    self.wfile.write(name.encode() + b" " + line)

        super().__init__(("127.0.0.1", port), Handler)
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def close(self):
        self.shutdown()
        self.server_close()


@pytest.fixture
def home(tmp_path):
    with_sites = s.Sites(tmp_path)
    yield with_sites
    with_sites.close()


@pytest.fixture
def pair(home):
    """West, which accepts links, and east, which is linked to it."""
    west = home.site("west", "--enable-link-access")
    east = home.site("east")
    east.link_to(west)
    s.until("the link is up", lambda: is_linked(east))
    return west, east


def link_name(site):
    return json.loads(site.run("link", "status", "-o", "json"))["metadata"]["name"]


def is_linked(site):
    return site.condition("Link", link_name(site), "Operational") == ("True", "OK")


def expose(site, server, address, port):
    site.run("expose", "host", "localhost:%d" % server.port, "--address", address, "--port",
             str(port))


def test_the_status_of_a_link_waits_until_it_works(home):
    west, east = home.site("west", "--enable-link-access"), home.site("east")
    east.link_to(west)
    said = east.run("link", "status", "--wait", "20").splitlines()
    assert said[1].split()[1:] == ["Ready", "1", "OK"]
    # One that never will is not waited for longer.
    east.apply("""apiVersion: skupper.io/v2alpha1
kind: Link
metadata: {name: nowhere}
spec:
  tlsCredentials: none
  endpoints: [{name: inter-router, host: 127.0.0.1, port: "1"}]
""")
    begin = time.monotonic()
    assert "Status\t: Ready" not in east.run("link", "status", "nowhere", "--wait", "1")
    assert time.monotonic() - begin >= 1


def test_a_service_exposed_at_one_site_is_there_at_the_other(pair):
    west, east = pair
    server, port = Echo("east"), free_port()
    expose(east, server, "db", port)
    s.until("db answers at west", lambda: s.talk(west.host, port, "x") == "east x")
    assert "db:%d" % port in west.run("service", "status")
    east.run("unexpose", "host", "localhost", "--address", "db")
    s.until("db is gone at west", lambda: not s.connects(west.host, port))
    s.until("nobody offers it", lambda: "No services defined" in west.run("service", "status"))
    server.close()


def test_each_site_sees_the_whole_network(pair):
    west, east = pair
    server, port = Echo("east"), free_port()
    expose(east, server, "db", port)

    def is_complete(site):
        text = site.run("network", "status")
        return all(w in text for w in ("west", "east", "offers db", "uses db:%d" % port,
                                       "to west (up"))

    for site in pair:
        s.until("%s sees it" % site.name, lambda: is_complete(site))
    wests = json.loads(west.run("network", "status", "-o", "json"))
    easts = json.loads(east.run("network", "status", "-o", "json"))
    assert [x["site"]["identity"] for x in wests["siteStatus"]] == \
        [x["site"]["identity"] for x in easts["siteStatus"]]
    server.close()


def test_killing_the_agent_interrupts_nothing_and_the_next_one_takes_over(pair):
    west, east = pair
    server, port = Echo("east"), free_port()
    expose(east, server, "db", port)
    s.until("db answers", lambda: s.talk(west.host, port, "x") == "east x")
    router = west.pid("router")
    with socket.create_connection((west.host, port), timeout=10) as held:
        lines = held.makefile("rw")
        for number in range(3):
            west.kill("agent")
            lines.write("%d\n" % number)
            lines.flush()
            assert lines.readline() == "east %d\n" % number
            west.run("system", "start")
        lines.write("last\n")
        lines.flush()
        assert lines.readline() == "east last\n"
    assert west.pid("router") == router
    server.close()


def test_grants_move_to_another_port_when_theirs_is_taken(home):
    west, east = home.site("west", "--enable-link-access"), home.site("east")
    west.kill("agent")
    kept = west.root / "internal" / "state.json"
    state = json.loads(kept.read_text())
    with socket.create_server(("0.0.0.0", free_port())) as taken:
        port = taken.getsockname()[1]
        state["ports"]["skupper-grant-server/https"] = port
        kept.write_text(json.dumps(state))
        west.run("system", "start")
        east.link_to(west)
    assert "tokens are not redeemed at port %d any more" % port in west.log("agent")


def test_a_router_that_dies_is_started_again_and_everything_comes_back(pair):
    west, east = pair
    server, port = Echo("east"), free_port()
    expose(east, server, "db", port)
    s.until("db answers", lambda: s.talk(west.host, port, "x") == "east x")
    for site in pair:
        old = site.pid("router")
        site.kill("router")
        s.until("another runs", lambda: site.pid("router") != old)
        s.until("db answers again", lambda: s.talk(west.host, port, "x") == "east x")
    server.close()


def test_a_configuration_that_somebody_touched_is_set_right_when_it_is_read(home):
    west = home.site("west")
    file = west.root / "runtime" / "router" / "skrouterd.json"
    text = file.read_text()
    file.write_text(text + "\n")
    west.kill("router")
    s.until("another reads it", lambda: file.read_text() == text)
    # And when somebody asks for it.
    file.unlink()
    west.run("system", "reload")
    s.until("it is written", file.exists)
    assert file.read_text() == text


def test_uninstalling_touches_nothing_while_a_site_runs_and_leaves_nothing_when_forced(home):
    idle = home.site("a-first", start=False)
    running = [home.site(name) for name in ("b", "c")]
    pids = [site.pid(which) for site in running for which in ("agent", "router")]
    with pytest.raises(s.Failed, match="Active sites detected"):
        home.run("system", "uninstall")
    assert idle.root.exists() and not any(s.has_ended(pid) for pid in pids)
    home.run("system", "uninstall", "--force")
    assert all(s.has_ended(pid) for pid in pids) and not home.home.exists()


def test_a_link_goes_to_the_endpoint_that_answers(home):
    west, east = home.site("west", "--enable-link-access"), home.site("east")
    east.link_to(west)
    path = next((east.root / "input" / "resources").glob("Link-*.yaml"))
    name = path.stem.split("-", 1)[1]
    up = ("True", "OK")
    s.until("it is up", lambda: east.condition("Link", name, "Operational") == up)
    dead = "  - host: 127.0.0.1\n    name: inter-router\n    port: \"%d\"\n" % free_port()
    path.write_text(path.read_text().replace("  endpoints:\n", "  endpoints:\n" + dead))
    s.until("it has both", lambda: "alternates" in (
        east.root / "runtime" / "router" / "skrouterd.json").read_text())
    server, port = Echo("west"), free_port()
    west.run("connector", "create", "db", str(server.port), "--host", "127.0.0.1")
    east.run("listener", "create", "db", str(port), "--host", east.host)
    s.until("it answers", lambda: s.talk(east.host, port, "x") == "west x")
    s.until("it is up", lambda: east.condition("Link", name, "Operational") == up)
    server.close()


def test_links_are_accepted_at_the_address_and_by_the_names_that_were_given(home):
    host, other = home.host(), home.host()
    west, east = home.site("west", "--enable-link-access", "--bind-host", host,
                           "--subject-alternative-names", "localhost, %s" % host), home.site("east")
    east.link_to(west)
    s.until("the link is up", lambda: is_linked(east))
    ends = east.resource("Link", link_name(east))["spec"]["endpoints"]
    assert {end["host"] for end in ends} == {"localhost", host}
    port = next(int(end["port"]) for end in ends if end["name"] == "inter-router")
    assert s.connects(host, port) and not s.connects(other, port)
    west.run("site", "update", "west", "--bind-host", other)  # and nothing else
    s.until("it is there", lambda: s.connects(other, port))
    s.until("and not here", lambda: not s.connects(host, port))
    west.run("site", "update", "west", "--enable-link-access=false")
    s.until("nor anywhere", lambda: not s.connects(other, port))
    assert not list((west.root / "input" / "resources").glob("RouterAccess-*"))
    with pytest.raises(s.Failed, match="must be set to true"):
        west.run("site", "update", "west", "--bind-host", host)
    west.run("site", "update", "west", "--enable-link-access", "--bind-host", host)
    west.run("site", "update", "west", "--bind-host", "")  # as without it
    s.until("everywhere", lambda: s.connects(other, port) and s.connects(host, port))


def test_one_resource_is_broken_and_all_others_work(home):
    site = home.site("lone")
    good, bad = free_port(), free_port()
    site.run("listener", "create", "good", str(good), "--host", site.host)
    resources = site.root / "input" / "resources"
    (resources / "Listener-bad.yaml").write_text(
        "apiVersion: skupper.io/v2alpha1\nkind: Listener\nmetadata:\n  name: bad\nspec:\n"
        "  routingKey: bad\n  host: %s\n  port: many\n" % site.host)
    (resources / "Connector-torn.yaml").write_text("apiVersion: [\n")
    s.until("the bad one says where", lambda: "Listener-bad.yaml:8" in (
        site.condition("Listener", "bad", "Configured") or ("", ""))[1])
    s.until("the torn one says where", lambda: "Connector-torn.yaml:" in (
        site.condition("Connector", "torn", "Configured") or ("", ""))[1])
    assert site.condition("Listener", "good", "Configured") == ("True", "OK")
    (resources / "Listener-bad.yaml").write_text(
        (resources / "Listener-bad.yaml").read_text().replace("many", str(bad)))
    s.until("it is well again", lambda: site.condition("Listener", "bad", "Configured") ==
            ("True", "OK"))


def test_a_file_torn_by_an_edit_leaves_what_was(home):
    site = home.site("lone")
    server, port = Echo("here"), free_port()
    site.run("connector", "create", "db", str(server.port), "--host", "127.0.0.1")
    site.run("listener", "create", "db", str(port), "--host", site.host)
    s.until("it answers", lambda: s.talk(site.host, port, "x") == "here x")
    path = site.root / "input" / "resources" / "Listener-db.yaml"
    whole = path.read_text()
    path.write_text(whole + "  : }\n")
    s.until("the status says so", lambda: "Listener-db.yaml:" in (
        site.condition("Listener", "db", "Configured") or ("", ""))[1])
    assert s.talk(site.host, port, "x") == "here x"
    path.write_text(whole)
    s.until("it is well", lambda: site.condition("Listener", "db", "Configured") == ("True", "OK"))
    server.close()


def test_a_port_in_use_is_a_status_and_ends_by_itself(home):
    site = home.site("lone")
    server, port = Echo("here"), free_port()
    site.run("connector", "create", "db", str(server.port), "--host", "127.0.0.1")
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind((site.host, port))
        squatter.listen()
        site.run("listener", "create", "db", str(port), "--host", site.host)
        s.until("the status says so", lambda: "in use" in (
            site.condition("Listener", "db", "Configured") or ("", ""))[1])
    s.until("it answers", lambda: s.talk(site.host, port, "x") == "here x")
    s.until("it is well", lambda: site.condition("Listener", "db", "Configured") == ("True", "OK"))
    server.close()


def key_of(site):
    """Of the Listener "other", once the agent has told of it."""
    told = site.resource("Listener", "other")
    return told and told["spec"]["routingKey"]


def test_a_connection_lives_through_a_thousand_edits_of_other_resources(home):
    site = home.site("lone")
    server, port = Echo("here"), free_port()
    site.run("connector", "create", "db", str(server.port), "--host", "127.0.0.1")
    site.run("listener", "create", "db", str(port), "--host", site.host)
    s.until("it answers", lambda: s.talk(site.host, port, "x") == "here x")
    path = site.root / "input" / "resources" / "Listener-other.yaml"
    ports = [free_port() for _ in range(10)]
    with socket.create_connection((site.host, port), timeout=20) as held:
        lines = held.makefile("rw")
        for number in range(1000):
            path.with_suffix(".new").write_text(
                "apiVersion: skupper.io/v2alpha1\nkind: Listener\nmetadata:\n  name: other\nspec:\n"
                "  routingKey: key-%d\n  host: %s\n  port: %d\n"
                % (number, site.host, ports[number % 10]))
            os.rename(path.with_suffix(".new"), path)
            if number % 10 == 0:
                lines.write("%d\n" % number)
                lines.flush()
                assert lines.readline() == "here %d\n" % number
            if number % 100 == 99:
                s.until("the edit is there", lambda: key_of(site) == "key-%d" % number)
        lines.write("last\n")
        lines.flush()
        assert lines.readline() == "here last\n"
    server.close()


def test_private_keys_are_readable_by_their_owner_alone(pair):
    for site in pair:
        keys = list(site.root.rglob("*.key"))
        assert keys
        for key in keys + list(site.root.glob("input/resources/Secret-*")) + \
                list(site.root.glob("runtime/links/*")) + list(site.root.glob("runtime/grants/*")):
            assert key.stat().st_mode & 0o077 == 0, key


@pytest.mark.parametrize("how", ["redeemed", "applied"])
def test_a_token_of_a_site_with_two_routers_becomes_a_link_to_each(home, issue, tmp_path, how):  # noqa: F811
    east, token = home.site("east"), tmp_path / "token.yaml"
    token.write_text(access_token(tmp_path, issue(two_routers)))
    if how == "redeemed":
        east.run("token", "redeem", str(token))
    else:
        east.apply(token.read_text())
    for number in (1, 2):
        link = s.until("the link is there", lambda n=number: east.resource("Link", "t-%d" % n))
        assert link["spec"]["endpoints"][0]["host"] == "r%d.example" % number
        assert link["spec"]["tlsCredentials"] == "t"


def test_a_token_is_good_once_and_then_says_so(home, tmp_path):
    west = home.site("west", "--enable-link-access")
    first, second = home.site("first", start=False), home.site("second", start=False)
    token = tmp_path / "token.yaml"
    west.run("token", "issue", str(token))
    assert token.stat().st_mode & 0o077 == 0
    first.run("token", "redeem", str(token))
    said = second.run("token", "redeem", str(token), status=1)
    assert "No such access granted" in said or "404" in said
    assert not list((second.root / "input" / "resources").glob("Link-*"))


def test_a_site_that_is_asked_for_nothing_opens_no_port_to_others(home):
    site = home.site("lone")
    with open("/proc/net/tcp") as table:
        listening = table.read()
    pids = {site.pid("agent"), site.pid("router")}
    inodes = set()
    for pid in pids:
        for fd in os.listdir("/proc/%d/fd" % pid):
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                target = os.readlink("/proc/%d/fd/%s" % (pid, fd))
                if target.startswith("socket:"):
                    inodes.add(target[8:-1])
    for line in listening.splitlines()[1:]:
        words = line.split()
        if words[9] in inodes and words[3] == "0A":
            assert words[1].startswith("0100007F:"), line


def test_what_stops_is_gone(home):
    site = home.site("lone")
    agent, router = site.pid("agent"), site.pid("router")
    assert "has been removed" in site.run("system", "stop")
    assert not site.root.exists()
    assert s.has_ended(agent) and s.has_ended(router)


def test_a_site_with_two_definitions_does_not_start_and_says_why(home):
    site = home.site("lone", start=False)
    site.apply("apiVersion: skupper.io/v2alpha1\nkind: Site\nmetadata:\n  name: other\n")
    assert "multiple sites" in site.run("system", "start", status=1)


def test_trace_tells_the_way_and_why_there_is_none(pair):
    west, east = pair
    server, port = Echo("east"), free_port()
    expose(east, server, "db", port)
    s.until("db answers at west", lambda: s.talk(west.host, port, "x") == "east x")
    way = json.loads(west.run("trace", "db:%d" % port, "-o", "json"))
    assert [hop["router"].split("-")[0] for hop in way["path"]] == ["west", "east"]
    assert way["server"]["port"] == str(server.port)
    assert all(hop["ms"] > 0 for hop in way["path"][1:])  # there and back, measured
    assert "east" in west.run("trace", "db:%d" % port)
    assert "no way" in west.run("why", "nothing", status=1)
    server.close()


def test_an_edge_site_uses_and_offers_services_and_takes_no_links(home):
    west = home.site("west", "--enable-link-access")
    east = s.Site(home, "east", home.host())
    east.apply("""apiVersion: skupper.io/v2alpha1
kind: Site
metadata:
  name: east
  annotations: {skupper.io/service-host: %s}
spec: {edge: true}
""" % east.host)
    east.run("system", "start")
    east.link_to(west)
    s.until("the link is up", lambda: is_linked(east))
    config = json.loads((east.root / "runtime" / "router" / "skrouterd.json").read_text())
    assert dict(config)["router"]["mode"] == "edge"
    assert [e["role"] for kind, e in config if kind == "connector"] == ["edge"]
    here, there = Echo("east"), Echo("west")
    first, second = free_port(), free_port()
    expose(east, here, "db", first)
    expose(west, there, "web", second)
    s.until("db answers at west", lambda: s.talk(west.host, first, "x") == "east x")
    s.until("web answers at east", lambda: s.talk(east.host, second, "x") == "west x")
    said = east.run("token", "issue", str(home.home.parent / "none.yaml"), status=2)
    assert "Edge sites cannot accept" in said
    here.close()
    there.close()


def test_services_of_others_are_switched_off_one_by_one_and_for_the_site(pair):
    west, east = pair
    server, port, other = Echo("east"), free_port(), free_port()
    expose(east, server, "db", port)
    expose(east, server, "web", other)
    s.until("both are there", lambda: s.connects(west.host, port) and s.connects(west.host, other))
    site = west.root / "input" / "resources" / "Site-west.yaml"
    text = site.read_text()

    def annotate(line):
        beside = site.with_suffix(".new")
        beside.write_text(text.replace("  annotations:\n", "  annotations:\n    %s\n" % line))
        beside.rename(site)

    annotate("skupper.io/service-exclude: db")
    s.until("one is off", lambda: not s.connects(west.host, port))
    assert s.talk(west.host, other, "x") == "east x"
    annotate('skupper.io/service-sync: "false"')
    s.until("all are off", lambda: not s.connects(west.host, other))
    site.write_text(text)
    s.until("both are back", lambda: s.connects(west.host, port) and s.connects(west.host, other))
    server.close()


def test_what_is_told_as_json_is_told_as_yaml(pair):
    west, east = pair
    server = Echo("east")
    expose(east, server, "db", free_port())
    west.run("listener", "create", "db", str(free_port()), "--host", west.host)
    for site, words in ((west, ("site", "status")), (east, ("link", "status")),
                        (west, ("listener", "status", "db")),
                        (east, ("connector", "status", "db"))):
        told = []

        def is_the_same(site=site, words=words, told=told):
            told[:] = [json.loads(site.run(*words, "-o", "json")),
                       yaml.safe_load(site.run(*words, "-o", "yaml"))]
            return told[0] == told[1]

        s.until("%s tells one thing" % (words,), is_the_same)
        assert told[0]
    server.close()


@pytest.mark.parametrize("is_given_back", [False, True])
def test_a_port_that_was_taken_just_before_the_start(home, is_given_back):
    """By somebody who may go away again: the router and its agent agree on another one."""
    site = home.site("west", start=False)
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    state = site.root / "internal" / "state.json"
    state.parent.mkdir(parents=True)
    state.write_text(json.dumps({
        "siteId": "c2d8a1f0-5b7e-4a53-9d7c-0b1e6f3a9c11", "routerSuffix": "1-1",
        "ports": {"skupper-local/normal": port}, "certificates": {}}))

    def give_back():
        s.until("the router met it", lambda: "in use" in site.log("router"))
        taken.close()

    helper = threading.Thread(target=give_back)
    if is_given_back:
        helper.start()
    site.run("system", "start")
    if is_given_back:
        helper.join()
    taken.close()
    assert site.condition("Site", "west", "Running")[0] == "True"
