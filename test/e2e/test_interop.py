# SPDX-License-Identifier: Apache-2.0
"""Networks of which some routers are the existing one and some are ours, in every position.

They run when PEER_SKROUTERD names a program of the existing router. A layout says of which make
each router is (o ours, p the existing one; capitals are edge routers) and who connects to whom;
every test in the first part runs in every layout, between every two of its routers.
"""

import itertools
import signal
import time

import pytest
from client import accepting
from harness import PEER, Management
from mixed import Network
from proton import Condition, Delivery, Message

pytestmark = pytest.mark.skipif(
    not PEER, reason="PEER_SKROUTERD does not name a program of the existing router")

LAYOUTS = {
    "we connect": ("op", "01"),
    "it connects": ("op", "10"),
    "ours in the middle": ("pop", "01 21"),
    "ours in the middle, connecting": ("pop", "10 12"),
    "ours at the rims": ("opo", "01 21"),
    "ours at one rim": ("opp", "01 12"),
    "ours at all but a rim": ("oop", "01 12"),
    "line of five": ("opopo", "01 12 23 34"),
    "triangle with one of ours": ("opp", "01 12 20"),
    "triangle with two of ours": ("oop", "01 12 20"),
    "our edge": ("pO", "10"),
    "its edge": ("oP", "10"),
    "edges of both on ours": ("oOP", "10 20"),
    "edges of both on it": ("pOP", "10 20"),
    "edges of the other make at both ends": ("opPO", "01 20 31"),
    "edges of the same make at both ends": ("opOP", "01 20 31"),
}
# What the connections between routers are like.
KINDS = {
    "plain": {},
    "no data connections": {"data": "0"},
    "tls": {"tls": True},
}
ALL = [(name, "plain") for name in LAYOUTS] + [
    (name, kind) for kind in ("no data connections", "tls")
    for name in ("we connect", "it connects", "ours in the middle")] + [
    (name, "tls") for name in ("our edge", "its edge")]


@pytest.fixture(scope="module", params=ALL, ids=["%s, %s" % p for p in ALL])
def network(request, tmp_path_factory):
    layout, kind = request.param
    made = Network(tmp_path_factory.mktemp("network"), *LAYOUTS[layout], **KINDS[kind])
    yield made
    made.stop()


@pytest.fixture
def unique(request):
    return request.node.name.split("[")[0]


class Flow:
    """A sender at one router and a receiver at another."""

    def __init__(self, source, target, address):
        self.source, self.receiver = source, target.receiver(address)

    def close(self):
        self.sender.connection.close()
        self.receiver.connection.close()


def each_pair(network, prefix):
    """A Flow for every two routers; all are set up before the first is waited for."""
    flows = [Flow(s, t, "%s/%s-%s" % (prefix, s.name, t.name)) for s, t in network.pairs()]
    for flow in flows:
        flow.sender = flow.source.sender(flow.receiver.wanted)
    for flow in flows:
        flow.sender.wait_credit()
    for node in network.interiors():
        node.wait_known([flow.receiver.wanted for flow in flows])
    yield from flows
    for flow in flows:
        flow.close()


@pytest.mark.parametrize("treatment", ["closest", "balanced", "mc"])
@pytest.mark.parametrize("settled", [False, True], ids=["unsettled", "settled"])
def test_messages_go_from_each_router_to_each_other(network, unique, treatment, settled):
    prefix = "%s/%s-%d" % (treatment, unique, settled)
    for flow in each_pair(network, prefix):
        sent = flow.sender.post_all([Message(body=i) for i in range(20)], settled=settled)
        assert flow.receiver.take_all(20) == list(range(20))
        want = None if settled else Delivery.ACCEPTED
        assert [s.outcome() for s in sent] == [want] * 20


@pytest.mark.parametrize("treatment", ["closest", "balanced", "mc"])
def test_outcomes_travel_back(network, unique, treatment):
    # The existing router tells nothing but the kind of outcome of a multicast message.
    is_told = treatment != "mc"
    for flow in each_pair(network, "%s/%s" % (treatment, unique)):
        sent = flow.sender.post(Message(body=1))
        flow.receiver.get().reject(Condition("test:no", "not this one"))
        assert sent.outcome() == Delivery.REJECTED
        if is_told:
            assert (sent.condition, sent.description) == ("test:no", "not this one")
        sent = flow.sender.post(Message(body=2))
        flow.receiver.get().release()
        assert sent.outcome() == Delivery.RELEASED
        sent = flow.sender.post(Message(body=3))
        flow.receiver.get().modify(failed=True, undeliverable=True)
        assert sent.outcome() == Delivery.MODIFIED
        if is_told:
            assert (sent.failed, sent.undeliverable) == (True, True)


