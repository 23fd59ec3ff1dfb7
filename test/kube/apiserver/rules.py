# SPDX-License-Identifier: Apache-2.0
"""What objects of the kinds of the cluster must look like, as far as somebody here could get it wrong:
names, labels, ports, selectors, what may not change. Each rule adds faults (errors.py) to a list."""

import re

from . import errors, schema

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SERVICE = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_PATH_SEGMENT = re.compile(r"(?!\.{1,2}$)[^/%]+")
_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_DATA_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_SUBDOMAIN_SAID = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used "
    "for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')")
_LABEL_SAID = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "
    "must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used "
    "for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')")
_SERVICE_SAID = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
    "alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', "
    "regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')")
_VALUE_SAID = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  "
    "or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')")
DATA_MAX = 1024 * 1024


def check(kind, obj, old=None):
    """All that is wrong with a whole object; `old` is what it replaces."""
    faults = []
    _check_meta(kind, obj["metadata"], faults)
    if old and old["metadata"].get("deletionTimestamp"):
        held = old["metadata"].get("finalizers") or []
        new = [f for f in obj["metadata"].get("finalizers") or [] if f not in held]
        if new:
            faults.append(("FieldValueForbidden", "metadata.finalizers",
                           "Forbidden: no new finalizers can be added if the object is being "
                           "deleted, found new finalizers []string{%s}"
                           % ", ".join('"%s"' % f for f in new)))
    rule = _RULES.get(kind.key)
    if rule:
        rule(obj, old, faults)
    return faults


def _check_name(kind, name, faults):
    if kind.key == ("", "services"):
        fits, said, limit = _SERVICE, _SERVICE_SAID, 63
    elif kind.key == ("", "namespaces"):
        fits, said, limit = _LABEL, _LABEL_SAID, 63
    elif kind.group == "rbac.authorization.k8s.io":
        fits, said, limit = _PATH_SEGMENT, "may not contain '/'", 253
    else:
        fits, said, limit = _SUBDOMAIN, _SUBDOMAIN_SAID, 253
    if len(name) > limit:
        faults.append(errors.wrong("metadata.name", name, "must be no more than %d characters"
                                   % limit))
    elif not fits.fullmatch(name):
        faults.append(errors.wrong("metadata.name", name, said))


def _check_meta(kind, meta, faults):
    _check_name(kind, meta["name"], faults)
    _check_labels(meta.get("labels"), "metadata.labels", faults)
    for i, owner in enumerate(meta.get("ownerReferences") or ()):
        for field in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(field):
                faults.append(errors.required("metadata.ownerReferences[%d].%s" % (i, field)))
    size = sum(len(k) + len(str(v)) for k, v in (meta.get("annotations") or {}).items())
    if size > 256 * 1024:
        faults.append(errors.too_long("metadata.annotations", 256 * 1024))


def _check_labels(labels, at, faults):
    for key, value in (labels or {}).items():
        prefix, _, name = key.rpartition("/")
        if not name or len(name) > 63 or not _VALUE.fullmatch(name) or \
                (prefix and not _SUBDOMAIN.fullmatch(prefix)):
            faults.append(errors.wrong(at, key, "name part must consist of alphanumeric "
                                       "characters, '-', '_' or '.'"))
        if not isinstance(value, str):
            faults.append(errors.wrong_type(at, value, "must be a string"))
        elif len(value) > 63:
            faults.append(errors.wrong(at, value, "must be no more than 63 characters"))
        elif not _VALUE.fullmatch(value):
            faults.append(errors.wrong(at, value, _VALUE_SAID))


def _is_port(value):
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535


_PORT_SAID = "must be between 1 and 65535, inclusive"


def _same(old, new, path):
    for step in path.split("."):
        old = (old or {}).get(step)
        new = (new or {}).get(step)
    return old == new or (not old and not new)


def _service(obj, old, faults):
    spec = obj["spec"]
    ports = spec.get("ports") or []
    headless = spec.get("clusterIP") == "None"
    if not ports and not headless and spec["type"] != "ExternalName":
        faults.append(errors.required("spec.ports"))
    if spec["type"] not in ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName"):
        faults.append(errors.unsupported("spec.type", spec["type"], [
            "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"]))
    if spec["type"] == "ExternalName" and not spec.get("externalName"):
        faults.append(errors.required("spec.externalName"))
    names, numbers = set(), set()
    for i, port in enumerate(ports):
        at = "spec.ports[%d]" % i
        name = port.get("name", "")
        if not name and len(ports) > 1:
            faults.append(errors.required(at + ".name"))
        elif name and not (_LABEL.fullmatch(name) and len(name) <= 63):
            faults.append(errors.wrong(at + ".name", name, _LABEL_SAID))
        elif name and name in names:
            faults.append(errors.duplicate(at + ".name", name))
        names.add(name)
        if not _is_port(port.get("port")):
            faults.append(errors.wrong(at + ".port", port.get("port"), _PORT_SAID))
        number = (port.get("port"), port.get("protocol"))
        if number in numbers:
            faults.append(errors.duplicate(at, {"port": number[0], "protocol": number[1]}))
        numbers.add(number)
        target = port.get("targetPort")
        if isinstance(target, int) and not _is_port(target):
            faults.append(errors.wrong(at + ".targetPort", target, _PORT_SAID))
    _check_labels(spec.get("selector"), "spec.selector", faults)
    balanced = (obj["status"].get("loadBalancer") or {}).get("ingress")
    if balanced and spec["type"] != "LoadBalancer" and not (
            old and old["status"]["loadBalancer"].get("ingress") == balanced):
        faults.append(("FieldValueForbidden", "status.loadBalancer.ingress", "Forbidden: may only "
                       'be used when `spec.type` is "LoadBalancer"'))
    if old and old["spec"].get("clusterIP") and spec.get("clusterIP") and \
            spec["type"] != "ExternalName" and old["spec"]["clusterIP"] != spec["clusterIP"]:
        faults.append(errors.wrong("spec.clusterIPs[0]", [spec["clusterIP"]],
                                   "may not change once set"))


