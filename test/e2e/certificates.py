# SPDX-License-Identifier: Apache-2.0
"""Authorities and certificates for tests, made by openssl."""

import subprocess


def openssl(*args):
    subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True)


def make_authority(folder, name):
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-days", 2, "-keyout", folder / (name + ".key"), "-out", folder / (name + ".crt"),
            "-subj", "/CN=" + name)


def make_certificate(folder, authority, name, address="127.0.0.1", days=2):
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
            folder / (name + ".key"), "-out", folder / (name + ".csr"), "-subj", "/CN=" + name,
            "-addext", "subjectAltName=IP:" + address)
    openssl("x509", "-req", "-in", folder / (name + ".csr"), "-CA",
            folder / (authority + ".crt"), "-CAkey", folder / (authority + ".key"),
            "-CAcreateserial", "-days", days, "-copy_extensions", "copy", "-out",
            folder / (name + ".crt"))


def make_at(folder, authority, name, begin, end):
    """A client's certificate, or with its own name for the authority a new authority, valid from
    one datetime (UTC) to the other."""
    (folder / "index").write_text("")
    (folder / "ca.conf").write_text("""[ca]
default_ca = this
[this]
database = %s/index
new_certs_dir = %s
rand_serial = yes
default_md = sha256
policy = any
x509_extensions = %s
[any]
commonName = supplied
[authority]
basicConstraints = critical,CA:true
[client]
basicConstraints = CA:false
subjectAltName = IP:127.0.0.1
""" % (folder, folder, "authority" if name == authority else "client"))
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
            folder / (name + ".key"), "-out", folder / (name + ".csr"), "-subj", "/CN=" + name)
    signer = ["-selfsign"] if name == authority else ["-cert", folder / (authority + ".crt")]
    openssl("ca", "-batch", "-notext", "-config", folder / "ca.conf", "-in",
            folder / (name + ".csr"), *signer, "-keyfile", folder / (authority + ".key"), "-out",
            folder / (name + ".crt"), "-startdate", begin.strftime("%Y%m%d%H%M%SZ"), "-enddate",
            end.strftime("%Y%m%d%H%M%SZ"))


def profile(folder, name, authority):
    return {"caCertFile": str(folder / (authority + ".crt")),
            "certFile": str(folder / (name + ".crt")),
            "privateKeyFile": str(folder / (name + ".key"))}
