"""Webhooks of the emulator: signed as OpenAI signs them, and sent when a batch ends.

It shares no code with :mod:`imagesdk.webhooks`. The time in a signature is that of the machine, not that of the virtual
clock, so that a receiver accepts a webhook after a test has let a day pass.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time

from attrs import define, field

__all__ = ["WEBHOOK_SECRET", "Webhook", "WebhookSender", "sign"]

WEBHOOK_SECRET = "whsec_" + base64.b64encode(b"the emulator keeps no secrets").decode()
"""The signing secret of an emulator that got no other."""
_TRIES = 3
_PAUSE = 0.2  # seconds before the second try; twice as long before the third
_TIMEOUT = 10.0


@define
class Webhook:
    """One webhook: what was sent, and how the receiver responded."""

    id: str
    type: str
    batch_id: str
    body: bytes
    statuses: list[int | None] = field(factory=list[int | None])
    """The status of each response, ``None`` for a connection that failed."""

    @property
    def delivered(self) -> bool:
        """Whether the receiver has accepted it."""
        return bool(self.statuses) and 200 <= (self.statuses[-1] or 0) < 300


def sign(body: bytes, secret: str, webhook_id: str, timestamp: int) -> dict[str, str]:
    """Return the headers of a webhook."""
    key = base64.b64decode(secret[6:]) if secret.startswith("whsec_") else secret.encode()
    digest = hmac.new(key, f"{webhook_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return {
        "content-type": "application/json",
        "user-agent": "imagesdk-emulator",
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


class WebhookSender:
    """Sender of webhooks to one URL, each in a thread of its own, with up to two more tries."""

    def __init__(self, url: str, secret: str = WEBHOOK_SECRET) -> None:
        self._url = url
        self._secret = secret
        self._stopped = threading.Event()

    def send(self, kind: str, batch_id: str, created_at: int, log: list[Webhook], times: int = 1) -> None:
        """Send the event of the end of a batch ``times`` times, and add each to ``log``."""
        event = {
            "id": f"evt_{secrets.token_hex(16)}",
            "object": "event",
            "created_at": created_at,
            "type": kind,
            "data": {"id": batch_id},
        }
        name, body = f"wh_{secrets.token_hex(16)}", json.dumps(event).encode()
        for _ in range(times):
            webhook = Webhook(name, kind, batch_id, body)
            log.append(webhook)
            threading.Thread(
                target=self._deliver, args=(webhook,), name="imagesdk-emulator-webhook", daemon=True
            ).start()

    def stop(self) -> None:
        """Try no more."""
        self._stopped.set()

    def _deliver(self, webhook: Webhook) -> None:
        import httpx

        with httpx.Client(trust_env=False, timeout=_TIMEOUT) as client:
            for number in range(_TRIES):
                if number and self._stopped.wait(_PAUSE * number):
                    return
                headers = sign(webhook.body, self._secret, webhook.id, int(time.time()))
                try:
                    status = client.post(self._url, content=webhook.body, headers=headers).status_code
                except httpx.HTTPError:
                    status = None
                webhook.statuses.append(status)
                if webhook.delivered:
                    return
