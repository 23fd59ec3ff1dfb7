# SPDX-License-Identifier: Apache-2.0
"""`make install` into a directory of its own: programs that run, a page and words for each command."""

import os
import pathlib
import re
import subprocess

import pytest
import sites as s
from harness import ROOT

BUILD = pathlib.Path(s.SKUPPER).resolve().parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    # What is built is installed as it is (-o all).
    subprocess.run(["make", "-o", "all", "install", "DESTDIR=%s" % root, "PREFIX=/usr",
                    "BUILD=%s" % BUILD], cwd=ROOT, check=True, capture_output=True)
    return root / "usr"


def commands():
    text = subprocess.run([s.SKUPPER, "-p", "linux", "--help"], capture_output=True, text=True,
                          check=True).stdout
    return [line[2:28].rstrip() for line in
            text.split("Commands")[1].split("Global flags")[0].split("\n")[1:] if line.strip()]


def test_the_programs_run(installed):
    assert subprocess.run([installed / "bin" / "skupper", "version"], capture_output=True,
                          text=True, check=True).stdout.strip()
    assert subprocess.run([installed / "sbin" / "skrouterd", "--version"], capture_output=True,
                          check=True)


def test_each_command_has_a_manual_page(installed):
    pages = installed / "share" / "man" / "man1"
    names = commands()
    assert len(names) > 30
    for name in names:
        text = (pages / ("skupper-%s.1" % name.replace(" ", "-"))).read_text()
        assert text.startswith(".TH SKUPPER-"), name
        for section in ("NAME", "SYNOPSIS", "OPTIONS", "EXIT STATUS"):
            assert "\n.SH %s\n" % section in text, (name, section)
    assert len(list(pages.iterdir())) == len(names) + 1
    first = (pages / "skupper.1").read_text()
    assert all("\\fB%s\\fR" % name.replace("-", "\\-") in first for name in names)


def test_the_page_of_the_router_tells_its_options(installed):
    page = (installed / "share" / "man" / "man8" / "skrouterd.8").read_text().replace("\\-", "-")
    help_text = subprocess.run([installed / "sbin" / "skrouterd", "--help"], capture_output=True,
                               text=True, check=True).stdout
    options = re.findall(r"^  (-\w), (--\w+)", help_text, re.M)
    assert len(options) >= 7
    for short, long in options:
        assert "\\fB%s\\fR, \\fB%s\\fR" % (short, long) in page, long


def test_bash_completes_commands_and_flags(installed):
    script = installed / "share" / "bash-completion" / "completions" / "skupper"

    def complete(*words):
        code = '. %s; COMP_WORDS=(%s); COMP_CWORD=%d; _skupper_words; printf "%%s\\n" "${COMPREPLY[@]}"' % (
            script, " ".join("'%s'" % w for w in words), len(words) - 1)
        return subprocess.run(["bash", "-c", code], capture_output=True, text=True,
                              check=True).stdout.split()

    assert {"site", "link", "token"} <= set(complete("skupper", ""))
    assert complete("skupper", "link", "doc") == ["doctor"]
    assert "--token" in complete("skupper", "link", "doctor", "--t")
    for name in ("zsh/site-functions/_skupper", "fish/vendor_completions.d/skupper.fish"):
        assert "doctor" in (installed / "share" / name).read_text()
