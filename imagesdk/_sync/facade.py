"""The blocking clients: the asynchronous ones, with every coroutine run by the portal.

GENERATED from ``client.py``, ``images.py``, ``streams.py``, ``run.py`` and ``files.py`` by ``python -m imagesdk._sync.generate``.
Do not change it: change those, and run it again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self, Unpack

from imagesdk._engine.tokens import TokenProvider
from imagesdk._sync.hosting import Hosted
from imagesdk._sync.lease import Lease, lease
from imagesdk._transport.httpx_compat import HTTPClient
from imagesdk.client import AsyncClient
from imagesdk.events import Observer
from imagesdk.fan_out.dry_run import DryRun
from imagesdk.fan_out.outcomes import Jobs, Outcome, Progress
from imagesdk.fan_out.run import AsyncRun
from imagesdk.fan_out.spending import UnknownPrice
from imagesdk.files import AsyncFiles
from imagesdk.images import AsyncImages
from imagesdk.jobs import (
    Background,
    CallOptions,
    Complexity,
    Generate,
    InputFidelity,
    Job,
    Moderation,
    OutputFormat,
    Quality,
    ResponseFormat,
    Size,
    Style,
    Svg,
)
from imagesdk.policies import (
    DEFAULT_RATE_LIMIT,
    Caps,
    ClientOptions,
    Delivery,
    RateLimit,
    RetryPolicy,
    Timeouts,
)
from imagesdk.streams import AsyncImageStream, StreamedImage
from imagesdk.types import FileId, FileObject, Image, ImagesResponse, RawResponse, Source

__all__ = ["Client", "Files", "ImageStream", "Images", "Run"]


class Client:
    """A client of the Images API, for code without an event loop.

    It may be used from several threads at once, beside a running event loop and in forked processes, and by as many
    calls as you like: they wait in line for the rate limit. Close it with ``with`` or ``close()``.

    Example:
        with Client() as client:
            response = client.images.generate("a white siamese cat", out="cats/")

    Args:
        api_key: The key; ``OPENAI_API_KEY`` when not given. ``""`` sends none, for servers that want none.
        base_url: The server; ``OPENAI_BASE_URL`` or else the maker's own when not given.
        organization: ``OPENAI_ORG_ID`` when not given.
        project: ``OPENAI_PROJECT_ID`` when not given.
        timeout: Seconds for a whole call, or :class:`Timeouts`.
        retry: When a failed attempt is made again.
        rate_limit: Images per window, counted on this side, as :class:`RateLimit` or as text, such as ``"50/min"``;
            ``None`` for no limit; or limits by model, with ``"*"`` for the others. ``IMAGESDK_RATE_LIMIT`` (such as
            ``50/min``, or ``none``) when it, or ``"*"``, is not given.
        check: Whether to refuse what the rules of the model forbid before anything is sent.
        caps: How large answers may be.
        fsync: Whether files of ``out=`` are on the disk itself, safe from a loss of power, before a call returns.
        http_client: An ``httpx.AsyncClient`` or ``httpx2.AsyncClient`` to send requests with, or a function
            without arguments that makes one for each event loop.
        observers: Called with every event of :mod:`imagesdk.events`.
        default_headers: Sent with every request to the server; not with downloads.
        allow_insecure: Let a key go over plain http to another machine.

    Raises:
        ConfigurationError: no key where one is needed, an unusable base URL, a key that would go over plain
            http, an ``http_client`` or another option of the wrong kind.
    """

    __module__ = "imagesdk"

    def __init__(
        self,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        organization: str | None = None,
        project: str | None = None,
        timeout: float | Timeouts | None = None,
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - a frozen value
        rate_limit: RateLimit | str | Mapping[str, RateLimit | str | None] | None = DEFAULT_RATE_LIMIT,
        check: bool = True,
        caps: Caps = Caps(),  # noqa: B008
        fsync: bool = False,
        http_client: HTTPClient | Callable[[], HTTPClient] | None = None,
        observers: Sequence[Observer] = (),
        default_headers: Mapping[str, str] | None = None,
        allow_insecure: bool = False,
    ) -> None:
        held = lease(
            AsyncClient,
            api_key=api_key,
            base_url=base_url,
            organization=organization,
            project=project,
            timeout=timeout,
            retry=retry,
            rate_limit=rate_limit,
            check=check,
            caps=caps,
            fsync=fsync,
            http_client=http_client,
            observers=observers,
            default_headers=default_headers,
            allow_insecure=allow_insecure,
        )
        self._hold(held)

    @classmethod
    def azure(
        cls,
        endpoint: str | None = None,
        *,
        deployment: str | None = None,
        api_version: str | None = None,
        model: str | None = None,
        api_key: str | None = None,
        token_provider: TokenProvider | None = None,
        http_client: HTTPClient | Callable[[], HTTPClient] | None = None,
        allow_insecure: bool = False,
        **options: Unpack[ClientOptions],
    ) -> Self:
        """Return a client of Azure OpenAI.

        Without ``api_version`` the v1 surface is used, and with a date the one with deployments in its paths.

        Example:
            client = Client.azure("https://NAME.openai.azure.com", deployment="pictures", model="gpt-image-2")

        Args:
            endpoint: The address of the resource; ``AZURE_OPENAI_ENDPOINT`` when not given.
            deployment: What every request is for. Without it, each call names its own as ``model=``.
            api_version: A date such as ``"2025-04-01-preview"``, or ``"preview"`` for what is new on the v1 surface.
            model: What is deployed there, for the checks and prices of the model. A deployment that is called after
                its model needs none.
            api_key: The key of the resource; ``AZURE_OPENAI_API_KEY`` when neither it nor ``token_provider`` is given.
            token_provider: A function that returns a token, instead of a key: such as
                ``azure.identity.get_bearer_token_provider(credential, "https://ai.azure.com/.default")``. It is called
                in a thread, never twice at once, and what it returns is kept until a minute before its end, or for a
                minute where that is not known.
            http_client: As in :class:`Client`.
            allow_insecure: Let a key go over plain http to another machine.
            options: Those of :class:`ClientOptions`.

        Raises:
            ConfigurationError: no key and no token, both, an unusable endpoint, or an option of the wrong kind.
        """
        held = lease(
            AsyncClient.azure,
            endpoint,
            deployment=deployment,
            api_version=api_version,
            model=model,
            api_key=api_key,
            token_provider=token_provider,
            http_client=http_client,
            allow_insecure=allow_insecure,
            **options,
        )
        return cls._on(held)

    @property
    def images(self) -> Images:
        """Make, edit and vary pictures."""
        return self._images

    @property
    def files(self) -> Files:
        """Upload, look up and delete files, such as pictures that edits name by their id."""
        return self._files

    @property
    def base_url(self) -> str:
        """The server, without a trailing slash."""
        return self._lease.twin.base_url

    def with_options(self, **changes: Unpack[ClientOptions]) -> Client:
        """Return a view of the client: the same connections, key and limits, with other options where given.

        What is counted stays shared: a view with another ``rate_limit=`` counts in the same windows, unless its
        scope is the client. Closing a view closes nothing; close the client it came from.

        Example:
            patient = client.with_options(timeout=600, retry=RetryPolicy(max_attempts=8))

        Raises:
            ConfigurationError: there is no such option, it is of the wrong kind, or a header cannot be sent.
        """
        held = self._lease.derive(AsyncClient.with_options, **changes)
        return self._on(held)

    def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        content: bytes | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | Timeouts | None = None,
        images: int = 0,
        billed: bool | None = None,
        idempotency_key: str | None = None,
    ) -> RawResponse:
        """Send anything else to the same server, with the key, the retries and the limits of the client.

        Example:
            models = (client.request("GET", "/models")).json()

        Args:
            method: ``"GET"``, ``"POST"`` and so on.
            path: Below the base URL, such as ``"/models"``; or a whole URL on the server's own origin.
            json: A body for JSON; or
            content: a body as it is, of the ``content-type`` that ``headers`` say.
            query: What follows the ``?``.
            headers: Further ones.
            timeout: Seconds for the whole call, or :class:`Timeouts`.
            images: How many pictures it asks for: what the rate limit counts.
            billed: Whether doing it twice may cost twice, so that it is repeated as a request for pictures is. When not
                given: with images, and with POST and PATCH.
            idempotency_key: Sent with every attempt; made at random when not given.

        Raises:
            InvalidRequestError: it cannot be sent as it is.
            APIError: it failed: a status of 400 and more is the error that any call would raise.
        """
        return self._lease.call(
            AsyncClient.request,
            method,
            path,
            json=json,
            content=content,
            query=query,
            headers=headers,
            timeout=timeout,
            images=images,
            billed=billed,
            idempotency_key=idempotency_key,
        )

    def close(self) -> None:
        """Close the connections and give up the calls under way; the client cannot be used any more."""
        self._lease.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return repr(self._lease.twin).replace("AsyncClient", "Client", 1)

    def __reduce__(self) -> NoReturn:
        self._lease.twin.__reduce__()

    def _hold(self, held: Lease[AsyncClient]) -> None:
        self._lease = held
        self._images = Images(held.view(lambda twin: twin.images))
        self._files = Files(held.view(lambda twin: twin.files))

    @classmethod
    def _on(cls, held: Lease[AsyncClient]) -> Self:
        self = cls.__new__(cls)
        self._hold(held)
        return self


class Images:
    """The Images API. Made by the client: ``client.images``."""

    __module__ = "imagesdk"

    def __init__(self, held: Lease[AsyncImages]) -> None:
        self._lease = held

    def generate(
        self,
        prompt: str,
        *,
        model: str | None = None,
        n: int | None = None,
        size: Size | None = None,
        quality: Quality | None = None,
        background: Background | None = None,
        output_format: OutputFormat | None = None,
        output_compression: int | None = None,
        moderation: Moderation | None = None,
        style: Style | None = None,
        complexity: Complexity | None = None,
        frame_count: int | None = None,
        frame_duration_ms: int | None = None,
        svg: Svg | None = None,
        response_format: ResponseFormat | None = None,
        safety_identifier: str | None = None,
        user: str | None = None,
        **options: Unpack[CallOptions],
    ) -> ImagesResponse:
        """Make pictures from a prompt.

        The more detail in the prompt, the likelier the result is what you had in mind; smaller pictures are
        faster. ``help(imagesdk.Generate)`` tells of the parameters, ``help(imagesdk.CallOptions)`` of the options:
        ``out=``, ``timeout=``, ``check=`` and others.

        Example:
            response = client.images.generate("a white siamese cat", n=2, out="cats/")

        Raises:
            InvalidRequestError: a parameter breaks a rule of the model; nothing was sent.
            ModerationError: the content filter refused the prompt.
            APIError: it failed in another way; ``maybe_billed`` tells about money.
        """
        return self._lease.call(
            AsyncImages.generate,
            prompt,
            model=model,
            n=n,
            size=size,
            quality=quality,
            background=background,
            output_format=output_format,
            output_compression=output_compression,
            moderation=moderation,
            style=style,
            complexity=complexity,
            frame_count=frame_count,
            frame_duration_ms=frame_duration_ms,
            svg=svg,
            response_format=response_format,
            safety_identifier=safety_identifier,
            user=user,
            **options,
        )

    def edit(
        self,
        image: Source | Sequence[Source],
        prompt: str,
        *,
        mask: Source | None = None,
        markup: Source | None = None,
        model: str | None = None,
        n: int | None = None,
        size: Size | None = None,
        quality: Quality | None = None,
        background: Background | None = None,
        output_format: OutputFormat | None = None,
        output_compression: int | None = None,
        input_fidelity: InputFidelity | None = None,
        moderation: Moderation | None = None,
        complexity: Complexity | None = None,
        frame_count: int | None = None,
        frame_duration_ms: int | None = None,
        svg: Svg | None = None,
        response_format: ResponseFormat | None = None,
        safety_identifier: str | None = None,
        user: str | None = None,
        **options: Unpack[CallOptions],
    ) -> ImagesResponse:
        """Change a picture, or paint into it where a mask is transparent.

        The prompt describes the whole new picture, not only what comes into the erased area.
        ``help(imagesdk.Edit)`` tells of the parameters, ``help(imagesdk.CallOptions)`` of the options: ``out=``,
        ``timeout=``, ``check=`` and others.

        Example:
            response = client.images.edit("lounge.png", "a lounge with a pool", mask="mask.png")

        Raises:
            InvalidRequestError: a parameter or a picture breaks a rule of the model; nothing was sent.
            ModerationError: the content filter refused the prompt or a picture.
            APIError: it failed in another way; ``maybe_billed`` tells about money.
            OSError: a file cannot be read.
        """
        return self._lease.call(
            AsyncImages.edit,
            image,
            prompt,
            mask=mask,
            markup=markup,
            model=model,
            n=n,
            size=size,
            quality=quality,
            background=background,
            output_format=output_format,
            output_compression=output_compression,
            input_fidelity=input_fidelity,
            moderation=moderation,
            complexity=complexity,
            frame_count=frame_count,
            frame_duration_ms=frame_duration_ms,
            svg=svg,
            response_format=response_format,
            safety_identifier=safety_identifier,
            user=user,
            **options,
        )

    def generate_stream(
        self,
        prompt: str,
        *,
        model: str | None = None,
        size: Size | None = None,
        quality: Quality | None = None,
        background: Background | None = None,
        output_format: OutputFormat | None = None,
        output_compression: int | None = None,
        moderation: Moderation | None = None,
        complexity: Complexity | None = None,
        partial_images: int | None = None,
        safety_identifier: str | None = None,
        user: str | None = None,
        **options: Unpack[CallOptions],
    ) -> AbstractContextManager[ImageStream]:
        """Make one picture from a prompt, and show it while it is made.

        ``help(imagesdk.Generate)`` tells of the parameters, ``help(imagesdk.CallOptions)`` of the options. With
        ``out=`` the finished picture goes to disk; those on the way are in memory. Leaving the block early ends the
        request, which is billed all the same.

        Example:
            with client.images.generate_stream("a river", partial_images=2) as stream:
                for event in stream:
                    print(event.image)

        Raises:
            InvalidRequestError: a parameter breaks a rule of the model; nothing was sent.
            ModerationError: the content filter refused the prompt.
            StreamError: (on iteration) the stream ended without its picture.
            APIError: it failed in another way; ``maybe_billed`` tells about money.
        """
        return self._lease.host(
            ImageStream,
            AsyncImages.generate_stream,
            prompt,
            model=model,
            size=size,
            quality=quality,
            background=background,
            output_format=output_format,
            output_compression=output_compression,
            moderation=moderation,
            complexity=complexity,
            partial_images=partial_images,
            safety_identifier=safety_identifier,
            user=user,
            **options,
        )

    def edit_stream(
        self,
        image: Source | Sequence[Source],
        prompt: str,
        *,
        mask: Source | None = None,
        markup: Source | None = None,
        model: str | None = None,
        size: Size | None = None,
        quality: Quality | None = None,
        background: Background | None = None,
        output_format: OutputFormat | None = None,
        output_compression: int | None = None,
        input_fidelity: InputFidelity | None = None,
        moderation: Moderation | None = None,
        complexity: Complexity | None = None,
        partial_images: int | None = None,
        safety_identifier: str | None = None,
        user: str | None = None,
        **options: Unpack[CallOptions],
    ) -> AbstractContextManager[ImageStream]:
        """Change a picture, and show the new one while it is made.

        ``help(imagesdk.Edit)`` tells of the parameters, ``help(imagesdk.CallOptions)`` of the options; see
        :meth:`generate_stream`.

        Example:
            with client.images.edit_stream("lounge.png", "a pool", partial_images=1) as stream:
                response = stream.final()

        Raises:
            InvalidRequestError: a parameter or a picture breaks a rule of the model; nothing was sent.
            ModerationError: the content filter refused the prompt or a picture.
            StreamError: (on iteration) the stream ended without its picture.
            APIError: it failed in another way; ``maybe_billed`` tells about money.
            OSError: a file cannot be read.
        """
        return self._lease.host(
            ImageStream,
            AsyncImages.edit_stream,
            image,
            prompt,
            mask=mask,
            markup=markup,
            model=model,
            size=size,
            quality=quality,
            background=background,
            output_format=output_format,
            output_compression=output_compression,
            input_fidelity=input_fidelity,
            moderation=moderation,
            complexity=complexity,
            partial_images=partial_images,
            safety_identifier=safety_identifier,
            user=user,
            **options,
        )

    def create_variation(
        self,
        image: Source,
        *,
        model: str | None = None,
        n: int | None = None,
        size: Size | None = None,
        response_format: ResponseFormat | None = None,
        user: str | None = None,
        **options: Unpack[CallOptions],
    ) -> ImagesResponse:
        """Make pictures that resemble a given one.

        The maker retired this with dall-e-2; servers that speak the API of 2023 have it.
        ``help(imagesdk.Variation)`` tells of the parameters, ``help(imagesdk.CallOptions)`` of the options: ``out=``,
        ``timeout=``, ``check=`` and others.

        Example:
            response = client.images.create_variation("corgi.png", n=2)

        Raises:
            InvalidRequestError: a parameter or the picture breaks a rule of the model; nothing was sent.
            ModerationError: the content filter refused the picture.
            APIError: it failed in another way; ``maybe_billed`` tells about money.
            OSError: a file cannot be read.
        """
        return self._lease.call(
            AsyncImages.create_variation,
            image,
            model=model,
            n=n,
            size=size,
            response_format=response_format,
            user=user,
            **options,
        )

    def send(self, job: Job, **options: Unpack[CallOptions]) -> ImagesResponse:
        """Do what a :class:`Generate`, :class:`Edit` or :class:`Variation` says.

        ``help(imagesdk.CallOptions)`` tells of the options: ``out=``, ``timeout=``, ``check=`` and others.

        Example:
            response = client.images.send(Generate("a white siamese cat", n=2))

        Raises:
            InvalidRequestError: something breaks a rule of the model; nothing was sent.
            APIError: it failed in another way; ``maybe_billed`` tells about money.
            OSError: a file cannot be read or written.
        """
        return self._lease.call(AsyncImages.send, job, **options)

    def stream(self, job: Job, **options: Unpack[CallOptions]) -> AbstractContextManager[ImageStream]:
        """Do what a :class:`Generate` or :class:`Edit` says, and show the picture while it is made.

        ``help(imagesdk.CallOptions)`` tells of the options: ``out=``, ``timeout=``, ``check=`` and others.

        Example:
            with client.images.stream(Generate("a river", partial_images=2)) as stream:
                for event in stream:
                    print(event.image)

        Raises:
            InvalidRequestError: something breaks a rule of the model; nothing was sent.
            APIError: it failed in another way; ``maybe_billed`` tells about money.
            OSError: a file cannot be read or written.
        """
        return self._lease.host(ImageStream, AsyncImages.stream, job, **options)

    def fan_out(
        self,
        jobs: Jobs,
        *,
        out: str | os.PathLike[str] | None = None,
        journal: str | os.PathLike[str] | bool | None = True,
        defaults: Generate | None = None,
        concurrency: int | None = None,
        delivery: Delivery = "at_most_once",
        retry_unknown: bool = False,
        budget: str | Decimal | int | None = None,
        unknown_price: UnknownPrice = "stop",
    ) -> AbstractContextManager[Run]:
        """Run many jobs at once. The run can be watched, stopped and resumed.

        A failed job does not stop the others. At most one job waits for the rate limit, so other calls get their turn.
        Leaving the block early cancels the jobs in flight. With ``out``, a journal records each job: run the same jobs
        again, and finished jobs are skipped, also after a crash.

        Args:
            jobs: Jobs, prompts and :class:`Labelled` jobs, in any iterable. Jobs are read lazily. An iterator that may
                block is read in a thread.
            out: A folder, or a template with ``{job}``, ``{id}`` or ``{slug}``. Without ``out`` images stay in memory,
                and the run pauses while 16 outcomes are unread.
            journal: The file that records the jobs. ``True``: ``journal.db`` in the folder of ``out``. ``False`` or
                ``None``: no journal.
            defaults: Parameters for jobs that are only prompts. Its own prompt is not used.
            concurrency: Maximum number of jobs in flight. ``None``: as many as the rate limit allows.
            delivery: ``"at_most_once"``: the run never repeats an attempt that may have been billed.
                ``"at_least_once"``: it repeats such attempts until the image has arrived, in at least ten attempts
                while most jobs succeed.
            retry_unknown: Whether to send jobs again whose outcome is unknown or whose files are missing or changed.
            budget: US dollars that all jobs of the journal may cost together, such as ``"20 USD"``. The maximum cost of
                a job is reserved before it is sent.
            unknown_price: Whether to send jobs with an unknown price when there is a budget: ``"stop"`` or ``"allow"``.

        Example:
            ```python
            with client.images.fan_out(["a river", "a lake"], out="waters/") as run:
                for outcome in run:
                    print(outcome.status, outcome.id)
            ```

        Raises:
            ConfigurationError: If an option is not valid.
            InvalidRequestError: If ``out`` gives the images of several jobs the same name.
            JournalError: If the journal is in use, damaged, or cannot be written.
            OSError: If the output folder cannot be written to.
        """
        return self._lease.host(
            Run,
            AsyncImages.fan_out,
            jobs,
            out=out,
            journal=journal,
            defaults=defaults,
            concurrency=concurrency,
            delivery=delivery,
            retry_unknown=retry_unknown,
            budget=budget,
            unknown_price=unknown_price,
        )

    def dry_run(
        self,
        jobs: Jobs,
        *,
        out: str | os.PathLike[str] | None = None,
        journal: str | os.PathLike[str] | bool | None = True,
        defaults: Generate | None = None,
        delivery: Delivery = "at_most_once",
        retry_unknown: bool = False,
    ) -> DryRun:
        """Predict what :meth:`fan_out` would do with the same arguments. Nothing is sent or written.

        Example:
            ```python
            print((client.images.dry_run(["a river", "a lake"], out="waters/")).at_most)
            ```

        Raises:
            ConfigurationError: If an option is not valid.
            InvalidRequestError: If ``out`` gives the images of several jobs the same name.
            JournalError: If the journal cannot be read.
        """
        return self._lease.call(
            AsyncImages.dry_run,
            jobs,
            out=out,
            journal=journal,
            defaults=defaults,
            delivery=delivery,
            retry_unknown=retry_unknown,
        )

    def download(
        self,
        image: Image | str,
        *,
        to: str | os.PathLike[str] | None = None,
        timeout: float | Timeouts | None = None,
    ) -> bytes:
        """Return the bytes of a picture, fetching its URL if it is only that; write them to ``to`` if given.

        The key never goes to the picture's server. A failed fetch is tried again, and never by generating
        again. ``to`` is a file, a folder for a name of ours, or a template with ``{index}`` and ``{ext}``.

        Example:
            data = client.images.download(response[0], to="otter.png")

        Raises:
            InvalidRequestError: ``to`` is no path; nothing was fetched.
            DownloadError: the URL is not safe to fetch, has expired, or could not be fetched.
            OSError: the file cannot be read or written.
        """
        return self._lease.call(AsyncImages.download, image, to=to, timeout=timeout)


class ImageStream:
    """A picture while it is made: iterate over it, or ask for its end. Made by ``client.images.generate_stream``.

    Example:
        with client.images.generate_stream("a river", partial_images=2) as stream:
            for event in stream:
                print(event.image)
            response = stream.final()
    """

    __module__ = "imagesdk"

    def __init__(self, held: Hosted[AsyncImageStream]) -> None:
        self._lease = held

    @property
    def request_id(self) -> str | None:
        """The server's id of the request: what support asks for."""
        return self._lease.twin.request_id

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> StreamedImage:
        """Wait for the next picture.

        Raises:
            StreamError: the stream ended without its picture.
            APIError: the server says that something is wrong.
            OSError: the finished picture cannot be written.
        """
        return self._lease.next(AsyncImageStream.__anext__)

    def final(self) -> ImagesResponse:
        """Read on to the end, and return what a call without a stream would have returned.

        Raises:
            StreamError: the stream ended without its picture; ``error.partial`` is the last one on the way.
            APIError: the server says that something is wrong.
            OSError: the finished picture cannot be written.
        """
        return self._lease.call(AsyncImageStream.final)


