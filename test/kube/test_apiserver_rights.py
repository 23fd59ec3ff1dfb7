# SPDX-License-Identifier: Apache-2.0
"""Who may do what, in the stand-in; all of it true of a real server too."""

import pytest

from cluster import unused_rights
from kubeapi import Client, path_of
from test_apiserver import config_map, refusal

READ_MAPS = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"]}
RBAC = "rbac.authorization.k8s.io"


def test_nobody_may_do_nothing(cluster, namespace):
    answer = cluster.admin.as_token("").request("GET", path_of("configmaps", namespace))
    assert refusal(answer) in ((403, "Forbidden"), (401, "Unauthorized"))
    if answer.code == 403:
        assert answer.message == (
            'configmaps is forbidden: User "system:anonymous" cannot list resource "configmaps" '
            'in API group "" in the namespace "%s"' % namespace)


def test_a_token_nobody_gave_out_is_refused(cluster, namespace):
    answer = cluster.admin.as_token("made-up").request("GET", path_of("configmaps", namespace))
    assert refusal(answer) == (401, "Unauthorized")


def test_rights_are_what_roles_say(cluster, namespace):
    user = cluster.account(namespace, "reader", [READ_MAPS])
    cluster.admin.create("configmaps", config_map("one"), namespace)
    assert user.get("configmaps", "one", namespace)["metadata"]["name"] == "one"
    user.list("configmaps", namespace)
    who = "system:serviceaccount:%s:reader" % namespace
    for method, path, said in (
            ("DELETE", path_of("configmaps", namespace, "one"),
             'configmaps "one" is forbidden: User "%s" cannot delete resource "configmaps" in API '
             'group "" in the namespace "%s"' % (who, namespace)),
            ("GET", path_of("configmaps"),
             'configmaps is forbidden: User "%s" cannot list resource "configmaps" in API group '
             '"" at the cluster scope' % who),
            ("GET", path_of("deployments", namespace),
             'deployments.apps is forbidden: User "%s" cannot list resource "deployments" in API '
             'group "apps" in the namespace "%s"' % (who, namespace)),
            ("GET", path_of("secrets", "default", "x"),
             'secrets "x" is forbidden: User "%s" cannot get resource "secrets" in API group "" in '
             'the namespace "default"' % who)):
        answer = user.request(method, path)
        assert refusal(answer) == (403, "Forbidden") and answer.message == said


def test_rights_end_when_the_binding_does(cluster, namespace):
    user = cluster.account(namespace, "reader", [READ_MAPS])
    user.list("configmaps", namespace)
    cluster.admin.delete("rolebindings", "reader", namespace)
    place = path_of("configmaps", namespace)
    while user.request("GET", place).code == 200:  # a real server hears of it by a watch
        pass
    assert user.request("GET", place).code == 403


def test_a_role_may_name_objects_and_subresources(cluster, namespace):
    user = cluster.account(namespace, "narrow", [
        {**READ_MAPS, "resourceNames": ["mine"]},
        {"apiGroups": [""], "resources": ["services/status"], "verbs": ["patch"]}])
    for name in ("mine", "other"):
        cluster.admin.create("configmaps", config_map(name), namespace)
    assert user.get("configmaps", "mine", namespace)
    assert user.request("GET", path_of("configmaps", namespace, "other")).code == 403
    cluster.admin.create("services", {"metadata": {"name": "web"},
                                      "spec": {"ports": [{"port": 80}]}}, namespace)
    user.patch("services", "web", {"status": {}}, namespace, sub="status")
    assert user.request("PATCH", path_of("services", namespace, "web"), {},
                        "application/merge-patch+json").code == 403


def test_rights_in_the_whole_cluster(cluster, namespace):
    user = cluster.account(namespace, "wide", cluster_rules=[READ_MAPS])
    user.list("configmaps")
    user.list("configmaps", "default")
    assert user.request("GET", path_of("secrets")).code == 403


def test_apply_that_creates_needs_the_right_to_create(cluster, namespace):
    user = cluster.account(namespace, "patcher", [
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["patch", "get"]}])
    answer = user.request("PATCH", path_of("configmaps", namespace, "new"),
                          {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "new"}},
                          "application/apply-patch+yaml", fieldManager="x")
    assert answer.code == 403 and "cannot create" in answer.message


@pytest.mark.parametrize("verb,allowed", [("list", True), ("delete", False)])
def test_who_asks_is_told_the_rights(cluster, namespace, verb, allowed):
    user = cluster.account(namespace, "reader", [READ_MAPS])
    asked = {"apiVersion": "authorization.k8s.io/v1", "spec": {"resourceAttributes": {
        "namespace": namespace, "verb": verb, "resource": "configmaps"}}}
    own = user.create("selfsubjectaccessreviews", {**asked, "kind": "SelfSubjectAccessReview"})
    assert own["status"]["allowed"] is allowed
    asked["spec"]["user"] = "system:serviceaccount:%s:reader" % namespace
    other = cluster.admin.create("subjectaccessreviews", {**asked, "kind": "SubjectAccessReview"})
    assert other["status"]["allowed"] is allowed


