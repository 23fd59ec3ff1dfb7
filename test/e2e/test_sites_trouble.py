# SPDX-License-Identifier: Apache-2.0
"""What goes wrong with a site from outside: other sites' names and clocks, certificates, the disk."""

import json
import os
import pwd
import shutil
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
import time

import pytest
import sites as s
from certificates import make_authority, openssl
from harness import free_port
from test_sites import Echo, expose, home, is_linked, link_name, pair  # noqa: F401 (fixtures)


def supplied(site, name):
    return site.root / "input" / "certs" / name


def supply(site, folder, name="west"):
    """Files of the user's, put beside and moved in: never seen half."""
    to = supplied(site, name)
    beside = to.parent / (name + ".new")
    shutil.copytree(folder, beside)
    if to.exists():
        shutil.rmtree(to)
    beside.rename(to)


def names_of(certificate):
    """Whom it is for, as openssl takes it."""
    said = subprocess.run(["openssl", "x509", "-noout", "-ext", "subjectAltName", "-in",
                           certificate], check=True, capture_output=True, text=True).stdout
    return said.splitlines()[1].strip().replace("IP Address:", "IP:")


def signed(folder, ca, like, begins=-60, ends=7200):
    """Files of a certificate of a CA (its directory), for the same hosts as another, from and to so
    many seconds from now."""
    def at(seconds):
        return time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + seconds))

    work = folder.parent / (folder.name + ".work")
    folder.mkdir()
    work.mkdir()
    (work / "ca.cnf").write_text(
        "[ca]\ndefault_ca=c\n[c]\ndatabase=%s\nserial=%s\nnew_certs_dir=%s\ndefault_md=sha256\n"
        "policy=p\nunique_subject=no\nx509_extensions=x\n[p]\ncommonName=supplied\n[x]\n"
        "extendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=%s\n"
        % (work / "index", work / "serial", work, names_of(like)))
    (work / "index").write_text("")
    (work / "serial").write_text("01\n")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
            folder / "tls.key", "-out", work / "csr", "-subj", "/CN=supplied")
    openssl("ca", "-batch", "-notext", "-config", work / "ca.cnf", "-cert", ca / "tls.crt",
            "-keyfile", ca / "tls.key", "-in", work / "csr", "-out", folder / "tls.crt",
            "-startdate", at(begins), "-enddate", at(ends))
    shutil.copy(ca / "tls.crt", folder / "ca.crt")
    return folder


def site_ca(site):
    return site.root / "runtime" / "issuers" / "skupper-site-ca"


def made(site, name="west"):
    """The certificate of the listener for links, as the router has it."""
    return site.root / "runtime" / "certs" / name / "tls.crt"


def link_message(site):
    return site.condition("Link", link_name(site), "Operational")[1]


def await_message(site, words):
    try:
        s.until("the link says so", lambda: words in link_message(site))
    except AssertionError:
        raise AssertionError("the link says: " + link_message(site)) from None


def await_served(site, folder):
    """The router at the other end of the site's link shows that certificate to who comes now."""
    endpoint = next(e for e in site.resource("Link", link_name(site))["spec"]["endpoints"]
                    if e["name"] == "inter-router")
    wanted = (folder / "tls.crt").read_text()

    def is_served():
        return ssl.get_server_certificate((endpoint["host"], int(endpoint["port"]))) == wanted

    s.until("it is served", is_served)


def relink(site):
    """The link is made anew: new connections, new handshakes."""
    site.kill("router")


def test_two_sites_of_one_name_both_work_and_say_so(home):
    west = home.site("west", "--enable-link-access")
    other = s.Site(home, "other", home.host())
    other.run("site", "create", "west", "--service-host", other.host)
    other.run("system", "start")
    other.link_to(west)
    for site in (west, other):
        s.until("it is told", lambda: "has the name \"west\" too" in site.run("site", "status"))
        assert "give one of them another" in site.log("agent")
    server, port = Echo("other"), free_port()
    expose(other, server, "db", port)
    s.until("db answers", lambda: s.talk(west.host, port, "x") == "other x")
    server.close()