class Run:
    """Run of many jobs. Iterate over it for their outcomes as they finish. Created by ``client.images.fan_out``.

    Example:
        ```python
        with client.images.fan_out(["a river", "a lake"], out="waters/") as run:
            for outcome in run:
                print(outcome.status, outcome.id)
        ```
    """

    __module__ = "imagesdk"

    def __init__(self, held: Hosted[AsyncRun]) -> None:
        self._lease = held

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Outcome:
        """Wait for the next outcome. Several tasks may iterate: each outcome goes to one of them.

        These errors are raised after the last outcome.

        Raises:
            JournalError: If the journal cannot be written; the run started no further job.
            OSError: If images cannot be written; the run started no further job.
            Exception: If the iterator of the jobs raised it.
        """
        return self._lease.next(AsyncRun.__anext__)

    def collect(self) -> list[Outcome]:
        """Wait for all outcomes that were not taken yet. Return them in the order of the jobs.

        A run can be collected once, because it does not keep the outcomes.

        Raises:
            RuntimeError: If the run was collected before.
            JournalError: If the journal cannot be written; the run started no further job.
            OSError: If images cannot be written; the run started no further job.
            Exception: If the iterator of the jobs raised it.
        """
        return self._lease.call(AsyncRun.collect)

    @property
    def progress(self) -> Progress:
        """Snapshot of the run. It returns at once, from any thread."""
        return self._lease.twin.progress

    def stop(self) -> None:
        """Start no further job. Jobs in flight finish, and iteration ends with them. Callable from any thread."""
        self._lease.twin.stop()


