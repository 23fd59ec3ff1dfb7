# SPDX-License-Identifier: Apache-2.0
"""A synchronous AMQP client over proton's reactor, for tests.

One background thread runs one proton Container. Proton calls C without holding the interpreter's
lock, so everything of it is made, used and freed in that thread alone: connections and links are
kept for good, deliveries are named by number, and garbage is collected there. A test calls plain
methods, which run there and wait for what the router answers: nothing polls, nothing sleeps. State
that callers look at is written under `loop.changed`.

    c = connect("amqp://127.0.0.1:5672")
    r = c.receiver("news", credit=10)
    c.sender("news").send(Message(body=1))     # -> Delivery.ACCEPTED, once somebody took it
    r.take()                                   # -> 1
"""

import collections
import contextlib
import gc
import os
import socket
import threading
import traceback

from proton import Data, Delivery, Handler, Link, Message, Terminus
from proton.handlers import IOHandler
from proton.reactor import ApplicationEvent, Container, EventInjector

PIECE = 65536
TIMEOUT = float(os.environ.get("E2E_TIMEOUT", "60"))


class Gone(Exception):
    """A link, session or connection ended while something was waited for."""

    def __init__(self, what, condition):
        self.condition = condition.name if condition else None
        self.description = condition.description if condition else None
        super().__init__("%s: %s: %s" % (what, self.condition, self.description))


class Sockets(IOHandler):
    """Proton's own trips over a connection that has ended and whose heartbeat is due, both at once,
    as a busy machine sees it."""

    def on_selectable_expired(self, event):
        if event.selectable._transport:
            super().on_selectable_expired(event)


class Loop(Handler):
    """The thread, its container, and the events that tell what changed."""

    def __init__(self):
        super().__init__()
        self.changed = threading.Condition(threading.RLock())
        self.calls = collections.deque()
        self.connections = []
        self.kept = []     # proton's connections, sessions and links
        self.deliveries = {}  # received and not settled, by number
        self.count = 0
        self.container = Container(self, global_handler=Sockets())
        self.injector = EventInjector()
        self.container.selectable(self.injector)
        self.failure = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        gc.disable()
        self.thread.start()

    def _run(self):
        try:
            self.container.run()
        except BaseException:
            self.failure = traceback.format_exc()

    def call(self, work, *args):
        """Runs `work` in the thread and returns what it returns."""
        if threading.current_thread() is self.thread:
            return work(*args)
        done = []
        self.calls.append((work, args, done))
        self.injector.trigger(ApplicationEvent("call"))
        with self.changed:
            if not self.changed.wait_for(lambda: done, TIMEOUT):
                raise AssertionError(self.failure or "the client's thread does not answer")
        ok, result = done[0]
        if not ok:
            raise result
        return result

    def on_call(self, _):
        while self.calls:
            work, args, done = self.calls.popleft()
            with self.changed:
                try:
                    done.append((True, work(*args)))
                except Exception as e:
                    done.append((False, e))
                self.changed.notify_all()

    def wait(self, is_true, what, timeout=TIMEOUT):
        """Until is_true(), which looks at plain state and may raise."""
        with self.changed:
            if not self.changed.wait_for(is_true, timeout):
                raise TimeoutError("waited %g s for %s" % (timeout, what))

    def drop_all(self):
        for c in list(self.connections):
            c.drop()
        self.call(self.deliveries.clear)
        self.call(gc.collect)

    def hold(self, delivery):
        self.count += 1
        self.deliveries[self.count] = delivery
        return self.count

    # Events of proton.

    def _tell(self, owner, method, *args):
        if owner is None:
            return
        with self.changed:
            getattr(owner, method)(*args)
            self.changed.notify_all()

    def on_connection_remote_open(self, event):
        self._tell(owner_of(event.connection), "_opened")

    def on_connection_remote_close(self, event):
        self._tell(owner_of(event.connection), "_closed", event.connection.remote_condition)

    def on_transport_closed(self, event):
        if event.connection is not None:
            self._tell(owner_of(event.connection), "_dropped", event.transport.condition)

    def on_transport(self, event):
        connection = owner_of(event.connection) if event.connection is not None else None
        if connection and connection.is_writing():
            self._tell(connection, "_writable")

    def on_session_remote_open(self, event):
        self._tell(owner_of(event.connection), "_session_opened", event.session)

    def on_session_remote_close(self, event):
        self._tell(owner_of(event.connection), "_session_closed", event.session)

    def on_link_remote_open(self, event):
        self._tell(owner_of(event.link), "_attached")

    def on_link_remote_close(self, event):
        self._tell(owner_of(event.link), "_ended", event.link.remote_condition)

    def on_link_remote_detach(self, event):
        self._tell(owner_of(event.link), "_ended", event.link.remote_condition)

    def on_link_flow(self, event):
        self._tell(owner_of(event.link), "_flow")

    def on_delivery(self, event):
        self._tell(owner_of(event.link), "_delivery", event.delivery)


