# SPDX-License-Identifier: Apache-2.0
"""Server-side apply and managedFields of the stand-in; all of it true of a real server too."""

import kubeapi
from kubeapi import path_of
from test_apiserver import config_map, deployment, refusal, service


def fields_of(obj, manager, sub=None):
    """{path…} of what a manager has set, from all its entries."""
    found = {}
    for e in obj["metadata"].get("managedFields") or ():
        if e["manager"] == manager and e.get("subresource") == sub:
            found = e["fieldsV1"]
    return found


def applied(name, api_version="v1", kind="ConfigMap", **more):
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, **more}


def test_apply_creates_and_owns(cluster, namespace):
    a = cluster.admin
    answer = a.request("PATCH", path_of("configmaps", namespace, "one"),
                       applied("one", data={"a": "1"}), kubeapi.APPLY, fieldManager="me")
    assert answer.code == 201
    entry = answer.body["metadata"]["managedFields"]
    assert [(e["manager"], e["operation"], e["apiVersion"], e["fieldsType"]) for e in entry] == [
        ("me", "Apply", "v1", "FieldsV1")]
    assert entry[0]["fieldsV1"] == {"f:data": {"f:a": {}}}
    again = a.request("PATCH", path_of("configmaps", namespace, "one"),
                      applied("one", data={"a": "1"}), kubeapi.APPLY, fieldManager="me")
    assert again.code == 200
    assert again.body["metadata"]["resourceVersion"] == answer.body["metadata"]["resourceVersion"]


def test_apply_needs_a_manager(cluster, namespace):
    answer = cluster.admin.request("PATCH", path_of("configmaps", namespace, "one"),
                                   applied("one"), kubeapi.APPLY)
    assert answer.code == 422 or answer.code == 400
    assert "fieldManager" in answer.message


def test_what_is_applied_no_more_is_removed(cluster, namespace):
    a = cluster.admin
    a.apply("configmaps", applied("one", data={"a": "1", "b": "2"}), namespace, "me")
    a.apply("configmaps", applied("one", data={"c": "3"}), namespace, "other")
    after = a.apply("configmaps", applied("one", data={"a": "1"}), namespace, "me")
    assert after["data"] == {"a": "1", "c": "3"}
    after = a.apply("configmaps", applied("one"), namespace, "me")
    assert after["data"] == {"c": "3"}


def test_what_somebody_else_has_set_is_a_conflict(cluster, namespace):
    a = cluster.admin
    a.apply("configmaps", applied("one", data={"a": "1", "b": "1"}), namespace, "other")
    place = path_of("configmaps", namespace, "one")
    answer = a.request("PATCH", place, applied("one", data={"a": "2"}), kubeapi.APPLY,
                       fieldManager="me")
    assert refusal(answer) == (409, "Conflict")
    assert answer.message == 'Apply failed with 1 conflict: conflict with "other": .data.a'
    assert answer.causes == [{"reason": "FieldManagerConflict", "field": ".data.a",
                              "message": 'conflict with "other"'}]
    answer = a.request("PATCH", place, applied("one", data={"a": "2", "b": "2"}), kubeapi.APPLY,
                       fieldManager="me")
    assert answer.message == ('Apply failed with 2 conflicts: conflicts with "other":\n'
                              '- .data.a\n- .data.b')
    # The same value is shared, not contested.
    shared = a.apply("configmaps", applied("one", data={"a": "1"}), namespace, "me")
    assert fields_of(shared, "me") == {"f:data": {"f:a": {}}}
    assert "f:a" in fields_of(shared, "other")["f:data"]
    # One of two who share it may let go of it, and it stays.
    assert a.apply("configmaps", applied("one"), namespace, "me")["data"] == {"a": "1", "b": "1"}
    forced = a.apply("configmaps", applied("one", data={"a": "2"}), namespace, "me", force="true")
    assert forced["data"] == {"a": "2", "b": "1"}
    assert fields_of(forced, "other") == {"f:data": {"f:b": {}}}


def test_an_ordinary_write_takes_what_it_changes(cluster, namespace):
    a = cluster.admin
    a.apply("configmaps", applied("one", data={"a": "1", "b": "1"}), namespace, "me")
    after = a.patch("configmaps", "one", {"data": {"a": "2"}}, namespace, fieldManager="hand")
    assert fields_of(after, "hand") == {"f:data": {"f:a": {}}}
    assert fields_of(after, "me") == {"f:data": {"f:b": {}}}
    place = path_of("configmaps", namespace, "one")
    answer = a.request("PATCH", place, applied("one", data={"a": "1", "b": "1"}), kubeapi.APPLY,
                       fieldManager="me")
    assert answer.code == 409
    assert answer.message.startswith(
        'Apply failed with 1 conflict: conflict with "hand" using v1')


