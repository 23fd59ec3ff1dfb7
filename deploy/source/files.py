# SPDX-License-Identifier: Apache-2.0
"""All files of deploy/ that are made, by path."""

from . import controller, kinds
from .write import Raw, Said, document, documents

TOP = "# SPDX-License-Identifier: Apache-2.0\n# Made by deploy/generate from deploy/source; changes belong there.\n"
IMAGE = "ghcr.io/skupper-c/skupper"
ACCESS_TYPES = "local,loadbalancer,route"
# In version 1 whoever makes the site chooses.
PLAIN_TYPES = ACCESS_TYPES + ",nodeport,ingress,ingress-nginx,contour-http-proxy"
DEFAULT_NAMESPACE = "skupper"


def _plain(version, namespace, access_types=ACCESS_TYPES):
    image = "%s:%s" % (IMAGE, version)
    return controller.Values(image, image, image, "", access_types, "", namespace)


def _crd_files():
    return {"crds/%s.yaml" % crd["spec"]["names"]["plural"]: TOP + document(crd)
            for crd in kinds.ALL}


def _plain_files(version):
    cluster = [controller.namespace(DEFAULT_NAMESPACE)] + controller.for_cluster(
        _plain(version, DEFAULT_NAMESPACE))
    alone = controller.for_namespace(_plain(version, None))
    bare = controller.for_namespace(_plain(version, None, PLAIN_TYPES), has_definitions=False)
    return {
        "skupper-version-1.yaml": TOP +
        "# A controller for the namespace it is installed in, which needs no resource definitions:\n"
        "# its site is that of the ConfigMap skupper-site, its services are those of annotations. It\n"
        "# takes no right outside of the namespace, and none of an administrator:\n"
        "#   kubectl apply -n NAMESPACE -f skupper-version-1.yaml\n---\n" + documents(bare),
        "skupper-cluster-scope.yaml": TOP +
        "# The resource definitions, and one controller for all namespaces, in namespace skupper:\n"
        "#   kubectl apply -f skupper-cluster-scope.yaml\n---\n" + documents(kinds.ALL + cluster),
        "skupper-namespace-scope.yaml": TOP +
        "# The resource definitions (which need the rights of an administrator), and a controller for\n"
        "# the namespace it is installed in, and no other:\n"
        "#   kubectl apply -n NAMESPACE -f skupper-namespace-scope.yaml\n---\n" +
        documents(kinds.ALL + alone)}


def _kustomize_files(version):
    def kustomization(**fields):
        return TOP + document({"apiVersion": "kustomize.config.k8s.io/v1beta1",
                               "kind": "Kustomization", **fields})
    image = [{"name": IMAGE, "newTag": version}]
    return {
        "crds/kustomization.yaml": kustomization(
            resources=[p.partition("/")[2] for p in _crd_files()]),
        "kustomize/cluster/kustomization.yaml": kustomization(
            namespace=DEFAULT_NAMESPACE, resources=["../../crds", "controller.yaml"],
            images=image),
        "kustomize/cluster/controller.yaml": TOP + documents(
            [controller.namespace(DEFAULT_NAMESPACE)] + controller.for_cluster(
                _plain(version, DEFAULT_NAMESPACE))),
        "kustomize/namespace/kustomization.yaml": kustomization(
            resources=["../../crds", "controller.yaml"], images=image),
        "kustomize/namespace/controller.yaml": TOP + documents(
            controller.for_namespace(_plain(version, None)))}


VALUES = {
    "scope": Said("cluster", "`cluster`: one controller for all namespaces. `namespace`: one for the "
                  "namespace of the release, with no right outside of it."),
    "controllerImage": Said("", "The image of the controller. Empty: %s:VERSION, VERSION being that "
                            "of this chart." % IMAGE),
    "routerImage": Said("", "The image of the routers. Empty: as above."),
    "kubeAdaptorImage": Said("", "The image of the agent beside a router. Empty: as above."),
    "enabledAccessTypes": Said(ACCESS_TYPES, "The ways in that a Site may choose from: any of local, "
                               "loadbalancer, nodeport, route, ingress-nginx, contour-http-proxy, "
                               "gateway."),
    "defaultAccessType": Said("", "The one it gets without choosing. Empty: the best there is."),
    "clusterHost": Said("", "The name or address of the nodes. Needed when nodeport is enabled."),
}


def _helm_files(version):
    def image(name):
        return Raw('{{ .Values.%s | default (printf "%s:%%s" .Chart.AppVersion) | quote }}'
                   % (name, IMAGE))

    def value(name):
        return Raw("{{ .Values.%s | quote }}" % name)
    values = controller.Values(
        image("controllerImage"), image("routerImage"), image("kubeAdaptorImage"),
        value("clusterHost"), value("enabledAccessTypes"), value("defaultAccessType"),
        Raw("{{ .Release.Namespace | quote }}"))

    def only(scope, objects):
        return TOP + '{{- if eq .Values.scope "%s" }}\n%s{{- end }}\n' % (scope,
                                                                       documents(objects))
    chart = {"apiVersion": "v2", "name": "skupper", "type": "application", "version": version,
             "appVersion": version,
             "description": "A virtual application network between namespaces and clusters"}
    return {"helm/skupper/Chart.yaml": TOP + document(chart),
            "helm/skupper/values.yaml": TOP + document(VALUES),
            "helm/skupper/templates/cluster.yaml": only("cluster", controller.for_cluster(values)),
            "helm/skupper/templates/namespace.yaml": only("namespace",
                                                          controller.for_namespace(values)),
            "helm/skupper/templates/scope.yaml": TOP +
            '{{- if not (has .Values.scope (list "cluster" "namespace")) }}\n'
            '{{- fail "scope must be cluster or namespace" }}\n{{- end }}\n'}


def _chart_definitions():
    """Helm wants the definitions in the chart. Copies: links to files do not survive every way that a
    tree takes."""
    return {"helm/skupper/" + path: text for path, text in _crd_files().items()}


def files(version):
    return {**_crd_files(), **_chart_definitions(), **_plain_files(version),
            **_kustomize_files(version), **_helm_files(version)}
