# SPDX-License-Identifier: Apache-2.0
"""Authorities and certificates for tests, made by openssl."""

import subprocess


def openssl(*args):
    subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True)


def make_authority(folder, name):
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-days", 2, "-keyout", folder / (name + ".key"), "-out", folder / (name + ".crt"),
            "-subj", "/CN=" + name)


def make_certificate(folder, authority, name):
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
            folder / (name + ".key"), "-out", folder / (name + ".csr"), "-subj", "/CN=" + name,
            "-addext", "subjectAltName=IP:127.0.0.1")
    openssl("x509", "-req", "-in", folder / (name + ".csr"), "-CA",
            folder / (authority + ".crt"), "-CAkey", folder / (authority + ".key"),
            "-CAcreateserial", "-days", 2, "-copy_extensions", "copy", "-out",
            folder / (name + ".crt"))


def profile(folder, name, authority):
    return {"caCertFile": str(folder / (authority + ".crt")),
            "certFile": str(folder / (name + ".crt")),
            "privateKeyFile": str(folder / (name + ".key"))}
