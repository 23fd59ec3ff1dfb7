# SPDX-License-Identifier: Apache-2.0
"""Starts the stand-in API server, with certificates of its own, and gives a kubeconfig for it."""

import base64
import http.client
import json
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent


def _openssl(*words):
    subprocess.run(["openssl", *words], check=True, capture_output=True)


def make_certificates(folder):
    """A CA, a server for this machine, and an administrator as the real server knows one."""
    _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
             "-keyout", str(folder / "ca.key"), "-out", str(folder / "ca.crt"), "-days", "2",
             "-subj", "/CN=kubernetes", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    for name, subject, usage, more in (
            ("server", "/CN=kube-apiserver", "serverAuth",
             "subjectAltName=DNS:localhost,DNS:kubernetes.default.svc,IP:127.0.0.1"),
            ("admin", "/O=system:masters/CN=admin", "clientAuth", "basicConstraints=CA:FALSE")):
        request, extensions = folder / (name + ".csr"), folder / (name + ".ext")
        extensions.write_text("extendedKeyUsage=%s\n%s\n" % (usage, more))
        _openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                 "-keyout", str(folder / (name + ".key")), "-out", str(request), "-subj", subject)
        _openssl("x509", "-req", "-in", str(request), "-CA", str(folder / "ca.crt"), "-CAkey",
                 str(folder / "ca.key"), "-CAcreateserial", "-days", "2", "-extfile",
                 str(extensions), "-out", str(folder / (name + ".crt")))


def _data(path):
    return base64.b64encode(path.read_bytes()).decode()


class Standin:
    """One server, which lives as long as this object is not closed."""

    def __init__(self, folder, certificates):
        self.certificates = certificates
        self.output = open(folder / "apiserver.log", "w", encoding="utf-8")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "apiserver.main", str(certificates)], cwd=HERE,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.output)
        told = json.loads(self.process.stdout.readline())
        self.port, self.control_port = told["port"], told["control"]
        self.kubeconfig = folder / "kubeconfig"
        self.kubeconfig.write_text(self._config())
        self.kubeconfig.chmod(0o600)

    def _config(self):
        c = self.certificates
        return """apiVersion: v1
kind: Config
clusters:
- name: standin
  cluster:
    server: https://127.0.0.1:%d
    certificate-authority-data: %s
users:
- name: admin
  user:
    client-certificate-data: %s
    client-key-data: %s
contexts:
- name: standin
  context: {cluster: standin, user: admin, namespace: default}
current-context: standin
""" % (self.port, _data(c / "ca.crt"), _data(c / "admin.crt"), _data(c / "admin.key"))

    def control(self, what, **arguments):
        """One thing of apiserver/control.py."""
        connection = http.client.HTTPConnection("127.0.0.1", self.control_port, timeout=30)
        try:
            connection.request("POST", "/" + what, json.dumps(arguments))
            response = connection.getresponse()
            answer = json.loads(response.read())
        finally:
            connection.close()
        assert response.status == 200, answer
        return answer

    def close(self):
        """Ends the server; whether it found no mistake of its own is part of every test."""
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.output.close()
        mistakes = pathlib.Path(self.output.name).read_text()
        assert not mistakes, mistakes