def test_an_agent_that_cannot_live_is_told_at_once_and_why(home):
    """One that may watch no files: this user, or the system, has no inotify instance left."""
    home.site("west", start=False)
    limited = "echo 0 > /proc/sys/user/max_inotify_instances && exec \"$@\""
    done = subprocess.run(["unshare", "--user", "--map-root-user", "sh", "-c", limited, "sh",
                           s.SKUPPER, "-n", "west", "system", "start"], capture_output=True,
                          text=True, env=home.environment, timeout=60)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Site \"west\" is not running, its agent ended: cannot watch the input" in done.stdout
    assert "sysctl fs.inotify.max_user_instances" in done.stdout


def test_commands_that_start_a_site_at_once_all_see_it_run(home):
    """One of them starts it, the others find it running or about to."""
    home.site("west", start=False)
    started = [subprocess.Popen([s.SKUPPER, "system", "reload", "-n", "west"], env=home.environment,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
               for _ in range(6)]
    for one in started:
        out, err = one.communicate(timeout=60)
        assert one.returncode == 0, out + err


@pytest.mark.parametrize("begins, ends, words", [
    (3600, 7200, "not yet valid"), (-7200, -3600, "expired")])
def test_a_clock_an_hour_off_is_named_as_the_reason(pair, tmp_path, begins, ends, words):
    west, east = pair
    supply(west, signed(tmp_path / "shifted", site_ca(west), made(west), begins, ends))
    await_served(east, tmp_path / "shifted")
    relink(east)
    await_message(east, words)
    assert "clock" in link_message(east)
    shutil.rmtree(supplied(west, "west"))
    west.run("system", "reload")
    s.until("the link is up again", lambda: is_linked(east))


def test_a_peer_with_a_foreign_ca_is_refused_and_the_reason_is_told(pair, tmp_path):
    west, east = pair
    make_authority(tmp_path, "tls")
    supply(west, signed(tmp_path / "stranger", tmp_path, made(west)))
    await_served(east, tmp_path / "stranger")
    relink(east)
    await_message(east, "CA")
    shutil.rmtree(supplied(west, "west"))
    west.run("system", "reload")
    s.until("the link is up again", lambda: is_linked(east))


def test_an_unreadable_key_is_told_and_the_old_certificate_goes_on(pair, tmp_path):
    west, east = pair
    to = supplied(west, "west")
    signed(tmp_path / "mine", site_ca(west), made(west))
    (tmp_path / "mine" / "tls.key").unlink()
    (tmp_path / "mine" / "tls.key").mkdir()  # what stands there not even root can read
    supply(west, tmp_path / "mine")
    s.until("it is told", lambda: "cannot read %s/tls.key" % to in west.log("agent"))
    told = west.root / "runtime" / "resources" / "Certificate-west.yaml"
    s.until("its status says so", lambda: "cannot read" in told.read_text())
    relink(east)
    s.until("the link is up again", lambda: is_linked(east))


def test_a_part_of_a_set_is_told_with_what_is_missing_and_stops_nothing(pair, tmp_path):
    west, east = pair
    signed(tmp_path / "mine", site_ca(west), made(west))
    (tmp_path / "mine" / "tls.key").rename(tmp_path / "kept")
    supply(west, tmp_path / "mine")
    told = west.root / "runtime" / "resources" / "RouterAccess-west.yaml"
    s.until("its status says so", lambda: "ca.crt, tls.crt and not tls.key" in told.read_text())
    assert "not tls.key" in west.log("agent")
    relink(east)
    s.until("the link is up again", lambda: is_linked(east))
    shutil.copy(tmp_path / "kept", supplied(west, "west") / "tls.key")
    s.until("all is well", lambda: "tls.key" not in told.read_text())
    await_served(east, tmp_path / "mine")


def test_unknown_fields_are_warned_about_and_kept(home):
    site = home.site("lone")
    port = free_port()
    said = site.apply("apiVersion: skupper.io/v2alpha1\nkind: Listener\nmetadata:\n  name: db\n"
                      "spec:\n  routingKey: db\n  host: %s\n  port: %d\n  colour: red\n"
                      % (site.host, port))
    assert "added" in said
    s.until("it works", lambda: site.condition("Listener", "db", "Configured") == ("True", "OK"))
    assert site.resource("Listener", "db")["spec"]["colour"] == "red"
    assert "colour" in site.log("agent")
    site.run("listener", "update", "db", "--port", str(free_port()))
    text = (site.root / "input" / "resources" / "Listener-db.yaml").read_text()
    assert "colour: red" in text


def test_certificates_are_replaced_under_load_without_losing_a_connection(pair, tmp_path):
    west, east = pair
    server, port = Echo("east"), free_port()
    expose(east, server, "db", port)
    s.until("db answers", lambda: s.talk(west.host, port, "x") == "east x")
    routers = [site.pid("router") for site in pair]
    directories = list((west.root / "runtime" / "certs").iterdir())
    ordinals = json.loads((west.root / "internal" / "state.json").read_text())["certificates"]
    with socket.create_connection((west.host, port), timeout=20) as held:
        lines = held.makefile("rw")

        def say(word):
            lines.write(word + "\n")
            lines.flush()
            assert lines.readline() == "east %s\n" % word

        def ordinal(name):
            state = json.loads((west.root / "internal" / "state.json").read_text())
            return state["certificates"][name]["ordinal"]

        say("before")
        for directory in directories:
            shutil.rmtree(directory)
        west.run("system", "reload")
        for directory in directories:
            s.until("%s is there again" % directory.name, lambda: (
                directory / "tls.crt").exists() and ordinal(directory.name) >
                ordinals[directory.name]["ordinal"])
            say(directory.name)
        # And files of the user's, of the site's own CA, seen without being told.
        was = ordinal("west")
        mine = signed(tmp_path / "mine", site_ca(west), made(west))
        supply(west, mine)
        s.until("it is taken", lambda: ordinal("west") > was)
        say("mine")
        assert is_linked(east)
        assert "link lost" not in east.log("router")
        say("after")
    assert [site.pid("router") for site in pair] == routers
    # New connections use the new ones.
    relink(east)
    s.until("a new link is made", lambda: east.pid("router") != routers[1] and is_linked(east))
    s.until("db answers", lambda: s.talk(west.host, port, "x") == "east x")
    server.close()


@pytest.fixture
def small_disk(tmp_path):
    """A home on a disk of its own that is soon full."""
    place = tmp_path / "small"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", place],
                          capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip("no file system can be mounted here: " + done.stderr.strip())
    with_sites = s.Sites(place)
    yield with_sites
    with_sites.close()
    subprocess.run(["umount", "-l", place], check=False)


def test_a_full_disk_stops_nothing_is_told_and_ends_with_room(small_disk):
    site = small_disk.site("lone")
    server, port = Echo("here"), free_port()
    site.run("connector", "create", "db", str(server.port), "--host", "127.0.0.1")
    site.run("listener", "create", "db", str(port), "--host", site.host)
    s.until("it answers", lambda: s.talk(site.host, port, "x") == "here x")
    agent, router = site.pid("agent"), site.pid("router")
    hog = small_disk.home / "hog"
    with open(hog, "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            pass
    with pytest.raises(s.Failed) as refused:
        site.run("listener", "create", "second", str(free_port()), "--host", site.host)
    assert "No space left on device; make room" in str(refused.value)
    assert not list(site.root.rglob("*second*"))
    # The router that runs is changed, and what cannot be written is written when there is room.
    listener = site.root / "input" / "resources" / "Listener-db.yaml"
    with open(listener):  # so that its removal makes none
        listener.unlink()
        s.until("it is gone", lambda: not s.connects(site.host, port))
    config = site.root / "runtime" / "router" / "skrouterd.json"
    assert '"listener/db"' in config.read_text()
    hog.unlink()
    s.until("it is written", lambda: '"listener/db"' not in config.read_text())
    site.run("listener", "create", "db", str(port), "--host", site.host)
    s.until("it answers again", lambda: s.talk(site.host, port, "x") == "here x")
    s.until("it is well", lambda: site.condition("Listener", "db", "Configured") == ("True", "OK"))
    assert (site.pid("agent"), site.pid("router")) == (agent, router)
    server.close()


def shared_state(site, address):
    path = site.root / "runtime" / "shared" / "services.json"
    if not path.exists():
        return None
    return next(((one["state"], one["message"]) for one in json.loads(path.read_text())
                 if one["address"] == address), None)


def test_two_sites_of_one_machine_never_send_connections_in_a_circle(home):
    """Both have their services at one address, and the server of one is where the other would
    listen for it. It is not there yet: the port is free, and stays so."""
    west = home.site("west", "--enable-link-access")
    east = s.Site(home, "east", west.host)
    east.run("site", "create", "east", "--service-host", west.host)
    east.run("system", "start")
    east.link_to(west)
    port, other = free_port(), free_port()
    east.run("expose", "host", "%s:%d" % (west.host, port), "--address", "db", "--port", str(port))
    east.run("expose", "host", "%s:%d" % (west.host, port), "--address", "far", "--port",
             str(other))
    s.until("the other has its place", lambda: (shared_state(west, "far") or ("",))[0] == "shared")
    state, words = s.until("it is told", lambda: shared_state(west, "db"))
    assert state == "conflict" and "namespace east" in words, words
    assert not s.connects(west.host, port)
    server = socketserver.ThreadingTCPServer((west.host, port), Line)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    assert s.talk(west.host, port, "x") == "x"
    s.until("it is there by its other name", lambda: s.talk(west.host, other, "x") == "x")
    # When the Connector goes, the place is free for others.
    server.shutdown()
    server.server_close()
    east.run("unexpose", "host", "%s:%d" % (west.host, port), "--address", "db")
    s.until("nothing is left of it", lambda: shared_state(west, "db") is None)


HOLD = """
import socket, sys
s = socket.create_server((sys.argv[1], int(sys.argv[2])))
print("here", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_a_port_of_another_user_is_a_conflict_that_says_whose(home):
    """As a site of that user would have it, which this one knows nothing of."""
    west = home.site("west", "--enable-link-access")
    east = home.site("east")
    east.link_to(west)
    port, target, other = free_port(), free_port(), free_port()
    nobody = pwd.getpwnam("nobody")
    holder = subprocess.Popen([sys.executable, "-c", HOLD, west.host, str(port)], text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/",
                              user=nobody.pw_uid, group=nobody.pw_gid)
    server = socketserver.ThreadingTCPServer(("127.0.0.1", target), Line)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        assert holder.stdout.readline() == "here\n"
        east.run("expose", "host", "127.0.0.1:%d" % target, "--address", "db", "--port", str(port))
        said = "cannot listen on %s port %d: Address already in use by a program of user nobody" % (
            west.host, port)
        s.until("it is told", lambda: said in (shared_state(west, "db") or ("", ""))[1])
        state, words = shared_state(west, "db")
        assert state == "conflict" and "skupper.io/service-host" in words
        # What it says helps: another port, by a Listener with that routing key ...
        west.run("listener", "create", "mine", str(other), "--host", west.host, "--routing-key",
                 "db")
        s.until("the Listener carries", lambda: s.talk(west.host, other, "x") == "x")
        west.run("listener", "delete", "mine")
    finally:
        holder.communicate("")
    # ... or that the other goes.
    s.until("the port is there", lambda: s.talk(west.host, port, "x") == "x")
    server.shutdown()
    server.server_close()


class Line(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line)
