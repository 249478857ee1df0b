"""The Python client for the Images API: create, edit and vary pictures from prompts.

``AsyncClient`` is the core, ``Client`` the blocking facade generated from it. The names below are loaded on
first use, so that ``import imagesdk`` costs next to nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers read it as true; typing itself takes longer to import than all of this

if TYPE_CHECKING:
    from typing import Any

    from imagesdk._calls.retirement import RetirementWarning as RetirementWarning
    from imagesdk._sync.facade import Client as Client
    from imagesdk._sync.facade import Files as Files
    from imagesdk._sync.facade import Images as Images
    from imagesdk._sync.facade import ImageStream as ImageStream
    from imagesdk._sync.facade import Run as Run
    from imagesdk._version import __version__ as __version__
    from imagesdk.client import AsyncClient as AsyncClient
    from imagesdk.errors import APIConnectionError as APIConnectionError
    from imagesdk.errors import APIError as APIError
    from imagesdk.errors import APIResponseError as APIResponseError
    from imagesdk.errors import APIStatusError as APIStatusError
    from imagesdk.errors import APITimeoutError as APITimeoutError
    from imagesdk.errors import AuthenticationError as AuthenticationError
    from imagesdk.errors import BadRequestError as BadRequestError
    from imagesdk.errors import BudgetExceededError as BudgetExceededError
    from imagesdk.errors import ConfigurationError as ConfigurationError
    from imagesdk.errors import ConflictError as ConflictError
    from imagesdk.errors import DownloadError as DownloadError
    from imagesdk.errors import ImageNotLoadedError as ImageNotLoadedError
    from imagesdk.errors import ImageSDKError as ImageSDKError
    from imagesdk.errors import InternalServerError as InternalServerError
    from imagesdk.errors import InvalidRequestError as InvalidRequestError
    from imagesdk.errors import JournalError as JournalError
    from imagesdk.errors import LimitWaitError as LimitWaitError
    from imagesdk.errors import ModerationError as ModerationError
    from imagesdk.errors import NotFoundError as NotFoundError
    from imagesdk.errors import OutcomeUnknownError as OutcomeUnknownError
    from imagesdk.errors import OutcomeUnknownTimeoutError as OutcomeUnknownTimeoutError
    from imagesdk.errors import PermissionDeniedError as PermissionDeniedError
    from imagesdk.errors import QuotaExceededError as QuotaExceededError
    from imagesdk.errors import RateLimitError as RateLimitError
    from imagesdk.errors import RetiredError as RetiredError
    from imagesdk.errors import StreamError as StreamError
    from imagesdk.errors import UnprocessableEntityError as UnprocessableEntityError
    from imagesdk.fan_out.dry_run import DryRun as DryRun
    from imagesdk.fan_out.outcomes import JobLike as JobLike
    from imagesdk.fan_out.outcomes import Labelled as Labelled
    from imagesdk.fan_out.outcomes import Outcome as Outcome
    from imagesdk.fan_out.outcomes import Progress as Progress
    from imagesdk.fan_out.run import AsyncRun as AsyncRun
    from imagesdk.files import AsyncFiles as AsyncFiles
    from imagesdk.images import AsyncImages as AsyncImages
    from imagesdk.jobs import CallOptions as CallOptions
    from imagesdk.jobs import Edit as Edit
    from imagesdk.jobs import Generate as Generate
    from imagesdk.jobs import Job as Job
    from imagesdk.jobs import Svg as Svg
    from imagesdk.jobs import SvgReasoning as SvgReasoning
    from imagesdk.jobs import Variation as Variation
    from imagesdk.models import ModelProfile as ModelProfile
    from imagesdk.policies import Caps as Caps
    from imagesdk.policies import ClientOptions as ClientOptions
    from imagesdk.policies import RateLimit as RateLimit
    from imagesdk.policies import RetryPolicy as RetryPolicy
    from imagesdk.policies import Timeouts as Timeouts
    from imagesdk.prepare import make_mask as make_mask
    from imagesdk.prepare import prepare_image as prepare_image
    from imagesdk.pricing import Estimate as Estimate
    from imagesdk.pricing import estimate as estimate
    from imagesdk.remedies import Remedy as Remedy
    from imagesdk.streams import AsyncImageStream as AsyncImageStream
    from imagesdk.types import CompletedImage as CompletedImage
    from imagesdk.types import FileId as FileId
    from imagesdk.types import FileObject as FileObject
    from imagesdk.types import Image as Image
    from imagesdk.types import ImagesResponse as ImagesResponse
    from imagesdk.types import PartialImage as PartialImage
    from imagesdk.types import RawResponse as RawResponse
    from imagesdk.types import Source as Source
    from imagesdk.types import SvgUsage as SvgUsage
    from imagesdk.types import Upload as Upload
    from imagesdk.types import Usage as Usage

_HOMES = {
    "_version": ("__version__",),
    "_sync.facade": ("Client", "Files", "ImageStream", "Images", "Run"),
    "client": ("AsyncClient",),
    "images": ("AsyncImages",),
    "jobs": ("CallOptions", "Edit", "Generate", "Job", "Svg", "SvgReasoning", "Variation"),
    "models": ("ModelProfile",),
    "fan_out.dry_run": ("DryRun",),
    "fan_out.outcomes": ("JobLike", "Labelled", "Outcome", "Progress"),
    "fan_out.run": ("AsyncRun",),
    "files": ("AsyncFiles",),
    "streams": ("AsyncImageStream",),
    "pricing": ("Estimate", "estimate"),
    "_calls.retirement": ("RetirementWarning",),
    "policies": ("Caps", "ClientOptions", "RateLimit", "RetryPolicy", "Timeouts"),
    "prepare": ("make_mask", "prepare_image"),
    "remedies": ("Remedy",),
    "types": (
        "CompletedImage",
        "FileId",
        "FileObject",
        "Image",
        "ImagesResponse",
        "PartialImage",
        "RawResponse",
        "Source",
        "SvgUsage",
        "Upload",
        "Usage",
    ),
    "errors": (
        "APIConnectionError",
        "APIError",
        "APIResponseError",
        "APIStatusError",
        "APITimeoutError",
        "AuthenticationError",
        "BadRequestError",
        "BudgetExceededError",
        "ConfigurationError",
        "ConflictError",
        "DownloadError",
        "ImageNotLoadedError",
        "ImageSDKError",
        "InternalServerError",
        "InvalidRequestError",
        "JournalError",
        "LimitWaitError",
        "ModerationError",
        "NotFoundError",
        "OutcomeUnknownError",
        "OutcomeUnknownTimeoutError",
        "PermissionDeniedError",
        "QuotaExceededError",
        "RateLimitError",
        "RetiredError",
        "StreamError",
        "UnprocessableEntityError",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    # clients
    "AsyncClient",
    "AsyncFiles",
    "AsyncImageStream",
    "AsyncImages",
    "AsyncRun",
    "Client",
    "Files",
    "ImageStream",
    "Images",
    "Run",
    # jobs
    "CallOptions",
    "Edit",
    "Generate",
    "Job",
    "JobLike",
    "Labelled",
    "Svg",
    "SvgReasoning",
    "Variation",
    # policies
    "Caps",
    "ClientOptions",
    "RateLimit",
    "RetryPolicy",
    "Timeouts",
    # money
    "Estimate",
    "estimate",
    # data
    "CompletedImage",
    "DryRun",
    "FileId",
    "FileObject",
    "Image",
    "ImagesResponse",
    "ModelProfile",
    "Outcome",
    "PartialImage",
    "Progress",
    "RawResponse",
    "Source",
    "SvgUsage",
    "Upload",
    "Usage",
    # pictures
    "make_mask",
    "prepare_image",
    # errors
    "APIConnectionError",
    "APIError",
    "APIResponseError",
    "APIStatusError",
    "APITimeoutError",
    "AuthenticationError",
    "BadRequestError",
    "BudgetExceededError",
    "ConfigurationError",
    "ConflictError",
    "DownloadError",
    "ImageNotLoadedError",
    "ImageSDKError",
    "InternalServerError",
    "InvalidRequestError",
    "JournalError",
    "LimitWaitError",
    "ModerationError",
    "NotFoundError",
    "OutcomeUnknownError",
    "OutcomeUnknownTimeoutError",
    "PermissionDeniedError",
    "QuotaExceededError",
    "RateLimitError",
    "Remedy",
    "RetiredError",
    "StreamError",
    "UnprocessableEntityError",
    # warnings
    "RetirementWarning",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'imagesdk' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"imagesdk.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF})
