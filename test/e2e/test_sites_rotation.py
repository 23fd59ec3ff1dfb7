# SPDX-License-Identifier: Apache-2.0
"""The CA of a site is renewed, or becomes another, while its links are in use."""

import json
import shutil
import socket
import ssl
import subprocess
import threading
import time

import pytest
import sites as s
from certificates import make_authority, openssl
from harness import free_port
from test_sites import Echo, expose, home, is_linked, link_name, pair  # noqa: F401 (fixtures)
from test_sites_trouble import await_message, made, relink, site_ca


class Load:
    """Connections that are used all the time; `rounds` tells how often all of them were."""

    def __init__(self, host, port, count=4):
        self.sockets = [socket.create_connection((host, port), timeout=30) for _ in range(count)]
        self.rounds, self.is_over, self.failure = 0, False, None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        files = [one.makefile("rw") for one in self.sockets]
        try:
            while not self.is_over:
                for number, file in enumerate(files):
                    file.write("%d %d\n" % (number, self.rounds))
                    file.flush()
                for number, file in enumerate(files):
                    assert file.readline() == "east %d %d\n" % (number, self.rounds)
                self.rounds += 1
        except (AssertionError, OSError) as problem:
            self.failure = problem

    def goes_on(self):
        """Some rounds that began after this was called."""
        until = self.rounds + 3
        s.until("it goes on", lambda: self.failure or self.rounds >= until)
        assert self.failure is None

    def close(self):
        self.is_over = True
        self.thread.join()
        for one in self.sockets:
            one.close()
        assert self.failure is None


@pytest.fixture
def load(pair):  # noqa: F811
    west, east = pair
    server, port = Echo("east"), free_port()
    expose(east, server, "db", port)
    s.until("db answers", lambda: s.talk(west.host, port, "x") == "east x")
    load = Load(west.host, port)
    yield load
    load.close()
    server.close()


def openssl_says(*words):
    return subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True,
                          text=True).stdout.strip()


def age(ca, work):
    """The CA in that directory has its key and name still, and most of its life is over."""
    work.mkdir()
    (work / "index").write_text("")
    (work / "ca.cnf").write_text(
        "[ca]\ndefault_ca=c\n[c]\ndatabase=%s\nrand_serial=yes\nnew_certs_dir=%s\n"
        "default_md=sha256\npolicy=p\nx509_extensions=x\n[p]\ncommonName=supplied\n[x]\n"
        "basicConstraints=critical,CA:true\nkeyUsage=digitalSignature,keyEncipherment,keyCertSign\n"
        "extendedKeyUsage=serverAuth,clientAuth\nsubjectKeyIdentifier=hash\n"
        % (work / "index", work))
    subject = openssl_says("x509", "-noout", "-subject", "-nameopt", "compat", "-in",
                           ca / "tls.crt").replace("subject=", "")

    def at(seconds):
        return time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + seconds))

    openssl("req", "-new", "-key", ca / "tls.key", "-out", work / "csr", "-subj", subject)
    openssl("ca", "-batch", "-notext", "-config", work / "ca.cnf", "-selfsign", "-keyfile",
            ca / "tls.key", "-in", work / "csr", "-out", work / "tls.crt", "-startdate",
            at(-9 * 3600), "-enddate", at(3600))
    for name in ("ca.crt", "tls.crt"):
        shutil.copy(work / "tls.crt", ca / (name + ".new"))
        (ca / (name + ".new")).rename(ca / name)


def ordinal(site, name):
    state = json.loads((site.root / "internal" / "state.json").read_text())
    return state["certificates"][name]["ordinal"]


def served(site):
    """What the other end of the site's link shows to who comes now."""
    endpoint = next(e for e in site.resource("Link", link_name(site))["spec"]["endpoints"]
                    if e["name"] == "inter-router")
    return ssl.get_server_certificate((endpoint["host"], int(endpoint["port"])))


def comes_from(certificate, ca, work):
    work.write_text(certificate)
    return subprocess.run(["openssl", "verify", "-CAfile", ca, work],
                          capture_output=True).returncode == 0


def lives_long(certificate):
    return subprocess.run(["openssl", "x509", "-noout", "-checkend", str(365 * 86400), "-in",
                           certificate], capture_output=True).returncode == 0


def test_a_ca_is_renewed_under_load_and_links_come_back_with_the_new_chain(pair, load, home,  # noqa: F811
                                                                           tmp_path):
    west, east = pair
    routers, was = [site.pid("router") for site in pair], ordinal(west, "west")
    age(site_ca(west), tmp_path / "aged")
    old = (site_ca(west) / "tls.crt").read_text()
    load.goes_on()
    west.run("system", "reload")
    s.until("it is renewed", lambda: lives_long(site_ca(west) / "tls.crt"))
    s.until("what it signed follows", lambda: ordinal(west, "west") > was
            and lives_long(made(west)))
    assert (made(west).parent / "ca.crt").read_text() == (site_ca(west) / "tls.crt").read_text()
    s.until("it is served", lambda: served(east) == made(west).read_text())
    load.goes_on()
    assert is_linked(east) and "link lost" not in east.log("router")
    assert [site.pid("router") for site in pair] == routers
    # Who links anew is shown the new chain: those with the old CA take it, and so do new ones.
    (tmp_path / "old.crt").write_text(old)
    for ca in (tmp_path / "old.crt", site_ca(west) / "tls.crt"):
        assert comes_from(served(east), ca, tmp_path / "served.crt")
    third = home.site("third")
    third.link_to(west)
    s.until("a new site is linked", lambda: is_linked(third))
    load.close()
    relink(east)
    s.until("the link is made anew", lambda: east.pid("router") != routers[1] and is_linked(east))


def test_another_ca_ends_no_connection_and_a_new_token_brings_links_back(pair, load, tmp_path):  # noqa: F811
    west, east = pair
    routers, was = [site.pid("router") for site in pair], ordinal(west, "west")
    make_authority(tmp_path, "skupper-site-ca")
    mine = tmp_path / "mine"
    mine.mkdir()
    for end in ("crt", "key"):
        shutil.copy(tmp_path / ("skupper-site-ca." + end), mine / ("tls." + end))
    mine.rename(west.root / "input" / "issuers" / "skupper-site-ca")
    s.until("its certificates are made anew", lambda: ordinal(west, "west") > was)
    s.until("they are served", lambda: served(east) == made(west).read_text())
    assert comes_from(served(east), tmp_path / "skupper-site-ca.crt", tmp_path / "served.crt")
    load.goes_on()
    assert is_linked(east) and "link lost" not in east.log("router")
    assert [site.pid("router") for site in pair] == routers
    load.close()
    relink(east)
    await_message(east, "CA")  # the old chain is not trusted any more, nor is the new one by it
    east.run("link", "delete", link_name(east))
    east.link_to(west)
    s.until("the link is up with the new chain", lambda: is_linked(east))
