"""``client.images``: create, edit and vary images, and download the results.

The named methods build a job and pass it to :meth:`AsyncImages.send` or :meth:`AsyncImages.stream`. The parameters of
the API are documented in :mod:`imagesdk.jobs`.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack

from imagesdk._calls.build import ClientContext, build_call
from imagesdk._calls.context import NotEntered
from imagesdk._calls.finish import download, finish
from imagesdk.jobs import (
    Background,
    CallOptions,
    Complexity,
    Edit,
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
    Variation,
)
from imagesdk.policies import Delivery, Timeouts
from imagesdk.streams import AsyncImageStream
from imagesdk.types import Image, ImagesResponse, Source

if TYPE_CHECKING:  # the modules of runs are loaded with the first run
    from imagesdk.fan_out.lanes import Lane
    from imagesdk.fan_out.options import StopOn
    from imagesdk.fan_out.outcomes import DryRun, Jobs, Outcome
    from imagesdk.fan_out.run import AsyncRun
    from imagesdk.fan_out.spending import UnknownPrice


class AsyncImages:
    """The Images API, as ``client.images``."""

    def __init__(self, context: ClientContext) -> None:
        self._context = context

    async def generate(
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
            response = await client.images.generate("a white siamese cat", n=2, out="cats/")
            ```

        Raises:
            InvalidRequestError: If a parameter breaks a rule of the model. Nothing was sent.
            ModerationError: If the content filter refuses the prompt.
            APIError: If the request fails in another way. ``maybe_billed`` says whether it may have been billed.
        """
        return await self.send(Generate(**_parameters(locals())), **options)

    async def edit(
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
            response = await client.images.edit("lounge.png", "a lounge with a pool", mask="mask.png")
            ```

        Raises:
            InvalidRequestError: If a parameter or an image breaks a rule of the model. Nothing was sent.
            ModerationError: If the content filter refuses the prompt or an image.
            APIError: If the request fails in another way. ``maybe_billed`` says whether it may have been billed.
            OSError: If a file cannot be read.
        """
        return await self.send(Edit(**_parameters(locals())), **options)

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
    ) -> AbstractAsyncContextManager[AsyncImageStream]:
        """Create one image from a prompt, and receive partial images while the model works.

        ``help(imagesdk.Generate)`` documents the parameters, and ``help(imagesdk.CallOptions)`` the options. With
        ``out=`` the final image is written to disk. Partial images stay in memory. Leaving the block early closes the
        request, which is billed nevertheless.

        Example:
            ```python
            async with client.images.generate_stream("a river", partial_images=2) as stream:
                async for event in stream:
                    print(event.image)
            ```

        Raises:
            InvalidRequestError: If a parameter breaks a rule of the model. Nothing was sent.
            ModerationError: If the content filter refuses the prompt.
            StreamError: If the stream ends without its final image. Raised on iteration.
            APIError: If the request fails in another way. ``maybe_billed`` says whether it may have been billed.
        """
        return NotEntered(self._streaming(Generate(**_parameters(locals())), options), "generate_stream")

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
    ) -> AbstractAsyncContextManager[AsyncImageStream]:
        """Edit an image, and receive partial images while the model works.

        ``help(imagesdk.Edit)`` documents the parameters, and ``help(imagesdk.CallOptions)`` the options. See also
        :meth:`generate_stream`.

        Example:
            ```python
            async with client.images.edit_stream("lounge.png", "a pool", partial_images=1) as stream:
                response = await stream.final()
            ```

        Raises:
            InvalidRequestError: If a parameter or an image breaks a rule of the model. Nothing was sent.
            ModerationError: If the content filter refuses the prompt or an image.
            StreamError: If the stream ends without its final image. Raised on iteration.
            APIError: If the request fails in another way. ``maybe_billed`` says whether it may have been billed.
            OSError: If a file cannot be read.
        """
        return NotEntered(self._streaming(Edit(**_parameters(locals())), options), "edit_stream")

    async def create_variation(
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
            ```python
            response = await client.images.create_variation("corgi.png", n=2)
            ```

        Raises:
            InvalidRequestError: If a parameter or the image breaks a rule of the model. Nothing was sent.
            ModerationError: If the content filter refuses the image.
            APIError: If the request fails in another way. ``maybe_billed`` says whether it may have been billed.
            OSError: If a file cannot be read.
        """
        return await self.send(Variation(**_parameters(locals())), **options)

    async def send(self, job: Job, **options: Unpack[CallOptions]) -> ImagesResponse:
        """Send a :class:`Generate`, :class:`Edit` or :class:`Variation`.

        ``help(imagesdk.CallOptions)`` documents the options: ``out=``, ``timeout=``, ``check=`` and others.

        Example:
            ```python
            response = await client.images.send(Generate("a white siamese cat", n=2))
            ```

        Raises:
            InvalidRequestError: If the job breaks a rule of the model. Nothing was sent.
            APIError: If the request fails in another way. ``maybe_billed`` says whether it may have been billed.
            OSError: If a file cannot be read or written.
        """
        async with build_call(job, options, self._context) as prepared:
            result = await self._context.engine.send(prepared.call)
        return await finish(result, prepared, self._context)

    def stream(
        self, job: Job, **options: Unpack[CallOptions]
    ) -> AbstractAsyncContextManager[AsyncImageStream]:
        """Send a :class:`Generate` or :class:`Edit`, and receive partial images while the model works.

        ``help(imagesdk.CallOptions)`` documents the options: ``out=``, ``timeout=``, ``check=`` and others.

        Example:
            ```python
            async with client.images.stream(Generate("a river", partial_images=2)) as stream:
                async for event in stream:
                    print(event.image)
            ```

        Raises:
            InvalidRequestError: If the job breaks a rule of the model. Nothing was sent.
            APIError: If the request fails in another way. ``maybe_billed`` says whether it may have been billed.
            OSError: If a file cannot be read or written.
        """
        return NotEntered(self._streaming(job, options), "stream")

    @asynccontextmanager
    async def _streaming(self, job: Job, options: CallOptions) -> AsyncGenerator[AsyncImageStream, None]:
        async with (
            build_call(job, options, self._context, stream=True) as prepared,
            self._context.engine.stream(prepared.call) as source,
        ):
            finisher = partial(finish, prepared=prepared, context=self._context)
            yield AsyncImageStream(source, prepared.call, finisher)

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
        stop_on: StopOn = "fatal",
        max_failures: int | None = None,
        give_up_after: float | None = 900.0,
        lane: Lane = "live",
        deadline: str | float | timedelta | None = None,
        poll: float | None = None,
    ) -> AbstractAsyncContextManager[AsyncRun]:
        """Run many jobs at once. The run can be watched, stopped and resumed.

        A failed job does not stop the others, and a server that is away pauses the run. At most one job waits for the rate limit, so other calls get their turn.
        Leaving the block early cancels the jobs in flight. With ``out``, a journal records each job: run the same jobs
        again, and finished jobs are skipped, also after a crash.

        Args:
            jobs: Jobs, prompts and :class:`Labelled` jobs, in any iterable. Jobs are read lazily. An iterator that may
                block is read in a thread.
            out: A folder or its URL, or a template with ``{job}``, ``{id}`` or ``{slug}``. Without ``out`` images stay in
                memory, and the run pauses while 16 outcomes are unread.
            journal: The local file that records the jobs. ``True``: ``journal.db`` in the folder of ``out``, which must
                be local then. ``False`` or ``None``: no journal.
            defaults: Parameters for jobs that are only prompts. Its own prompt is not used.
            concurrency: Maximum number of jobs in flight. ``None``: as many as the rate limit allows.
            delivery: ``"at_most_once"``: the run never repeats an attempt that may have been billed.
                ``"at_least_once"``: it repeats such attempts until a response has arrived, in at least 30 attempts.
            retry_unknown: Whether to send jobs again whose outcome is unknown or whose files are missing or changed.
            budget: US dollars that all jobs of the journal may cost together, such as ``"20 USD"``. The maximum cost of
                a job is reserved before it is sent.
            unknown_price: Whether to send jobs with an unknown price when there is a budget: ``"stop"`` or ``"allow"``.
            stop_on: ``"fatal"``: an answer that every job would get (401, 403, quota used up, no such model) pauses the
                run, and a second one ends it with that error. ``"never"``: such jobs fail, and the run continues.
            max_failures: Number of jobs, ``failed`` or ``unknown``, after which the run ends with ``RunStoppedError``.
                ``None``: no end.
            give_up_after: Seconds. While the server is away the run pauses, and sends one job at a time as a probe. If
                none succeeds for so long, the run ends with ``RunStoppedError``. ``None``: no end.
            lane: ``"live"``: each job is a call. ``"batch"``: the jobs go into batches, which cost half and take up to a
                day. ``"auto"``: into batches, and live what would be late. The last two need ``out``.
            deadline: With ``"batch"`` and ``"auto"``: the time for all jobs from the first start of the run, such as
                ``"20h"``, seconds or a timedelta. Open batches are cancelled before it, and ``"auto"`` sends live what
                they have not begun.
            poll: Seconds between two looks at a batch. Default: as the server asks, or else from 5 to 60 seconds.

        Example:
            ```python
            async with client.images.fan_out(["a river", "a lake"], out="waters/") as run:
                async for outcome in run:
                    print(outcome.status, outcome.id)
            ```

        Raises:
            ConfigurationError: If an option is not valid.
            InvalidRequestError: If ``out`` gives the images of several jobs the same name.
            JournalError: If the journal is in use, damaged, or cannot be written.
            OSError: If the output folder cannot be written to.
        """
        from imagesdk.fan_out.options import RunOptions
        from imagesdk.fan_out.runner import Runner

        run_options = RunOptions(
            out=out,
            journal=journal,
            concurrency=concurrency,
            delivery=delivery,
            retry_unknown=retry_unknown,
            budget=budget,
            unknown_price=unknown_price,
            stop_on=stop_on,
            max_failures=max_failures,
            give_up_after=give_up_after,
            lane=lane,
            deadline=deadline,
            poll=poll,
        )
        return NotEntered(Runner(self._context).run(jobs, defaults=defaults, options=run_options), "fan_out")

    async def once(
        self,
        job: Job | str,
        *,
        key: str | None = None,
        retry_unknown: bool = False,
        **options: Unpack[CallOptions],
    ) -> Outcome:
        """Send a job that no other process sends: the first call with its key does, and all others get its outcome.

        The client needs a store that the processes share (``shared=``). A finished job is never sent again. A job that was
        under way when its process died is reported as ``unknown``, and sent again only with ``retry_unknown=True``. A call
        waits while another one works on the job. ``help(imagesdk.CallOptions)`` documents the options.

        Example:
            ```python
            async with AsyncClient(shared="sqlite:///covers/ledger.db") as client:
                outcome = await client.images.once(Generate("a white siamese cat"), out="covers/")
            ```

        Args:
            job: The job, or a prompt.
            key: The identity of the job: one line of at most 200 characters. Default: the content of the job.
            retry_unknown: Whether to send the job again if its outcome is unknown, or if it is done and a file of it is
                gone. The idempotency key stays the same.
            options: As of :meth:`send`. Files are named ``{id}-{index}.{ext}`` where ``out=`` is a folder, and replace no
                other file. An attempt that may have been billed is not repeated.

        Raises:
            ConfigurationError: If the client has no ``shared=``, or its store cannot be used.
            InvalidRequestError: If an option is not valid.
            CoordinationError: If the store cannot be reached before the job is sent. Nothing was sent.
        """
        from imagesdk.fan_out.once import once

        return await once(self._context, job, key=key, retry_unknown=retry_unknown, options=options)

    async def dry_run(
        self,
        jobs: Jobs,
        *,
        out: str | os.PathLike[str] | None = None,
        journal: str | os.PathLike[str] | bool | None = True,
        defaults: Generate | None = None,
        delivery: Delivery = "at_most_once",
        retry_unknown: bool = False,
        lane: Lane = "live",
    ) -> DryRun:
        """Predict what :meth:`fan_out` would do with the same arguments. Nothing is sent or written.

        Example:
            ```python
            print((await client.images.dry_run(["a river", "a lake"], out="waters/")).at_most)
            ```

        Raises:
            ConfigurationError: If an option is not valid.
            InvalidRequestError: If ``out`` gives the images of several jobs the same name.
            JournalError: If the journal cannot be read.
        """
        from imagesdk.fan_out.options import RunOptions
        from imagesdk.fan_out.runner import Runner

        run_options = RunOptions(
            out=out, journal=journal, delivery=delivery, retry_unknown=retry_unknown, lane=lane
        )
        return await Runner(self._context).dry_run(jobs, defaults=defaults, options=run_options)

    async def download(
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
            ```python
            data = await client.images.download(response[0], to="otter.png")
            ```

        Args:
            image: An image of a response, or a URL.
            to: The file to write: a path, folder, URL, or template with ``{index}`` and ``{ext}``. Default: no file.
            timeout: Seconds for the whole download, or :class:`Timeouts`. Default: that of the client.

        Raises:
            InvalidRequestError: If ``to`` is not a path. Nothing was downloaded.
            DownloadError: If the URL is not safe to fetch, has expired, or cannot be fetched.
            OSError: If a file cannot be read or written.
        """
        return await download(self._context, image, to, timeout)


def _parameters(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of the API among the arguments of a method."""
    return {name: value for name, value in arguments.items() if name not in {"self", "options"}}


AsyncImages.__module__ = "imagesdk"
