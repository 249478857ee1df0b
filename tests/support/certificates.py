"""A private authority for certificates, and servers that speak TLS with one of them."""

from __future__ import annotations

import hashlib
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Self, cast

import pytest
import trustme
from anyio.abc import SocketStream
from anyio.streams.tls import TLSStream
from attrs import evolve, frozen
from cryptography import x509

from tests.support.socket_servers import Conversation, Handler

NAMES = ("localhost", "127.0.0.1", "images.test", "proxy.test")


@frozen
class Authority:
    """One that no machine knows, until the environment names it."""

    file: Path
    folder: Path
    context: ssl.SSLContext
    chain: Path
    """A certificate for every one of the names, with its key."""

    @classmethod
    def found(cls, place: Path) -> Self:
        authority = trustme.CA()
        pem = authority.cert_pem.bytes()
        file, folder = place / "authority.pem", place / "authorities"
        file.write_bytes(pem)
        folder.mkdir()
        (folder / f"{_subject_hash(pem)}.0").write_bytes(pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        chain = place / "chain.pem"
        chain.write_bytes(authority.issue_cert(*NAMES).private_key_and_cert_chain_pem.bytes())
        context.load_cert_chain(chain)
        return cls(file, folder, context, chain)

    def demanding(self) -> Self:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.chain)
        context.load_verify_locations(self.file)
        context.verify_mode = ssl.CERT_REQUIRED
        return evolve(self, context=context)

    def speaking(self, protocol: str) -> Self:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.chain)
        context.set_alpn_protocols([protocol])
        return evolve(self, context=context)

    def is_known(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have clients of this test know the authority, whatever the process has known before."""
        monkeypatch.setattr("imagesdk._transport.environment._tls", None)
        monkeypatch.setenv("SSL_CERT_FILE", str(self.file))

    def secured(self, handler: Handler) -> Handler:
        """Return a handler that greets over TLS before it does what ``handler`` does."""

        async def greet(talk: Conversation) -> None:
            with suppress(ssl.SSLError):  # a client that does not know the authority turns away
                stream = await TLSStream.wrap(
                    talk.stream, server_side=True, ssl_context=self.context, standard_compatible=False
                )
                talk.stream = cast("SocketStream", stream)
                await handler(talk)

        return greet


def _subject_hash(pem: bytes) -> str:
    """The name under which OpenSSL looks for an authority in a folder: its subject in lower case, hashed.

    https://docs.openssl.org/3.0/man1/openssl-rehash/
    """
    subject = x509.load_pem_x509_certificate(pem).subject
    parts = (
        x509.Name([x509.NameAttribute(entry.oid, str(entry.value).lower())]).public_bytes()[2:]
        for entry in subject
    )
    return hashlib.sha1(b"".join(parts)).digest()[3::-1].hex()