def _pod_spec(spec, at, faults):
    if not spec.get("containers"):
        faults.append(errors.required(at + ".containers"))
    volumes = {v.get("name") for v in spec.get("volumes") or ()}
    names = set()
    for list_name in ("initContainers", "containers"):
        for i, c in enumerate(spec.get(list_name) or ()):
            here = "%s.%s[%d]" % (at, list_name, i)
            if not c.get("name"):
                faults.append(errors.required(here + ".name"))
            elif not _LABEL.fullmatch(c["name"]):
                faults.append(errors.wrong(here + ".name", c["name"], _LABEL_SAID))
            elif c["name"] in names:
                faults.append(errors.duplicate(here + ".name", c["name"]))
            names.add(c.get("name"))
            if not c.get("image"):
                faults.append(errors.required(here + ".image"))
            for j, m in enumerate(c.get("volumeMounts") or ()):
                if m.get("name") not in volumes:
                    faults.append(("FieldValueNotFound", "%s.volumeMounts[%d].name" % (here, j),
                                   'Not found: "%s"' % m.get("name")))
            for j, p in enumerate(c.get("ports") or ()):
                if not _is_port(p.get("containerPort")):
                    faults.append(errors.wrong("%s.ports[%d].containerPort" % (here, j),
                                               p.get("containerPort"), _PORT_SAID))


def _pod(obj, old, faults):
    _pod_spec(obj["spec"], "spec", faults)
    # Of a pod's specification only the image and little else may change.
    def fixed(o):
        return [{k: v for k, v in c.items() if k != "image"} for c in o["spec"]["containers"]]
    if old and not faults and fixed(old) != fixed(obj):
        faults.append(("FieldValueForbidden", "spec", "Forbidden: pod updates may not change "
                       "fields other than `spec.containers[*].image`"))


def _workload(obj, old, faults):
    spec = obj["spec"]
    wanted = (spec.get("selector") or {}).get("matchLabels") or {}
    has = (spec["template"].get("metadata") or {}).get("labels") or {}
    if not spec.get("selector"):
        faults.append(errors.required("spec.selector"))
    elif any(has.get(k) != v for k, v in wanted.items()):
        faults.append(errors.wrong("spec.template.metadata.labels", has,
                                   "`selector` does not match template `labels`"))
    if not isinstance(spec.get("replicas", 0), int) or spec.get("replicas", 0) < 0:
        faults.append(errors.wrong("spec.replicas", spec["replicas"],
                                   "must be greater than or equal to 0"))
    if old and not _same(old, obj, "spec.selector"):
        faults.append(errors.immutable("spec.selector", spec.get("selector")))
    _check_labels(has, "spec.template.metadata.labels", faults)
    _pod_spec(spec["template"]["spec"], "spec.template.spec", faults)


def _data(obj, faults):
    size = 0
    for part in ("data", "binaryData"):
        for key, value in (obj.get(part) or {}).items():
            if not _DATA_KEY.fullmatch(key) or len(key) > 253:
                faults.append(errors.wrong("%s[%s]" % (part, key), key, "a valid config key must "
                                           "consist of alphanumeric characters, '-', '_' or '.'"))
            if not isinstance(value, str):
                faults.append(errors.wrong_type("%s[%s]" % (part, key), value,
                                                "must be a string"))
            else:
                size += len(value.encode())
    return size


def _secret(obj, old, faults):
    # Of base64, which is four letters for three octets.
    if _data(obj, faults) * 3 // 4 > DATA_MAX:
        faults.append(errors.too_long("data", DATA_MAX))
    if obj["type"] == "kubernetes.io/tls":
        for key in ("tls.crt", "tls.key"):
            if key not in (obj.get("data") or {}):
                faults.append(errors.required("data[%s]" % key))
    if old and old.get("type") != obj.get("type"):
        faults.append(errors.immutable("type", obj["type"]))
    _immutable_data(obj, old, faults)


