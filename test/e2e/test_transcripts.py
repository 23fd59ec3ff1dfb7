# SPDX-License-Identifier: Apache-2.0
"""What people see of the command line: help, tables and exit codes are those that were recorded.

RECORD=1 records them anew: read the difference before you keep it."""

import pathlib
import re

import pytest
import sites as s
import transcript

FOLDER = pathlib.Path(__file__).parent / "transcripts"
@pytest.fixture
def home(tmp_path):
    with_sites = s.Sites(tmp_path)
    with_sites.environment.pop("USER", None)
    yield with_sites
    with_sites.close()


def run(home, command):
    return transcript.run(s.SKUPPER, command, home.environment, home.home.parent,
                          [(str(home.home), "HOME")])


def compare(name, got):
    transcript.compare(FOLDER, name, got)


def commands(home, platform):
    text = run(home, "skupper -p %s --help" % platform)
    return re.findall(r"^  ([a-z][a-z -]*?)  ", text.split("Commands")[1].split("Global")[0], re.M)


@pytest.mark.parametrize("platform", ["linux", "kubernetes"])
def test_the_help_of_everything(home, platform):
    got = run(home, "skupper -p %s --help" % platform)
    names = commands(home, platform)
    for group in sorted({name.split()[0] for name in names if " " in name}):
        got += run(home, "skupper -p %s %s --help" % (platform, group))
    for name in names:
        got += run(home, "skupper -p %s %s --help" % (platform, name))
    compare("help-" + platform, got)


def test_what_is_not_valid(home):
    compare("invalid", "".join(run(home, command) for command in (
        "skupper nonsense",
        "skupper site nonsense",
        "skupper -p mars site status",
        "skupper site create",
        "skupper site create west east",
        "skupper site create West",
        "skupper site create west --nonsense",
        "skupper site create west --enable-ha",
        "skupper site create west --bind-host a/b --subject-alternative-names west,,b_c",
        "skupper site create west --service-account router",
        "skupper site create west -n Not_a_namespace",
        "skupper site update west",
        "skupper site delete west",
        "skupper site delete",
        "skupper token issue token.yaml",
        "skupper token redeem no-such-file.yaml",
        "skupper link delete x",
        "skupper link update x --cost 0",
        "skupper link doctor x",
        "skupper link doctor --token no-such-file.yaml",
        "skupper link generate",
        "skupper listener create db 70000 --host not/a/host",
        "skupper listener update db --port 1",
        "skupper connector delete db",
        "skupper connector create db 5432 --selector app=db",
        "skupper system start",
        "skupper system stop",
        "skupper system apply",
        "skupper system apply -f x.txt",
        "skupper system generate-bundle West",
        "skupper system generate-bundle west",
        "skupper system setup -b bundle",
        "skupper network status -o xml",
        "skupper listener create db --type udp",
        "skupper listener generate db 5432 --type udp -o xml",
        "skupper completion tcsh",
        "skupper man nonsense",
        "skupper -p kubernetes system start",
        "skupper -p kubernetes agent",
        "skupper -p podman system start",
        "skupper -p docker token issue x",
    )))


def test_a_site_from_beginning_to_end(home):
    host = home.host()
    first = "".join(run(home, command) for command in (
        "skupper site status",
        "skupper site create west --enable-link-access --service-host %s" % host,
        "skupper site create east",
        "skupper site status",
        "skupper system start",
        "skupper system start",
        "skupper listener create db 7654 --host %s" % host,
        "skupper listener create db 7654",
        "skupper connector create web 8123 --host localhost",
        "skupper link status",
        "skupper service status",
        "skupper token issue token.yaml",
    ))
    # What the agent has to say about them, once it has said it.
    site = s.Site(home, "default", host)
    s.until("the port is open",
            lambda: (site.condition("Listener", "db", "Configured") or [""])[0] == "True")
    s.until("the site is ready", lambda: site.resource("Site", "west")["status"]["status"] == "Ready")
    compare("site", first.replace(host, "ADDRESS") + "".join(run(home, command) for command in (
        "skupper site status",
        "skupper listener status",
        "skupper listener status db",
        "skupper listener delete db",
        "skupper connector delete web",
        "skupper site generate west --enable-link-access",
        "skupper site generate west --enable-link-access --bind-host 192.0.2.7"
        " --subject-alternative-names west.example.org,192.0.2.7",
        "skupper listener generate db 5432 -o json",
        "skupper connector generate db 5432",
        "skupper -p kubernetes connector generate db 5432 -n shop",
        "skupper -p kubernetes site generate west --enable-link-access --link-access-type route"
        " --service-account router",
        "skupper manifest",
        "skupper system reload",
        "skupper system teardown",
        "skupper system uninstall",
    )))
