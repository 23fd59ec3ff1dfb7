# SPDX-License-Identifier: Apache-2.0
"""What the controller counts, under the names that dashboards of the existing product use."""

import re
import urllib.request

import pytest

import control
from control import Controller, Site, kind
from kubeapi import path_of
from pods import wait


def page(port):
    """{"name{labels}": value} and the types, of a page that holds to the format."""
    with urllib.request.urlopen("http://127.0.0.1:%d/metrics" % port, timeout=60) as answer:
        text = answer.read().decode()
    values, types = {}, {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in types, "told twice: " + name
            types[name] = kind
        elif not line.startswith("# HELP "):
            name, value = re.fullmatch(r'([a-z_]+(?:\{[^}]*\})?) ([-+.0-9e]+)', line).groups()
            assert name not in values, "told twice: " + name
            values[name] = float(value)
    return values, types


@pytest.fixture
def home(standin):
    control.prepare(standin)
    return standin


def test_the_controller_tells_what_dashboards_ask_for(home):
    port = control.free_port()
    with Controller(home, "-metrics-address=127.0.0.1:%d" % port):
        site = Site(home)
        control.settled(site, "db")
        before, types = page(port)
        assert types["skupper_kubernetes_client_http_requests_total"] == "counter"
        assert types["skupper_kubernetes_client_http_request_duration_seconds"] == "histogram"
        assert before['skupper_kubernetes_client_http_requests_total{status_code="200"}'] >= 1
        assert before['skupper_kubernetes_client_http_requests_total{status_code="201"}'] >= 1
        times = "skupper_kubernetes_client_http_request_duration_seconds_%s"
        assert before[times % 'count{endpoint="configmaps"}'] >= 1
        assert before[times % 'bucket{endpoint="configmaps",le="+Inf"}'] == before[
            times % 'count{endpoint="configmaps"}']
        assert before['skupper_workqueue_adds_total{kind="Listener"}'] >= 1
        assert before['skupper_workqueue_depth{kind="Namespace"}'] >= 0
        for name in ("delay", "duration"):
            assert types["skupper_workqueue_%s_seconds" % name] == "histogram"
            assert before['skupper_workqueue_%s_seconds_count{kind="Namespace"}' % name] >= 1
        assert before["skupper_controller_leader"] == 1
        for name in ("cpu_seconds_total", "open_fds", "max_fds", "resident_memory_bytes",
                     "virtual_memory_bytes", "start_time_seconds"):
            assert before["process_" + name] > 0
        # What is refused is counted, and tried again: by the client, or with the next plan.
        home.control("fault", code=503, count=1, match={
            "verb": "patch", "resource": "configmaps", "namespace": site.ns})
        home.control("fault", code=500, count=1, match={
            "verb": "create", "resource": "services", "namespace": site.ns})
        control.settled(site, "other")
        after, _ = page(port)
        for code in (500, 503):
            assert after['skupper_kubernetes_client_http_requests_total{status_code="%d"}' % code]
        assert after['skupper_kubernetes_client_http_retries_total{status_code="503"}'] == 1
        assert after['skupper_workqueue_retries_total{kind="Namespace"}'] > before[
            'skupper_workqueue_retries_total{kind="Namespace"}']
        assert after["skupper_controller_refusals_total"] >= 1
        for name, value in before.items():
            if name.endswith("_total") or "_count{" in name:
                assert after[name] >= value, name


def test_of_namespaces_without_anything_of_ours_nothing_is_remembered(home):
    port = control.free_port()
    with Controller(home, "-metrics-address=127.0.0.1:%d" % port):
        site, other = Site(home), Site(home)
        control.settled(site, "one")
        control.settled(other, "one")
        for i in range(5):
            home.run_pod(home.namespace(), "p", {"app": "x"}, "10.0.0.%d" % (i + 1))
        wait(lambda: page(port)[0].get("skupper_workqueue_adds_total{kind=\"Pod\"}", 0) >= 5,
             "all have been seen")
        # It is rid of them when it has looked at them.
        wait(lambda: page(port)[0]["skupper_controller_namespaces"] == ours(home), "two are left")
        home.admin.request("DELETE", path_of("namespaces", None, other.ns))
        home.admin.await_gone("namespaces", other.ns)
        wait(lambda: page(port)[0]["skupper_controller_namespaces"] == ours(home), "one is left")
        control.settled(site, "two")


def ours(home):
    """How many namespaces have something of ours."""
    return len({o["metadata"]["namespace"] for plural in ("sites", "certificates", "listeners")
                for o in home.admin.list(kind(plural))["items"]})