@pytest.mark.parametrize("settled", [False, True], ids=["unsettled", "settled"])
@pytest.mark.parametrize("treatment", ["balanced", "mc"])
def test_large_messages_stream(network, unique, treatment, settled):
    body = bytes(i * 7 % 251 for i in range(4000)) * 1000
    for flow in each_pair(network, "%s/%s-%d" % (treatment, unique, settled)):
        sent = flow.sender.post_all([Message(body=body), Message(body="after")], settled=settled)
        got = [flow.receiver.take(), flow.receiver.take()]  # in any order, as below
        assert got in ([body, "after"], ["after", body])
        for s in sent:
            assert s.outcome() == (None if settled else Delivery.ACCEPTED)


def test_multicast_reaches_each_router_once(network, unique):
    address = "mc/" + unique
    receivers = [n.receiver(address) for n in network.nodes]
    network.wait_subscribers(address)
    body = b"0123456789abcdef" * 70000
    for node in network.nodes:
        sender = node.sender(address)
        node.wait_elsewhere(address)
        sent = [sender.post(Message(body=node.name)),
                sender.post(Message(body=node.name + " settled"), settled=True),
                sender.post(Message(body=body))]
        for r in receivers:
            got = [r.take(), r.take(), r.take()]  # a stream has a link of its own: in any order
            assert sorted(len(g) for g in got) == sorted(
                [len(node.name), len(node.name) + 8, len(body)])
        assert [s.outcome() for s in sent] == [Delivery.ACCEPTED, None, Delivery.ACCEPTED]
        sender.connection.close()
    for r in receivers:
        assert not r.got
        r.connection.close()


def test_closest_stays_at_home(network, unique):
    """To an interior router a consumer at one of its edges is as near as one of its own; to an
    existing edge router one behind its interior is, too."""
    address = "closest/" + unique
    receivers = {n: n.receiver(address, credit=20, auto=accepting) for n in network.nodes}
    network.wait_subscribers(address)
    for node in network.nodes:
        near = [receivers[n] for n in [node, *network.edges_of(node)]]
        before = sum(r.received for r in near)
        sender = node.sender(address)
        sent = sender.post_all([Message(body=i) for i in range(10)])
        assert [s.outcome() for s in sent] == [Delivery.ACCEPTED] * 10
        if node.is_ours or not node.is_edge:
            assert sum(r.received for r in near) == before + 10
        sender.connection.close()
    for r in receivers.values():
        r.connection.close()


def test_balanced_uses_all_consumers(network, unique):
    """Nobody accepts anything until everybody has got something."""
    address = "balanced/" + unique
    receivers = [n.receiver(address, credit=100) for n in network.nodes]
    network.wait_subscribers(address)
    for node in network.nodes:
        before = [r.received for r in receivers]
        sender = node.sender(address)
        node.wait_elsewhere(address)
        sent = sender.post_all([Message(body=i) for i in range(20 * len(receivers))])
        for r, count in zip(receivers, before):
            r.wait_received(count + 1)
        while sum(r.received for r in receivers) < sum(before) + len(sent):
            next(r for r in receivers if r.got).get().accept()
        for r in receivers:
            while r.got:
                r.get().accept()
        assert [s.outcome() for s in sent] == [Delivery.ACCEPTED] * len(sent)
        sender.connection.close()
    for r in receivers:
        r.connection.close()


def test_requests_are_answered(network, unique):
    """By a service behind every router, for a client behind every other; the reply's address is a
    dynamic one."""
    for service, client in network.pairs():
        s, c = service.connect(), client.connect()
        replies = s.sender(None)

        def answer(got):
            accepting(got)
            replies.post(Message(address=got.message.reply_to, body=got.message.body.upper(),
                                 correlation_id=got.message.id))

        address = "%s/%s/%s" % (unique, service.name, client.name)
        s.receiver(address, auto=answer)
        receiver = c.receiver(None)
        sender = c.sender(address).wait_credit()
        wait_known(client, address)
        for i in range(5):
            assert sender.send(Message(id=i, body="question", reply_to=receiver.address)) == (
                Delivery.ACCEPTED)
            reply = receiver.get().accept().message
            assert (reply.body, reply.correlation_id) == ("QUESTION", i)
        s.close()
        c.close()


def test_management_is_reached_across(network):
    for here, there in network.pairs():
        management = Management(here, there.topological("$management"))
        assert [r["id"] for r in management.query("router", ["id"])] == [there.name]
        assert management.query("router.address", ["key"])
        assert management.query("connection", ["container", "role"])
        reply = management.request("READ", "io.skupper.router.router", identity="router/nobody")
        assert reply.properties["statusCode"] == 404
        management.close()


