"""TLS of the emulator: a certificate authority that lives as long as its server, and a certificate of it.

The authority is new at every start and its key is never written, so a client that trusts the file trusts nobody
else, and no later emulator.
"""

from __future__ import annotations

import os
import socket
import ssl
from pathlib import Path

from imagesdk._media.atomic import write_file

__all__ = ["server_context"]

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_ANY_ADDRESS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared, not bound


def server_context(ca_file: str | os.PathLike[str], host: str = "127.0.0.1") -> ssl.SSLContext:
    """Return the context of a server, and write the certificate of its authority to ``ca_file``.

    The certificate is valid for the loopback names and for ``host``; for every address, also for the name of the
    machine.

    Raises:
        ModuleNotFoundError: If trustme, which makes the certificates, is not installed.
        OSError: If ``ca_file`` cannot be written.
    """
    try:
        import trustme
    except ModuleNotFoundError as error:
        message = (
            "https needs 'trustme', which is not installed; "
            "install the extra from the checkout: pip install '.[emulator]'"
        )
        raise ModuleNotFoundError(message, name=error.name) from error
    own = socket.gethostname() if host in _ANY_ADDRESS else host
    authority = trustme.CA(organization_name="imagesdk emulator")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*dict.fromkeys((*_LOOPBACK, own))).configure_cert(context)
    write_file(Path(ca_file), authority.cert_pem.bytes())
    return context