def test_nobody_gives_rights_away_that_they_lack(cluster, namespace):
    user = cluster.account(namespace, "granter", [
        READ_MAPS, {"apiGroups": [RBAC], "resources": ["roles", "rolebindings"],
                    "verbs": ["create", "get"]}])

    def role(*verbs):
        return {"metadata": {"name": "r-" + verbs[-1]}, "rules": [{**READ_MAPS,
                                                                   "verbs": list(verbs)}]}
    user.create("roles", role("get", "list"), namespace)
    answer = user.request("POST", path_of("roles", namespace), role("get", "delete"))
    assert refusal(answer) == (403, "Forbidden")
    assert "is attempting to grant RBAC permissions not currently held" in answer.message
    cluster.admin.create("roles", role("get", "delete"), namespace)
    for name, code in (("r-list", 201), ("r-delete", 403)):
        binding = {"metadata": {"name": name}, "subjects": [],
                   "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": name}}
        assert user.request("POST", path_of("rolebindings", namespace), binding).code == code


def test_a_binding_stays_with_its_role(cluster, namespace):
    cluster.account(namespace, "reader", [READ_MAPS])
    answer = cluster.admin.request(
        "PATCH", path_of("rolebindings", namespace, "reader"),
        {"roleRef": {"apiGroup": RBAC, "kind": "Role", "name": "other"}},
        "application/merge-patch+json")
    assert answer.code == 422 and "cannot change roleRef" in answer.message


def test_a_token_ends_with_its_account(cluster, namespace):
    user = cluster.account(namespace, "reader", [READ_MAPS])
    user.list("configmaps", namespace)
    cluster.admin.delete("serviceaccounts", "reader", namespace)
    place = path_of("configmaps", namespace)
    while user.request("GET", place).code == 200:  # a real server keeps the answer for seconds
        pass
    assert user.request("GET", place).code == 401


def test_a_token_can_be_taken_back(standin, namespace):
    token = standin.control("token", user="somebody", groups=["system:masters"])["token"]
    user = standin.admin.as_token(token)
    user.list("configmaps", namespace)
    standin.control("revoke", token=token)
    assert user.request("GET", path_of("configmaps", namespace)).code == 401


def test_an_account_without_a_namespace_is_one_of_the_binding(cluster, namespace):
    user = cluster.account(namespace, "reader")
    cluster.admin.create("roles", {"metadata": {"name": "r"}, "rules": [READ_MAPS]}, namespace)
    binding = {"metadata": {"name": "r"}, "subjects": [{"kind": "ServiceAccount",
                                                        "name": "reader"}],
               "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": "r"}}
    cluster.admin.create("rolebindings", binding, namespace)
    place = path_of("configmaps", namespace)
    while user.request("GET", place).code == 403:  # a real server hears of it by a watch
        pass
    assert user.request("GET", place).code == 200
    binding["metadata"]["name"] = "t-" + namespace
    binding["roleRef"]["kind"] = "ClusterRole"
    answer = cluster.admin.request("POST", path_of("clusterrolebindings"), binding)
    assert answer.code == 422 and "subjects[0].namespace: Required value" in answer.message


def test_who_may_see_one_object_may_watch_it(cluster, namespace):
    user = cluster.account(namespace, "narrow", [{**READ_MAPS, "resourceNames": ["mine"]}])
    user.list("configmaps", namespace, fieldSelector="metadata.name=mine")
    with user.watch("configmaps", namespace, fieldSelector="metadata.name=mine") as watch:
        assert watch.code == 200
    for selector in ("metadata.name=other", ""):
        answer = user.request("GET", path_of("configmaps", namespace), fieldSelector=selector)
        assert answer.code == 403


def test_a_kubeconfig_for_another_user(cluster, namespace, tmp_path):
    cluster.account(namespace, "reader", [READ_MAPS])
    path = cluster.kubeconfig_for(cluster.token(namespace, "reader"), namespace)
    user = Client(path, tmp_path)
    user.list("configmaps", namespace)
    assert user.request("GET", path_of("secrets", namespace)).code == 403


def test_rights_that_are_not_used_are_found(recorded, namespace):
    rules = [READ_MAPS, {"apiGroups": ["apps"], "resources": ["deployments", "deployments/scale"],
                         "verbs": ["get"]}]
    user = recorded.account(namespace, "reader", rules)
    since, who = recorded.mark(), "system:serviceaccount:%s:reader" % namespace
    user.list("configmaps", namespace)
    user.find("deployments", "none", namespace)
    assert unused_rights(rules, recorded.requests(since, user=who)) == [
        "get configmaps", "get deployments/scale.apps", "watch configmaps"]
