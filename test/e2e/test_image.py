# SPDX-License-Identifier: Apache-2.0
"""The container image: what is in it, that it is the same each time, and that it runs as a kubelet
would run it: not as root, without capabilities, its root read-only.
"""

import fcntl
import hashlib
import io
import json
import os
import pathlib
import subprocess
import tarfile
import time
import urllib.error
import urllib.request

import pytest

from harness import Lines, ROOT, SANITIZED, SKROUTERD, TIMEOUT, free_port

BUILD = pathlib.Path(SKROUTERD).resolve().parent
UID = 10000
SIZE_MAX = 20 * 2 ** 20
VOLUMES = ["etc/skupper-router-certs", "etc/skupper-router-proxies", "tmp"]
needs_root = pytest.mark.skipif(os.geteuid() != 0,
                                reason="mounts and another user need root, as a kubelet has it")


def make_image(path, *words):
    subprocess.run([ROOT / "script" / "image", BUILD, path, *words], check=True, timeout=600)
    return path


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """One for all processes that run tests of this file."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    path = folder / "skupper.tar"
    with open(folder / "skupper.tar.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return path if path.exists() else make_image(path)


class Image:
    def __init__(self, archive):
        self.tar = tarfile.open(archive)
        self.index = json.loads(self.read("index.json"))
        self.manifest = json.loads(self.blob(self.index["manifests"][0]))
        self.config = json.loads(self.blob(self.manifest["config"]))

    def read(self, name):
        return self.tar.extractfile(name).read()

    def blob(self, descriptor):
        """What a descriptor names, checked as whoever pulls it would."""
        data = self.read("blobs/sha256/" + descriptor["digest"][7:])
        assert "sha256:" + hashlib.sha256(data).hexdigest() == descriptor["digest"]
        assert len(data) == descriptor["size"]
        return data

    def layers(self):
        for layer in self.manifest["layers"]:
            with tarfile.open(fileobj=io.BytesIO(self.blob(layer))) as tar:
                yield tar

    def unpack(self, folder):
        for tar in self.layers():
            tar.extractall(folder, numeric_owner=True)
        return folder


@pytest.fixture(scope="module")
def image(archive):
    return Image(archive)


@pytest.fixture(scope="module")
def root(image, tmp_path_factory):
    folder = tmp_path_factory.mktemp("root")
    folder.chmod(0o755)
    for parent in folder.parents:  # another user must come in
        if parent.owner() == folder.owner() and str(parent).startswith("/tmp/"):
            parent.chmod(parent.stat().st_mode | 0o011)
    return image.unpack(folder)


def test_the_archive_is_whole_and_small(archive, image):
    assert json.loads(image.read("oci-layout")) == {"imageLayoutVersion": "1.0.0"}
    loaded = json.loads(image.read("manifest.json"))[0]
    assert [image.read(name) for name in loaded["Layers"]] == [
        image.blob(layer) for layer in image.manifest["layers"]]
    assert json.loads(image.read(loaded["Config"])) == image.config
    assert image.config["config"]["User"] == str(UID)
    assert len(image.config["rootfs"]["diff_ids"]) == len(image.manifest["layers"])
    size = archive.stat().st_size
    print("image: %.1f MiB" % (size / 2 ** 20))
    assert SANITIZED or size <= SIZE_MAX


def test_the_same_programs_make_the_same_image(archive, tmp_path):
    again = make_image(tmp_path / "again.tar")
    assert again.read_bytes() == archive.read_bytes()
    named = Image(make_image(tmp_path / "named.tar", "--name", "registry.example:5000/net/skupper"))
    annotations = named.index["manifests"][0]["annotations"]
    name, tag = annotations["io.containerd.image.name"].rsplit(":", 1)
    assert name == "registry.example:5000/net/skupper"
    assert tag == annotations["org.opencontainers.image.ref.name"]
    assert named.index["manifests"][0]["digest"] == Image(archive).index["manifests"][0]["digest"]


def test_only_volumes_can_be_written_to(image):
    seen = set()
    for tar in image.layers():
        for entry in tar.getmembers():
            seen.add(entry.name)
            assert entry.mtime == 0
            if entry.name in VOLUMES:
                assert entry.uid == UID
                continue
            assert (entry.uid, entry.gid) == (0, 0), entry.name
            assert entry.issym() or entry.mode & 0o7022 == 0, entry.name
            assert entry.issym() or entry.mode & 0o444 == 0o444, entry.name
    assert set(VOLUMES) <= seen
    assert {"etc/ssl/certs/ca-certificates.crt", "etc/passwd", "usr/sbin/skrouterd",
            "usr/bin/skupper", "app/skupper", "app/kube-adaptor", "app/controller",
            "home/skrouterd/bin/launch.sh"} <= seen


class Container:
    """A process in the unpacked image, as a container without capabilities. Its volume for
    certificates holds `config`."""

    SCRIPT = """
