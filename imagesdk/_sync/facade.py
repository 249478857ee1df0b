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
from imagesdk.fan_out.options import Beside
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

    It may be used from several threads at once, beside a running event loop and in forked processes, and for any number of
    calls, which queue for the rate limit. Close it with ``with`` or ``close()``.

    Example:
        ```python
        with Client() as client:
            response = client.images.generate("a white siamese cat", out="cats/")
        ```

    Args:
        api_key: The key of the account. Default: ``OPENAI_API_KEY``. ``""`` sends no key, for servers without keys.
        base_url: The URL of the server. Default: ``OPENAI_BASE_URL``, or else the server of OpenAI.
        organization: The id of the organization. Default: ``OPENAI_ORG_ID``.
        project: The id of the project. Default: ``OPENAI_PROJECT_ID``.
        timeout: Seconds for a whole call, or :class:`Timeouts`. ``None``: no end.
        retry: The policy for retries of failed attempts.
        rate_limit: The limit that the client keeps to: a :class:`RateLimit`, a text such as ``"50/min"``, ``None`` for
            no limit, or a mapping of models to these, with ``"*"`` for all other models. ``IMAGESDK_RATE_LIMIT`` (such
            as ``50/min``, or ``none``) applies where neither the option nor ``"*"`` is given.
        check: Whether requests that break a rule of the model are refused before anything is sent.
        caps: Maximum sizes of responses.
        fsync: Whether to fsync output files before a call returns.
        http_client: An ``httpx.AsyncClient`` or ``httpx2.AsyncClient`` that sends the requests, or a function without
            arguments that returns one for each event loop.
        observers: Functions that are called with every event of :mod:`imagesdk.events`.
        default_headers: Headers of every request to the server, but not of downloads.
        allow_insecure: Whether a key may be sent over plain http to another machine.

    Raises:
        ConfigurationError: If a key is needed and missing, if it would be sent over plain http, if the base URL cannot
            be used, or if an option has a wrong value.
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
        """Return a client for Azure OpenAI.

        Without ``api_version`` the client uses the v1 API. With a date it uses the API with deployments in its paths.

        Example:
            ```python
            client = Client.azure("https://NAME.openai.azure.com", deployment="covers", model="gpt-image-2")
            ```

        Args:
            endpoint: The URL of the resource. Default: ``AZURE_OPENAI_ENDPOINT``.
            deployment: The deployment for all requests. Default: each call names its own as ``model=``.
            api_version: A date such as ``"2025-04-01-preview"``, or ``"preview"`` for new features of the v1 API.
            model: The model that is deployed, for its checks and prices. Not needed if the deployment has the name of
                its model.
            api_key: The key of the resource. Default: ``AZURE_OPENAI_API_KEY``, if there is no ``token_provider``.
            token_provider: A function that returns a token, in place of a key, such as
                ``azure.identity.get_bearer_token_provider(credential, "https://ai.azure.com/.default")``. It is called
                in a thread, never twice at once. A token is kept until a minute before it expires, or for a minute if
                its expiry is unknown.
            http_client: As in :class:`Client`.
            allow_insecure: Whether a key may be sent over plain http to another machine.
            options: Those of :class:`ClientOptions`.

        Raises:
            ConfigurationError: If there is neither a key nor a token provider, or both, if the endpoint cannot be used,
                or if an option has a wrong value.
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
        """Create, edit and vary images."""
        return self._images

    @property
    def files(self) -> Files:
        """Upload, look up and delete files, such as images that edits refer to by id."""
        return self._files

    @property
    def base_url(self) -> str:
        """The URL of the server, without a trailing slash."""
        return self._lease.twin.base_url

    def with_options(self, **changes: Unpack[ClientOptions]) -> Client:
        """Return a view of the client: the same connections, key and rate-limit windows, with other options.

        A view with another ``rate_limit=`` counts in the same windows, unless the scope of the limit is the client.
        Closing a view closes nothing. Close the client that it comes from.

        Example:
            ```python
            patient = client.with_options(timeout=600, retry=RetryPolicy(max_attempts=8))
            ```

        Raises:
            ConfigurationError: If there is no such option, if its value is wrong, or if a header cannot be sent.
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
        """Send a request of your own to the same server, with the key, retries and rate limit of the client.

        Example:
            ```python
            models = (client.request("GET", "/models")).json()
            ```

        Args:
            method: The HTTP method, such as ``"GET"``.
            path: A path below the base URL, such as ``"/models"``, or a whole URL on the origin of the server.
            json: A body to encode as JSON.
            content: A body as bytes, in place of ``json``. Its type is the ``content-type`` of ``headers``.
            query: Parameters of the URL.
            headers: Further headers.
            timeout: Seconds for the whole call, or :class:`Timeouts`. Default: that of the client.
            images: The number of images that the request asks for, which the rate limit counts.
            billed: Whether a second execution may be billed again, so that retries follow the rules for images.
                Default: ``True`` with images, and for POST and PATCH.
            idempotency_key: The key that every attempt sends. Default: a random key.

        Raises:
            InvalidRequestError: If the request cannot be sent.
            APIError: If the request fails. A status of 400 and above raises the same error as any other call.
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
    """The Images API, as ``client.images``."""

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
        """Create images from a prompt.

        A detailed prompt makes the result more predictable. Smaller images are faster.
        Parameters: ``help(imagesdk.Generate)``. Options, such as ``out=``, ``timeout=`` and ``check=``: ``help(imagesdk.CallOptions)``.

        Example:
            ```python
            response = client.images.generate("a white siamese cat", n=2, out="cats/")
            ```

        Raises:
            InvalidRequestError: If a parameter breaks a rule of the model. Nothing was sent.
            ModerationError: If the content filter refuses the prompt.
            APIError: If the request fails in another way. ``maybe_billed`` says whether it may have been billed.
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
        """Edit an image, or repaint it where a mask is transparent.

        The prompt describes the whole new image, not only the repainted area.
        Parameters: ``help(imagesdk.Edit)``. Options, such as ``out=``, ``timeout=`` and ``check=``: ``help(imagesdk.CallOptions)``.

        Example:
            ```python
            response = client.images.edit("lounge.png", "a lounge with a pool", mask="mask.png")
            ```

        Raises:
            InvalidRequestError: If a parameter or an image breaks a rule of the model. Nothing was sent.
            ModerationError: If the content filter refuses the prompt or an image.
            APIError: If the request fails in another way. ``maybe_billed`` says whether it may have been billed.
            OSError: If a file cannot be read.
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
        """Create one image from a prompt, and receive partial images while the model works.

        ``help(imagesdk.Generate)`` documents the parameters, and ``help(imagesdk.CallOptions)`` the options. With
        ``out=`` the final image is written to disk. Partial images stay in memory. Leaving the block early closes the
        request, which is billed nevertheless.

        Example:
            ```python
            with client.images.generate_stream("a river", partial_images=2) as stream:
                for event in stream:
                    print(event.image)
            ```

        Raises:
            InvalidRequestError: If a parameter breaks a rule of the model. Nothing was sent.
            ModerationError: If the content filter refuses the prompt.
            StreamError: If the stream ends without its final image. Raised on iteration.
            APIError: If the request fails in another way. ``maybe_billed`` says whether it may have been billed.
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
        """Edit an image, and receive partial images while the model works.

        ``help(imagesdk.Edit)`` documents the parameters, and ``help(imagesdk.CallOptions)`` the options. See also
        :meth:`generate_stream`.

        Example:
            ```python
            with client.images.edit_stream("lounge.png", "a pool", partial_images=1) as stream:
                response = stream.final()
            ```

        Raises:
            InvalidRequestError: If a parameter or an image breaks a rule of the model. Nothing was sent.
            ModerationError: If the content filter refuses the prompt or an image.
            StreamError: If the stream ends without its final image. Raised on iteration.
            APIError: If the request fails in another way. ``maybe_billed`` says whether it may have been billed.
            OSError: If a file cannot be read.
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
        """Create images that resemble a given image.

        OpenAI retired this endpoint together with dall-e-2. Servers with the API of 2023 still have it.
        Parameters: ``help(imagesdk.Variation)``. Options, such as ``out=``, ``timeout=`` and ``check=``: ``help(imagesdk.CallOptions)``.

        Example:
            response = client.images.create_variation("corgi.png", n=2)

        Raises:
            InvalidRequestError: If a parameter or the image breaks a rule of the model. Nothing was sent.
            ModerationError: If the content filter refuses the image.
            APIError: If the request fails in another way. ``maybe_billed`` says whether it may have been billed.
            OSError: If a file cannot be read.
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
        """Send a :class:`Generate`, :class:`Edit` or :class:`Variation`.

        ``help(imagesdk.CallOptions)`` documents the options: ``out=``, ``timeout=``, ``check=`` and others.

        Example:
            ```python
            response = client.images.send(Generate("a white siamese cat", n=2))
            ```

        Raises:
            InvalidRequestError: If the job breaks a rule of the model. Nothing was sent.
            APIError: If the request fails in another way. ``maybe_billed`` says whether it may have been billed.
            OSError: If a file cannot be read or written.
        """
        return self._lease.call(AsyncImages.send, job, **options)

    def stream(self, job: Job, **options: Unpack[CallOptions]) -> AbstractContextManager[ImageStream]:
        """Send a :class:`Generate` or :class:`Edit`, and receive partial images while the model works.

        ``help(imagesdk.CallOptions)`` documents the options: ``out=``, ``timeout=``, ``check=`` and others.

        Example:
            ```python
            with client.images.stream(Generate("a river", partial_images=2)) as stream:
                for event in stream:
                    print(event.image)
            ```

        Raises:
            InvalidRequestError: If the job breaks a rule of the model. Nothing was sent.
            APIError: If the request fails in another way. ``maybe_billed`` says whether it may have been billed.
            OSError: If a file cannot be read or written.
        """
        return self._lease.host(ImageStream, AsyncImages.stream, job, **options)

    def fan_out(
        self,
        jobs: Jobs,
        *,
        out: str | os.PathLike[str] | None = None,
        journal: str | os.PathLike[str] | Beside | None = Beside.OUT,
        defaults: Generate | None = None,
        concurrency: int | None = None,
        delivery: Delivery = "at_most_once",
        retry_unknown: bool = False,
        budget: str | Decimal | int | None = None,
        unknown_price: UnknownPrice = "stop",
    ) -> AbstractContextManager[Run]:
        """Send many jobs concurrently, as one run that can be watched, stopped and resumed.

        A failed job does not stop the others. At most one job waits for the rate limit, so that other calls are not
        blocked. Leaving the block early cancels all jobs in flight. With files the run keeps a journal: run the same
        jobs again, also after a crash, and finished jobs are skipped.

        Args:
            jobs: An iterable of jobs, prompts and :class:`Labelled` jobs, consumed lazily. An iterator that may block is
                read in a thread.
            out: A folder, or a template with ``{job}``, ``{id}`` or ``{slug}``. Without it images stay in memory, and
                the run pauses while too many outcomes are unread.
            journal: The path of the journal. Default: ``journal.db`` in the folder of ``out``. ``None``: no journal.
            defaults: The parameters of jobs that are only prompts. Its own prompt is not used.
            concurrency: The maximum number of jobs in flight. ``None``: as many as the rate limit allows.
            delivery: ``"at_most_once"`` never repeats a request that may have been billed. ``"at_least_once"`` repeats
                it, in at least ten attempts, while most jobs succeed.
            retry_unknown: Whether jobs are sent again whose outcome is unknown, or whose files are lost.
            budget: The maximum cost in US dollars of all jobs in the journal, such as ``"20 USD"``. The maximum cost of
                a job is reserved before it is sent.
            unknown_price: ``"allow"`` sends jobs of unknown price although there is a budget. ``"stop"`` does not.

        Example:
            ```python
            with client.images.fan_out(["a river", "a lake"], out="waters/") as run:
                for outcome in run:
                    print(outcome.status, outcome.id)
            ```

        Raises:
            ConfigurationError: If an option has a wrong value.
            InvalidRequestError: If ``out`` maps images of several jobs to one file name.
            JournalError: If the journal is in use, is damaged, or cannot be written.
            OSError: If no files can be created in the folder of ``out``.
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
        journal: str | os.PathLike[str] | Beside | None = Beside.OUT,
        defaults: Generate | None = None,
        delivery: Delivery = "at_most_once",
        retry_unknown: bool = False,
    ) -> DryRun:
        """Return what :meth:`fan_out` with the same arguments would send, cost and take. Nothing is sent or written.

        Example:
            print((client.images.dry_run(["a river", "a lake"], out="waters/")).at_most)

        Raises:
            ConfigurationError: If an option has a wrong value.
            InvalidRequestError: If ``out`` maps images of several jobs to one file name.
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
        """Return the bytes of an image, and download it first if it is only a URL.

        The key is never sent to the server of a URL. A failed download is retried on its own, and never causes a second
        generation.

        Example:
            data = client.images.download(response[0], to="otter.png")

        Args:
            image: An image of a response, or a URL.
            to: The file to write: a path, a folder, or a template with ``{index}`` and ``{ext}``. Default: no file.
            timeout: Seconds for the whole download, or :class:`Timeouts`. Default: that of the client.

        Raises:
            InvalidRequestError: If ``to`` is not a path. Nothing was downloaded.
            DownloadError: If the URL is not safe to fetch, has expired, or cannot be fetched.
            OSError: If a file cannot be read or written.
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
    """Many jobs under way: iterate over it for their outcomes as they finish. Made by ``client.images.fan_out``.

    Example:
        with client.images.fan_out(["a river", "a lake"], out="waters/") as run:
            for outcome in run:
                print(outcome.status, outcome.id)
    """

    __module__ = "imagesdk"

    def __init__(self, held: Hosted[AsyncRun]) -> None:
        self._lease = held

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Outcome:
        """Wait for the next outcome. Several tasks may iterate: each outcome goes to one of them.

        Raises:
            JournalError: the journal cannot be written; no further job was begun.
            OSError: pictures cannot be written; no further job was begun.
            Exception: what the iterator of the jobs raised. Like the others, after the last outcome.
        """
        return self._lease.next(AsyncRun.__anext__)

    def collect(self) -> list[Outcome]:
        """Wait for all outcomes that were not taken yet, and return them in the order of the jobs. Once: keep the list.

        Raises:
            RuntimeError: they were collected before.
            JournalError: as on iteration, and likewise for the others.
            OSError: pictures cannot be written.
            Exception: what the iterator of the jobs raised.
        """
        return self._lease.call(AsyncRun.collect)

    @property
    def progress(self) -> Progress:
        """How far it has come. Immediate, from any thread."""
        return self._lease.twin.progress

    def stop(self) -> None:
        """Begin no further job, and let those under way finish: iteration ends with them. From any thread."""
        self._lease.twin.stop()


class Files:
    """Files on the server, as ``client.files``."""

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
        """Upload a file, for example an image that several edits use.

        Args:
            source: A path, bytes, a binary file, or any other image that an edit takes. It is read while it is sent.
            purpose: ``"vision"`` for images, ``"batch"`` for the requests of a batch.
            filename: The name of the file on the server. Default: its own name.
            expires_after: Seconds until the server deletes the file, from an hour (3600) to 30 days (2592000).
            timeout: Seconds for the whole call, or :class:`Timeouts`. Default: that of the client.

        Example:
            ```python
            file = client.files.upload("lounge.png")
            response = client.images.edit(file, "a lounge with a pool")
            ```

        Raises:
            InvalidRequestError: If ``source`` has nothing to upload. Nothing was sent.
            APIError: If the request fails.
            OSError: If the file cannot be read.
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
        """Return the facts about a file.

        Example:
            ```python
            file = client.files.retrieve("file-abc123")
            ```

        Raises:
            NotFoundError: If there is no such file.
            APIError: If the request fails in another way.
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
            purpose: Only files with this purpose. Default: all files.
            limit: The maximum number of files. Default: that of the server.
            after: The id of the last file on the page before.
            timeout: Seconds for the whole call, or :class:`Timeouts`. Default: that of the client.

        Example:
            ```python
            for file in client.files.list(purpose="vision"):
                print(file.id, file.filename)
            ```

        Raises:
            APIError: If the request fails.
        """
        return self._lease.call(AsyncFiles.list, purpose=purpose, limit=limit, after=after, timeout=timeout)

    def delete(self, file: str | FileId | FileObject, *, timeout: float | Timeouts | None = None) -> bool:
        """Delete a file, and return whether the server has deleted it.

        Example:
            ```python
            client.files.delete(file)
            ```

        Raises:
            NotFoundError: If there is no such file.
            APIError: If the request fails in another way.
        """
        return self._lease.call(AsyncFiles.delete, file, timeout=timeout)

    def content(self, file: str | FileId | FileObject, *, timeout: float | Timeouts | None = None) -> bytes:
        """Return the bytes of a file. Servers do not return files that were uploaded for vision.

        Example:
            ```python
            data = client.files.content("file-abc123")
            ```

        Raises:
            NotFoundError: If there is no such file.
            APIError: If the request fails in another way.
        """
        return self._lease.call(AsyncFiles.content, file, timeout=timeout)

    def download(
        self,
        file: str | FileId | FileObject,
        to: str | os.PathLike[str],
        *,
        timeout: float | Timeouts | None = None,
    ) -> Path:
        """Write the bytes of a file to ``to`` while they arrive, and return the path. ``to`` is never half a file.

        Example:
            ```python
            path = client.files.download("file-abc123", "results.jsonl")
            ```

        Raises:
            NotFoundError: If there is no such file.
            APIError: If the request fails in another way.
            OSError: If ``to`` cannot be written.
        """
        return self._lease.call(AsyncFiles.download, file, to, timeout=timeout)
