# SPDX-License-Identifier: Apache-2.0
"""TCP services with routers of Skupper 1.x, which know the older encapsulation alone.

They run when PEER_SKROUTERD_1 names a program of the existing router before 3.0. What a listener
and a connector must do is the same as between routers of today, so are the tests.
"""

import os

import pytest
import test_tcp_interop as today
from mixed import Network
from services import connect, exchange
from test_tcp_interop import address  # noqa: F401 (fixture)

OLD = os.environ.get("PEER_SKROUTERD_1")
pytestmark = pytest.mark.skipif(
    not OLD, reason="PEER_SKROUTERD_1 does not name a program of the existing router before 3.0")

LAYOUTS = {
    "ours listens": ("op", "01"),
    "it listens": ("po", "01"),
    "ours listens, it dials": ("op", "10"),
    "it listens, ours between": ("pop", "01 21"),
    "ours at both ends, it between": ("opo", "01 21"),
    "our edge listens": ("Op", "01"),
    "its edge listens": ("Po", "01"),
    "our edge connects": ("pO", "10"),
    "its edge connects": ("oP", "10"),
}


@pytest.fixture(scope="module", params=LAYOUTS.values(), ids=LAYOUTS)
def network(request, tmp_path_factory):
    kinds, links = request.param
    made = Network(tmp_path_factory.mktemp("network"), kinds, links, peer=OLD)
    yield made
    made.stop()


class Services(today.Services):
    """Our listeners speak the older encapsulation when they are told to; our connectors hear it."""

    def listen(self, node, address, wait_for=1, **attributes):
        if node.is_ours:
            attributes["encapsulation"] = "legacy"
        return super().listen(node, address, wait_for, **attributes)


@pytest.fixture
def services(network):
    made = Services(network)
    yield made
    made.close()


for name in ("what_is_sent_comes_back_and_a_half_close_is_one",
             "the_server_may_speak_first_and_end_first",
             "large_transfers_both_ways_at_once_arrive_whole",
             "who_does_not_read_holds_the_sender_and_nobody_else",
             "a_reset_of_the_server_ends_the_client",
             "a_reset_of_the_client_ends_the_server",
             "a_server_that_speaks_first_is_heard_every_time",
             "a_server_that_refuses_ends_the_client_until_it_is_back",
             "without_a_connector_there_is_no_socket",
             "connections_are_closed_at_both_ends_when_all_is_over",
             "connectors_of_one_router_share_the_connections"):
    globals()["test_" + name] = getattr(today, "test_" + name)


@pytest.mark.parametrize("kind", ["tcpListener", "tcpConnector"])
def test_deleting_our_end_ends_its_connections(services, address, kind):
    """The older router keeps its connections when its end is deleted."""
    if not services.network.nodes[0 if kind == "tcpListener" else -1].is_ours:
        pytest.skip("this end is the older router's")
    today.test_deleting_an_end_ends_its_connections(services, address, kind)


def test_many_connections_at_once_are_kept_apart(services, address):
    _, port = today.service(services, address)
    held = [connect(port) for _ in range(100)]
    for i, s in enumerate(held):
        s.sendall(b"%03d" % i)
    assert [s.recv(3) for s in held] == [b"%03d" % i for i in range(100)]
    for s in held:
        s.close()
    exchange(port)
