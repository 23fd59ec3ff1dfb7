# SPDX-License-Identifier: Apache-2.0
"""A client of the Kubernetes API for tests: plain requests, and waiting for what a watch tells."""

import base64
import gzip
import http.client
import json
import pathlib
import socket
import ssl
import threading
import time
import urllib.parse

import yaml

TIMEOUT = 60
JSON, MERGE = "application/json", "application/merge-patch+json"
STRATEGIC, JSON_PATCH = "application/strategic-merge-patch+json", "application/json-patch+json"
APPLY = "application/apply-patch+yaml"

_GROUPS = {
    "namespaces": "", "nodes": "", "pods": "", "services": "", "endpoints": "", "secrets": "",
    "configmaps": "", "serviceaccounts": "", "events": "",
    "deployments": "apps/v1", "statefulsets": "apps/v1", "daemonsets": "apps/v1",
    "replicasets": "apps/v1",
    "roles": "rbac.authorization.k8s.io/v1", "rolebindings": "rbac.authorization.k8s.io/v1",
    "clusterroles": "rbac.authorization.k8s.io/v1",
    "clusterrolebindings": "rbac.authorization.k8s.io/v1",
    "leases": "coordination.k8s.io/v1", "ingresses": "networking.k8s.io/v1",
    "customresourcedefinitions": "apiextensions.k8s.io/v1",
    "subjectaccessreviews": "authorization.k8s.io/v1",
    "selfsubjectaccessreviews": "authorization.k8s.io/v1",
}


def path_of(resource, namespace=None, name=None, sub=None):
    """The path of "pods", "deployments", … or of a custom resource: "sites.skupper.io/v2alpha1"."""
    plural, _, group = resource.partition(".")
    group = group or _GROUPS[plural]
    path = "/apis/" + group if group else "/api/v1"
    if namespace:
        path += "/namespaces/" + namespace
    path += "/" + plural
    for part in (name, sub):
        if part:
            path += "/" + part
    return path


class Answer:
    def __init__(self, code, headers, raw):
        self.code = code
        self.headers = headers
        self.raw = raw  # as it came
        if headers.get("content-encoding") == "gzip":
            raw = gzip.decompress(raw)
        is_json = headers.get("content-type", "").startswith(JSON)
        self.body = json.loads(raw) if is_json and raw else None

    @property
    def message(self):
        return (self.body or {}).get("message", "")

    @property
    def reason(self):
        return (self.body or {}).get("reason", "")

    @property
    def causes(self):
        return ((self.body or {}).get("details") or {}).get("causes") or []


class Refused(AssertionError):
    """An answer that was not the one a test needed to go on."""

    def __init__(self, method, path, answer):
        super().__init__("%s %s: %d %s" % (method, path, answer.code,
                                           answer.message or answer.raw[:300]))
        self.answer = answer


def _file_or_data(entry, name, folder):
    if entry.get(name + "-data"):
        path = folder / ("%s-%s.pem" % (name, abs(hash(entry[name + "-data"]))))
        path.write_bytes(base64.b64decode(entry[name + "-data"]))
        path.chmod(0o600)
        return str(path)
    return entry.get(name)


