# SPDX-License-Identifier: Apache-2.0
"""The command line on the platform kubernetes when something is wrong: what is said, and that nothing
is done."""

import os
import pty
import subprocess
import tarfile
import time

import pytest
import yaml

import control
from cli import Cli
from control import Controller, kind

SITES = {"apiGroups": ["skupper.io"], "resources": ["sites"]}


@pytest.fixture
def home(cluster):
    control.prepare(cluster)
    cluster.run_deployments()
    return cluster


@pytest.fixture
def cli(home, tmp_path):
    return Cli(home, home.namespace(), home=tmp_path)


@pytest.fixture
def site(home, cli):
    """A site that is ready, as a controller that has gone since left it."""
    with Controller(home):
        cli.run("site", "create", "west")
    return home.admin.get(kind("sites"), "west", cli.ns)


def as_user(cli, tmp_path, *rules):
    """The same with no more rights than these."""
    cluster, name = cli.cluster, "user"
    cluster.account(cli.ns, name, rules)
    token = cluster.token(cli.ns, name)
    return Cli(cluster, cli.ns, cluster.kubeconfig_for(token, cli.ns), tmp_path)


def test_every_problem_of_what_was_typed_is_told_and_nothing_is_made(cli):
    admin = cli.cluster.admin
    for words, told in (
            (("site", "create", "West"), "site name is not valid"),
            (("site", "create", "w", "--timeout", "5s"),
             "timeout is not valid: duration must not be less than 10s; got 5s"),
            (("site", "create", "w", "--link-access-type", "route"),
             "the --enable-link-access option must be set to true"),
            (("site", "create", "w", "--enable-link-access", "--link-access-type", "x"),
             "link access type is not valid"),
            (("site", "update"), "There is no existing Skupper site resource to update"),
            (("site", "delete"), "there is no site in the namespace"),
            (("site", "delete", "w"), 'there is no site "w"'),
            (("link", "generate"), "there is no active skupper site in this namespace"),
            (("link", "generate", "--cost", "0"), "cost is not valid"),
            (("link", "update", "x"), 'there is no link "x"'),
            (("link", "delete", "x"), 'there is no link "x"'),
            (("link", "status", "x"), 'there is no link "x"'),
            (("token", "issue", "t.yaml"), "A site must exist in namespace"),
            (("token", "issue", "/"), "is a directory"),
            (("token", "issue", "/no/where"), "cannot be written"),
            (("token", "issue", "t.yaml", "--timeout", "1s"), "timeout is not valid"),
            (("token", "redeem", "none.yaml"), "none.yaml"),
            (("listener", "create", "db", "0"), "port is not valid"),
            (("listener", "create", "db", "1", "--tls-credentials", "none"),
             'tls-secret is not valid: does not exist: there is no Secret "none"'),
            (("listener", "update", "db"), "listener db must exist"),
            (("listener", "delete", "db"), 'listener "db" does not exist'),
            (("listener", "status", "db"), "listener db does not exist"),
            (("connector", "create", "db", "1", "--host", "h", "--selector", "a=b"),
             "give one of --host, --selector and --workload"),
            (("connector", "create", "db", "1", "--selector", "a=b=c"), "selector is not valid"),
            (("connector", "create", "db", "1", "--workload", "pod/x"), "workload is not valid"),
            (("connector", "create", "db", "1", "--workload", "deployment/x"),
             'there is no deployment "x"'),
            (("connector", "delete", "db", "--timeout", "9s"), "timeout is not valid")):
        assert told in cli.run(*words, status=2), words
    for plural in ("sites", "listeners", "connectors", "links", "accessgrants", "certificates"):
        assert not admin.list(kind(plural), cli.ns)["items"]


def test_nothing_is_there(cli):
    for words, told in (
            (("site", "status"), "There is no existing Skupper site resource\n"),
            (("link", "status"), "There are no link resources in the namespace\n"),
            (("listener", "status"), "No listeners found\n"),
            (("connector", "status"), "No connectors found\n"),
            (("link", "doctor"), "There are no link resources in the namespace\nAll is well.\n"),
            (("system", "start"), "This command does not support kubernetes platforms.\n")):
        assert cli.run(*words) in (told, told.replace("\nAll is well.", "")), words


def test_without_a_controller_that_is_said(cli):
    begin = time.monotonic()
    said = cli.run("site", "create", "west", "--timeout", "10s", status=1)
    assert 10 <= time.monotonic() - begin < 60
    assert said.startswith('Waiting for status...\nSite "west" is not yet ready: no controller has '
                           'taken it up.')
    assert "no controller has taken it up yet" in cli.run("site", "status")
    assert "There is already a site created for this namespace" in cli.run(
        "site", "create", "east", status=2)
    assert 'the site "west" is not ready' in cli.run("link", "generate", status=2)
    assert cli.run("listener", "create", "db", "1", "--wait", "none") == (
        'Listener "db" is created.\n')


