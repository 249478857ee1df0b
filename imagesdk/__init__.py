"""The Python client for the Images API: create, edit and vary images from prompts.

``AsyncClient`` is the core, ``Client`` the blocking facade generated from it. The names below are loaded on first use,
so that ``import imagesdk`` is fast. ``__init__.pyi`` has them for type checkers.
"""

_HOMES = {
    "_version": "__version__",
    "_sync.facade": "BatchResults Batches Client Files ImageStream Images Models Provenance Run",
    "batches": "AsyncBatchResults AsyncBatches",
    "client": "AsyncClient",
    "images": "AsyncImages",
    "jobs": "CallOptions Edit Generate Job Svg SvgReasoning Variation",
    "models": "ModelProfile",
    "fan_out.outcomes": "DryRun JobLike Labelled LaneProgress Notice Outcome Progress",
    "fan_out.run": "AsyncRun",
    "files": "AsyncFiles",
    "provenance": "AsyncProvenance",
    "served": "AsyncModels",
    "reports": "Batch BatchCounts BatchProblem ProvenanceCheck ProvenanceSignal ServedModel",
    "streams": "AsyncImageStream",
    "pricing": "Estimate estimate",
    "_calls.retirement": "RetirementWarning",
    "remedies": "Remedy",
    "policies": "Caps ClientOptions RateLimit RetryPolicy SharedStore Timeouts",
    "prepare": "make_mask prepare_image",
    "types": (
        "CompletedImage FileId FileObject Image ImagesResponse PartialImage RawResponse Source SvgUsage "
        "Upload Usage"
    ),
    "errors": (
        "APIConnectionError APIError APIResponseError APIStatusError APITimeoutError "
        "AuthenticationError BadRequestError BudgetExceededError ConfigurationError ConflictError "
        "CoordinationError DownloadError ImageNotLoadedError ImageSDKError InternalServerError InvalidRequestError "
        "JournalError LimitWaitError ModerationError NotFoundError OutcomeUnknownError "
        "OutcomeUnknownTimeoutError PendingTaskError PermissionDeniedError QuotaExceededError RateLimitError "
        "RetiredError RunStoppedError StreamError UnprocessableEntityError WebhookError WebhookSignatureError "
        "WebhookTimestampError"
    ),
}
"""Public names by the module that has them."""
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = [name for name in _HOME_OF if not name.startswith("_")]  # pyright: ignore[reportUnsupportedDunderAll] - its stub has the list


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'imagesdk' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"imagesdk.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF})
