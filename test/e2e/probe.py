# SPDX-License-Identifier: Apache-2.0
"""A least router: an independent library that says just what a neighbour must say.

It joins one router, as the one that connects or as the one that is connected to, takes part in the
routing protocol, announces addresses, consumes what is sent to them and sends itself. It forwards
nothing. What it hears is kept, to be waited for.
"""

import threading
import time

from client import Sockets
from proton import Delivery, Message, int32, symbol
from proton.handlers import MessagingHandler
from proton.reactor import ApplicationEvent, Container, EventInjector, LinkOption

TIMEOUT = 60
CONTROL, DATA = "qd.router", "qd.router-data"
PRIORITIES = 10


class Capability(LinkOption):
    def __init__(self, name):
        self.name = name

    def apply(self, link):
        for terminus in (link.source, link.target):
            terminus.capabilities.put_symbol(symbol(self.name))


def capabilities(link):
    """The symbols that the other side put on a link's ends."""
    names = []
    for terminus in (link.remote_source, link.remote_target):
        data = terminus.capabilities
        data.rewind()
        while data.next():
            value = data.get_object()
            names += [str(v) for v in (value.elements if hasattr(value, "elements") else [value])]
    return names


def annotations(name, flags=0):
    """The section every message between routers begins with: flags, no override, ingress, trace."""
    me = b"0/" + name.encode()
    me = b"\xa1" + bytes([len(me)]) + me
    trace = b"\xd0" + (len(me) + 4).to_bytes(4, "big") + (1).to_bytes(4, "big") + me
    items = b"\x52" + bytes([flags]) + b"\x40" + me + trace
    return (b"\x00\x80SKPR--RA\xd0" + (len(items) + 4).to_bytes(4, "big") + (4).to_bytes(4, "big")
            + items)


def without_annotations(raw):
    """The message behind the section, and whether there was one."""
    if not raw.startswith(b"\x00\x80SKPR--RA\xd0"):
        return raw, False
    return raw[15 + int.from_bytes(raw[11:15], "big"):], True