def owner_of(endpoint):
    return getattr(endpoint, "e2e_owner", None)


_loop = None


def loop():
    global _loop
    if _loop is None:
        _loop = Loop()
    return _loop


def connect(url, wait=True, **kwargs):
    """A connection, open at both ends. Keywords are those of proton's Container.connect()."""
    kwargs.setdefault("allowed_mechs", "ANONYMOUS")
    c = Connection(loop(), url, kwargs)
    if wait:
        c.wait_open()
    return c


class Connection:
    def __init__(self, loop_, url, kwargs):
        self.loop = loop_
        self.is_open = self.is_over = False
        self.error = None  # the peer's condition
        self.links = []
        self.sessions_open = set()
        self.count = 0
        self.loop.call(self._start, url, kwargs)

    def _start(self, url, kwargs):
        self.proton = self.loop.container.connect(url, reconnect=False, **kwargs)
        self.proton.e2e_owner = self
        self.loop.connections.append(self)
        self.loop.kept.append(self.proton)
        self.session = self._new_session()

    def _opened(self):
        self.is_open = True
        self.container = self.proton.remote_container

    def _closed(self, condition):
        self.error = self.error or condition
        self.is_over = True
        self.proton.close()

    def _dropped(self, condition):
        self.error = self.error or condition
        self.is_over = True
        if self in self.loop.connections:
            self.loop.connections.remove(self)

    def is_writing(self):
        return any(getattr(link, "current", None) for link in self.links)

    def _writable(self):
        for link in self.links:
            if getattr(link, "current", None):
                link._push()

    def _session_opened(self, session):
        self.sessions_open.add(session)

    def _session_closed(self, session):
        self.sessions_open.discard(session)
        session.close()
        for link in self.links:
            if link.link.session == session and not link.is_over:
                link.error, link.is_over = session.remote_condition, True

    def check(self):
        if self.is_over:
            raise Gone("connection", self.error)
        return self

    def wait(self, is_true, what, timeout=TIMEOUT):
        self.loop.wait(lambda: is_true() or not self.check(), what, timeout)

    def wait_open(self):
        self.wait(lambda: self.is_open, "open")

    def wait_over(self, timeout=TIMEOUT):
        """Until the peer or the transport ended it; returns the condition's name, or None."""
        self.loop.wait(lambda: self.is_over, "the end of the connection", timeout)
        return self.error.name if self.error else None

    def barrier(self):
        """All that was asked before has been read by the router: it answered a later question."""
        session = self.loop.call(self._new_session)
        self.wait(lambda: session in self.sessions_open, "begin")
        self.loop.call(session.close)

    def _new_session(self):
        session = self.proton.session()
        session.open()
        self.loop.kept.append(session)
        return session

    def new_session(self):
        """Links made after this are on a session of their own."""
        self.session = self.loop.call(self._new_session)
        self.wait(lambda: self.session in self.sessions_open, "begin")

    def sender(self, address, settled=False, wait=True, **options):
        """`address` None: an anonymous one. wait=False: does not wait for the attach. again=True:
        what comes back released is sent again, as AMQP means it; so it does while routes change."""
        s = self.loop.call(lambda: Sender(self, address, settled, options))
        return s.wait_attached() if wait else s

    def receiver(self, address, credit=10, wait=True, refill=True, **options):
        """`address` None: a dynamic one, then told by .address. Credit is kept up as messages are
        taken, unless refill is False."""
        r = self.loop.call(lambda: Receiver(self, address, credit, refill, options))
        return r.wait_attached() if wait else r

    def close(self):
        """In peace: waits for the router's close."""
        if not self.is_over:
            self.loop.call(self.proton.close)
            self.wait_over()

    def drop(self):
        """Gone without a word, as when the process is killed."""
        self.loop.call(self._drop)
        self.loop.wait(lambda: self.is_over, "the end of the transport")

    def _drop(self):
        transport = self.proton.transport
        selectable = getattr(transport, "_selectable", None) if transport else None
        if selectable:
            with contextlib.suppress(OSError):  # the other end has dropped it
                selectable._delegate.shutdown(socket.SHUT_RDWR)
        else:
            self._dropped(None)


