"""A certificate authority of the test's own, and a TLS terminator in front of a gateway."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from loopback.support import WAIT_S, Bench, Pipe, RawServer

DAY = datetime.timedelta(days=1)


class Authority:
    """Signs certificates; its own is in ``ca_file``."""

    def __init__(self, directory: Path, name: str = "test authority") -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.timezone.utc)
        self._certificate = (
            x509.CertificateBuilder()
            .subject_name(self._name)
            .issuer_name(self._name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - DAY)
            .not_valid_after(now + DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(
                x509.KeyUsage(False, False, False, False, False, True, True, False, False),
                critical=True,
            )
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )
        self.ca_file = str(directory / f"{name.replace(' ', '-')}.pem")
        Path(self.ca_file).write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, *names: str, expired: bool = False) -> str:
        """A PEM file with a certificate for these names or addresses, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.timezone.utc)
        end = now - DAY if expired else now + DAY
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])]))
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 3 * DAY)
            .not_valid_after(end)
            .add_extension(x509.SubjectAlternativeName([_name(one) for one in names]), False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), False
            )
            .add_extension(
                x509.ExtendedKeyUsage(
                    [
                        x509.oid.ExtendedKeyUsageOID.SERVER_AUTH,
                        x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH,
                    ]
                ),
                False,
            )
            .sign(self._key, hashes.SHA256())
        )
        path = self._directory / f"{certificate.serial_number}.pem"
        path.write_bytes(_pem(key, certificate))
        return str(path)


def self_signed(directory: Path, name: str) -> str:
    """A PEM file with a certificate that only its own key has signed, and that key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
        .add_extension(x509.SubjectAlternativeName([_name(name)]), False)
        .sign(key, hashes.SHA256())
    )
    path = directory / "self-signed.pem"
    path.write_bytes(_pem(key, certificate))
    return str(path)


def _pem(key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ) + certificate.public_bytes(serialization.Encoding.PEM)


def _name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def fingerprint(pem: str) -> str:
    """The SHA-256 of the certificate in a PEM file, in hex."""
    certificate = x509.load_pem_x509_certificate(Path(pem).read_bytes())
    return certificate.fingerprint(hashes.SHA256()).hex()


class Terminator:
    """TLS in front of the bench's gateway: what came in plain, and which names were asked for."""

    def __init__(
        self,
        bench: Bench,
        pem: str,
        *,
        highest: ssl.TLSVersion | None = None,
        clients_of: str | None = None,
        **options: Any,
    ) -> None:
        self._upstream = bench.gateway.port
        self._highest = highest
        self._clients_of = clients_of
        self.renew(pem)
        self.names: list[str | None] = []
        self.versions: list[str | None] = []
        self.resumed: list[bool] = []
        self.said = b""
        self.server: RawServer = bench.server(self._serve, **options)

    def renew(self, pem: str) -> None:
        """Go on with this certificate, and with no memory of earlier sessions."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        if self._clients_of is not None:  # only clients with a certificate of this authority
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self._clients_of)
        if self._highest is not None:
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = self._highest
            context.set_ciphers("ALL:@SECLEVEL=0")
        context.sni_callback = self._note
        self._context = context

    def url(self, host: str = "localhost") -> str:
        return f"wss://{host}:{self.server.port}"

    def _note(self, sock: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        self.names.append(name)

    def _serve(self, sock: socket.socket) -> None:
        try:
            secure = self._context.wrap_socket(sock.dup(), server_side=True)
        except OSError:  # the server keeps `sock` itself
            sock.shutdown(socket.SHUT_RDWR)
            raise
        with secure:
            self.versions.append(secure.version())
            self.resumed.append(bool(secure.session_reused))
            with socket.create_connection(("127.0.0.1", self._upstream), timeout=WAIT_S) as far:
                pipe = Pipe(secure, far)
                try:
                    pipe.run()
                finally:
                    self.said += pipe.said
                    sock.shutdown(socket.SHUT_RDWR)
