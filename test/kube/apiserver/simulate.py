# SPDX-License-Identifier: Apache-2.0
"""Machines in miniature, on request.

  deployments     true: each Deployment gets its pods, directly, without a ReplicaSet in between; they
                  run and are ready at once, with an address each, and end when they are deleted.
                  false (as it begins): nobody does anything with Deployments
  ready           false: pods are made, and run, but are not ready
  load_balancers  true: each Service of type LoadBalancer gets an address from 192.0.2.0/24"""

import asyncio
import copy
import hashlib

from . import apply, errors
from .collect import SYSTEM
from .objects import Writer
from .store import encode

DEPLOYMENTS = ("apps", "deployments")
PODS = ("", "pods")
SERVICES = ("", "services")


class Simulation:
    def __init__(self, objects):
        self.objects = objects
        self.store = objects.store
        self.on = False
        self.ready = True
        self.load_balancers = False
        self._count = 0
        self._scheduled = False
        self.store.listeners.append(self._changed)

    def configure(self, deployments=None, ready=None, load_balancers=None):
        if deployments is not None:
            self.on = deployments
        if ready is not None:
            self.ready = ready
        if load_balancers is not None:
            self.load_balancers = load_balancers
        self._schedule()

    def _changed(self, change):
        if self.on and change.resource in (DEPLOYMENTS, PODS) or \
                self.load_balancers and change.resource == SERVICES:
            self._schedule()

    def _schedule(self):
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._run)

    def _run(self):
        self._scheduled = False
        if self.load_balancers:
            for entry in self.store.entries(SERVICES):
                self._give_address(entry)
        if not self.on:
            return
        for entry in self.store.entries(PODS):
            self._end(entry)
        for entry in self.store.entries(DEPLOYMENTS):
            if not entry.obj["metadata"].get("deletionTimestamp"):
                self._settle(entry)

    def _give_address(self, service):
        wants = service.obj["spec"]["type"] == "LoadBalancer"
        has = bool(service.obj["status"]["loadBalancer"].get("ingress"))
        if wants == has:
            return
        if has:
            self._status(SERVICES, service, {"loadBalancer": {}})
            return
        self._count += 1
        address = {"ip": "192.0.2.%d" % (self._count % 254 + 1), "ipMode": "VIP"}
        self._status(SERVICES, service, {"loadBalancer": {"ingress": [address]}})

    def _end(self, pod):
        """What a kubelet does with a pod that is deleted: ends it, then lets it go."""
        meta = pod.obj["metadata"]
        if meta.get("deletionTimestamp") and not meta.get("finalizers"):
            self.store.drop(PODS, pod.namespace, pod.name)

    def _settle(self, deployment):
        obj = deployment.obj
        meta, spec = obj["metadata"], obj["spec"]
        wanted = hashlib.sha256(encode(spec["template"])).hexdigest()[:10]
        mine = [e for r, e in self.store.dependents(meta["uid"]) if r == PODS
                and not e.obj["metadata"].get("deletionTimestamp")]
        fresh = [e for e in mine if e.obj["metadata"]["labels"].get("pod-template-hash") == wanted]
        for entry in [e for e in mine if e not in fresh] + fresh[spec["replicas"]:]:
            self._delete_pod(entry)
        fresh = fresh[:spec["replicas"]]
        for _ in range(spec["replicas"] - len(fresh)):
            fresh.append(self._make(deployment, wanted))
        for i, entry in enumerate(fresh):
            fresh[i] = self._status(PODS, entry, self._pod_status(entry.obj))
        ready = sum(_is_ready(e.obj) for e in fresh)
        self._status(DEPLOYMENTS, deployment, _deployment_status(obj, len(fresh), ready))

    def _delete_pod(self, entry):
        kind = self.objects.kinds.find("", "v1", "pods")
        self.objects.delete(kind, entry.namespace, entry.name, {"gracePeriodSeconds": 0})

    def _make(self, deployment, hash_):
        meta, template = deployment.obj["metadata"], copy.deepcopy(
            deployment.obj["spec"]["template"])
        self._count += 1
        of = template["metadata"]
        pod = {"apiVersion": "v1", "kind": "Pod", "spec": template["spec"], "metadata": {
            "generateName": "%s-%s-" % (meta["name"], hash_),
            "labels": {**of.get("labels", {}), "pod-template-hash": hash_},
            "annotations": of.get("annotations") or {},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment",
                                 "name": meta["name"], "uid": meta["uid"], "controller": True,
                                 "blockOwnerDeletion": True}]}}
        pod["spec"]["nodeName"] = "node"
        return self.objects.create(self.objects.kinds.find("", "v1", "pods"),
                                   deployment.namespace, pod, Writer(SYSTEM, "kubelet"))

    def _pod_status(self, pod):
        was = pod["status"]
        if not was.get("podIP"):
            self._count += 1
            ip = "10.244.%d.%d" % (self._count // 250 % 256, self._count % 250 + 1)
        else:
            ip = was["podIP"]
        ready = "True" if self.ready else "False"
        return {**was, "phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
                "hostIP": "10.0.0.1", "startTime": was.get("startTime") or apply.now(),
                "conditions": [_condition(was, t, s) for t, s in (
                    ("PodScheduled", "True"), ("Initialized", "True"),
                    ("ContainersReady", ready), ("Ready", ready))]}

    def _status(self, resource, entry, status):
        if entry.obj.get("status") == status:
            return entry
        kind = self.objects.kinds.any_version(*resource)
        obj = entry.copy()
        obj["status"] = status
        try:
            return self.objects.update(kind, entry.namespace, entry.name, obj,
                                       Writer(SYSTEM, "kubelet"), "status")
        except errors.ApiError:
            return entry


def _condition(was, name, status):
    for c in was.get("conditions") or ():
        if c["type"] == name and c["status"] == status:
            return c
    return {"type": name, "status": status, "lastProbeTime": None,
            "lastTransitionTime": apply.now()}


def _is_ready(pod):
    return any(c["type"] == "Ready" and c["status"] == "True"
               for c in pod["status"].get("conditions") or ())


def _deployment_status(obj, count, ready):
    was = obj.get("status") or {}
    status = {"observedGeneration": obj["metadata"]["generation"],
              "conditions": [_condition(was, "Available", "True" if ready >= count else "False")]}
    for name, value in (("replicas", count), ("updatedReplicas", count),
                        ("readyReplicas", ready), ("availableReplicas", ready),
                        ("unavailableReplicas", count - ready)):
        if value:
            status[name] = value
    return status
