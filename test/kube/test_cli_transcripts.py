# SPDX-License-Identifier: Apache-2.0
"""What people see of the command line in a cluster: as it was recorded. RECORD=1 records it anew:
read the difference before you keep it."""

import pathlib

import yaml

import control
from cli import Cli
from control import kind
from pods import transcript

FOLDER = pathlib.Path(__file__).parent / "transcripts"


def token_name(folder):
    return yaml.safe_load((folder / "token.yaml").read_text())["metadata"]["name"]


def test_two_namespaces_become_one_network(standin, tmp_path):
    control.prepare(standin)
    standin.run_deployments()
    standin.run_load_balancers()
    west, east = (Cli(standin, standin.namespace(n), home=tmp_path) for n in ("west", "east"))
    names = [(west.ns, "west"), (east.ns, "east"), (str(tmp_path), "HOME")]

    def run(site, command):
        told = transcript.run(control.SKUPPER, command, site.environment, tmp_path, names,
                              ("-n", site.ns))
        return told.replace("$", "west$" if site is west else "east$", 1)

    standin.run_pod(west.ns, "backend-1", {"app": "backend"}, "10.9.0.1")
    got = run(west, "skupper site status")
    with control.serving(standin, control.grant_credentials(standin)):
        for site, command in (
                (west, "skupper site create west --enable-link-access"),
                (west, "skupper site create again"),
                (west, "skupper site status"),
                (west, "skupper token issue token.yaml"),
                (east, "skupper site create east"),
                (east, "skupper token redeem token.yaml"),
                (east, "skupper link status"),
                (west, "skupper connector create backend 8080"),
                (west, "skupper connector status"),
                (west, "skupper connector status backend"),
                (east, "skupper listener create backend 8080"),
                (east, "skupper listener create backend 8080"),
                (east, "skupper listener status"),
                (east, "skupper service status"),
                (east, "skupper listener update backend --port 80"),
                (east, "skupper listener delete backend"),
                (east, "skupper link generate"),
                (east, "skupper network status"),
                (east, "skupper status"),
                (east, "skupper system start"),
                (east, "skupper site delete --all"),
                (west, "skupper connector create frontend 8080 --workload deployment/frontend"),
                (west, "skupper delete"),
                (west, "skupper site status")):
            if command == "skupper connector status":
                standin.admin.await_object(
                    kind("connectors"), "backend", west.ns, control.is_so("Configured", "True"))
            if command == "skupper link status":
                standin.admin.await_object(kind("links"), token_name(tmp_path), east.ns,
                                           control.is_so("Configured", "True"))
            got += run(site, command)
    transcript.compare(FOLDER, "cluster", got)