def test_what_nobody_consumes_is_released_and_gets_no_credit(network, unique):
    for node in network.nodes:
        connection = node.connect()
        assert connection.sender(None).send(Message(address=unique)) == Delivery.RELEASED
        sender = connection.sender(unique)
        connection.barrier()
        assert sender.credit == 0
        connection.close()


def test_credit_goes_when_the_last_consumer_goes(network, unique):
    """From senders at our routers; the existing one leaves them the credit they have."""
    for flow in each_pair(network, unique):
        flow.receiver.connection.close()
        if flow.source.is_ours:
            flow.sender.wait(lambda: flow.sender.credit == 0, "no credit")


# The second part: what changes while the network runs. Each test has networks of its own.


@pytest.fixture
def networks(tmp_path):
    made = []

    def make(kinds, links, **kwargs):
        made.append(Network(tmp_path, kinds, links, **kwargs))
        return made[-1].nodes

    yield make
    for network in made:
        network.stop()


def instance(node, of):
    """What tells one life of a router from its next, as another one knows it."""
    management = Management(node)
    rows = {r["id"]: r for r in management.query("router.node")}
    management.close()
    return rows[of.name]["instance"] if rows.get(of.name, {}).get("cost") else None


def wait_new_life(node, of, old):
    """Until `node` has a way to the router that came back."""
    end = time.monotonic() + 60
    while instance(node, of) in (None, old):
        assert time.monotonic() < end, (node.name, of.name)


def wait_known(source, address):
    for node in source.network.running():
        node.wait_known([address])


def exchange(source, target, address, count=10):
    flow = Flow(source, target, address)
    flow.sender = source.sender(address)
    flow.sender.wait_credit(timeout=60)
    wait_known(source, address)
    sent = flow.sender.post_all([Message(body=i) for i in range(count)])
    assert flow.receiver.take_all(count) == list(range(count))
    assert [s.outcome() for s in sent] == [Delivery.ACCEPTED] * count
    flow.close()


KILLED = [(kinds, links, killed) for links in ("01 12", "10 21", "01 21", "10 12")
          for kinds, killed in (("pop", 1), ("opo", 1), ("oop", 0), ("ppo", 0), ("oop", 2),
                                ("ppo", 2))] + [
    ("op", links, killed) for links in ("01", "10") for killed in (0, 1)]


@pytest.mark.parametrize("kinds, links, killed", KILLED)
def test_a_router_is_killed_and_returns(networks, kinds, links, killed):
    nodes = networks(kinds, links)
    exchange(nodes[0], nodes[-1], "before/down")
    exchange(nodes[-1], nodes[0], "before/up")
    dead = nodes[killed]
    others = [n for n in nodes if n is not dead]
    old = [instance(n, dead) for n in others]
    dead.kill()
    time.sleep(1.1)  # the instance of the existing router is the second it was started in
    dead.start()
    for n, before in zip(others, old):
        wait_new_life(n, dead, before)
    for n in nodes:
        n.wait_routes(nodes)
    exchange(nodes[0], nodes[-1], "after/down")
    exchange(nodes[-1], nodes[0], "after/up")


@pytest.mark.parametrize("kinds", ["opop", "oppp", "popp", "ooop", "poop"])
def test_traffic_goes_the_other_way_round_a_ring(networks, kinds):
    a, b, c, d = networks(kinds, "01 12 23 30")
    exchange(a, c, "before")
    exchange(c, a, "before/back")
    b.kill()
    a.wait_way(c, via=d)
    c.wait_way(a, via=d)
    d.wait_way(a, via=None, ingresses=[c])
    d.wait_way(c, via=None, ingresses=[a])
    exchange(a, c, "other")
    exchange(c, a, "other/back")
    exchange(a, d, "beside")


@pytest.mark.parametrize("kinds", ["op", "po"])
def test_a_router_that_is_silent_is_given_up_and_taken_back(networks, kinds):
    a, b = networks(kinds, "01")
    if a.is_ours:
        at = len(a.log.lines)
        b.process.send_signal(signal.SIGSTOP)
        a.log.wait("router %s is not reachable any more" % b.name, start=at)
        at = len(a.log.lines)
        b.process.send_signal(signal.SIGCONT)
        a.log.wait("router %s is reachable" % b.name, start=at)
    else:
        a.process.send_signal(signal.SIGSTOP)
        b.log.wait("router %s is not reachable any more" % a.name)
        at = len(b.log.lines)
        a.process.send_signal(signal.SIGCONT)
        b.log.wait("router %s is reachable" % a.name, start=at)
    for n in (a, b):
        n.wait_routes([a, b])
    exchange(a, b, "down")
    exchange(b, a, "up")


