# SPDX-License-Identifier: Apache-2.0
"""The stand-in behaves like an API server. Every test here is true of a real one as well, and is run
against one when KUBECONFIG_A names it."""

import base64

import pytest

import kubeapi
from kubeapi import path_of


def config_map(name, **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def service(name, **spec):
    spec = {"selector": {"app": name}, "ports": [{"port": 80}], **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def deployment(name, replicas=1):
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {
        "replicas": replicas, "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [
            {"name": "main", "image": "registry.invalid/app:1"}]}}}}


def test_discovery_names_what_is_served(cluster):
    a = cluster.admin
    assert a.must("GET", "/version")["major"] == "1"
    assert "v1" in a.must("GET", "/api")["versions"]
    assert "apps" in [g["name"] for g in a.must("GET", "/apis")["groups"]]
    core = {r["name"]: r for r in a.must("GET", "/api/v1")["resources"]}
    assert core["services"]["kind"] == "Service" and core["services"]["shortNames"] == ["svc"]
    assert a.request("GET", "/apis/nobody.example/v1").code == 404


# -------------------------------------------------------------------------------- one object

def test_what_is_created_can_be_read(cluster, namespace):
    made = cluster.admin.create("configmaps", config_map("one", a="1"), namespace)
    meta = made["metadata"]
    assert meta["uid"] and meta["resourceVersion"] and meta["creationTimestamp"]
    assert meta["namespace"] == namespace
    assert cluster.admin.get("configmaps", "one", namespace) == made


def test_a_name_is_made_of_generate_name(cluster, namespace):
    obj = config_map("")
    obj["metadata"] = {"generateName": "some-"}
    name = cluster.admin.create("configmaps", obj, namespace)["metadata"]["name"]
    assert name.startswith("some-") and len(name) == len("some-") + 5


def refusal(answer):
    return answer.code, answer.reason


def test_what_cannot_be_created_is_told(cluster, namespace):
    a, maps = cluster.admin, path_of("configmaps", namespace)
    a.create("configmaps", config_map("one"), namespace)
    again = a.request("POST", maps, config_map("one"))
    assert refusal(again) == (409, "AlreadyExists")
    assert again.message == 'configmaps "one" already exists'
    assert refusal(a.request("POST", maps, config_map("Not_A_Name"))) == (422, "Invalid")
    assert refusal(a.request("POST", maps, config_map(""))) == (422, "Invalid")
    assert a.request("POST", maps, b"{").code == 400
    elsewhere = config_map("two")
    elsewhere["metadata"]["namespace"] = "elsewhere"
    assert refusal(a.request("POST", maps, elsewhere)) == (400, "BadRequest")
    nowhere = a.request("POST", path_of("configmaps", "no-such-namespace"), config_map("two"))
    assert refusal(nowhere) == (404, "NotFound")
    assert nowhere.message == 'namespaces "no-such-namespace" not found'
    assert a.request("POST", "/api/v1/namespaces/%s/nothings" % namespace, {}).code == 404


def test_what_is_not_there_is_told(cluster, namespace):
    a = cluster.admin
    for method, body in (("GET", None), ("DELETE", None), ("PUT", config_map("none"))):
        answer = a.request(method, path_of("configmaps", namespace, "none"), body)
        assert refusal(answer) == (404, "NotFound")
        assert answer.message == 'configmaps "none" not found'
    answer = a.request("GET", path_of("deployments", namespace, "none"))
    assert answer.message == 'deployments.apps "none" not found'
    assert answer.body["details"] == {"name": "none", "group": "apps", "kind": "deployments"}


def test_an_update_of_an_old_version_is_a_conflict(cluster, namespace):
    a = cluster.admin
    first = a.create("configmaps", config_map("one", a="1"), namespace)
    second = a.update("configmaps", {**first, "data": {"a": "2"}}, namespace)
    assert second["metadata"]["resourceVersion"] != first["metadata"]["resourceVersion"]
    late = a.request("PUT", path_of("configmaps", namespace, "one"), {**first, "data": {"a": "3"}})
    assert refusal(late) == (409, "Conflict")
    assert "the object has been modified; please apply your changes" in late.message
    assert a.get("configmaps", "one", namespace)["data"] == {"a": "2"}