class Client:
    """One user of one cluster. Connections are kept, one a thread."""

    def __init__(self, kubeconfig, scratch, token=None, agent="tests/1"):
        config = yaml.safe_load(pathlib.Path(kubeconfig).read_text())
        named = {kind: {e["name"]: e[kind] for e in config[kind + "s"]}
                 for kind in ("cluster", "context", "user")}
        context = named["context"][config["current-context"]]
        cluster, user = named["cluster"][context["cluster"]], named["user"][context["user"]]
        self.kubeconfig, self.scratch, self.agent = kubeconfig, scratch, agent
        self.address = urllib.parse.urlsplit(cluster["server"])
        self.tls = ssl.create_default_context(
            cafile=_file_or_data(cluster, "certificate-authority", scratch))
        self.token = token or user.get("token")
        if token is None and (user.get("client-certificate-data") or
                              user.get("client-certificate")):
            self.tls.load_cert_chain(_file_or_data(user, "client-certificate", scratch),
                                     _file_or_data(user, "client-key", scratch))
        self._of_thread = threading.local()

    def as_token(self, token, agent="tests/1"):
        """Another user of the same cluster; "" is nobody."""
        return Client(self.kubeconfig, self.scratch, token, agent)

    def connect(self, timeout=TIMEOUT):
        return http.client.HTTPSConnection(self.address.hostname, self.address.port or 443,
                                           timeout=timeout, context=self.tls)

    def headers(self, more=None):
        headers = {"Accept": JSON, "User-Agent": self.agent}
        if self.token:
            headers["Authorization"] = "Bearer " + self.token
        headers.update(more or {})
        return headers

    def request(self, method, path, body=None, content=JSON, headers=None, **query):
        if query:
            path += "?" + urllib.parse.urlencode(query)
        headers = self.headers(headers)
        if body is not None:
            headers["Content-Type"] = content
            body = body if isinstance(body, (bytes, str)) else json.dumps(body)
        for attempt in (1, 2):
            kept = getattr(self._of_thread, "connection", None)
            connection = kept or self.connect()
            try:
                connection.request(method, path, body, headers)
                response = connection.getresponse()
                raw = response.read()
                break
            except (http.client.HTTPException, OSError):
                # A connection that was kept may have ended meanwhile; a fresh one may not.
                connection.close()
                self._of_thread.connection = None
                if attempt == 2 or not kept:
                    raise
        self._of_thread.connection = None if response.will_close else connection
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, raw)

    def must(self, method, path, *args, **more):
        answer = self.request(method, path, *args, **more)
        if answer.code >= 300:
            raise Refused(method, path, answer)
        return answer.body

    # -------------------------------------------------------------------------------- resources

    def create(self, resource, obj, namespace=None, **query):
        return self.must("POST", path_of(resource, namespace), obj, **query)

    def get(self, resource, name, namespace=None):
        return self.must("GET", path_of(resource, namespace, name))

    def find(self, resource, name, namespace=None):
        """None when there is none."""
        answer = self.request("GET", path_of(resource, namespace, name))
        if answer.code not in (200, 404):
            raise Refused("GET", name, answer)
        return answer.body if answer.code == 200 else None

    def list(self, resource, namespace=None, **query):
        return self.must("GET", path_of(resource, namespace), **query)

    def update(self, resource, obj, namespace=None, sub=None, **query):
        return self.must("PUT", path_of(resource, namespace, obj["metadata"]["name"], sub), obj,
                         **query)

    def patch(self, resource, name, body, namespace=None, content=MERGE, sub=None, **query):
        return self.must("PATCH", path_of(resource, namespace, name, sub), body, content, **query)

    def apply(self, resource, obj, namespace=None, manager="tests", **query):
        return self.patch(resource, obj["metadata"]["name"], obj, namespace, APPLY,
                          fieldManager=manager, **query)

    def delete(self, resource, name, namespace=None, **options):
        return self.must("DELETE", path_of(resource, namespace, name), options or None)

    # ---------------------------------------------------------------------------------- watches

    def watch(self, resource, namespace=None, timeout=TIMEOUT, **query):
        return Watch(self, path_of(resource, namespace), timeout, query)

    def await_object(self, resource, name, namespace=None, until=lambda obj: obj is not None,
                     timeout=TIMEOUT):
        """The object as soon as `until(object)` holds; of one that is not there it is asked with
        None. Woken by a watch, never by time."""
        end = time.monotonic() + timeout
        while True:
            listed = self.list(resource, namespace, fieldSelector="metadata.name=" + name)
            obj = listed["items"][0] if listed["items"] else None
            if until(obj):
                return obj
            left = end - time.monotonic()
            if left <= 0:
                raise AssertionError("waited %d s for %s %s; it is %s" % (
                    timeout, resource, name, json.dumps(obj, indent=1)))
            with self.watch(resource, namespace, max(left, 0.1),
                            fieldSelector="metadata.name=" + name,
                            resourceVersion=listed["metadata"]["resourceVersion"]) as watch:
                watch.next(or_none=True)

    def await_gone(self, resource, name, namespace=None, timeout=TIMEOUT):
        self.await_object(resource, name, namespace, lambda obj: obj is None, timeout)


class Watch:
    """The events of a watch, one after another."""

    def __init__(self, client, path, timeout, query):
        self.connection = client.connect(timeout)
        query = {"watch": "1", **query}
        self.connection.request("GET", path + "?" + urllib.parse.urlencode(query), None,
                                client.headers())
        self.response = self.connection.getresponse()
        self.code = self.response.status
        if self.code != 200:
            self.answer = Answer(self.code, {k.lower(): v for k, v in self.response.getheaders()},
                                 self.response.read())

    def next(self, or_none=False):
        """(type, object); None when the stream has ended, and, with or_none, when nothing came in
        time."""
        try:
            line = self.response.readline()
        except socket.timeout:
            if or_none:
                return None
            raise AssertionError("no event came in time") from None
        except (http.client.HTTPException, OSError):
            return None
        if not line:
            return None
        event = json.loads(line)
        return event["type"], event["object"]

    def until(self, matches):
        """The first event for which matches(type, object) holds; what comes before is passed by."""
        while True:
            event = self.next()
            assert event is not None, "the watch ended"
            if matches(*event):
                return event

    def close(self):
        self.connection.close()
        self.response.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
