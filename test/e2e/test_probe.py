# SPDX-License-Identifier: Apache-2.0
"""A router that shares no line with ours joins it, in both directions (probe.py)."""

import pytest
from harness import Management, free_port, inter_router, link_to
from probe import PRIORITIES, Probe
from proton import Delivery, Message


class Joined:
    """A router of ours and the probe, linked: who of them connects is `how`."""

    def __init__(self, routers, how, **kwargs):
        port = free_port()
        kwargs.setdefault("addresses", ["far"])
        if how == "it listens":
            self.probe = Probe("PROBE", port, listens=True, **kwargs)
            self.router = routers("R", entities=[link_to(port)])
        else:
            self.router = routers("R", entities=[inter_router(port)])
            self.probe = Probe("PROBE", port, **kwargs)
        self.router.wait_reaches("PROBE")


@pytest.fixture(params=["it connects", "it listens"])
def join(routers, request):
    made = []

    def make(**kwargs):
        made.append(Joined(routers, request.param, **kwargs))
        return made[-1]

    yield make
    for joined in made:
        if joined.probe.thread.is_alive():
            joined.probe.close()
        faults = [f for f in joined.probe.faults if f != "stopped"]
        assert faults == [], "\n".join(joined.router.log.lines[-60:])


def test_every_kind_of_control_message_is_exchanged(join):
    joined = join()
    probe = joined.probe
    hello = probe.wait_heard("HELLO", lambda b: "PROBE" in b["seen"])
    assert hello["id"] == "R" and hello["area"] == "0" and hello["pv"] == 1
    probe.wait_heard("LSR")
    assert probe.wait_heard("MAR")["have_seq"] == 0
    advertisement = probe.wait_heard("RA")
    assert advertisement["instance"] == hello["instance"]
    state = probe.wait_heard("LSU", lambda b: b["ls"]["peers"])
    assert state["ls"]["peers"] == {"PROBE": 1} and state["ls"]["id"] == "R"


def test_an_address_of_ours_is_told_and_taken_back(join):
    joined = join()
    receiver = joined.router.receiver("here")
    joined.probe.wait_heard(
        "MAU", lambda b: any(a[0] == "Mhere" for a in b.get("exist", []) + b.get("add", [])))
    receiver.connection.close()
    joined.probe.wait_heard("MAU", lambda b: ["Mhere"] in b.get("del", [])
                            or "Mhere" in b.get("del", []))


@pytest.mark.parametrize("streams", [True, False], ids=["streaming links", "without"])
@pytest.mark.parametrize("size", [10, 3000000])
def test_its_address_is_learnt_and_a_client_of_ours_reaches_it(join, size, streams):
    joined = join(streams=streams)
    body = b"x" * size
    assert joined.router.sender("far").send(Message(body=body)) == Delivery.ACCEPTED
    message = joined.probe.wait(lambda: joined.probe.messages and joined.probe.messages[0])
    assert bytes(message.body) == body


def test_a_presettled_message_reaches_it(join):
    joined = join()
    joined.router.sender("far", settled=True).post(Message(body="settled"))
    assert joined.probe.wait(lambda: joined.probe.messages)[0].body == "settled"


def test_it_sends_to_a_client_of_ours_and_gets_the_outcome(join):
    joined = join()
    receiver = joined.router.receiver("here")
    tag = joined.probe.send(Message(address="here", body="from afar"))
    assert receiver.take() == "from afar"
    joined.probe.wait(lambda: joined.probe.outcomes.get(tag) == Delivery.ACCEPTED)
    joined.probe.send(Message(address="here", body="and once more"), settled=True)
    assert receiver.take() == "and once more"
    receiver.connection.close()


def test_what_nobody_consumes_comes_back_to_it_released(join):
    joined = join()
    tag = joined.probe.send(Message(address="nobody", body="x"))
    joined.probe.wait(lambda: joined.probe.outcomes.get(tag) == Delivery.RELEASED)


def test_a_request_of_its_own_is_answered_by_our_management(join):
    joined = join(addresses=["reply"])

    joined.router.wait_reaches(joined.probe.name)
    joined.probe.wait_heard("MAR")  # which was answered: the address is on its way
    joined.probe.send(Message(
        address="amqp:/_topo/0/R/$management", reply_to="reply", correlation_id=7,
        properties={"operation": "QUERY", "type": "org.amqp.management",
                    "entityType": "io.skupper.router.router"},
        body={"attributeNames": ["id"]}))
    reply = joined.probe.wait(lambda: joined.probe.messages and joined.probe.messages[0])
    assert reply.correlation_id == 7
    assert reply.properties["statusCode"] == 200
    assert reply.body["results"] == [["R"]]


@pytest.mark.parametrize("cost", [None, 7])
def test_management_tells_the_route_to_it_with_its_cost(join, cost):
    joined = join(cost=cost)
    joined.probe.wait_heard("LSR")
    management = Management(joined.router)
    nodes = {n["id"]: n for n in management.query("router.node")}
    assert nodes["PROBE"]["cost"] == (cost or 1)
    assert nodes["PROBE"]["nextHop"] is None
    connections = [c for c in management.query("connection") if c["container"] == "PROBE"]
    assert "inter-router" in [c["role"] for c in connections]
    management.close()


@pytest.mark.parametrize("how", ["closes", "is silent"])
def test_it_is_forgotten_when_it_goes(join, how):
    joined = join()
    assert joined.router.sender("far").send(Message(body="x")) == Delivery.ACCEPTED
    if how == "closes":
        joined.probe.close()
    else:
        joined.probe.be_silent()
    joined.router.log.wait("router PROBE is not reachable any more")
    sender = joined.router.sender("far")
    sender.connection.barrier()
    assert sender.credit == 0
    assert joined.router.sender(None).send(Message(address="far", body="x")) == Delivery.RELEASED


def test_the_router_that_connects_attaches_control_and_ten_priorities_first(routers):
    joined = Joined(routers, "it listens")
    joined.probe.wait(lambda: len(joined.probe.links) == 2 + 2 * PRIORITIES)
    kinds = [c for _, c in joined.probe.links]
    assert kinds == [["qd.router"] * 2] * 2 + [["qd.router-data"] * 2] * (2 * PRIORITIES)
    joined.probe.close()
