# SPDX-License-Identifier: Apache-2.0
"""Kinds of other projects that a cluster may or may not have: Gateway API, OpenShift's Routes, Contour.
Defined without a schema, so that what is written to them can be looked at; a test that wants a cluster
with one of them says cluster.define(*foreign.GATEWAY)."""

ANYTHING = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def _definition(group, version, kind, plural):
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "%s.%s" % (plural, group), "annotations": {
            # Asked for by the API server for groups of the Kubernetes project itself.
            "api-approved.kubernetes.io": "unapproved, for tests"}},
        "spec": {"group": group, "scope": "Namespaced",
                 "names": {"kind": kind, "plural": plural},
                 "versions": [{"name": version, "served": True, "storage": True,
                               "subresources": {"status": {}},
                               "schema": {"openAPIV3Schema": {
                                   "type": "object",
                                   "properties": {"spec": ANYTHING, "status": ANYTHING}}}}]}}


GATEWAY = [_definition("gateway.networking.k8s.io", "v1", "Gateway", "gateways"),
           _definition("gateway.networking.k8s.io", "v1alpha2", "TLSRoute", "tlsroutes")]
ROUTE = [_definition("route.openshift.io", "v1", "Route", "routes")]
CONTOUR = [_definition("projectcontour.io", "v1", "HTTPProxy", "httpproxies")]
