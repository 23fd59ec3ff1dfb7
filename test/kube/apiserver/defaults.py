# SPDX-License-Identifier: Apache-2.0
"""What the API server fills in where an object says nothing. A client that compares what it wrote with
what it reads has to know these, so they are the real ones, for the fields we meet."""

import base64


def fill(kind, obj):
    """Fills in the defaults of a kind of the cluster."""
    filler = _FILLERS.get(kind.key)
    if filler:
        filler(obj)


def _default(obj, **fields):
    for name, value in fields.items():
        if obj.get(name) is None:
            obj[name] = value


def pod_spec(spec):
    _default(spec, restartPolicy="Always", terminationGracePeriodSeconds=30,
             dnsPolicy="ClusterFirst", securityContext={}, schedulerName="default-scheduler")
    if "serviceAccountName" in spec:
        _default(spec, serviceAccount=spec["serviceAccountName"])
    for container in (spec.get("initContainers") or []) + (spec.get("containers") or []):
        _container(container)
    for volume in spec.get("volumes") or ():
        for source in ("secret", "configMap", "projected", "downwardAPI"):
            if isinstance(volume.get(source), dict):
                _default(volume[source], defaultMode=420)


def _leave_out(obj, name):
    """What says nothing is not told."""
    if obj.get(name) in ("", 0):
        del obj[name]


def _container(c):
    image = c.get("image", "")
    tag = image.rpartition("/")[2].partition(":")[2]
    latest = "@" not in image and tag in ("", "latest")
    _default(c, imagePullPolicy="Always" if latest else "IfNotPresent", resources={},
             terminationMessagePath="/dev/termination-log", terminationMessagePolicy="File")
    for port in c.get("ports") or ():
        _default(port, protocol="TCP")
    for env in c.get("env") or ():
        _leave_out(env, "value")
        of_field = (env.get("valueFrom") or {}).get("fieldRef")
        if of_field:
            _default(of_field, apiVersion="v1")
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = c.get(name)
        if probe:
            _default(probe, timeoutSeconds=1, periodSeconds=10, successThreshold=1,
                     failureThreshold=3)
            _leave_out(probe, "initialDelaySeconds")
            if "httpGet" in probe:
                _default(probe["httpGet"], path="/", scheme="HTTP")


def _pod(obj):
    pod_spec(obj.setdefault("spec", {}))
    _default(obj["spec"], enableServiceLinks=True, serviceAccountName="default",
             serviceAccount="default", preemptionPolicy="PreemptLowerPriority", priority=0)
    _default(obj.setdefault("status", {}), phase="Pending", qosClass="BestEffort")


def _template(spec):
    template = spec.setdefault("template", {})
    template.setdefault("metadata", {}).setdefault("creationTimestamp", None)
    pod_spec(template.setdefault("spec", {}))


def _deployment(obj):
    spec = obj.setdefault("spec", {})
    _default(spec, replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600, strategy={})
    _default(spec["strategy"], type="RollingUpdate")
    if spec["strategy"]["type"] == "RollingUpdate":
        _default(spec["strategy"], rollingUpdate={})
        _default(spec["strategy"]["rollingUpdate"], maxUnavailable="25%", maxSurge="25%")
    _template(spec)


def _stateful_set(obj):
    spec = obj.setdefault("spec", {})
    _default(spec, replicas=1, revisionHistoryLimit=10, podManagementPolicy="OrderedReady",
             updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 0}})
    _template(spec)


def _replica_set(obj):
    spec = obj.setdefault("spec", {})
    _default(spec, replicas=1)
    _template(spec)


def _daemon_set(obj):
    spec = obj.setdefault("spec", {})
    _default(spec, revisionHistoryLimit=10, updateStrategy={
        "type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}})
    _template(spec)


def _service(obj):
    spec = obj.setdefault("spec", {})
    _default(spec, type="ClusterIP", sessionAffinity="None")
    for port in spec.get("ports") or ():
        _default(port, protocol="TCP")
        if spec["type"] != "ExternalName" or "targetPort" in port:
            _default(port, targetPort=port.get("port"))
    if spec["type"] != "ExternalName":
        _default(spec, internalTrafficPolicy="Cluster")
    else:
        spec.pop("internalTrafficPolicy", None)
    if spec["type"] in ("NodePort", "LoadBalancer"):
        _default(spec, externalTrafficPolicy="Cluster")
    else:
        spec.pop("externalTrafficPolicy", None)
    if spec["type"] == "LoadBalancer":
        _default(spec, allocateLoadBalancerNodePorts=True)
    else:
        spec.pop("allocateLoadBalancerNodePorts", None)
    obj.setdefault("status", {}).setdefault("loadBalancer", {})


def _secret(obj):
    _default(obj, type="Opaque")
    plain = obj.pop("stringData", None)
    if plain:
        data = obj["data"] = dict(obj.get("data") or {})
        data.update({k: base64.b64encode(v.encode()).decode() for k, v in plain.items()})


def _binding(obj):
    for subject in obj.get("subjects") or ():
        if subject.get("kind") in ("User", "Group"):
            _default(subject, apiGroup="rbac.authorization.k8s.io")
    _default(obj.get("roleRef") or {}, apiGroup="rbac.authorization.k8s.io")


def _namespace(obj):
    obj.setdefault("metadata", {}).setdefault("labels", {})["kubernetes.io/metadata.name"] = \
        obj["metadata"].get("name", "")
    _default(obj.setdefault("spec", {}), finalizers=["kubernetes"])
    _default(obj.setdefault("status", {}), phase="Active")


def _crd(obj):
    spec = obj.setdefault("spec", {})
    names = spec.setdefault("names", {})
    _default(names, singular=names.get("kind", "").lower(),
             listKind=names.get("kind", "") + "List")
    _default(spec, conversion={"strategy": "None"})


def _ingress(obj):
    obj.setdefault("status", {}).setdefault("loadBalancer", {})


_FILLERS = {
    ("", "pods"): _pod, ("", "services"): _service, ("", "secrets"): _secret,
    ("", "namespaces"): _namespace,
    ("apps", "deployments"): _deployment, ("apps", "statefulsets"): _stateful_set,
    ("apps", "replicasets"): _replica_set, ("apps", "daemonsets"): _daemon_set,
    ("rbac.authorization.k8s.io", "rolebindings"): _binding,
    ("rbac.authorization.k8s.io", "clusterrolebindings"): _binding,
    ("networking.k8s.io", "ingresses"): _ingress,
    ("apiextensions.k8s.io", "customresourcedefinitions"): _crd,
}