def test_an_update_that_changes_nothing_is_no_new_version(cluster, namespace):
    a = cluster.admin
    made = a.create("configmaps", config_map("one", a="1"), namespace)
    again = a.update("configmaps", made, namespace)
    assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    patched = a.patch("configmaps", "one", {"data": {"a": "1"}}, namespace)
    assert patched["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


def test_a_dry_run_changes_nothing(cluster, namespace):
    a = cluster.admin
    told = a.create("configmaps", config_map("one"), namespace, dryRun="All")
    assert told["metadata"]["uid"]
    assert a.find("configmaps", "one", namespace) is None


def test_server_fields_cannot_be_changed(cluster, namespace):
    a = cluster.admin
    made = a.create("configmaps", config_map("one"), namespace)
    changed = {**made, "metadata": {**made["metadata"], "creationTimestamp":
                                    "2001-01-01T00:00:00Z", "labels": {"a": "b"}}}
    after = a.update("configmaps", changed, namespace)
    assert after["metadata"]["creationTimestamp"] == made["metadata"]["creationTimestamp"]
    assert after["metadata"]["labels"] == {"a": "b"}
    changed = {**made, "metadata": {"name": "one", "uid": "00000000-0000-0000-0000-000000000000"}}
    other = a.request("PUT", path_of("configmaps", namespace, "one"), changed)
    assert refusal(other) == (409, "Conflict")


# ------------------------------------------------------------------------------------ patches

def test_merge_patch(cluster, namespace):
    a = cluster.admin
    a.create("configmaps", config_map("one", a="1", b="2"), namespace)
    after = a.patch("configmaps", "one", {"data": {"a": None, "c": "3"},
                                          "metadata": {"labels": {"x": "y"}}}, namespace)
    assert after["data"] == {"b": "2", "c": "3"} and after["metadata"]["labels"] == {"x": "y"}


def test_a_patch_may_name_the_version_it_is_for(cluster, namespace):
    a = cluster.admin
    made = a.create("configmaps", config_map("one", a="1"), namespace)
    a.patch("configmaps", "one", {"data": {"a": "2"}}, namespace)
    late = a.request("PATCH", path_of("configmaps", namespace, "one"), {
        "metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}, "data": {"a": "3"}},
        kubeapi.MERGE)
    assert refusal(late) == (409, "Conflict")


def test_json_patch(cluster, namespace):
    a = cluster.admin
    a.create("configmaps", config_map("one", a="1", b="2"), namespace)
    after = a.patch("configmaps", "one", [
        {"op": "test", "path": "/data/a", "value": "1"},
        {"op": "replace", "path": "/data/a", "value": "3"},
        {"op": "remove", "path": "/data/b"},
        {"op": "add", "path": "/metadata/annotations", "value": {"example.com/x": "y"}}],
        namespace, kubeapi.JSON_PATCH)
    assert after["data"] == {"a": "3"}
    assert after["metadata"]["annotations"] == {"example.com/x": "y"}
    failed = a.request("PATCH", path_of("configmaps", namespace, "one"), [
        {"op": "test", "path": "/data/a", "value": "1"}], kubeapi.JSON_PATCH)
    assert failed.code == 422
    assert a.request("PATCH", path_of("configmaps", namespace, "one"), {},
                     "text/plain").code == 415


def test_strategic_patch_merges_lists_by_key(cluster, namespace):
    a = cluster.admin
    a.create("deployments", deployment("web", 0), namespace)
    after = a.patch("deployments", "web", {"spec": {"template": {"spec": {"containers": [
        {"name": "main", "image": "registry.invalid/app:2"},
        {"name": "side", "image": "registry.invalid/side:1"}]}}}}, namespace, kubeapi.STRATEGIC)
    containers = {c["name"]: c["image"] for c in after["spec"]["template"]["spec"]["containers"]}
    assert containers == {"main": "registry.invalid/app:2", "side": "registry.invalid/side:1"}
    after = a.patch("deployments", "web", {"spec": {"template": {"spec": {"containers": [
        {"name": "side", "$patch": "delete"}]}}}}, namespace, kubeapi.STRATEGIC)
    assert [c["name"] for c in after["spec"]["template"]["spec"]["containers"]] == ["main"]


# ------------------------------------------------------------------------------ kinds of objects

def test_a_service_gets_an_address(cluster, namespace):
    a = cluster.admin
    spec = a.create("services", service("web"), namespace)["spec"]
    assert spec["clusterIP"].count(".") == 3 and spec["clusterIPs"] == [spec["clusterIP"]]
    assert spec["type"] == "ClusterIP" and spec["sessionAffinity"] == "None"
    assert spec["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    # An update that says nothing of the address keeps it; one that changes it is refused.
    after = a.update("services", service("web", ports=[{"port": 81}]), namespace)
    assert after["spec"]["clusterIP"] == spec["clusterIP"]
    moved = a.request("PUT", path_of("services", namespace, "web"),
                      service("web", clusterIP="10.255.255.1"))
    assert moved.code == 422
    headless = a.create("services", service("none", clusterIP="None"), namespace)
    assert headless["spec"]["clusterIP"] == "None"


def test_a_node_port_service_gets_ports_and_keeps_them(cluster, namespace):
    a = cluster.admin
    ports = [{"name": "a", "port": 1}, {"name": "b", "port": 2}]
    made = a.create("services", service("web", type="NodePort", ports=ports), namespace)
    numbers = [p["nodePort"] for p in made["spec"]["ports"]]
    assert len(set(numbers)) == 2 and all(30000 <= n <= 32767 for n in numbers)
    after = a.update("services", service("web", type="NodePort", ports=ports), namespace)
    assert [p["nodePort"] for p in after["spec"]["ports"]] == numbers
    taken = a.request("POST", path_of("services", namespace), service(
        "other", type="NodePort", ports=[{"port": 1, "nodePort": numbers[0]}]))
    assert taken.code == 422 and "provided port is already allocated" in taken.message
    after = a.update("services", service("web", type="ClusterIP", ports=ports), namespace)
    assert not any("nodePort" in p for p in after["spec"]["ports"])


@pytest.mark.parametrize("spec,field", [
    ({"ports": []}, "spec.ports"), ({"ports": [{"port": 0}]}, "spec.ports[0].port"),
    ({"ports": [{"port": 70000}]}, "spec.ports[0].port"),
    ({"ports": [{"port": 1}, {"port": 2}]}, "spec.ports[0].name"),
    ({"ports": [{"port": 1, "name": "a"}, {"port": 2, "name": "a"}]}, "spec.ports[1].name")])
def test_a_service_that_is_wrong_is_refused(cluster, namespace, spec, field):
    answer = cluster.admin.request("POST", path_of("services", namespace), service("web", **spec))
    assert refusal(answer) == (422, "Invalid")
    assert field in [c["field"] for c in answer.causes]
    assert answer.message.startswith('Service "web" is invalid: ')


def test_a_deployment_is_completed_and_counts_its_changes(cluster, namespace):
    a = cluster.admin
    made = a.create("deployments", deployment("web", 0), namespace)
    assert made["metadata"]["generation"] == 1
    assert made["spec"]["strategy"]["type"] == "RollingUpdate"
    pod = made["spec"]["template"]["spec"]
    assert pod["restartPolicy"] == "Always" and pod["containers"][0]["imagePullPolicy"] == \
        "IfNotPresent"
    labelled = a.patch("deployments", "web", {"metadata": {"labels": {"a": "b"}}}, namespace)
    assert labelled["metadata"]["generation"] == 1
    grown = a.patch("deployments", "web", {"spec": {"minReadySeconds": 1}}, namespace)
    assert grown["metadata"]["generation"] == 2
    other = a.request("PATCH", path_of("deployments", namespace, "web"),
                      {"spec": {"selector": {"matchLabels": {"app": "x"}}}}, kubeapi.MERGE)
    assert other.code == 422
    bad = deployment("bad")
    bad["spec"]["template"]["metadata"]["labels"] = {"app": "x"}
    answer = a.request("POST", path_of("deployments", namespace), bad)
    assert answer.code == 422 and "`selector` does not match template `labels`" in answer.message


def test_a_secret_keeps_texts_as_data(cluster, namespace):
    a = cluster.admin
    secret = {"metadata": {"name": "s"}, "stringData": {"a": "text"}}
    made = a.create("secrets", secret, namespace)
    assert made["type"] == "Opaque" and "stringData" not in made
    assert base64.b64decode(made["data"]["a"]) == b"text"
    other = a.request("PATCH", path_of("secrets", namespace, "s"), {"type": "kubernetes.io/tls"},
                      kubeapi.MERGE)
    assert other.code == 422
    half = a.request("POST", path_of("secrets", namespace), {
        "metadata": {"name": "t"}, "type": "kubernetes.io/tls", "data": {"tls.crt": "YQ=="}})
    assert half.code == 422 and "tls.key" in half.message


def test_too_much_is_refused(cluster, namespace):
    a = cluster.admin
    big = a.request("POST", path_of("configmaps", namespace),
                    config_map("big", a="x" * (1024 * 1024 + 1)))
    assert big.code == 422
    huge = a.request("POST", path_of("configmaps", namespace), config_map("h", a="x" * 3200000))
    assert huge.code == 413


# ----------------------------------------------------------------------------------- deletion

def test_what_is_deleted_is_gone(cluster, namespace):
    a = cluster.admin
    made = a.create("configmaps", config_map("one"), namespace)
    told = a.delete("configmaps", "one", namespace)
    assert told["status"] == "Success"
    assert told["details"]["uid"] == made["metadata"]["uid"]
    assert a.find("configmaps", "one", namespace) is None


def test_a_deletion_may_be_meant_for_one_object_only(cluster, namespace):
    a = cluster.admin
    made = a.create("configmaps", config_map("one"), namespace)
    place = path_of("configmaps", namespace, "one")
    for wrong in ({"uid": "00000000-0000-0000-0000-000000000000"}, {"resourceVersion": "1"}):
        assert refusal(a.request("DELETE", place, {"preconditions": wrong})) == (409, "Conflict")
    a.delete("configmaps", "one", namespace, preconditions={"uid": made["metadata"]["uid"]})
    assert a.find("configmaps", "one", namespace) is None


def test_a_finalizer_holds_an_object(cluster, namespace):
    a = cluster.admin
    obj = config_map("one")
    obj["metadata"]["finalizers"] = ["example.com/wait"]
    a.create("configmaps", obj, namespace)
    held = a.delete("configmaps", "one", namespace)
    assert held["metadata"]["deletionTimestamp"]
    more = a.request("PATCH", path_of("configmaps", namespace, "one"), {
        "metadata": {"finalizers": ["example.com/wait", "example.com/more"]}}, kubeapi.MERGE)
    assert more.code == 422 and "no new finalizers can be added" in more.message
    a.patch("configmaps", "one", {"metadata": {"finalizers": None}}, namespace)
    assert a.find("configmaps", "one", namespace) is None


def test_a_collection_is_deleted_by_label(cluster, namespace):
    a = cluster.admin
    for name, label in (("a", "x"), ("b", "x"), ("c", "y")):
        obj = config_map(name)
        obj["metadata"]["labels"] = {"of": label}
        a.create("configmaps", obj, namespace)
    a.must("DELETE", path_of("configmaps", namespace), labelSelector="of=x")
    assert a.find("configmaps", "a", namespace) is None
    assert a.find("configmaps", "c", namespace) is not None


def owned_by(owner, kind, api_version="v1", **more):
    return [{"apiVersion": api_version, "kind": kind, "name": owner["metadata"]["name"],
             "uid": owner["metadata"]["uid"], **more}]


def test_what_has_lost_its_owners_is_collected(cluster, namespace):
    a = cluster.admin
    one = a.create("configmaps", config_map("one"), namespace)
    two = a.create("configmaps", config_map("two"), namespace)
    both = {"metadata": {"name": "both", "ownerReferences": owned_by(one, "ConfigMap") +
                         owned_by(two, "ConfigMap")}}
    single = {"metadata": {"name": "single", "ownerReferences": owned_by(one, "ConfigMap")}}
    a.create("secrets", both, namespace)
    a.create("secrets", single, namespace)
    a.delete("configmaps", "one", namespace)
    a.await_gone("secrets", "single", namespace)
    a.await_object("secrets", "both", namespace,
                   lambda o: len(o["metadata"]["ownerReferences"]) == 1)
    a.delete("configmaps", "two", namespace)
    a.await_gone("secrets", "both", namespace)


def test_an_owner_that_never_was_does_not_hold(cluster, namespace):
    a = cluster.admin
    ghost = {"metadata": {"name": "ghost", "uid": "00000000-0000-0000-0000-000000000001"}}
    a.create("secrets", {"metadata": {"name": "orphan", "ownerReferences": owned_by(
        ghost, "ConfigMap")}}, namespace)
    a.await_gone("secrets", "orphan", namespace)


def test_dependents_may_be_left_behind(cluster, namespace):
    a = cluster.admin
    one = a.create("configmaps", config_map("one"), namespace)
    a.create("secrets", {"metadata": {"name": "s", "ownerReferences": owned_by(
        one, "ConfigMap")}}, namespace)
    a.delete("configmaps", "one", namespace, propagationPolicy="Orphan")
    a.await_gone("configmaps", "one", namespace)
    a.await_object("secrets", "s", namespace, lambda o: "ownerReferences" not in o["metadata"])


def test_foreground_deletion_takes_dependents_first(cluster, namespace):
    a = cluster.admin
    one = a.create("configmaps", config_map("one"), namespace)
    a.create("secrets", {"metadata": {"name": "s", "finalizers": ["example.com/wait"],
                                      "ownerReferences": owned_by(
                                          one, "ConfigMap", blockOwnerDeletion=True)}}, namespace)
    a.delete("configmaps", "one", namespace, propagationPolicy="Foreground")
    a.await_object("secrets", "s", namespace, lambda o: "deletionTimestamp" in o["metadata"])
    assert "foregroundDeletion" in a.get("configmaps", "one", namespace)["metadata"]["finalizers"]
    a.patch("secrets", "s", {"metadata": {"finalizers": None}}, namespace)
    a.await_gone("configmaps", "one", namespace)


def test_a_namespace_goes_with_all_that_is_in_it(cluster):
    a, namespace = cluster.admin, cluster.namespace()
    obj = config_map("held")
    obj["metadata"]["finalizers"] = ["example.com/wait"]
    a.create("configmaps", obj, namespace)
    a.create("services", service("web"), namespace)
    a.delete("namespaces", namespace)
    a.await_gone("services", "web", namespace)
    assert a.get("namespaces", namespace)["status"]["phase"] == "Terminating"
    late = a.request("POST", path_of("secrets", namespace), {"metadata": {"name": "late"}})
    assert refusal(late) == (403, "Forbidden") and "being terminated" in late.message
    a.patch("configmaps", "held", {"metadata": {"finalizers": None}}, namespace)
    a.await_gone("namespaces", namespace)


# ------------------------------------------------------------------------------------- bodies

@pytest.mark.parametrize("resource,body", [
    ("configmaps", {"data": {"a": 1}}), ("configmaps", {"metadata": {"labels": {"a": 1}}}),
    ("secrets", {"data": {"a": "no base64!"}}),
    ("services", {"spec": {"ports": [{"port": "80"}]}}),
    ("deployments", {"spec": {"replicas": "1"}}),
    ("pods", {"spec": {"containers": [{"name": "a", "image": "b",
                                       "env": [{"name": "A", "value": 1}]}]}}),
    ("leases", {"spec": {"renewTime": "2026-01-31T12:00:00Z"}})])
def test_a_body_of_wrong_types_cannot_be_read(cluster, namespace, resource, body):
    body = {**body, "metadata": {"name": "one", **body.get("metadata", {})}}
    answer = cluster.admin.request("POST", path_of(resource, namespace), body)
    assert refusal(answer) == (400, "BadRequest")


def test_a_lease_is_held_and_taken_over(cluster, namespace):
    a = cluster.admin
    lease = {"metadata": {"name": "leader"}, "spec": {
        "holderIdentity": "one", "leaseDurationSeconds": 15, "leaseTransitions": 0,
        "acquireTime": "2026-01-31T12:00:00.000000Z", "renewTime": "2026-01-31T12:00:00.000000Z"}}
    made = a.create("leases", lease, namespace)
    for who, code in (("two", 200), ("three", 409)):  # both have seen the same
        made["spec"]["holderIdentity"] = who
        assert a.request("PUT", path_of("leases", namespace, "leader"), made).code == code
    assert a.get("leases", "leader", namespace)["spec"]["holderIdentity"] == "two"
    blind = a.request("PUT", path_of("leases", namespace, "leader"), lease)
    assert blind.code == 422 and "must be specified for an update" in blind.message


def test_an_event_is_of_its_namespace(cluster, namespace):
    a = cluster.admin
    event = {"metadata": {"generateName": "e-"}, "reason": "Testing", "message": "m",
             "type": "Warning", "involvedObject": {"kind": "ConfigMap", "name": "one",
                                                   "namespace": namespace}}
    a.create("events", event, namespace)
    found = a.list("events", namespace, fieldSelector="reason=Testing,involvedObject.name=one")
    assert len(found["items"]) == 1
    event["involvedObject"]["namespace"] = "elsewhere"
    answer = a.request("POST", path_of("events", namespace), event)
    assert answer.code == 422 and "does not match event.namespace" in answer.message


def test_a_large_answer_is_compressed_for_who_can_read_it(cluster, namespace):
    a = cluster.admin
    a.create("configmaps", config_map("big", a="x" * 300000), namespace)
    place = path_of("configmaps", namespace)
    answer = a.request("GET", place, headers={"Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip" and len(answer.raw) < 100000
    assert "big" in [o["metadata"]["name"] for o in answer.body["items"]]
    assert "content-encoding" not in a.request("GET", place).headers


def test_only_a_load_balancer_has_an_address_of_one(cluster, namespace):
    a = cluster.admin
    status = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}
    a.create("services", service("plain"), namespace)
    place = path_of("services", namespace, "plain", "status")
    answer = a.request("PATCH", place, status, kubeapi.MERGE)
    assert answer.code == 422 and answer.causes[0]["field"] == "status.loadBalancer.ingress"
    made = a.create("services", service("wide", type="LoadBalancer"), namespace)
    assert made["spec"]["ports"][0]["nodePort"] >= 30000
    assert made["spec"]["allocateLoadBalancerNodePorts"] is True
