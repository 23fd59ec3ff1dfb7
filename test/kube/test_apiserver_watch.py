# SPDX-License-Identifier: Apache-2.0
"""Lists, pages, selectors and watches of the stand-in; all of it true of a real server too, but for the
tests that take `standin`, which order trouble."""

import http.client
import socket
import ssl
import time

import pytest

from kubeapi import path_of


def put(a, namespace, name, labels=None, **data):
    return a.create("configmaps", {"metadata": {"name": name, "labels": labels or {}},
                                   "data": data}, namespace)


def names(listed):
    """Without what a cluster puts into each namespace: kube-root-ca.crt, some another one, too."""
    return [o["metadata"]["name"] for o in listed["items"] if
            not o["metadata"]["name"].endswith("ca.crt")]


def version(listed):
    return listed["metadata"]["resourceVersion"]


# ------------------------------------------------------------------------------------- lists

def test_a_list_is_sorted_and_says_what_it_is(cluster, namespace):
    a = cluster.admin
    for name in "cab":
        put(a, namespace, name)
    listed = a.list("configmaps", namespace)
    assert (listed["kind"], listed["apiVersion"]) == ("ConfigMapList", "v1")
    assert names(listed) == ["a", "b", "c"]
    assert "kind" not in listed["items"][0]


@pytest.mark.parametrize("selector,found", [
    ("color=red", "ab"), ("color==red,size=1", "a"), ("color!=red", "cd"), ("size", "ab"),
    ("!size", "cd"), ("color in (red, blue)", "abc"), ("color notin (red)", "cd"),
    ("size,color in (red)", "ab"), ("none=x", "")])
def test_a_list_by_labels(cluster, namespace, selector, found):
    a = cluster.admin
    put(a, namespace, "a", {"color": "red", "size": "1"})
    put(a, namespace, "b", {"color": "red", "size": "2"})
    put(a, namespace, "c", {"color": "blue"})
    put(a, namespace, "d", {"other": "x"})
    assert names(a.list("configmaps", namespace, labelSelector=selector)) == list(found)


def test_a_list_by_fields(cluster, namespace):
    a = cluster.admin
    put(a, namespace, "a")
    a.create("secrets", {"metadata": {"name": "s"}, "type": "example.com/x"}, namespace)
    assert names(a.list("configmaps", namespace, fieldSelector="metadata.name=a")) == ["a"]
    assert names(a.list("secrets", namespace, fieldSelector="type=example.com/x")) == ["s"]
    assert names(a.list("secrets", namespace, fieldSelector="type=Opaque")) == []
    everywhere = a.list("configmaps", fieldSelector="metadata.namespace=" + namespace)
    assert names(everywhere) == ["a"]
    for bad in ({"fieldSelector": "data.x=1"}, {"labelSelector": "a in b"}):
        assert a.request("GET", path_of("configmaps", namespace), **bad).code == 400


def test_pages_are_of_one_moment(cluster, namespace):
    a = cluster.admin
    for i in range(7):
        put(a, namespace, "m%d" % i, {"test": "pages"})
    first = a.list("configmaps", namespace, limit=3, labelSelector="test=pages")
    assert names(first) == ["m0", "m1", "m2"]
    a.delete("configmaps", "m4", namespace)
    put(a, namespace, "m3a", {"test": "pages"})
    second = a.list("configmaps", namespace, limit=3, labelSelector="test=pages",
                    **{"continue": first["metadata"]["continue"]})
    assert names(second) == ["m3", "m4", "m5"] and version(second) == version(first)
    third = a.list("configmaps", namespace, limit=3, labelSelector="test=pages",
                   **{"continue": second["metadata"]["continue"]})
    assert names(third) == ["m6"] and not third["metadata"].get("continue")
    assert names(a.list("configmaps", namespace, labelSelector="test=pages")) == [
        "m0", "m1", "m2", "m3", "m3a", "m5", "m6"]


def test_a_version_that_is_to_come_is_too_large(cluster, namespace):
    a = cluster.admin
    far = str(int(version(a.list("configmaps", namespace))) + 1000000)
    answer = a.request("GET", path_of("configmaps", namespace), resourceVersion=far,
                       resourceVersionMatch="NotOlderThan")
    assert answer.code == 504 and "Too large resource version" in answer.message


