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


def _openssl(*arguments: str) -> str:
    if shutil.which("openssl") is None:
        raise ClusterError("openssl is not installed; install it: apt-get install openssl")
    result = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
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
    extensions = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign"]
    return _make(folder, name, f"/CN=swarmscale-test-{name}", 3650, extensions, None)


def make_certificate(
    folder: Path,
    name: str,
    authority: KeyPair,
    subject: str,
    alternative_names: Sequence[str] = (),
    days: int = 365,
) -> KeyPair:
    """A certificate signed by `authority`, for servers and clients alike. Alternative names: `DNS:x`, `IP:y`."""
    extensions = ["basicConstraints=critical,CA:FALSE", "keyUsage=critical,digitalSignature", "extendedKeyUsage=serverAuth,clientAuth"]
    if alternative_names:
        extensions.append("subjectAltName=" + ",".join(alternative_names))
    return _make(folder, name, subject, days, extensions, authority)


def _make(folder: Path, name: str, subject: str, days: int, extensions: Sequence[str], authority: KeyPair | None) -> KeyPair:
    """Key and certificate by one run of openssl (3.0 or newer), which matters: a control plane needs nine."""
    pair = KeyPair(folder / f"{name}.crt", folder / f"{name}.key")
    settings = folder / f"{name}.cnf"
    settings.write_text("[req]\ndistinguished_name=name\n[name]\n[extensions]\n" + "\n".join(extensions) + "\n", encoding="utf-8")
    signer = ["-CA", str(authority.certificate), "-CAkey", str(authority.key)] if authority else []
    _openssl(
        "req", "-x509", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-sha256", "-days", str(days),
        "-config", str(settings), "-extensions", "extensions", "-subj", subject, "-set_serial", "0x" + os.urandom(8).hex(), *signer,
        "-keyout", str(pair.key), "-out", str(pair.certificate),
    )  # fmt: skip
    pair.key.chmod(0o600)
    settings.unlink()
    return pair