class LinkEnd:
    """What sender and receiver share. `capabilities`: symbols for both termini; `configure`: a
    function that gets proton's link before it is attached."""

    def __init__(self, connection, name=None, capabilities=(), configure=None, properties=None):
        self.connection, self.loop = connection, connection.loop
        self.is_attached = self.is_over = False
        self.error = None
        connection.count += 1
        self.link = self._make(connection.session, name or "link-%d" % connection.count)
        self.link.e2e_owner = self
        for terminus in (self.link.source, self.link.target) if capabilities else ():
            put_symbols(terminus.capabilities, capabilities)
        if properties:
            self.link.properties = properties
        if configure:
            configure(self.link)
        connection.links.append(self)
        self.loop.kept.append(self.link)
        self.link.open()

    def _attached(self):
        far = self.link.remote_target if self.link.is_sender else self.link.remote_source
        # A refused link is attached without its terminus, and then detached with the reason.
        self.is_attached = far.type != Terminus.UNSPECIFIED
        self.address = far.address  # as the router named it

    def _ended(self, condition):
        self.error, self.is_over = condition, True
        self.link.close()

    def check(self):
        if self.is_over:
            raise Gone("link", self.error)
        self.connection.check()

    def wait(self, is_true, what, timeout=TIMEOUT):
        """Until is_true(); a link that ends first raises Gone."""
        self.loop.wait(lambda: is_true() or self.check(), what, timeout)

    def wait_attached(self):
        self.wait(lambda: self.is_attached, "attach")
        return self

    def wait_over(self, timeout=TIMEOUT):
        """Until the router detached it; returns the condition's name, or None."""
        self.loop.wait(lambda: self.is_over or self.connection.is_over, "detach", timeout)
        return self.error.name if self.error else None

    def close(self):
        self.loop.call(self.link.close)
        self.loop.wait(lambda: self.is_over or self.connection.is_over, "the router's detach")


def put_symbols(data, symbols):
    data.put_array(False, Data.SYMBOL)
    data.enter()
    for s in symbols:
        data.put_symbol(s)
    data.exit()


class Sent:
    """A message on its way, and its outcome."""

    def __init__(self, sender, settled):
        self.sender, self.settled = sender, settled
        self.is_sent = False
        self.state = self.condition = self.description = None
        self.failed = self.undeliverable = None

    def outcome(self, timeout=TIMEOUT):
        """Waits for it: Delivery.ACCEPTED, REJECTED, RELEASED or MODIFIED (None: pre-settled)."""
        self.sender.wait(lambda: self.is_sent and (self.settled or self.state is not None),
                         "an outcome", timeout)
        return self.state

    def _updated(self, delivery):
        if delivery.settled or delivery.remote_state not in (0, Delivery.RECEIVED):
            self.state = delivery.remote_state
            remote = delivery.remote
            if self.state == Delivery.REJECTED and remote.condition:
                self.condition = remote.condition.name
                self.description = remote.condition.description
            if self.state == Delivery.MODIFIED:
                self.failed, self.undeliverable = remote.failed, remote.undeliverable
            delivery.settle()


