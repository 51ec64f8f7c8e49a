"""Provenance: files that say, signed, that a model made them, and which run it was."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from polymodal import __version__
from polymodal.errors import ConfigError

CARRIERS = ("image/png", "image/jpeg", "image/webp", "audio/mpeg", "audio/flac", "audio/wav", "video/mp4")
"""Types of files that hold a manifest; what is made of other types is left as it is."""
MADE_BY_MODEL = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""The IPTC's word for media that a trained model made."""

Sign = Callable[[bytes, str], bytes]
"""The bytes of a file and its type -> the same with what is said of it."""


def unsigned(content: bytes, kind: str) -> bytes:
    """Leaves a file as it is."""
    return content


class Signer:
    """Puts a signed manifest into pictures, sound and clips.

    A signature has a time and a number of its own, so that signed files of one seed differ in their manifest, and only
    there.

    Source: the C2PA's Technical Specification 2.1, "actions" and "digital source type".

    Args:
        certificates: A PEM file with the signing certificate first, then those that vouch for it.
        key: A PEM file with its private key: on P-256, P-384 or P-521, of Ed25519, or of RSA.

    Raises:
        ConfigError: They cannot be read or do not fit one another, or ``c2pa-python`` is not installed.
    """

    def __init__(self, certificates: Path, key: Path):
        try:
            import c2pa
        except ImportError:
            raise ConfigError(
                "--sign: the package c2pa-python is not installed; `pip install 'polymodal[sign]'`"
            ) from None
        self._builder = c2pa.Builder
        try:
            chain, secret = certificates.read_bytes(), key.read_bytes()
            about = c2pa.C2paSignerInfo(_algorithm(secret), chain, secret, None)
            self._signer = c2pa.Signer.from_info(about)
            self.sign(_dot(), "image/png", run="trial", digest="")  # what does not fit is said before anything is made
        except (OSError, ValueError, TypeError, c2pa.C2paError) as error:
            raise ConfigError(f"--sign {certificates} {key}: cannot sign: {error}") from None

    def sign(self, content: bytes, kind: str, *, run: str, digest: str) -> bytes:
        """A file with its manifest.

        Args:
            content: Of the file.
            kind: Its type; one that is not among ``CARRIERS`` is left as it is.
            run: The name of the run that made it.
            digest: Of the run's weights.
        """
        if kind not in CARRIERS:
            return content
        manifest: dict[str, Any] = {
            "claim_generator_info": [{"name": "polymodal", "version": __version__}],
            "assertions": [
                {
                    "label": "c2pa.actions.v2",
                    "data": {"actions": [{"action": "c2pa.created", "digitalSourceType": MADE_BY_MODEL}]},
                },
                {"label": "org.polymodal.run", "data": {"run": run, "sha256": digest}},
            ],
        }
        signed = io.BytesIO()
        with self._builder(json.dumps(manifest)) as builder:
            builder.sign(self._signer, kind, io.BytesIO(content), signed)
        return signed.getvalue()


def _algorithm(key: bytes) -> str:
    """The C2PA's name of the algorithm of a private key in PEM."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    private = load_pem_private_key(key, None)
    if isinstance(private, ec.EllipticCurvePrivateKey):
        return {256: "es256", 384: "es384", 521: "es512"}[private.curve.key_size]
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return "ed25519"
    if isinstance(private, rsa.RSAPrivateKey):
        return "ps256"
    raise ValueError("the key is of another kind than P-256, P-384, P-521, Ed25519 and RSA")


def _dot() -> bytes:
    """The smallest picture."""
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (1, 1)).save(file, "png")
    return file.getvalue()