def test_why_it_is_not_ready_is_said(home, cli):
    if home.is_real:
        pytest.skip("a load balancer of a real cluster gives it an address")
    with Controller(home):
        said = cli.run("site", "create", "west", "--timeout", "10s", "--enable-link-access",
                       "--link-access-type", "loadbalancer", status=1)
        assert 'Site "west" is not yet ready: its link access has no address yet' in said
        said = cli.run("connector", "create", "db", "5432", "--timeout", "10s", status=1)
        assert 'Connector "db" is not yet configured: No matches for selector' in said
        assert cli.run("connector", "status").splitlines()[1].endswith("No matches for selector")
        assert "no address" not in said
        said = cli.run("token", "issue", "t.yaml", status=2)
        assert 'the site "west" is not ready' in said


def test_of_grants_that_nobody_serves(home, cli, site):
    assert "You must enable link access for this site" in cli.run(
        "token", "issue", "t.yaml", status=2)
    assert "link access is not enabled" in cli.run("link", "generate", status=2)
    home.admin.patch(kind("sites"), "west", {"status": {"endpoints": [
        {"name": "inter-router", "host": "h", "port": "55671", "group": "skupper-router"}]}},
        cli.ns, sub="status")
    said = cli.run("token", "issue", "t.yaml", "--timeout", "10s", status=1)
    assert "not ready yet, check the status for more information: no controller has taken" in said
    assert not (cli.folder / "t.yaml").exists()


def test_without_definitions_it_is_said_how_to_install_them(bare, tmp_path):
    cli = Cli(bare, bare.namespace(), home=tmp_path)
    for words in (("site", "create", "w"), ("site", "status"), ("listener", "create", "db", "1"),
                  ("link", "status"), ("token", "issue", "t.yaml"), ("connector", "status", "x"),
                  ("link", "generate"), ("site", "delete", "--all"), ("service", "status")):
        said = cli.run(*words, status=2)
        assert said.startswith("The Skupper CRDs are not yet installed in the cluster https://")
        assert '"kubectl apply -f deploy/skupper-cluster-scope.yaml"' in said
        assert said.count("\n") == 3, said


def test_the_right_that_is_missing_is_named(cli, tmp_path):
    reader = as_user(cli, tmp_path, {**SITES, "verbs": ["get", "list"]})
    assert reader.run("site", "status") == "There is no existing Skupper site resource\n"
    said = reader.run("site", "create", "west", status=1)
    assert "cannot create sites.skupper.io" in said and 'cannot create resource "sites"' in said
    assert "a Role that allows it must be bound to this user" in said
    said = reader.run("listener", "status", status=1)
    assert 'cannot list resource "listeners" in API group "skupper.io"' in said
    assert said.count("\n") == 1
    nobody = Cli(cli.cluster, cli.ns, cli.cluster.kubeconfig_for("wrong", cli.ns), tmp_path)
    assert "log in again" in nobody.run("site", "status", status=1)


def test_who_may_not_watch_waits_all_the_same(home, cli, tmp_path):
    user = as_user(cli, tmp_path, {**SITES, "verbs": ["get", "list", "create", "delete"]})
    with Controller(home):
        assert user.run("site", "create", "west").endswith('Site "west" is ready.\n')
        assert user.run("site", "delete", "west").endswith('Site "west" is deleted\n')


def test_a_cluster_that_does_not_answer_is_named(cli, tmp_path):
    config = tmp_path / "gone"
    with open(cli.cluster.kubeconfig, encoding="utf-8") as file:
        told = yaml.safe_load(file)
    port = control.free_port()
    for one in told["clusters"]:
        one["cluster"]["server"] = "https://127.0.0.1:%d" % port
    config.write_text(yaml.safe_dump(told))
    gone = Cli(cli.cluster, cli.ns, config, tmp_path)
    begin = time.monotonic()
    said = gone.run("site", "status", status=1)
    assert time.monotonic() - begin < 5  # somebody waits for it
    assert "The cluster is https://127.0.0.1:%d, context " % port in said
    assert "--kubeconfig" in said and "-p linux" not in said
    assert "The cluster is" in gone.run("debug", "dump", status=1)
    assert not list(tmp_path.glob("*.tar.gz"))
    # Where nobody chose the platform, there is another one.
    del gone.environment["SKUPPER_PLATFORM"]
    assert '"-p linux" is for sites on this host' in gone.run("site", "status", status=1)