class Sender(LinkEnd):
    def __init__(self, connection, address, settled, options):
        self.wanted, self.settled = address, settled
        self.credit = self.tag = self.unsettled = 0
        self.queue = collections.deque()
        self.current = None  # begun and not all given to proton
        self.again = options.pop("again", False)
        self.is_drained = False
        super().__init__(connection, **options)

    def _make(self, session, name):
        link = session.sender(name)
        link.target.address = self.wanted
        link.snd_settle_mode = Link.SND_SETTLED if self.settled else Link.SND_UNSETTLED
        return link

    def _flow(self):
        self._push()
        if self.link.drain_mode and self.link.credit > 0:
            self.link.drained()
            self.is_drained = True
            self.credit = self.link.credit

    def _push(self):
        while True:
            if not self.current:
                if not self.queue or self.link.credit <= 0:
                    break
                self._begin(*self.queue.popleft())
            if not self._go_on():
                break
        self.credit = self.link.credit

    def _begin(self, sent, data):
        self.tag += 1
        delivery = self.link.delivery(str(self.tag))
        self.current = (sent, memoryview(data), delivery)
        if not sent.settled:
            delivery.e2e_sent = sent
            self.unsettled += 1

    def _go_on(self):
        """Gives proton a piece at a time: it is slow with large ones. False: not all fitted."""
        sent, data, delivery = self.current
        while data:
            if self.link.session.outgoing_bytes > PIECE:
                self.current = (sent, data, delivery)
                return False
            self.link.stream(bytes(data[:PIECE]))
            data = data[PIECE:]
        self.current = None
        self.link.advance()
        sent.is_sent = True
        if sent.settled:
            delivery.settle()
        return True

    def _delivery(self, delivery):
        sent = getattr(delivery, "e2e_sent", None)
        if sent and delivery.updated and sent.state is None:
            sent._updated(delivery)
            self.unsettled -= sent.state is not None
            if sent.state is not None and self.current and self.current[0] is sent:
                self.current = None  # nobody wants the rest
                sent.is_sent = True
                self._push()
            if sent.state == Delivery.RELEASED and self.again:
                sent.state = None
                sent.is_sent = False
                self._post([(sent, sent.data)])

    def _post(self, items):
        self.queue.extend(items)
        self._push()

    def post_all(self, messages, settled=None):
        settled = self.settled if settled is None else settled
        items = []
        for m in messages:
            sent = Sent(self, settled)
            sent.data = m if isinstance(m, bytes) else m.encode()
            items.append((sent, sent.data))
            if not self.again:
                sent.data = None
        self.check()
        self.loop.call(self._post, items)
        return [sent for sent, _ in items]

    def post(self, message, settled=None):
        """Sends as soon as there is credit; returns a Sent at once."""
        return self.post_all([message], settled)[0]

    def begin(self, data):
        """Sends the first octets of a message; go_on() or abort() ends it."""
        def work():
            self.tag += 1
            delivery = self.link.delivery(str(self.tag))
            self.link.stream(data)
            return self.loop.hold(delivery)
        return self.loop.call(work)

    def go_on(self, number, data):
        """Sends the rest of a message."""
        def work():
            self.link.stream(data)
            self.link.advance()
            self.loop.deliveries.pop(number)
        self.loop.call(work)

    def abort(self, number):
        self.loop.call(lambda: self.loop.deliveries.pop(number).abort())

    def send(self, message, settled=None, timeout=TIMEOUT):
        """Sends, and waits for the outcome."""
        return self.post(message, settled).outcome(timeout)

    def send_all(self, messages, settled=None, timeout=TIMEOUT):
        return [sent.outcome(timeout) for sent in self.post_all(messages, settled)]

    def wait_credit(self, at_least=1, timeout=TIMEOUT):
        self.wait(lambda: self.credit >= at_least, "credit", timeout)
        return self

    def wait_sent(self, timeout=TIMEOUT):
        """Until all that was posted is with proton's transport."""
        self.wait(lambda: not self.queue and not self.current, "credit for all messages", timeout)