def test_an_exact_version_is_what_was_then(cluster, namespace):
    a = cluster.admin
    put(a, namespace, "a")
    then = version(a.list("configmaps", namespace))
    put(a, namespace, "b")
    listed = a.list("configmaps", namespace, resourceVersion=then, resourceVersionMatch="Exact")
    assert names(listed) == ["a"]


def test_objects_of_all_namespaces(cluster, namespace):
    other = cluster.namespace()
    put(cluster.admin, namespace, "here", {"test": "all-" + namespace})
    put(cluster.admin, other, "there", {"test": "all-" + namespace})
    listed = cluster.admin.list("configmaps", labelSelector="test=all-" + namespace)
    assert sorted(names(listed)) == ["here", "there"]


# ------------------------------------------------------------------------------------ watches

def told(watch):
    kind, obj = watch.next()
    return kind, obj["metadata"]["name"]


def test_a_watch_tells_what_changes_from_a_version_on(cluster, namespace):
    a = cluster.admin
    start = version(a.list("configmaps", namespace))
    put(a, namespace, "a")
    with a.watch("configmaps", namespace, resourceVersion=start) as watch:
        assert told(watch) == ("ADDED", "a")
        a.patch("configmaps", "a", {"data": {"x": "y"}}, namespace)
        kind, changed = watch.next()
        assert kind == "MODIFIED" and changed["data"] == {"x": "y"}
        assert changed["kind"] == "ConfigMap" and changed["apiVersion"] == "v1"
        a.delete("configmaps", "a", namespace)
        kind, gone = watch.next()
        assert kind == "DELETED" and gone["data"] == {"x": "y"}
        assert int(gone["metadata"]["resourceVersion"]) > \
            int(changed["metadata"]["resourceVersion"])


def test_a_watch_without_a_version_begins_with_what_is_there(cluster, namespace):
    a = cluster.admin
    put(a, namespace, "a", {"test": "x"})
    with a.watch("configmaps", namespace, labelSelector="test=x") as watch:
        assert told(watch) == ("ADDED", "a")
        put(a, namespace, "b", {"test": "x"})
        assert told(watch) == ("ADDED", "b")


def test_an_object_enters_and_leaves_a_selection(cluster, namespace):
    a = cluster.admin
    start = version(a.list("configmaps", namespace))
    with a.watch("configmaps", namespace, labelSelector="on=yes", resourceVersion=start) as watch:
        put(a, namespace, "a")
        a.patch("configmaps", "a", {"metadata": {"labels": {"on": "yes"}}}, namespace)
        assert told(watch) == ("ADDED", "a")
        off = a.patch("configmaps", "a", {"metadata": {"labels": {"on": "no"}}}, namespace)
        kind, left = watch.next()
        assert kind == "DELETED"
        assert left["metadata"]["resourceVersion"] == off["metadata"]["resourceVersion"]


def test_a_watch_of_one_object(cluster, namespace):
    a = cluster.admin
    start = version(a.list("configmaps", namespace))
    with a.watch("configmaps", namespace, fieldSelector="metadata.name=b",
                 resourceVersion=start) as watch:
        put(a, namespace, "a")
        put(a, namespace, "b")
        assert told(watch) == ("ADDED", "b")


def test_a_watch_ends_when_it_was_asked_to(cluster, namespace):
    a = cluster.admin
    start = version(a.list("configmaps", namespace))
    with a.watch("configmaps", namespace, timeoutSeconds=1, resourceVersion=start,
                 allowWatchBookmarks="true") as watch:
        events = []
        while (event := watch.next()) is not None:
            events.append(event[0])
        assert set(events) <= {"BOOKMARK"}


