# SPDX-License-Identifier: Apache-2.0
"""Bundles: a site prepared at one place is installed at another, where it is itself."""

import json
import os
import pathlib
import stat
import subprocess
import tarfile

import pytest
import sites as s
import yaml
from harness import free_port


@pytest.fixture
def home(tmp_path):
    with_sites = s.Sites(tmp_path / "here")
    yield with_sites
    with_sites.close()


@pytest.fixture
def elsewhere(tmp_path):
    """Another host, as far as Skupper is concerned: another data home."""
    with_sites = s.Sites(tmp_path / "there")
    with_sites.environment["PATH"] = "%s:%s" % (pathlib.Path(s.SKUPPER).parent, os.environ["PATH"])
    yield with_sites
    with_sites.close()


def prepare(home, tmp_path, port, *flags):
    source = tmp_path / "source"
    source.mkdir()
    (source / "site.yaml").write_text(yaml.safe_dump_all([
        {"apiVersion": "skupper.io/v2alpha1", "kind": "Site",
         "metadata": {"name": "west", "namespace": "workshop"}, "spec": {}},
        {"apiVersion": "skupper.io/v2alpha1", "kind": "RouterAccess",
         "metadata": {"name": "incoming"},
         "spec": {"subjectAlternativeNames": ["127.0.0.1"],
                  "roles": [{"name": "inter-router", "port": port}]}}]))
    said = home.run("system", "generate-bundle", "west", "--input", str(source), *flags)
    path = pathlib.Path(said.split("available at: ")[1].split("\n")[0])
    assert "Default namespace: default" in said
    assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, "its keys are for its owner alone"
    return path


def install(where, script, *words, status=0):
    done = subprocess.run([str(script), *words], capture_output=True, text=True,
                          env=where.environment, timeout=120)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def site_id(where, namespace):
    path = where.home / "namespaces" / namespace / "internal" / "state.json"
    return json.loads(path.read_text())["siteId"]


def test_a_bundle_becomes_a_site_that_others_link_to(home, elsewhere, tmp_path):
    port = free_port()
    bundle = prepare(home, tmp_path, port)
    place = tmp_path / "unpacked"
    with tarfile.open(bundle) as archive:
        names = archive.getnames()
        archive.extractall(place)
    assert not [name for name in names if "skupper-local" in name or "state.json" in name]
    script = place / "install.sh"
    assert "usage" in install(elsewhere, script, "-h")
    assert "not built yet" in install(elsewhere, script, "-p", "podman", status=1)

    # Links to it are there before it is.
    install(elsewhere, script, "-d", str(tmp_path / "links"))
    link = tmp_path / "links" / "west" / "link-incoming-127.0.0.1.yaml"
    assert str(port) in link.read_text()

    said = install(elsewhere, script, "-n", "one")
    assert 'Site "west" has been created on namespace "one"' in said
    assert "exists" in install(elsewhere, script, "-n", "one", status=1)
    east = home.site("east")
    east.run("system", "apply", "-f", str(link))
    s.until("the link is up", lambda: "OK" in east.run("link", "status"))
    assert "All is well" in east.run("link", "doctor")

    first = site_id(elsewhere, "one")
    assert "nothing to remove" in install(elsewhere, script, "-x", "-n", "two")
    assert "has been removed" in install(elsewhere, script, "-x", "-n", "one")
    assert not (elsewhere.home / "namespaces" / "one").exists()
    install(elsewhere, script, "-n", "one")
    assert site_id(elsewhere, "one") != first
    # Installed again it is of the same CA: the link comes back by itself.
    s.until("the link is up again", lambda: "OK" in east.run("link", "status"))


def test_a_bundle_that_is_a_script(home, elsewhere, tmp_path):
    script = prepare(home, tmp_path, free_port(), "--type", "shell-script")
    assert 'Site "west" has been created on namespace "default"' in install(elsewhere, script)
    assert "has been removed" in install(elsewhere, script, "-x")


def test_what_the_user_put_there_before_is_used(home, elsewhere, tmp_path):
    bundle = prepare(home, tmp_path, free_port())
    place = tmp_path / "unpacked"
    with tarfile.open(bundle) as archive:
        archive.extractall(place)
    ours = place / "namespace" / "runtime" / "issuers" / "skupper-site-ca"
    theirs = elsewhere.home / "namespaces" / "default" / "input" / "issuers" / "skupper-site-ca"
    other = prepare_ca(tmp_path)
    theirs.mkdir(parents=True)
    for name in ("ca.crt", "tls.crt", "tls.key"):
        (theirs / name).write_bytes((other / name).read_bytes())
    install(elsewhere, place / "install.sh")
    used = elsewhere.home / "namespaces" / "default" / "runtime" / "issuers" / "skupper-site-ca"
    assert (used / "tls.crt").read_text() == (theirs / "tls.crt").read_text()
    assert (used / "tls.crt").read_text() != (ours / "tls.crt").read_text()


def prepare_ca(tmp_path):
    import certificates
    folder = tmp_path / "ca"
    folder.mkdir()
    certificates.make_authority(folder, "tls")
    (folder / "ca.crt").write_bytes((folder / "tls.crt").read_bytes())
    return folder


def test_a_bundle_is_one_site(home, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "no resources" in home.run("system", "generate-bundle", "x", "--input",
                                      str(tmp_path / "empty"), status=1)
    assert "no resources" in home.run("system", "generate-bundle", "x", status=1)
    assert not list((home.home / "bundles").iterdir()), "nothing is left behind"


def test_tokens_are_redeemed_when_the_bundle_is_made(home, elsewhere, tmp_path):
    west = home.site("west", "--enable-link-access")
    token = tmp_path / "token.yaml"
    west.run("token", "issue", str(token))
    source = tmp_path / "source"
    source.mkdir()
    (source / "token.yaml").write_bytes(token.read_bytes())
    (source / "site.yaml").write_text(home.run("site", "generate", "east"))
    said = home.run("system", "generate-bundle", "east", "--input", str(source), "--type",
                    "shell-script")
    script = said.split("available at: ")[1].split("\n")[0]
    install(elsewhere, script, "-n", "east")
    s.until("the link is up",
            lambda: "OK" in elsewhere.run("-n", "east", "link", "status"))
