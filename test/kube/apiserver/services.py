# SPDX-License-Identifier: Apache-2.0
"""Addresses and node ports of Services."""

from . import errors

FIRST_NODE_PORT, LAST_NODE_PORT = 30000, 32767


class Addresses:
    def __init__(self, store):
        self.store = store
        self._next = 10

    def _used(self, but):
        ips, ports = set(), set()
        for e in self.store.entries(("", "services")):
            if e.obj["metadata"].get("uid") == but:
                continue
            spec = e.obj["spec"]
            ips.add(spec.get("clusterIP"))
            ports |= {(p["nodePort"], p["protocol"]) for p in spec.get("ports") or ()
                      if p.get("nodePort")}
        return ips, ports

    def assign(self, kind, obj, old):
        spec, meta = obj["spec"], obj["metadata"]
        ips, ports = self._used(meta["uid"])
        before = old["spec"] if old else {}
        if spec["type"] == "ExternalName":
            for field in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
                spec.pop(field, None)
        else:
            self._assign_ip(kind, obj, before, ips)
        if spec["type"] in ("NodePort", "LoadBalancer"):
            self._assign_ports(kind, obj, before, ports)
        elif before.get("type") in ("NodePort", "LoadBalancer"):
            _give_back(spec, before)

    def _assign_ip(self, kind, obj, before, used):
        spec = obj["spec"]
        if not spec.get("clusterIP"):
            spec["clusterIP"] = before.get("clusterIP") or self._free_ip(used)
        elif spec["clusterIP"] != "None" and spec["clusterIP"] in used:
            raise errors.invalid(kind, obj["metadata"]["name"], [errors.wrong(
                "spec.clusterIPs", [spec["clusterIP"]],
                "failed to allocate IP %s: provided IP is already allocated"
                % spec["clusterIP"])])
        spec["clusterIPs"] = [spec["clusterIP"]]
        spec.setdefault("ipFamilies", ["IPv4"])
        spec.setdefault("ipFamilyPolicy", "SingleStack")

    def _free_ip(self, used):
        while True:
            self._next += 1
            ip = "10.96.%d.%d" % (self._next // 250 % 256, self._next % 250 + 1)
            if ip not in used:
                return ip

    def _assign_ports(self, kind, obj, before, used):
        had = {p.get("name"): p.get("nodePort") for p in before.get("ports") or ()}
        taken = set(used)
        for i, port in enumerate(obj["spec"].get("ports") or ()):
            protocol = port["protocol"]
            if not port.get("nodePort"):
                port["nodePort"] = had.get(port.get("name")) or next(
                    n for n in range(FIRST_NODE_PORT, LAST_NODE_PORT + 1)
                    if (n, protocol) not in taken)
            elif not FIRST_NODE_PORT <= port["nodePort"] <= LAST_NODE_PORT:
                raise errors.invalid(kind, obj["metadata"]["name"], [errors.wrong(
                    "spec.ports[%d].nodePort" % i, port["nodePort"],
                    "provided port is not in the valid range. The range of valid ports is %d-%d"
                    % (FIRST_NODE_PORT, LAST_NODE_PORT))])
            if (port["nodePort"], protocol) in taken:
                raise errors.invalid(kind, obj["metadata"]["name"], [errors.wrong(
                    "spec.ports[%d].nodePort" % i, port["nodePort"],
                    "provided port is already allocated")])
            taken.add((port["nodePort"], protocol))


def _give_back(spec, before):
    """A Service that needs no node ports any more keeps none that nobody asked for by name."""
    had = {p.get("nodePort") for p in before.get("ports") or ()}
    for port in spec.get("ports") or ():
        if port.get("nodePort") in had:
            port.pop("nodePort")
