# SPDX-License-Identifier: Apache-2.0
"""`skupper debug dump`: what is in it, and what must never be."""

import json
import re
import tarfile

import pytest
import sites as s
import yaml


@pytest.fixture
def home(tmp_path):
    with_sites = s.Sites(tmp_path)
    yield with_sites
    with_sites.close()


def dump(site, name):
    said = site.run("debug", "dump", str(site.sites.home.parent / name))
    path = said.split("archive:  ")[1].strip()
    assert re.fullmatch(r".*/%s-%s-\d{14}\.tar\.gz" % (name, site.name), path), path
    with tarfile.open(path) as archive:
        return {m.name: archive.extractfile(m).read().decode() for m in archive.getmembers()}


def secrets_of(root):
    """Everything under a namespace that only its owner may know: lines of keys, codes."""
    found = set()
    for path in root.rglob("*"):
        if not path.is_file():
            continue
        text = path.read_text(errors="replace")
        found.update(re.findall(r"code\W+([A-Za-z0-9]{20,})", text))
        if path.name == "tls.key":
            found.update(line for line in text.split("\n") if len(line) > 40)
        found.update(re.findall(r"tls\.key: (\S{40,})", text))
    return found


def test_a_dump_tells_everything_but_secrets(home):
    west = home.site("west", "--enable-link-access")
    east = home.site("east")
    east.link_to(west)
    s.until("the link is up", lambda: "OK" in east.run("link", "status"))
    (east.root / "input" / "resources" / "broken.yaml").write_text("a: [\ncode: abcdefghijklmnopqrstuvwxyz\n")
    for site in west, east:
        files = dump(site, "d")
        secrets = secrets_of(site.root)
        assert len(secrets) > 5
        for name, text in files.items():
            assert "PRIVATE KEY-----" not in text, name
            for secret in secrets:
                assert secret not in text, name
        assert yaml.safe_load(files["versions/skupper.yaml"])["skupper"]
        assert json.loads(files["router/skrouterd.json"])
        assert "BEGIN CERTIFICATE" in files["runtime/certs/skupper-local-client/tls.crt"]
        assert "agent started" in files["logs/agent.log"]
        assert "is running" in files["logs/router.log"]
        assert yaml.safe_load(files["runtime/resources/Site-%s.yaml" % site.name])["status"]
        stats = {name.rpartition("-skstat-")[2]: json.loads(text) for name, text in files.items()
                 if name.startswith("skstat/")}
        for letter in "gclneamp":
            assert isinstance(stats[letter + ".json"], list), letter
        assert stats["g.json"][0]["id"].startswith(site.name)
        assert stats["c.json"]
    assert "left out" in files["input/resources/broken.yaml"]


def test_a_dump_of_a_site_that_does_not_run(home):
    site = home.site("west", start=False)
    files = dump(site, "d")
    assert "does not answer" in files["skstat/error.txt"]
    assert files["input/resources/Site-west.yaml"] == (
        site.root / "input" / "resources" / "Site-west.yaml").read_text()
