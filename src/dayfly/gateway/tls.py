"""TLS for a listener: a certificate that is given, or one that the server makes for itself.

A self-signed certificate is made once and kept in `DATA/tls`; clients are told to trust exactly this file. It is renewed a month before
it ends, or when the server gets another name.
"""

from __future__ import annotations

import datetime
import ipaddress
import logging
import os
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ..errors import BadInput

if TYPE_CHECKING:
    from cryptography.x509 import GeneralName

LIFETIME = datetime.timedelta(days=397)  # what browsers accept at most
RENEW = datetime.timedelta(days=30)

log = logging.getLogger("dayfly")


class Wanted(Protocol):
    """What settings say about TLS (`config.Settings`)."""

    @property
    def data(self) -> Path: ...
    @property
    def host(self) -> str: ...
    @property
    def hosts(self) -> tuple[str, ...]: ...
    @property
    def tls_cert(self) -> Path | None: ...
    @property
    def tls_key(self) -> Path | None: ...
    @property
    def tls_self_signed(self) -> bool: ...


def chosen(wanted: Wanted, now: float) -> tuple[Path, Path] | None:
    """Certificate and key, if TLS is asked for; `now` in seconds since the epoch. Raises BadInput if they are none."""
    if wanted.tls_self_signed:
        names = [name for name in (wanted.host, *wanted.hosts) if name not in ("0.0.0.0", "::") and "*" not in name]
        made = self_signed(wanted.data / "tls", names, datetime.datetime.fromtimestamp(now, datetime.UTC))
        log.info("TLS with %s, SHA-256 %s", made[0], fingerprint(made[0]))
        return made
    if wanted.tls_cert is None and wanted.tls_key is None:
        return None
    if wanted.tls_cert is None or wanted.tls_key is None:
        raise BadInput("TLS needs both a certificate and its key", hint="Give --tls-cert and --tls-key, or --tls self-signed.")
    check(wanted.tls_cert, wanted.tls_key)
    return wanted.tls_cert, wanted.tls_key


def check(certificate: Path, key: Path) -> None:
    """Raises BadInput if these two files are not a certificate and its key."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else getattr(error, "reason", error)
        raise BadInput(
            f"TLS cannot be served with {certificate} and {key}: {reason}",
            hint="--tls-cert takes a file in PEM with the certificate and its chain, --tls-key the key, without a password.",
        ) from None


def self_signed(folder: Path, names: Iterable[str], now: datetime.datetime) -> tuple[Path, Path]:
    """Certificate and key for these host names and addresses, in files there; made if they are missing or not good any more."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    wanted = list(dict.fromkeys((*names, "localhost", "127.0.0.1", "::1")))
    if not _good(certificate, key, wanted, now):
        folder.mkdir(mode=0o700, exist_ok=True)
        _make(certificate, key, wanted, now)
    return certificate, key


def fingerprint(certificate: Path) -> str:
    """SHA-256 of the certificate, as browsers and `openssl x509 -fingerprint -sha256` show it."""
    import hashlib

    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate.read_text())).hexdigest().upper()
    return ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))


def _good(certificate: Path, key: Path, names: list[str], now: datetime.datetime) -> bool:
    from cryptography import x509

    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
        check(certificate, key)
    except (OSError, ValueError, BadInput):
        return False
    there = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return found.not_valid_after_utc - now > RENEW and list(there) == _alternatives(names)


def _make(certificate: Path, key: Path, names: list[str], now: datetime.datetime) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    secret = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "Dayfly")])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))  # clocks differ
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectAlternativeName(_alternatives(names)), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)  # so that it can be trusted as a root
        .add_extension(x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(secret, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = secret.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    for path, data in ((key, private), (certificate, made.public_bytes(pem))):
        aside = path.with_suffix(".new")
        handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(handle, "wb") as file:
            file.write(data)
        os.replace(aside, path)


def _alternatives(names: list[str]) -> list[GeneralName]:
    from cryptography import x509

    found: list[GeneralName] = []
    for name in names:
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            found.append(x509.DNSName(name))
    return found