class Files:
    """Files on the server. Made by the client: ``client.files``."""

    __module__ = "imagesdk"

    def __init__(self, held: Lease[AsyncFiles]) -> None:
        self._lease = held

    def upload(
        self,
        source: Source,
        purpose: str = "vision",
        *,
        filename: str | None = None,
        expires_after: int | None = None,
        timeout: float | Timeouts | None = None,
    ) -> FileObject:
        """Upload a file, for example a picture that several edits use.

        Args:
            source: a path, bytes, a binary file, or any other picture that an edit takes; read as it is sent.
            purpose: ``"vision"`` for pictures, ``"batch"`` for the requests of a batch.
            filename: what the server is to call it; the name of the file when not given.
            expires_after: seconds until the server deletes it, an hour (3600) to 30 days (2592000).
            timeout: seconds for the whole call, or :class:`Timeouts`.

        Example:
            file = client.files.upload("lounge.png")
            response = client.images.edit(file, "a lounge with a pool")

        Raises:
            InvalidRequestError: there is nothing to upload in ``source``; nothing was sent.
            APIError: it failed.
            OSError: the file cannot be read.
        """
        return self._lease.call(
            AsyncFiles.upload,
            source,
            purpose,
            filename=filename,
            expires_after=expires_after,
            timeout=timeout,
        )

    def retrieve(
        self,
        file: str | FileId | FileObject,
        *,
        timeout: float | Timeouts | None = None,
    ) -> FileObject:
        """Return what the server knows of a file.

        Example:
            file = client.files.retrieve("file-abc123")

        Raises:
            NotFoundError: there is no such file.
            APIError: it failed in another way.
        """
        return self._lease.call(AsyncFiles.retrieve, file, timeout=timeout)

    def list(
        self,
        *,
        purpose: str | None = None,
        limit: int | None = None,
        after: str | None = None,
        timeout: float | Timeouts | None = None,
    ) -> tuple[FileObject, ...]:
        """Return a page of the account's files, newest first.

        Args:
            purpose: only those for this.
            limit: how many at most; the server's own number when not given.
            after: the id of the last one of the page before.
            timeout: seconds for the whole call, or :class:`Timeouts`.

        Example:
            for file in client.files.list(purpose="vision"):
                print(file.id, file.filename)

        Raises:
            APIError: it failed.
        """
        return self._lease.call(AsyncFiles.list, purpose=purpose, limit=limit, after=after, timeout=timeout)

    def delete(self, file: str | FileId | FileObject, *, timeout: float | Timeouts | None = None) -> bool:
        """Delete a file, and return whether it is gone.

        Example:
            client.files.delete(file)

        Raises:
            NotFoundError: there is no such file.
            APIError: it failed in another way.
        """
        return self._lease.call(AsyncFiles.delete, file, timeout=timeout)

    def content(self, file: str | FileId | FileObject, *, timeout: float | Timeouts | None = None) -> bytes:
        """Return the bytes of a file. (Servers do not give back every kind: not what was uploaded for vision.)

        Example:
            data = client.files.content("file-abc123")

        Raises:
            NotFoundError: there is no such file.
            APIError: it failed in another way.
        """
        return self._lease.call(AsyncFiles.content, file, timeout=timeout)

    def download(
        self,
        file: str | FileId | FileObject,
        to: str | os.PathLike[str],
        *,
        timeout: float | Timeouts | None = None,
    ) -> Path:
        """Write the bytes of a file to ``to`` while they come, whole or not at all, and return the path.

        Example:
            path = client.files.download("file-abc123", "results.jsonl")

        Raises:
            NotFoundError: there is no such file.
            APIError: it failed in another way.
            OSError: it cannot be written.
        """
        return self._lease.call(AsyncFiles.download, file, to, timeout=timeout)
