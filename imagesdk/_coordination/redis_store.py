"""Store in Redis, for many machines. Its clock is ``TIME`` of the server.

Each operation is one call of a script, which also leaves the sign of life and sends the notices. A document and the list
of its owners are two keys with one hash tag, so that a cluster keeps them together.
"""

from __future__ import annotations

import hashlib
import logging
import math
import threading
from collections.abc import Callable, Collection
from inspect import signature
from typing import Any, Final

from imagesdk._coordination.store import Notice, OnNotice, Page, Reply, StoreUnavailable
from imagesdk.errors import ConfigurationError, CoordinationError

_logger = logging.getLogger("imagesdk")

SOCKET_SECONDS = 2.0
"""How long the store may take for an answer, and for a connection."""
FORGOTTEN_SECONDS = 60
"""Time after which an owner without a sign of life is removed from the list."""
LISTEN_SECONDS = 0.2
"""How long the listener waits for a notice before it looks whether it should end."""
_PREFIX: Final = "imagesdk"
_SCRIPT: Final = """
local document, owners = KEYS[1], KEYS[2]
local owner, known, version, text, keep, forgotten = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local time = redis.call('TIME')
local now = time[1] .. '.' .. string.format('%06d', tonumber(time[2]))
local current = redis.call('HGET', document, 'version') or ''
local swapped = 0
if version ~= '' and current == known then
  redis.call('HSET', document, 'version', version, 'document', text)
  if keep == '' then redis.call('PERSIST', document) else redis.call('PEXPIRE', document, keep) end
  current, swapped = version, 1
  for i = 9, #ARGV do
    redis.call('PUBLISH', ARGV[i], ARGV[7] .. '\\n' .. version .. '\\n' .. now .. '\\n' .. text)
  end
end
local heard = 0
if version == '' and current == '' and owner ~= '' then
  heard = redis.call('PUBLISH', ARGV[8], ARGV[7])
end
local seen = {}
if owner ~= '' then
  redis.call('HSET', owners, owner, now)
  local rows = redis.call('HGETALL', owners)
  for i = 1, #rows, 2 do
    if math.abs(tonumber(now) - tonumber(rows[i + 1])) > tonumber(forgotten) then
      redis.call('HDEL', owners, rows[i])
    else
      seen[#seen + 1] = rows[i]
      seen[#seen + 1] = rows[i + 1]
    end
  end
  redis.call('EXPIRE', owners, forgotten)
end
local shown = ''
if swapped == 0 and current ~= known or version ~= '' and swapped == 0 then
  shown = redis.call('HGET', document, 'document') or ''
end
return {swapped, current, shown, now, seen, heard}
"""
_DELETE: Final = """
if redis.call('HGET', KEYS[1], 'version') ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""
_PAGE: Final = 500
"""Documents in one page of a scan, about."""


class RedisStore:
    """Documents in Redis.

    Raises:
        ConfigurationError: If the package redis does not understand the URL.
    """

    poll_seconds: float | None = None
    script = _SCRIPT

    def __init__(self, url: str, name: str) -> None:
        import redis
        from redis import exceptions

        self._redis: Any = redis
        self._errors: Any = exceptions
        self._url = url
        self._name = name
        self._client: Any = self._connect(url)
        self._digest = hashlib.sha1(self.script.encode(), usedforsecurity=False).hexdigest()
        self._listener: _Listener | None = None

    def read(self, key: str, *, known: str = "", owner: str = "") -> Reply:
        """Return the document, unless it is of the ``known`` version."""
        return self._run(key, owner, known, "", "", 0.0, ())

    def swap(
        self,
        key: str,
        expected: str,
        version: str,
        document: str,
        *,
        notify: Collection[str],
        keep: float,
        owner: str = "",
    ) -> Reply:
        """Replace the document if its version is ``expected``."""
        return self._run(key, owner, expected, version, document, keep, notify)

    def scan(self, prefix: str, after: str = "") -> Page:
        """Return some of the documents whose keys begin with ``prefix``, in no order."""
        pattern = f"{_PREFIX}:{{{prefix}*}}"

        def ask() -> Any:
            cursor, names = self._client.scan(int(after or 0), match=pattern, count=_PAGE, _type="hash")
            with self._client.pipeline(transaction=False) as pipeline:
                for name in names:
                    pipeline.hmget(name, "version", "document")
                pipeline.time()
                *documents, (seconds, microseconds) = pipeline.execute()
            return cursor, names, documents, seconds + microseconds / 1e6

        cursor, names, documents, now = self._guarded(ask)
        found = [
            (name[len(_PREFIX) + 2 : -1], Reply(False, version, document or "", now))
            for name, (version, document) in zip(names, documents, strict=True)
            if version is not None  # it was deleted meanwhile
        ]
        return Page(found, str(cursor) if cursor else "")

    def delete(self, key: str, version: str) -> bool:
        """Delete the document if it has this version. Return whether it had."""
        name = f"{_PREFIX}:{{{key}}}"
        return bool(self._guarded(lambda: self._client.eval(_DELETE, 1, name, version)))

    def listen(self, owner: str, on_notice: OnNotice) -> None:
        """Call ``on_notice``, from a thread of its own, when this owner is notified."""
        if self._listener is None or not self._listener.is_alive():
            self._listener = _Listener(
                self._connect(self._url), _channel(owner), on_notice, self._redis.RedisError
            )
            self._listener.start()
            self._listener.began.wait(SOCKET_SECONDS)

    def attend(self, key: str) -> None:
        """Be notified of a document, too, when another owner looks for it and the server does not have it."""
        if self._listener is not None:
            self._listener.add(_search_channel(key))

    def notices(self, owner: str) -> Collection[str]:
        """Return nothing: the listener calls."""
        return ()

    def uptime(self) -> float:
        """Return for how many seconds the server has run."""
        try:
            return float(self._guarded(lambda: self._client.info("server"))["uptime_in_seconds"])
        except (CoordinationError, KeyError):  # the user may not ask
            return math.inf

    def close(self) -> None:
        """Close the connections."""
        if self._listener is not None:
            self._listener.end()
        self._client.close()

    def _connect(self, url: str) -> Any:
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        options: dict[str, Any] = {
            "socket_timeout": SOCKET_SECONDS,
            "socket_connect_timeout": SOCKET_SECONDS,
            "decode_responses": True,
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,
        }
        # The name of the package is not sent: that would be another call for each connection.
        parameters = signature(self._redis.Redis).parameters
        options |= {name: None for name in ("driver_info", "lib_name", "lib_version") if name in parameters}
        if "driver_info" in options:
            options = {name: value for name, value in options.items() if not name.startswith("lib_")}
        try:
            return self._redis.Redis.from_url(url, **options)
        except (ValueError, TypeError, AttributeError) as error:
            reason = f"({type(error).__name__})" if self._name != url else str(error)
            message = f"shared {self._name!r} is no URL of a Redis server: {reason}."
            raise ConfigurationError(message, param="shared") from None

    def _run(
        self,
        key: str,
        owner: str,
        known: str,
        version: str,
        document: str,
        keep: float,
        notify: Collection[str],
    ) -> Reply:
        name = f"{_PREFIX}:{{{key}}}"
        channels = map(_channel, notify)
        milliseconds = "" if math.isinf(keep) else str(min(round(keep * 1000), 1 << 52))
        arguments = (
            owner,
            known,
            version,
            document,
            milliseconds,
            str(FORGOTTEN_SECONDS),
            key,
            _search_channel(key),
            *channels,
        )
        keys = (name, f"{name}:owners")

        def call() -> Any:
            try:
                return self._client.evalsha(self._digest, len(keys), *keys, *arguments)
            except self._errors.NoScriptError:  # the server has restarted, or its scripts were flushed
                return self._client.eval(self.script, len(keys), *keys, *arguments)

        swapped, current, shown, now, rows, heard = self._guarded(call)
        seen = {rows[at]: float(rows[at + 1]) for at in range(0, len(rows), 2)}
        return Reply(bool(swapped), current, shown, float(now), seen, heard)

    def _guarded(self, call: Callable[[], Any]) -> Any:
        """Call the server, and translate errors."""
        errors = self._errors
        refused = (errors.AuthenticationError, errors.AuthorizationError, errors.NoPermissionError)
        passing = (
            errors.BusyLoadingError,
            errors.ReadOnlyError,  # after a failover
            errors.TryAgainError,
            errors.ClusterDownError,
            errors.MasterDownError,
        )
        try:
            return call()
        except refused as error:
            raise CoordinationError(f"The shared store {self._name} refused the login: {error}.") from None
        except (errors.ConnectionError, errors.TimeoutError, *passing, OSError) as error:
            self._client.connection_pool.disconnect()
            raise StoreUnavailable(f"{type(error).__name__}: {error}") from error
        except errors.RedisError as error:
            raise CoordinationError(f"The shared store {self._name} cannot be used: {error}.") from error


class _Listener(threading.Thread):
    """Thread that receives the notices of one owner."""

    def __init__(self, client: Any, channel: str, on_notice: OnNotice, error: type[Exception]) -> None:
        super().__init__(name="imagesdk-notices", daemon=True)
        self._client = client
        self._pubsub: Callable[..., Any] = client.pubsub
        self._channels = {channel}
        self._on_notice = on_notice
        self._error = error
        self._ended = threading.Event()
        self.began = threading.Event()
        """Set after the first attempt to subscribe."""

    def add(self, channel: str) -> None:
        """Listen to another channel, soon."""
        self._channels.add(channel)

    def end(self) -> None:
        """End the thread soon."""
        self._ended.set()

    def run(self) -> None:
        """Subscribe again after every loss of the connection."""
        was_lost = False
        while not self._ended.is_set():
            try:
                with self._pubsub(ignore_subscribe_messages=True) as subscription:
                    known: set[str] = set()
                    while not self._ended.is_set():
                        if added := set(self._channels) - known:
                            subscription.subscribe(*added)
                            known |= added
                        message = subscription.get_message(timeout=LISTEN_SECONDS)
                        self.began.set()
                        if was_lost:
                            was_lost = False
                            self._on_notice(Notice("", None))
                        if message:
                            self._receive(str(message["data"]))
            except (self._error, OSError) as error:
                was_lost = True
                self.began.set()
                _logger.debug("the notices of the shared store are interrupted (%s)", type(error).__name__)
                self._ended.wait(LISTEN_SECONDS)
        self._client.close()

    def _receive(self, message: str) -> None:
        key, *rest = message.split("\n", 3)
        if rest:
            version, now, document = rest
            self._on_notice(Notice(key, Reply(False, version, document, float(now))))
        else:
            self._on_notice(Notice(key, None))


def _channel(owner: str) -> str:
    return f"{_PREFIX}:notices:{owner}"


def _search_channel(key: str) -> str:
    return f"{_PREFIX}:search:{key}"