def test_the_program_that_writes_is_the_manager(cluster, namespace):
    made = cluster.admin.create("configmaps", config_map("one", a="1"), namespace)
    entry = made["metadata"]["managedFields"][0]
    assert (entry["manager"], entry["operation"]) == ("tests", "Update")
    assert entry["fieldsV1"]["f:data"]["f:a"] == {}


def test_lists_with_keys_are_merged(cluster, namespace):
    a = cluster.admin
    mine = service("web", ports=[{"name": "a", "port": 80, "protocol": "TCP"}])
    theirs = applied("web", kind="Service",
                     spec={"ports": [{"name": "b", "port": 81, "protocol": "TCP"}]})
    a.apply("services", mine, namespace, "me")
    both = a.apply("services", theirs, namespace, "other")
    assert [p["name"] for p in both["spec"]["ports"]] == ["a", "b"]
    key = 'k:{"port":81,"protocol":"TCP"}'
    assert fields_of(both, "other")["f:spec"]["f:ports"][key]["f:name"] == {}
    one = a.apply("services", applied("web", kind="Service", spec={"selector": {"app": "web"}}),
                  namespace, "me")
    assert [p["name"] for p in one["spec"]["ports"]] == ["b"]


def test_a_container_and_its_parts_are_applied(cluster, namespace):
    a = cluster.admin
    obj = deployment("web", 0)
    main = obj["spec"]["template"]["spec"]["containers"][0]
    main["env"] = [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
    made = a.apply("deployments", obj, namespace, "me")
    # What the server filled in belongs to nobody: the same applied again changes nothing.
    again = a.apply("deployments", obj, namespace, "me")
    assert again["spec"] == made["spec"] and again["metadata"]["generation"] == 1
    del main["env"][0]
    main["image"] = "registry.invalid/app:2"
    after = a.apply("deployments", obj, namespace, "me")
    container = after["spec"]["template"]["spec"]["containers"][0]
    assert [e["name"] for e in container["env"]] == ["B"]
    assert container["image"] == "registry.invalid/app:2"
    assert after["metadata"]["generation"] == 2


def test_owners_and_finalizers_are_merged(cluster, namespace):
    a = cluster.admin
    one = a.create("configmaps", config_map("owner"), namespace)
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner",
             "uid": one["metadata"]["uid"]}
    obj = applied("x")
    obj["metadata"]["finalizers"] = ["example.com/a"]
    a.apply("configmaps", obj, namespace, "me")
    obj = applied("x")
    obj["metadata"].update(finalizers=["example.com/b"], ownerReferences=[owner])
    after = a.apply("configmaps", obj, namespace, "other")
    assert sorted(after["metadata"]["finalizers"]) == ["example.com/a", "example.com/b"]
    assert after["metadata"]["ownerReferences"] == [owner]
    a.patch("configmaps", "x", {"metadata": {"finalizers": None}}, namespace)


def test_apply_of_an_old_version_is_a_conflict(cluster, namespace):
    a = cluster.admin
    made = a.apply("configmaps", applied("one", data={"a": "1"}), namespace, "me")
    a.patch("configmaps", "one", {"data": {"b": "1"}}, namespace)
    obj = applied("one", data={"a": "2"})
    obj["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"]
    answer = a.request("PATCH", path_of("configmaps", namespace, "one"), obj, kubeapi.APPLY,
                       fieldManager="me", force="true")
    assert refusal(answer) == (409, "Conflict")


def test_status_has_managers_of_its_own(cluster, namespace):
    a = cluster.admin
    a.create("services", service("web", type="LoadBalancer"), namespace)
    status = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
    after = a.patch("services", "web", {"status": status, "spec": {"selector": {"x": "y"}}},
                    namespace, sub="status", fieldManager="cloud")
    assert after["status"]["loadBalancer"]["ingress"][0]["ip"] == "192.0.2.1"
    assert after["spec"]["selector"] == {"app": "web"}
    assert "f:status" in fields_of(after, "cloud", "status")