class Got:
    """A message that was received; one of accept() … modify() ends it."""

    def __init__(self, receiver, number, data, settled):
        self.receiver, self.number, self.data, self.was_settled = receiver, number, data, settled
        self.message = Message()
        self.message.decode(data)

    @property
    def body(self):
        return self.message.body

    def _settle(self, state, configure=None):
        def work():
            delivery = self.receiver.loop.deliveries.pop(self.number)
            if configure:
                configure(delivery.local)
            delivery.update(state)
            delivery.settle()
        self.receiver.loop.call(work)
        return self

    def accept(self):
        return self._settle(Delivery.ACCEPTED)

    def reject(self, condition=None):
        def set_condition(local):
            local.condition = condition
        return self._settle(Delivery.REJECTED, set_condition if condition else None)

    def release(self):
        return self._settle(Delivery.RELEASED)

    def modify(self, failed=True, undeliverable=False, annotations=None):
        def fill(local):
            local.failed, local.undeliverable = failed, undeliverable
            if annotations:
                local.annotations = annotations
        return self._settle(Delivery.MODIFIED, fill)


class Receiver(LinkEnd):
    def __init__(self, connection, address, credit, refill, options):
        self.wanted, self.refill = address, refill
        self.got = collections.deque()
        self.parts = []
        self.received = self.received_bytes = self.aborted = 0
        self.is_drained = False
        self.auto = options.pop("auto", None)
        super().__init__(connection, **options)
        if credit:
            self.link.flow(credit)

    def _make(self, session, name):
        link = session.receiver(name)
        if self.wanted is None:
            link.source.dynamic = True
        else:
            link.source.address = self.wanted
        return link

    def _flow(self):
        self.is_drained = self.link.drain_mode and self.link.credit == 0

    def _delivery(self, delivery):
        while delivery.readable and delivery.link.current == delivery:
            if delivery.aborted:
                self.aborted += 1
                self.parts.clear()
                self.link.advance()
                delivery.settle()
                if self.refill:
                    self.link.flow(1)
                return
            if delivery.pending:
                self.parts.append(self.link.recv(delivery.pending))
            if delivery.partial:
                return
            data = b"".join(self.parts)
            self.parts.clear()
            self.received += 1
            self.received_bytes += len(data)
            got = Got(self, self.loop.hold(delivery), data, delivery.settled)
            self.link.advance()
            self._arrived(got)
            return

    def _arrived(self, got):
        if self.auto is None:
            self.got.append(got)
            return
        self.auto(got)
        if self.refill:
            self.link.flow(1)

    def flow(self, credit):
        self.loop.call(self.link.flow, credit)
        return self

    def drain(self, credit=0, timeout=TIMEOUT):
        """Asks for what there is now, up to `credit` more; waits until credit is used up."""
        def work():
            self.is_drained = False
            self.link.drain(credit)
        self.loop.call(work)
        self.wait(lambda: self.is_drained, "drained", timeout)

    def get(self, timeout=TIMEOUT):
        """The next message, to be ended by the caller."""
        self.wait(lambda: self.got, "a message at %s" % self.wanted, timeout)
        got = self.got.popleft()
        if self.refill:
            self.loop.call(self.link.flow, 1)
        return got

    def take(self, timeout=TIMEOUT):
        """The body of the next message, accepted."""
        return self.get(timeout).accept().body

    def take_all(self, count, timeout=TIMEOUT):
        return [self.take(timeout) for _ in range(count)]

    def wait_received(self, count, timeout=TIMEOUT):
        self.wait(lambda: self.received >= count, "%d messages (%s)" % (count, self.wanted),
                  timeout)


def accepting(got):
    """For receiver(auto=…): accepts each message where it arrives."""
    got.accept()
