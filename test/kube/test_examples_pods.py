# SPDX-License-Identifier: Apache-2.0
"""The examples in demo/kubernetes where pods run: each in both forms, and one with a site of each;
its files are applied as they are, each in a namespace of its own, and somebody in another one uses
it, with programs of the images that the examples name. All sites are in one cluster, then in two.

Our image has to be there as in test_pods.py; an example whose own images are not is skipped, as is
all of it where Services get no addresses of a load balancer, which sites are linked by (and which
the pods of the second cluster have to reach in the first)."""

import base64
import itertools
import json
import time

import pytest

import control
import test_pods
from examples import PLURALS, grant_names, is_hub, notes_of, sites_of

SECONDS = 240
MISSING = ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName")
TOOLS = "registry.k8s.io/e2e-test-images/agnhost:2.45"
TYPE = "skupper.io/type"
numbers = itertools.count(1)


def lacks(pod):
    """The image that a pod waits for in vain."""
    for status in (pod.get("status") or {}).get("containerStatuses") or ():
        waiting = (status.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in MISSING:
            return "%s cannot be had here: %s" % (status["image"], waiting.get("message", ""))
    return None


def is_ready(pod):
    return any(c["type"] == "Ready" and c["status"] == "True"
               for c in pod["status"].get("conditions") or ())


class Place(test_pods.Place):
    """A site of an example, in a namespace of its own."""

    FILE = None

    def __init__(self, cluster, site, documents):
        super().__init__(cluster, site, "baseline", self.FILE)
        self.site, self.documents = site, documents

    def apply(self):
        for document in self.documents:
            self.admin.apply(PLURALS[document["kind"]], document, self.ns)

    def await_workloads(self):
        for document in self.documents:
            if document["kind"] in ("Deployment", "StatefulSet"):
                self.await_workload(PLURALS[document["kind"]], document["metadata"]["name"])

    def await_workload(self, resource, name):
        """Told by its pods: of an image that cannot be had the workload hears nothing."""
        replicas = self.admin.get(resource, name, self.ns)["spec"]["replicas"]
        listed = self.admin.list("pods", self.ns, labelSelector="app=" + name)
        # Without that version a server whose cache is behind would answer with an error.
        with self.admin.watch("pods", self.ns, SECONDS, labelSelector="app=" + name,
                              resourceVersion=listed["metadata"]["resourceVersion"]) as watch:
            ready, pods = set(), listed["items"]
            while True:
                for pod in pods:
                    if lacks(pod):
                        pytest.skip(lacks(pod))
                    if is_ready(pod):
                        ready.add(pod["metadata"]["name"])
                if len(ready) >= replicas:
                    break
                pods = [watch.until(lambda kind, pod: True)[1]]
        self.admin.await_object(resource, name, self.ns, lambda o: o["status"].get(
            "readyReplicas", 0) == replicas, SECONDS)

    def scale(self, name, replicas):
        self.admin.patch("deployments", name, {"spec": {"replicas": replicas}}, self.ns)

    def await_address(self):
        """Of the load balancer that leads to the router, where one does."""
        self.admin.await_object("services", "skupper-router", self.ns, bool, SECONDS)
        try:
            self.admin.await_object(
                "services", "skupper-router", self.ns, lambda o: o["spec"]["type"] != "LoadBalancer"
                or o["status"]["loadBalancer"].get("ingress"))
        except AssertionError:
            pytest.skip("a Service of type LoadBalancer gets no address here")

    def log(self, pod):
        return self.admin.request("GET", "/api/v1/namespaces/%s/pods/%s/log" % (
            self.ns, pod)).raw.decode()

    def logs(self, labels):
        return [self.log(pod) for pod in self.pods(labels)]

    def run(self, image, script, **environment):
        """What a pod of this namespace prints that runs a script to its end."""
        has_succeeded, said = self.attempt(image, script, **environment)
        assert has_succeeded, said
        return said

    def attempt(self, image, script, **environment):
        """Whether it came to a good end, and what it printed; without a script the image does what
        it does by itself."""
        name = "client-%d" % next(numbers)
        container = {"name": "main", "image": image, "imagePullPolicy": "IfNotPresent",
                     "env": [{"name": k, "value": v} for k, v in environment.items()]}
        if script:
            container["command"] = ["sh", "-c", script]
        self.admin.create("pods", {"metadata": {"name": name}, "spec": {
            "restartPolicy": "Never", "activeDeadlineSeconds": SECONDS,
            "terminationGracePeriodSeconds": 1, "containers": [container]}}, self.ns)

        def is_done(pod):
            missing = lacks(pod)
            if missing:
                pytest.skip(missing)
            return pod["status"].get("phase") in ("Succeeded", "Failed")

        pod = self.admin.await_object("pods", name, self.ns, is_done, SECONDS + 60)
        said = self.log(name)
        if pod["status"]["phase"] == "Succeeded":
            return True, said
        return False, "%s in %s: %s\n%s" % (script or image, self.ns, pod["status"], said)


class First(Place):
    """Without resource definitions: a ConfigMap and annotations."""

    FILE = "skupper-version-1.yaml"

    def install(self, file):
        """Here and from now on all is done by somebody with no right outside of the namespace."""
        self.admin = self.cluster.account(
            self.ns, "administrator", self.admin.get("clusterroles", "admin")["rules"])
        super().install(file)

    def await_site(self):
        self.admin.await_object("deployments", "skupper-router", self.ns,
                                lambda o: o and o["status"].get("readyReplicas"), SECONDS)

    def token(self, others):
        """For so many others, each of which may link to this site: what makes the link there."""
        self.await_address()
        self.admin.create("secrets", {"metadata": {"name": "to-" + self.site, "labels": {
            TYPE: "connection-token-request"}}}, self.ns)
        made = self.admin.await_object(
            "secrets", "to-" + self.site, self.ns,
            lambda o: o["metadata"]["labels"][TYPE] == "connection-token", SECONDS)
        return {"labels": {TYPE: "connection-token"}, "annotations": notes_of(made),
                "data": made["data"]}

    def link(self, token):
        """A link by what `token` gave, also by that of a site of the other form."""
        if "code" in token:
            token = {"labels": {TYPE: "token-claim"}, "annotations": {
                "internal.skupper.io/claim-kind": "AccessToken", "skupper.io/url": token["url"]},
                "data": {"password": base64.b64encode(token["code"].encode()).decode(),
                         "ca.crt": base64.b64encode(token["ca"].encode()).decode()}}
        self.admin.create("secrets", {
            "metadata": {"name": "hub", "labels": token["labels"],
                         "annotations": token["annotations"]}, "data": token["data"]}, self.ns)

    def await_linked(self):
        def is_linked(obj):
            status = json.loads(((obj or {}).get("data") or {}).get("NetworkStatus", "{}"))
            return [r for s in status.get("siteStatus") or () for r in s["routerStatus"] or ()
                    for k in r["links"] or () if k.get("name") == "hub" and k["status"] == "up"]

        self.admin.await_object("configmaps", "skupper-network-status", self.ns, is_linked,
                                SECONDS)


class Granted(First):
    """With one right more, for names of pods."""

    def install(self, file):
        grant_names(self.cluster, self.ns, "skupper-controller")
        super().install(file)


class Second(Place):
    """With resource definitions."""

    FILE = "skupper-namespace-scope.yaml"

    def await_site(self):
        self.await_condition("sites", self.site, "Running")

    def token(self, others):
        self.await_address()
        return self.grant("others", others)

    def link(self, token):
        self.redeem("hub", token)

    def await_linked(self):
        self.await_condition("links", "hub", "Ready")


def start(clusters, sites):
    """Places by the names of sites, of [(class, name, documents)], applied, linked and running. The
    clusters take turns, beginning with the site that the others link to."""
    sites = sorted(sites, key=lambda site: not is_hub(site[2]))
    places = {name: how(cluster, name, documents)
              for cluster, (how, name, documents) in zip(itertools.cycle(clusters), sites)}
    for place in places.values():
        place.apply()
    for place in places.values():
        place.await_site()
    [hub] = [p for p in places.values() if is_hub(p.documents)]
    others = [p for p in places.values() if p is not hub]
    token = hub.token(len(others))
    for place in others:
        place.link(token)
    for place in others:
        place.await_linked()
    for place in places.values():
        place.await_workloads()
    return places


# ---------------------------------------------------------------------------------------- their use

def until(command, holds):
    """A line of a shell: what a command prints, as soon as that holds of it."""
    return ("while true; do said=$(%s 2>&1); case \"$said\" in %s) break;; esac; "
            "echo \"$said\" >&2; sleep 1; done; echo \"$said\"" % (command, holds))


def use_hello_world(places):
    """Each request of the page is answered by one of the servers, and each of these has its turn."""
    ask = ("curl -s -m 20 -H 'Content-Type: application/json' "
           "-d '{\"name\": \"Test\", \"text\": \"Hello\"}' http://frontend:8080/api/hello")
    said = places["west"].run(TOOLS, "%s; for i in 1 2 3 4 5 6 7 8; do %s; echo; done" % (
        until(ask, '*"Hi, Test."*'), ask))
    answers = [line for line in said.splitlines() if "Hi, Test.  I am" in line]
    assert len(answers) == 9, said
    servers = places["east"].pods("app=backend")
    assert len(servers) == 3
    for server in servers:
        assert any("(%s)" % server in line for line in answers), (server, said)


def use_postgresql(places):
    """A table made in one site is read in another."""
    here = dict(PGHOST="postgresql", PGUSER="postgres", PGPASSWORD="skupper",
                PGCONNECT_TIMEOUT="5")
    image = "docker.io/library/postgres:16"
    places["public"].run(image, until("psql -tAc 'select 1'", "1") + """
        createdb markets && psql -d markets -v ON_ERROR_STOP=1 -c "create table product (
            id serial primary key, name varchar(100) not null, sku char(8))" &&
        psql -d markets -c "insert into product (name, sku) values ('pen', 'aaa00001'),
            ('ink', 'aaa00002')" """, **here)
    said = places["edge"].run(image, until("psql -d markets -tAc 'select name, sku from product'",
                                           "*aaa00002*"), **here)
    assert said.splitlines()[-2:] == ["pen|aaa00001", "ink|aaa00002"]


def redis(places, site, script):
    """What redis-cli says there in the end."""
    return places[site].run("docker.io/library/redis:7", script).splitlines()


def use_redis(places):
    """What is written to the first server is read from one that follows it; when it dies, another
    one is chosen, and it follows that one when it is back."""
    first = "redis-cli -h redis-sentinel -p 26379 sentinel get-master-addr-by-name first"
    quorum = "redis-cli -h sentinel-%s -p 26379 sentinel ckquorum first"
    said = redis(places, "south", until(quorum % "east", "*'OK 3 usable'*") + "\n" +
                 until(first, "*redis-north*") + "\n" +
                 until("redis-cli -h redis-north info replication", "*connected_slaves:2*") + "\n" +
                 until("redis-cli -h redis-north set fruit apple", "OK") + "\n" +
                 until("redis-cli -h redis-east get fruit", "apple"))
    assert said[-1] == "apple"
    places["north"].scale("redis", 0)
    said = redis(places, "east", until(first, "*redis-south*|*redis-east*"))
    chosen = next(line for line in reversed(said) if line.startswith("redis-"))
    assert chosen in ("redis-south", "redis-east")
    assert redis(places, "north", until("redis-cli -h %s set fruit pear" % chosen, "OK"))[-1] == "OK"
    places["north"].scale("redis", 1)
    said = redis(places, "south", until("redis-cli -h redis-north role", "slave*") + "\n" +
                 until("redis-cli -h redis-north get fruit", "pear"))
    assert said[-1] == "pear"


def ask_members(place, domain):
    """Each pod of the StatefulSet is asked for its name."""
    said = place.run(TOOLS, "\n".join(
        until("curl -s -m 10 http://web-%d%s:8080/hostname" % (i, domain), "web-%d" % i)
        for i in range(3)) + "\n" + until("curl -s -m 10 http://web:8080/hostname", "web-*"))
    names = [line for line in said.splitlines() if line in ("web-0", "web-1", "web-2")]
    assert names[:3] == ["web-0", "web-1", "web-2"] and len(names) == 4


def use_headless(places):
    """Each pod by its name, and all of them by that of the Service."""
    ask_members(places["west"], "")


def use_message_broker(places):
    """Ten messages go to a queue and come back. Of a broker it is not told when it listens, and the
    client gives up after a minute."""
    end, has_succeeded = time.monotonic() + SECONDS, False
    while not has_succeeded:
        has_succeeded, said = places["public"].attempt("quay.io/skupper/activemq-example-client",
                                                       None, SERVER="broker")
        assert has_succeeded or time.monotonic() < end, said
    lines = said.splitlines()
    for i in range(1, 11):
        assert "Sent message %d" % i in lines and "Received message %d" % i in lines, said
    assert lines[-1] == "Result: OK" or "Result: OK" in lines


def use_patient_portal(places):
    """A bill is paid at the portal; the database has it from there."""
    data = "curl -s -m 20 http://frontend:8080/api/data"
    pay = ("curl -s -m 20 -H 'Content-Type: application/json' -d '{\"bill\": 1}' "
           "http://frontend:8080/api/bill/pay")
    public = places["public"]
    said = public.run(TOOLS, "%s\n%s\n%s" % (until(data, '*bills*'), until(pay, "*error*null*"),
                                             until(data, "*bills*")))
    documents = [json.loads(line) for line in said.splitlines() if '"bills"' in line]
    before, after = (d["bills"]["1"]["payment_datetime"] for d in (documents[0], documents[-1]))
    assert before is None and after, said
    assert any("/api/pay" in text for text in places["bank"].logs("app=payment-processor"))
    said = public.run("quay.io/skupper/patient-portal-database",
                      "psql postgresql://patient_portal:secret@database/patient_portal -tAc "
                      "'select id from bills where payment_datetime is not null'")
    assert said.split() == ["1"]


USES = {"headless": use_headless, "hello-world": use_hello_world,
        "message-broker": use_message_broker, "patient-portal": use_patient_portal,
        "postgresql": use_postgresql, "redis": use_redis}


# -------------------------------------------------------------------------------------------- tests

@pytest.fixture(params=["a", "ab"], ids=["one-cluster", "two-clusters"])
def real(clusters, request):
    """Those that the sites are in."""
    if not all(clusters(name).is_real for name in request.param):
        pytest.skip("the stand-in runs no pods; KUBECONFIG_A names a cluster that does, and "
                    "KUBECONFIG_B another one")
    used = [clusters(name) for name in request.param]
    yield used
    # What runs would be in the way of the next one.
    for cluster in used:
        cluster.drop_namespaces()


@pytest.fixture
def defined(real):
    for cluster in real:
        control.prepare(cluster)
    return real


@pytest.mark.parametrize("example", sorted(USES))
def test_an_example_by_annotation_is_used_from_another_site(real, example):
    """Without our definitions, where the cluster has none: the first of these tests."""
    places = start(real, [(First, *item) for item in sites_of(example, "v1").items()])
    USES[example](places)


def test_members_have_their_names_within_the_service_where_that_may_be_granted(real):
    places = start(real, [(Granted, *item) for item in sites_of("headless", "v1").items()])
    ask_members(places["west"], ".web")


@pytest.mark.parametrize("example", sorted(USES))
def test_an_example_by_resources_is_used_from_another_site(defined, example):
    places = start(defined, [(Second, *item) for item in sites_of(example, "v2").items()])
    USES[example](places)


def test_a_site_of_each_form_is_one_network(defined):
    """The database by annotation; a Listener leads to it with the key that such a service has, and
    where there is none, the Service appears by itself."""
    first, second = sites_of("postgresql", "v1"), sites_of("postgresql", "v2")
    [listener] = [d for d in second["public"] if d["kind"] == "Listener"]
    listener["spec"]["routingKey"] = "postgresql:5432"
    places = start(defined, [
        (First, "on-prem", first["on-prem"]), (Second, "public", second["public"]),
        (Second, "edge", [d for d in second["edge"] if d["kind"] != "Listener"])])
    use_postgresql(places)
    places["public"].await_condition("listeners", "postgresql", "Matched")
