"""Certificates for tests of TLS, as openssl makes them: an authority, and a pair that it has signed."""

import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def make_certificates(directory: Path) -> dict[str, str]:
    """Write ca.pem, cert.pem and key.pem; returns them as Dask's configuration takes them from variables."""
    directory.mkdir(parents=True)
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca, own = (
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{directory.name} {role}")])
        for role in ("authority", "cluster")
    )
    files = {
        "ca.pem": _signed(ca, ca_key, ca, ca_key).public_bytes(serialization.Encoding.PEM),
        "cert.pem": _signed(own, key, ca, ca_key).public_bytes(serialization.Encoding.PEM),
        "key.pem": key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    }
    for name, data in files.items():
        (directory / name).write_bytes(data)
    return {
        "DASK_DISTRIBUTED__COMM__TLS__CA_FILE": str(directory / "ca.pem"),
        **{
            f"DASK_DISTRIBUTED__COMM__TLS__{role}__{part}": str(directory / file)
            for role in ("SCHEDULER", "WORKER", "CLIENT")
            for part, file in (("CERT", "cert.pem"), ("KEY", "key.pem"))
        },
    }


def _signed(
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=subject == issuer, path_length=None), critical=True)
        .sign(issuer_key, hashes.SHA256())
    )