def test_which_cluster_and_namespace(cli, tmp_path):
    home = Cli(cli.cluster, cli.ns, cli.cluster.kubeconfig, tmp_path)
    assert "no-such-context" in home.run("site", "status", "-c", "no-such-context", status=1)
    assert "no-such-file" in home.run("site", "status", "--kubeconfig", "no-such-file", status=1)
    home.ns = "Not_a_namespace"
    assert "namespace is not valid" in home.run("site", "status", status=2)
    home.ns = "nowhere"
    assert 'the namespace nowhere does not exist: "kubectl create namespace nowhere" makes it' in (
        home.run("site", "create", "west", status=1))
    # Without a kubeconfig the platform is this host, and that is said.
    del home.environment["KUBECONFIG"], home.environment["SKUPPER_PLATFORM"]
    home.environment["SKUPPER_OUTPUT_PATH"] = str(tmp_path / "sites")
    home.ns = "default"
    done = home.ask("site", "create", "west")
    assert done.returncode == 0 and "Start it with" in done.stdout
    assert done.stderr.startswith("Platform: linux, as there is no kubeconfig")
    done = home.ask("site", "status", "--context", "x")
    assert done.returncode == 1 and "unknown flag: --context" in done.stderr + done.stdout


def test_what_is_there_already_is_left_alone(home, cli, site, tmp_path):
    a = home.admin
    a.create("secrets", {"metadata": {"name": "west"}, "data": {"mine": "eA=="}}, cli.ns)
    link = tmp_path / "link.yaml"
    link.write_text("""apiVersion: v1
kind: Secret
metadata: {name: west}
type: kubernetes.io/tls
data: {ca.crt: eA==, tls.crt: eA==, tls.key: eA==}
---
apiVersion: skupper.io/v2alpha1
kind: Link
metadata: {name: west}
spec:
  tlsCredentials: west
  endpoints: [{name: inter-router, host: h, port: "55671"}]
""")
    said = cli.run("token", "redeem", str(link), status=2)
    assert 'there is a Secret "west" in the namespace %s already, which is left' % cli.ns in said
    assert a.get("secrets", "west", cli.ns)["data"] == {"mine": "eA=="}
    assert not a.list(kind("links"), cli.ns)["items"]
    token = tmp_path / "token.yaml"
    token.write_text("""apiVersion: skupper.io/v2alpha1
kind: AccessToken
metadata: {name: t}
spec: {url: "https://127.0.0.1:1/x", code: x, ca: x}
""")
    a.create(kind("accesstokens"), control.resource("AccessToken", "t", url="u", code="c", ca="c"),
             cli.ns)
    said = cli.run("token", "redeem", str(token), status=1)
    assert 'there is an AccessToken "t" in the namespace' in said


def test_a_terminal_sees_what_is_missing(cli):
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [control.SKUPPER, "site", "create", "west", "--timeout", "10s", "-n", cli.ns],
        stdout=slave, env=cli.environment)
    os.close(slave)
    seen = b""
    while True:
        try:
            some = os.read(master, 4096)
        except OSError:
            break
        if not some:
            break
        seen += some
    assert process.wait() == 1
    os.close(master)
    assert b"\r\x1b[KWaiting for status... 0 s" in seen
    assert b"\r\x1b[KWaiting for status... 9 s" in seen
    assert b"\r\x1b[KWaiting for status...\r\n" in seen


def test_a_dump_has_everything_but_secrets(home, cli, site, tmp_path):
    a = home.admin
    a.create(kind("accesstokens"), control.resource(
        "AccessToken", "t", url="u", code="very-secret-code", ca="c"), cli.ns)
    said = cli.run("debug", "dump", "trouble")
    file = said.split(":")[1].strip()
    assert said.startswith("Skupper dump details written to compressed archive:  trouble-")
    with tarfile.open(tmp_path / file) as archive:
        files = {m.name: archive.extractfile(m).read().decode() for m in archive.getmembers()}
    for name in ("versions/kubernetes.yaml", "versions/skupper.yaml",
                 "site-namespace/events.txt", "site-namespace/resources/Site-west.yaml",
                 "site-namespace/resources/Site-west.yaml.txt",
                 "site-namespace/resources/Deployment-skupper-router.yaml",
                 "site-namespace/resources/ConfigMap-skupper-router.yaml",
                 "site-namespace/resources/Certificate-skupper-site-ca.yaml",
                 "site-namespace/resources/AccessToken-t.yaml"):
        assert name in files, sorted(files)
    assert not any("very-secret-code" in t or "PRIVATE KEY" in t for t in files.values())
    reader = as_user(cli, tmp_path, {**SITES, "verbs": ["get", "list"]})
    reader.run("debug", "dump", "less")
    file = next(tmp_path.glob("less-*.tar.gz"))
    with tarfile.open(file) as archive:
        errors = archive.extractfile("errors.txt").read().decode()
        assert archive.getmember("site-namespace/resources/Site-west.yaml")
    assert 'cannot list resource "deployments"' in errors
