"""Keys and certificates of a throw-away cluster, made by the openssl command. P-256 throughout: made in milliseconds."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

from .processes import ClusterError


@dataclass(frozen=True)
class KeyPair:
    """Files of one certificate and its key."""

    certificate: Path
    key: Path


def _openssl(*arguments: str, stdin: str | None = None) -> str:
    if shutil.which("openssl") is None:
        raise ClusterError("openssl is not installed; install it: apt-get install openssl")
    result = subprocess.run(["openssl", *arguments], input=stdin, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise ClusterError(f"openssl {arguments[0]} failed: {result.stderr.strip()}")
    return result.stdout


def make_key(path: Path) -> Path:
    """A private key that only the owner can read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.close(descriptor)
    _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(path))
    return path


def make_public_key(key: Path, path: Path) -> Path:
    """The public half of a key."""
    _openssl("ec", "-in", str(key), "-pubout", "-out", str(path))
    return path


def make_authority(folder: Path, name: str) -> KeyPair:
    """A certificate authority of its own."""
    pair = KeyPair(folder / f"{name}.crt", make_key(folder / f"{name}.key"))
    _openssl(
        "req", "-x509", "-new", "-key", str(pair.key), "-sha256", "-days", "3650", "-subj", f"/CN=swarmscale-test-{name}",
        "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
        "-out", str(pair.certificate),
    )  # fmt: skip
    return pair


def make_certificate(
    folder: Path,
    name: str,
    authority: KeyPair,
    subject: str,
    alternative_names: Sequence[str] = (),
    days: int = 365,
) -> KeyPair:
    """A certificate signed by `authority`, for servers and clients alike. Alternative names: `DNS:x`, `IP:y`."""
    pair = KeyPair(folder / f"{name}.crt", make_key(folder / f"{name}.key"))
    request = folder / f"{name}.csr"
    _openssl("req", "-new", "-key", str(pair.key), "-subj", subject, "-out", str(request))
    lines = ["basicConstraints=critical,CA:FALSE", "keyUsage=critical,digitalSignature", "extendedKeyUsage=serverAuth,clientAuth"]
    if alternative_names:
        lines.append("subjectAltName=" + ",".join(alternative_names))
    extensions = folder / f"{name}.ext"
    extensions.write_text("\n".join(lines) + "\n", encoding="utf-8")
    serial = "0x" + os.urandom(8).hex()
    _openssl(
        "x509", "-req", "-in", str(request), "-CA", str(authority.certificate), "-CAkey", str(authority.key),
        "-set_serial", serial, "-days", str(days), "-sha256", "-extfile", str(extensions), "-out", str(pair.certificate),
    )  # fmt: skip
    request.unlink()
    extensions.unlink()
    return pair