set -e
mount --bind "$ROOT" "$ROOT"
mount -t tmpfs -o mode=0700,uid=%(uid)d tmpfs "$ROOT/etc/skupper-router-certs"
mount --rbind /proc "$ROOT/proc"
mount -o remount,bind,ro "$ROOT"
if [ -n "$CONFIG" ]; then cat > "$ROOT/etc/skupper-router-certs/skrouterd.json" < "$CONFIG"; fi
exec setpriv --no-new-privs --bounding-set -all,+setuid,+setgid,+sys_chroot \
    env -i PATH=/usr/sbin:/usr/bin "$@"
""" % {"uid": UID}

    def __init__(self, root, command, config=None, **environment):
        words = ["%s=%s" % one for one in environment.items()]
        self.process = subprocess.Popen(
            ["unshare", "--mount", "--uts", "sh", "-c", self.SCRIPT, "sh", *words, "/usr/sbin/chroot",
             "--userspec=%d:%d" % (UID, UID), "--groups=", str(root), *command],
            env={"PATH": os.environ["PATH"], "ROOT": str(root), "CONFIG": str(config or "")},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.log = Lines(self.process.stdout)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def status(self):
        lines = pathlib.Path("/proc/%d/status" % self.process.pid).read_text().splitlines()
        return dict(line.split(":\t", 1) for line in lines)

    def exit_status(self):
        return self.process.wait(TIMEOUT)


def entities(amqp, http):
    return [["router", {"id": "west-${HOSTNAME}", "mode": "interior",
                        "metadata": json.dumps({"id": "1b9f", "version": "2.2.1"})}],
            ["listener", {"name": "@9090", "role": "normal", "port": http, "http": True,
                          "httpRootDir": "disabled", "healthz": True, "metrics": True}],
            ["listener", {"name": "amqp", "host": "localhost", "port": amqp}],
            ["address", {"prefix": "mc", "distribution": "multicast"}]]


def wait_healthy(port, container):
    end = time.monotonic() + TIMEOUT
    while True:
        try:
            with urllib.request.urlopen("http://127.0.0.1:%d/healthz" % port, timeout=5) as answer:
                return answer.status
        except (urllib.error.URLError, ConnectionError):
            assert time.monotonic() < end and container.process.poll() is None, container.log.lines


@needs_root
def test_a_controllers_router_container_is_ready_at_once(root, image, tmp_path):
    amqp, http = free_port(), free_port()
    config = tmp_path / "skrouterd.json"
    config.write_text(json.dumps(entities(amqp, http)))
    start = time.monotonic()
    with Container(root, image.config["config"]["Cmd"], config, HOSTNAME="skupper-router-7d-x2",
                   QDROUTERD_CONF="/etc/skupper-router-certs/skrouterd.json",
                   QDROUTERD_CONF_TYPE="json", SKUPPER_SITE_ID="1b9f") as c:
        assert wait_healthy(http, c) == 200
        print("ready %.0f ms after the container's start" % (1000 * (time.monotonic() - start)))
        status = c.status()
        assert status["Uid"].split() == [str(UID)] * 4
        assert status["Groups"].split() == []
        assert [int(status[k], 16) for k in ("CapEff", "CapPrm", "CapAmb")] == [0, 0, 0]
        assert status["NoNewPrivs"] == "1"
        c.log.wait("west-skupper-router-7d-x2")
        c.process.terminate()
        assert c.exit_status() == 0


@needs_root
@pytest.mark.parametrize("command", ["/home/skrouterd/bin/launch.sh", "/usr/sbin/skrouterd"])
def test_a_proxy_pod_has_its_configuration_inline(root, command):
    """As a version 1 site gives it to the pods of a StatefulSet."""
    amqp, http = free_port(), free_port()
    inline = json.dumps(entities(amqp, http), indent=4).replace("${HOSTNAME}", "${POD_ID}")
    with Container(root, [command], HOSTNAME="db-proxy-3", QDROUTERD_CONF=inline,
                   QDROUTERD_CONF_TYPE="json", SKUPPER_SITE_ID="1b9f",
                   POD_NAMESPACE="west") as c:
        assert wait_healthy(http, c) == 200
        c.log.wait("west-3")


@needs_root
def test_a_router_without_its_configuration_says_so(root):
    with Container(root, ["/usr/sbin/skrouterd"], QDROUTERD_CONF="/etc/nowhere.json") as c:
        assert c.exit_status() == 1
        assert "QDROUTERD_CONF: /etc/nowhere.json: No such file" in "\n".join(c.log.lines)
    for command in ("/usr/sbin/skrouterd", "/app/start"):
        with Container(root, [command]) as c:
            assert c.exit_status() == 2
            c.log.wait("QDROUTERD_CONF")


KUBECONFIG = """apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1', insecure-skip-tls-verify: true}}]
users: [{name: u, user: {token: t}}]
contexts: [{name: x, context: {cluster: c, user: u, namespace: west}}]
current-context: x
"""


@needs_root
def test_a_controllers_agent_containers_are_the_agent(root, image, tmp_path):
    """By the command that init containers have, and by the image's default. What they say shows that
    they have come as far as to the API server, with all the libraries that takes."""
    config = tmp_path / "kubeconfig"
    config.write_text(KUBECONFIG)
    amqp, health = free_port(), free_port()
    for command, environment in ((["/app/kube-adaptor", "-init"], {"SKUPPER_INIT_SECONDS": "2"}),
                                 (image.config["config"]["Cmd"],
                                  {"SKUPPER_ROUTER_CONFIG": "skupper-router",
                                   "SKUPPER_AMQP_PORT": amqp, "SKUPPER_HEALTH_PORT": health,
                                   "SKUPPER_METRICS_DISABLE": "true"})):
        with Container(root, command, config, **environment,
                       KUBECONFIG="/etc/skupper-router-certs/skrouterd.json") as c:
            c.log.wait("127.0.0.1:1")
    with Container(root, ["/app/kube-adaptor", "-version"]) as c:
        assert c.exit_status() == 0
        c.log.wait(image.config["config"]["Labels"]["org.opencontainers.image.version"])


@needs_root
def test_a_controllers_container_is_the_controller(root):
    with Container(root, ["/app/controller", "-enable-grants", "-kubeconfig", "/nowhere"]) as c:
        assert c.exit_status() == 1
        c.log.wait("/nowhere: No such file")


@needs_root
def test_the_command_line_program_runs_and_every_library_is_there(root):
    with Container(root, ["/app/skupper", "version"], SKUPPER_PLATFORM="linux",
                   HOME="/etc/skupper-router-certs") as c:
        assert c.exit_status() == 0, c.log.lines
    loader = next(pathlib.Path("/", p.relative_to(root)) for p in root.glob("lib64/ld-*.so*"))
    curl = next(pathlib.Path("/", p.relative_to(root)) for p in root.glob("**/libcurl.so.4"))
    with Container(root, [str(loader), "--list", str(curl)]) as c:
        assert c.exit_status() == 0, c.log.lines
        c.log.wait("libssl.so.3 =>")
        assert c.log.find("not found") is None