class Probe(MessagingHandler):
    def __init__(self, name, port, listens=False, addresses=(), cost=None, streams=True,
                 instance=None):
        super().__init__(auto_accept=False, prefetch=0, auto_settle=False)
        self.name, self.port, self.listens, self.cost = name, port, listens, cost
        self.streams = streams
        self.instance = int(time.time()) if instance is None else instance
        self.mobile = [["M" + a, int32(3), int32(0)] for a in addresses]
        self.peers, self.silent, self.tag = {}, False, 0
        self.control_out = None
        self.connections = []
        self.data_out, self.partial = [], {}
        self.heard, self.messages, self.outcomes, self.links = [], [], {}, []
        self.faults = []
        self.changed = threading.Condition()
        self.injector = EventInjector()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        self.container = Container(self, global_handler=Sockets())
        self.container.container_id = self.name
        self.container.selectable(self.injector)
        self.container.run()
        self._note(self.faults, "stopped")

    # ------------------------------------------------------------------ what a test calls

    def wait(self, condition, timeout=TIMEOUT):
        """What `condition` returns when it is true at last."""
        with self.changed:
            assert self.changed.wait_for(condition, timeout), "heard %s, messages %s, faults %s" % (
                self.heard[-20:], [m.body for m in self.messages][:5], self.faults)
            return condition()

    def wait_heard(self, opcode, condition=lambda body: True):
        return self.wait(lambda: next((b for o, b in self.heard if o == opcode and condition(b)),
                                      None))

    def call(self, work):
        """Runs it in the thread of the connection."""
        self.injector.trigger(ApplicationEvent("call", subject=work))

    def send(self, message, settled=False):
        """Sends one message; its number in `outcomes`."""
        self.tag += 1
        tag = "m%d" % self.tag

        def work():
            delivery = self.data_out[4].delivery(tag)
            self.data_out[4].stream(annotations(self.name) + message.encode())
            if settled:
                delivery.settle()
            self.data_out[4].advance()

        self.call(work)
        return tag

    def be_silent(self):
        self.silent = True

    def close(self):
        self.call(self._close)
        self.thread.join(TIMEOUT)
        assert not self.thread.is_alive()

    # ------------------------------------------------------------------ events

    def on_start(self, event):
        options = dict(
            offered_capabilities=[symbol("ANONYMOUS-RELAY")]
            + [symbol("qd.streaming-links")] * self.streams,
            properties={symbol("product"): "probe", symbol("version"): "0",
                        symbol("qd.annotations-version"): int32(2)})
        if self.cost:
            options["properties"][symbol("qd.inter-router-cost")] = int32(self.cost)
        if self.listens:
            self.options = options
            self.acceptor = event.container.listen("127.0.0.1:%d" % self.port)
        else:
            connection = event.container.connect(
                "amqp://127.0.0.1:%d" % self.port, reconnect=False, allowed_mechs="ANONYMOUS",
                **options)
            self.connections.append(connection)
            self._attach(connection)
        event.container.schedule(1, self)

    def _attach(self, connection):
        """What the side that connects attaches; the order of the attaches is the priority."""
        c = self.container
        c.create_receiver(connection, None, name="control-in",
                          options=Capability(CONTROL)).flow(100)
        self.control_out = c.create_sender(connection, None, name="control-out",
                                           options=Capability(CONTROL))
        for p in range(PRIORITIES):
            c.create_receiver(connection, None, name="in-%d" % p,
                              options=Capability(DATA)).flow(50)
            self.data_out.append(c.create_sender(connection, None, name="out-%d" % p,
                                                 options=Capability(DATA)))

    def on_connection_opening(self, event):
        if not self.listens:
            return
        connection = event.connection
        connection.container = self.name
        connection.offered_capabilities = self.options["offered_capabilities"]
        connection.properties = self.options["properties"]
        self._note(self.connections, connection)

    def on_link_opening(self, event):
        link = event.link
        offered = capabilities(link)
        link.source.copy(link.remote_source)
        link.target.copy(link.remote_target)
        link.open()
        if link.is_receiver:
            link.flow(50)
        elif CONTROL in offered:
            self.control_out = link
        else:
            self.data_out.append(link)
        self._note(self.links, (link.name, offered))

    def on_timer_task(self, event):
        if self.control_out and not self.silent:
            self._hello()
            self._control("amqp:/_topo/0/all/qdrouter", "RA", pv=1, instance=self.instance,
                          ls_seq=1, mobile_seq=1)
        event.container.schedule(1, self)

    def on_call(self, event):
        event.subject()

    def on_delivery(self, event):
        delivery = event.delivery
        if delivery.link.is_sender:
            if delivery.settled or delivery.remote_state:
                self._note_outcome(delivery)
        elif delivery.readable:
            self._receive(delivery)

    def on_transport_error(self, event):
        self._note(self.faults, event.transport.condition)

    def on_link_error(self, event):
        self._note(self.faults, event.link.remote_condition)

    # ------------------------------------------------------------------ inside

    def _note(self, where, what):
        with self.changed:
            where.append(what)
            self.changed.notify_all()

    def _note_outcome(self, delivery):
        with self.changed:
            self.outcomes[str(delivery.tag)] = delivery.remote_state
            self.changed.notify_all()
        delivery.settle()

    def _close(self):
        for connection in self.connections:
            connection.close()
        if self.listens:
            self.acceptor.close()
        self.injector.close()
        self.container.stop()

    def _receive(self, delivery):
        link = delivery.link
        data = self.partial.pop(link.name, b"") + ((link.recv(delivery.pending) or b"")
                                                   if delivery.pending else b"")
        if delivery.partial:
            self.partial[link.name] = data
            return
        link.advance()
        raw, annotated = without_annotations(data)
        message = Message()
        message.decode(raw)
        if not annotated:
            self._note(self.faults, "a message without annotations")
        if message.properties and "opcode" in {str(k) for k in message.properties}:
            self._control_message(message)
        else:
            delivery.update(Delivery.ACCEPTED)
            self._note(self.messages, message)
        delivery.settle()
        link.flow(1)

    def _control(self, to, opcode, **body):
        self.tag += 1
        raw = annotations(self.name) + Message(
            address=to, properties={"opcode": opcode},
            body=dict(body, id=self.name, area="0")).encode()
        delivery = self.control_out.delivery("c%d" % self.tag)
        self.control_out.stream(raw)
        self.control_out.advance()
        delivery.settle()

    def _hello(self):
        self._control("amqp:/_local/qdhello", "HELLO", pv=1, instance=self.instance,
                      seen=list(self.peers))

    def _control_message(self, message):
        opcode = {str(k): v for k, v in message.properties.items()}["opcode"]
        body = {str(k): v for k, v in message.body.items()}
        peer = body["id"]
        if peer == self.name:
            self._note(self.faults, "an own message came back")
        elif opcode == "HELLO" and peer not in self.peers:
            self.peers[peer] = int32(self.cost or 1)
            if self.control_out:
                self._hello()
        elif opcode == "RA":
            self._control("amqp:/_topo/0/%s/qdrouter" % peer, "LSR", pv=1)
            self._control("_topo/0/%s/qdrouter.ma" % peer, "MAR", pv=2, have_seq=0)
        elif opcode == "LSR":
            self._control("amqp:/_topo/0/%s/qdrouter" % peer, "LSU", pv=1, instance=self.instance,
                          ls_seq=1, ls={"id": self.name, "area": "0", "ls_seq": 1,
                                        "peers": self.peers})
        elif opcode == "MAR":
            self._control("amqp:/_topo/0/%s/qdrouter.ma" % peer, "MAU", pv=2, mobile_seq=1,
                          exist=self.mobile)
        self._note(self.heard, (opcode, body))
