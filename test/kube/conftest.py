# SPDX-License-Identifier: Apache-2.0
import os
import sys
import pathlib

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import control  # noqa: E402
import foreign  # noqa: E402
from cluster import DEFINITIONS, Cluster  # noqa: E402
from standin import Standin, make_certificates  # noqa: E402


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder)
    return folder


def _clusters(tmp_path_factory, request):
    """Gives clusters by name ("a", "b", "c"), each made once."""
    made = {}

    def give(name="a"):
        if name not in made:
            scratch = tmp_path_factory.mktemp("cluster-" + name)
            real = os.environ.get("KUBECONFIG_" + name.upper())
            standin = None if real else Standin(scratch,
                                                request.getfixturevalue("certificates"))
            made[name] = Cluster(name, real or standin.kubeconfig, scratch, standin,
                                 real and os.environ.get("KUBEAUDIT_" + name.upper()))
        return made[name]

    yield give
    for cluster in made.values():
        cluster.clean_up()
        if cluster.standin:
            cluster.standin.close()


@pytest.fixture(scope="module")
def clusters(tmp_path_factory, request):
    yield from _clusters(tmp_path_factory, request)


@pytest.fixture
def cluster(clusters):
    """The first cluster, without trouble from earlier tests."""
    one = clusters("a")
    if one.standin:
        one.control("clear")
    yield one
    if one.standin:
        one.control("clear")
        one.control("simulate", deployments=False, load_balancers=False)


@pytest.fixture
def standin(cluster):
    """The cluster where it is the stand-in: for trouble on request, and pods that are only said to
    run, at addresses of this machine."""
    if cluster.is_real:
        pytest.skip("takes the stand-in: trouble on request, or pods that are only said to run")
    return cluster


@pytest.fixture
def recorded(cluster):
    """The cluster, with the record of what it is asked."""
    if not cluster.is_recorded:
        pytest.skip("KUBEAUDIT_A names no audit log of this cluster, and requests are counted here")
    return cluster


@pytest.fixture
def bare(clusters):
    """A cluster without our definitions, and what else a controller might find and use."""
    one = clusters("bare")
    one.undefine()
    if any(one.admin.find(DEFINITIONS, crd["metadata"]["name"])
           for crd in (*control.definitions(), *foreign.ROUTE)):
        pytest.skip("the cluster of KUBECONFIG_BARE has definitions, which may be in use")
    if not one.admin.find("namespaces", control.HOME):
        one.make_global("namespaces", {"metadata": {"name": control.HOME}})
    return one


@pytest.fixture
def namespace(cluster):
    return cluster.namespace()