def test_initial_events_end_with_a_bookmark(cluster, namespace):
    a = cluster.admin
    put(a, namespace, "a", {"test": "x"})
    with a.watch("configmaps", namespace, labelSelector="test=x", sendInitialEvents="true",
                 resourceVersionMatch="NotOlderThan", allowWatchBookmarks="true") as watch:
        kind, obj = watch.next()
        if cluster.is_real and "RequestWatchProgress" in obj.get("message", ""):
            pytest.skip("the etcd of this cluster is too old for it")
        assert (kind, obj["metadata"]["name"]) == ("ADDED", "a")
        kind, mark = watch.until(lambda kind, obj: kind == "BOOKMARK")
        assert mark["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        assert int(mark["metadata"]["resourceVersion"]) > 0


def test_many_watches_hear_the_same(cluster, namespace):
    a = cluster.admin
    start = version(a.list("configmaps", namespace))
    watches = [a.watch("configmaps", namespace, resourceVersion=start) for _ in range(40)]
    for i in range(50):
        put(a, namespace, "m%d" % i)
    for watch in watches:
        assert [told(watch)[1] for _ in range(50)] == ["m%d" % i for i in range(50)]
        watch.close()


# ------------------------------------------------------------------------- trouble on request

def test_a_bookmark_can_be_had(standin, namespace):
    a = standin.admin
    start = version(a.list("configmaps", namespace))
    with a.watch("configmaps", namespace, resourceVersion=start,
                 allowWatchBookmarks="true") as watch:
        put(a, standin.namespace(), "elsewhere")
        now = version(a.list("configmaps", namespace))
        standin.control("bookmark")
        kind, mark = watch.next()
        assert kind == "BOOKMARK" and int(version(mark)) >= int(now) > int(start)
        assert mark["kind"] == "ConfigMap"


def test_forgotten_history_is_expired(standin, namespace):
    a = standin.admin
    put(a, namespace, "a")
    put(a, namespace, "b")
    first = a.list("configmaps", namespace, limit=1)
    standin.control("forget_history")
    with a.watch("configmaps", namespace, resourceVersion=version(first)) as watch:
        kind, status = watch.next()
        assert kind == "ERROR" and status["code"] == 410 and status["reason"] == "Expired"
        assert "too old resource version" in status["message"]
        assert watch.next() is None
    late = a.request("GET", path_of("configmaps", namespace), limit=1,
                     **{"continue": first["metadata"]["continue"]})
    assert late.code == 410 and late.reason == "Expired"
    # A list anew gives a version that a watch can start from.
    with a.watch("configmaps", namespace,
                 resourceVersion=version(a.list("configmaps", namespace))) as watch:
        put(a, namespace, "c")
        assert told(watch) == ("ADDED", "c")


def test_a_restart_keeps_objects_and_history(standin, namespace):
    a = standin.admin
    put(a, namespace, "a")
    start = version(a.list("configmaps", namespace))
    with a.watch("configmaps", namespace, resourceVersion=start) as watch:
        standin.control("stop")
        assert watch.next() is None
        with pytest.raises((OSError, http.client.HTTPException)):
            a.request("GET", "/version")
        standin.control("start")
    put(a, namespace, "b")
    with a.watch("configmaps", namespace, resourceVersion=start) as watch:
        assert told(watch) == ("ADDED", "b")


def test_a_restart_may_forget_history(standin, namespace):
    a = standin.admin
    start = version(a.list("configmaps", namespace))
    standin.control("restart", forget=True)
    with a.watch("configmaps", namespace, resourceVersion=start) as watch:
        assert watch.next()[1]["code"] == 410


def test_watches_can_be_dropped(standin, namespace):
    a = standin.admin
    start = version(a.list("configmaps", namespace))
    for clean in (True, False):
        with a.watch("configmaps", namespace, resourceVersion=start) as watch:
            standin.control("drop_watches", clean=clean)
            assert watch.next() is None


def test_requests_are_refused_on_request(standin, namespace):
    a = standin.admin
    place = path_of("configmaps", namespace)
    standin.control("fault", match={"verb": "list", "resource": "configmaps"}, code=429,
                    retry_after=2, count=2)
    for _ in range(2):
        answer = a.request("GET", place)
        assert answer.code == 429 and answer.headers["retry-after"] == "2"
        assert answer.body["details"]["retryAfterSeconds"] == 2
    assert a.request("GET", place).code == 200
    standin.control("fault", match={"verb": "create"}, code=500, skip=1, count=1)
    assert [a.request("POST", place, {"metadata": {"name": n}}).code for n in "abc"] == [
        201, 500, 201]


def test_an_answer_can_be_lost(standin, namespace):
    a = standin.admin
    place = path_of("configmaps", namespace)
    for how, done in (("before", False), ("after", True), ("half", True)):
        standin.control("fault", match={"verb": "create", "resource": "configmaps"}, drop=how,
                        count=2)  # the client tries once more
        with pytest.raises((OSError, http.client.HTTPException)):
            a.request("POST", place, {"metadata": {"name": "lost-" + how}})
        standin.control("clear")
        assert (a.find("configmaps", "lost-" + how, namespace) is not None) == done


def test_connections_can_be_closed_after_an_answer(standin, namespace):
    standin.control("fault", match={"verb": "get"}, close=True, count=1)
    answers = [standin.admin.request("GET", path_of("configmaps", namespace, "kube-root-ca.crt"))
               for _ in range(2)]
    assert [a.headers.get("connection") for a in answers] == ["close", None]


def test_requests_are_counted(standin, namespace):
    mine = standin.admin.as_token(standin.control("token", user="me", groups=["system:masters"])
                                  ["token"], agent="counting/1")
    since = standin.mark()
    put(mine, namespace, "a")
    mine.list("configmaps", namespace)
    mine.find("secrets", "none", namespace)
    with mine.watch("configmaps", namespace):
        pass
    counts = standin.counts(since, user="me")
    assert counts == {"create configmaps": 1, "list configmaps": 1, "get secrets": 1,
                      "watch configmaps": 1}
    assert standin.counts(since, agent="counting") == counts
    assert [r["code"] for r in standin.requests(since, user="me")] == [201, 200, 404, 200]


def test_an_answer_can_be_late_or_never_come(standin, namespace):
    a = standin.admin
    place = path_of("configmaps", namespace)
    standin.control("fault", match={"verb": "list"}, hang=True, count=1)
    with a.watch("configmaps", namespace) as watch:  # others go on
        assert watch.code == 200
    connection = a.connect()
    connection.request("GET", place, headers=a.headers())
    connection.sock.settimeout(0.5)
    with pytest.raises(TimeoutError):
        connection.getresponse()
    connection.close()
    standin.control("fault", match={"verb": "list"}, delay=0.2, count=1)
    began = time.monotonic()
    assert a.request("GET", place).code == 200
    assert time.monotonic() - began >= 0.2


POST = b"POST /api/v1/namespaces HTTP/1.1\r\n"
GARBAGE = {
    "zeros": b"\0" * 100, "no request": b"\r\n\r\n", "no version": b"GET /\r\n\r\n",
    "no header": b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
    "no length": POST + b"Content-Length: x\r\n\r\n",
    "less than nothing": POST + b"Content-Length: -1\r\n\r\n",
    "no chunk": POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "huge path": b"GET /" + b"a" * 100000,
    "huge head": b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 50000,
    "half a body": POST + b"Content-Length: 100\r\n\r\n{}"}


@pytest.mark.parametrize("garbage", sorted(GARBAGE))
def test_garbage_harms_nobody_else(cluster, garbage):
    connection = cluster.admin.connect()
    connection.connect()
    try:
        connection.sock.sendall(GARBAGE[garbage])
        connection.sock.unwrap()  # that was all
    except OSError:
        pass  # cut off: as good an answer as 400
    connection.close()
    assert cluster.admin.must("GET", "/version")


def test_who_speaks_no_tls_harms_nobody_else(cluster):
    address = (cluster.admin.address.hostname, cluster.admin.address.port)
    for said in (b"GET / HTTP/1.1\r\n\r\n", b""):
        with socket.create_connection(address) as plain:
            plain.sendall(said)
    untrusting = ssl.create_default_context()
    with socket.create_connection(address) as plain, pytest.raises(ssl.SSLError):
        untrusting.wrap_socket(plain, server_hostname=address[0])
    assert cluster.admin.must("GET", "/version")