@pytest.mark.parametrize("links", ["01 12 20", "10 21 02", "01 21 20"])
@pytest.mark.parametrize("kinds", ["opo", "pop", "oop", "ppo", "opp", "poo"])
def test_the_cheapest_way_is_taken(networks, kinds, links):
    """0 and 2 have a link of cost 10, and one over 1 of cost 2 and 3."""
    a, b, c = networks(kinds, links, costs=[2, 3, 10])
    for here, there in ((a, c), (c, a)):
        here.until("router.node", lambda rows: any(
            r["id"] == there.name and r["cost"] == 5 and r["nextHop"] == b.name for r in rows))
        b.wait_way(there, via=None, ingresses=[here])
    exchange(a, c, "x")
    exchange(c, a, "y")


@pytest.mark.parametrize("kinds", ["op", "po", "pop", "opo"])
def test_half_a_message_is_taken_back(networks, kinds):
    """Its sender dies: who had begun to get it is told that it is void."""
    nodes = networks(kinds, "01 12"[:3 * len(kinds) - 4])
    for source, target in ((nodes[0], nodes[-1]), (nodes[-1], nodes[0])):
        for address in ("balanced/" + target.name, "mc/" + target.name):
            receiver = target.receiver(address)
            connection = source.connect()
            sender = connection.sender(address).wait_credit()
            wait_known(source, address)
            connection.loop.call(begin_stream, sender.link)
            receiver.wait(lambda: sum(map(len, receiver.parts)) > 100000, "a part")
            connection.drop()
            receiver.wait(lambda: receiver.aborted == 1, "abort")
            receiver.connection.close()


def begin_stream(link):
    """Half a megabyte of a message that is never finished."""
    link.delivery("half")
    link.stream(Message(body=b"x" * 500000).encode())


@pytest.mark.parametrize("kinds", ["op", "po", "pop", "opo"])
def test_a_consumer_that_dies_gives_an_outcome(networks, kinds):
    nodes = networks(kinds, "01 12"[:3 * len(kinds) - 4])
    for source, target in ((nodes[0], nodes[-1]), (nodes[-1], nodes[0])):
        flow = Flow(source, target, "dies/" + target.name)
        flow.sender = source.sender(flow.receiver.wanted)
        flow.sender.wait_credit()
        wait_known(source, flow.receiver.wanted)
        sent = flow.sender.post_all([Message(body=i) for i in range(5)])
        flow.receiver.wait_received(5)
        flow.receiver.connection.drop()
        assert {s.outcome() for s in sent} <= {Delivery.MODIFIED, Delivery.RELEASED}
        flow.sender.connection.close()


@pytest.mark.parametrize("kinds", ["opo", "poo", "ppo", "oop", "opp"])
def test_released_is_tried_elsewhere_when_asked_for(networks, kinds):
    a, b, c = networks(kinds, "10 20")
    never = b.receiver("again", auto=lambda got: got.release())
    takes = c.receiver("again", auto=accepting)
    a.wait_address("again", 0, 2)
    sender = a.sender("again", capabilities=["qd.resend-released"]).wait_credit()
    sent = sender.post_all([Message(body=i) for i in range(20)])
    assert [s.outcome() for s in sent] == [Delivery.ACCEPTED] * 20
    assert takes.received == 20
    for link in (never, takes, sender):
        link.connection.close()


@pytest.mark.parametrize("kinds", ["op", "po"])
def test_many_addresses_are_told_at_once(networks, kinds):
    """More than fit in one frame; and they are taken back at once."""
    for source, target in itertools.permutations(networks(kinds, "01")):
        many = target.connect()
        names = ["%s/%d/%s" % (target.name, i, "x" * 100) for i in range(400)]
        for name in names:
            many.receiver(name, wait=False)
        many.barrier()
        keys = {"M" + n for n in names}
        source.until("router.address", lambda rows: keys <= {
            r["key"] for r in rows if r["remoteCount"] == 1})
        many.close()
        source.until("router.address", lambda rows: not keys & {
            r["key"] for r in rows if r["remoteCount"] == 1})


@pytest.mark.parametrize("kinds", ["opO", "poO", "ppO", "opP", "poP", "ooP"])
def test_an_edge_router_changes_its_interior(networks, kinds):
    a, b, edge = networks(kinds, "01 20 21")
    for dead, lives in ((a, b), (b, a)):
        exchange(lives, edge, "to/%s" % lives.name)
        dead.kill()
        exchange(lives, edge, "to/%s/again" % lives.name)
        exchange(edge, lives, "from/%s" % lives.name)
        dead.start()
        for n in (a, b):
            n.wait_routes([a, b])
            n.until("connection", lambda rows: edge.name in {r["container"] for r in rows})