def _config_map(obj, old, faults):
    if _data(obj, faults) > DATA_MAX:
        faults.append(errors.too_long("", DATA_MAX))
    _immutable_data(obj, old, faults)


def _immutable_data(obj, old, faults):
    if old and old.get("immutable") and (not _same(old, obj, "data") or not obj.get("immutable")):
        faults.append(("FieldValueForbidden", "data",
                       "Forbidden: field is immutable when `immutable` is set"))


def _role(obj, old, faults):
    for i, rule in enumerate(obj.get("rules") or ()):
        at = "rules[%d]" % i
        if not rule.get("verbs"):
            faults.append(errors.required(at + ".verbs", "verbs must contain at least one value"))
        if not rule.get("nonResourceURLs"):
            for field, why in (("apiGroups", "resource rules must supply at least one api group"),
                               ("resources", "resource rules must supply at least one resource")):
                if not rule.get(field):
                    faults.append(errors.required("%s.%s" % (at, field), why))


def _binding(obj, old, faults):
    ref = obj.get("roleRef") or {}
    for field in ("kind", "name"):
        if not ref.get(field):
            faults.append(errors.required("roleRef.%s" % field))
    if old and old.get("roleRef") != ref:
        faults.append(errors.wrong("roleRef", ref, "cannot change roleRef"))
    for i, s in enumerate(obj.get("subjects") or ()):
        if not s.get("name"):
            faults.append(errors.required("subjects[%d].name" % i))
        # (Without a namespace it is one of the namespace of the binding.)
        if s.get("kind") == "ServiceAccount" and not s.get("namespace") and \
                obj["kind"] == "ClusterRoleBinding":
            faults.append(errors.required("subjects[%d].namespace" % i))


def _ingress(obj, old, faults):
    for i, rule in enumerate((obj.get("spec") or {}).get("rules") or ()):
        for j, path in enumerate((rule.get("http") or {}).get("paths") or ()):
            if path.get("pathType") not in ("Exact", "Prefix", "ImplementationSpecific"):
                faults.append(errors.required("spec.rules[%d].http.paths[%d].pathType" % (i, j),
                                              "pathType must be specified"))


def _crd(obj, old, faults):
    spec = obj["spec"]
    names = spec.get("names") or {}
    for field, value in (("spec.group", spec.get("group")), ("spec.names.kind", names.get("kind")),
                         ("spec.names.plural", names.get("plural")),
                         ("spec.scope", spec.get("scope")), ("spec.versions", spec.get("versions"))):
        if not value:
            faults.append(errors.required(field))
    want = "%s.%s" % (names.get("plural"), spec.get("group"))
    if obj["metadata"]["name"] != want:
        faults.append(errors.wrong("metadata.name", obj["metadata"]["name"],
                                   'must be spec.names.plural+"."+spec.group'))
    stored = [v for v in spec.get("versions") or () if v.get("storage")]
    if len(stored) != 1:
        faults.append(errors.wrong("spec.versions", [v.get("name") for v in spec.get(
            "versions") or ()], "must have exactly one version marked as storage version"))
    for i, v in enumerate(spec.get("versions") or ()):
        if not v.get("name"):
            faults.append(errors.required("spec.versions[%d].name" % i))
        if not (v.get("schema") or {}).get("openAPIV3Schema"):
            faults.append(errors.required("spec.versions[%d].schema.openAPIV3Schema" % i,
                                          "schemas are required"))
        else:
            faults += schema.faults_of(v["schema"]["openAPIV3Schema"], "openAPIV3Schema")


def _event(obj, old, faults):
    of = (obj.get("involvedObject") or {}).get("namespace", "")
    if of != obj["metadata"].get("namespace", "") and (of or obj["metadata"]["namespace"] !=
                                                       "default"):
        faults.append(errors.wrong("involvedObject.namespace", of,
                                   "does not match event.namespace"))


def _lease(obj, old, faults):
    seconds = (obj.get("spec") or {}).get("leaseDurationSeconds")
    if seconds is not None and seconds <= 0:
        faults.append(errors.wrong("spec.leaseDurationSeconds", seconds,
                                   "must be greater than 0"))


_RULES = {
    ("", "services"): _service, ("", "pods"): _pod, ("", "secrets"): _secret,
    ("", "configmaps"): _config_map,
    ("apps", "deployments"): _workload, ("apps", "statefulsets"): _workload,
    ("apps", "replicasets"): _workload, ("apps", "daemonsets"): _workload,
    ("rbac.authorization.k8s.io", "roles"): _role,
    ("rbac.authorization.k8s.io", "clusterroles"): _role,
    ("rbac.authorization.k8s.io", "rolebindings"): _binding,
    ("rbac.authorization.k8s.io", "clusterrolebindings"): _binding,
    ("networking.k8s.io", "ingresses"): _ingress,
    ("apiextensions.k8s.io", "customresourcedefinitions"): _crd,
    ("coordination.k8s.io", "leases"): _lease, ("", "events"): _event,
}
