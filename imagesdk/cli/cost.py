"""``imagesdk cost PROMPT``: estimate the cost of images without a request."""

from __future__ import annotations

from argparse import Namespace
from decimal import Decimal
from typing import TYPE_CHECKING

from imagesdk.cli.exits import OK, UsageError
from imagesdk.cli.parameters import job_parameters
from imagesdk.cli.session import has_flag, print_json, read_prompt

if TYPE_CHECKING:
    from imagesdk import Edit, Estimate, Generate


def run(options: Namespace) -> int:
    """Print the estimate and its explanation. An unknown cost is not an error."""
    job = _job(options)

    from imagesdk import estimate, models
    from imagesdk._protocol.parameter_checks import check_parameters, check_shape

    check_shape(job)
    estimated = estimate(job, batch=options.batch_api)
    profile = models.lookup(estimated.model)
    if profile is not None and not options.no_check:
        check_parameters(job, profile, stream=bool(options.partial_images))
    qualities = _by_quality(job, estimated, batch=options.batch_api)
    if has_flag(options, "json"):
        print_json(
            {
                "model": estimated.model,
                "images": estimated.images,
                "output_tokens": estimated.output_tokens,
                "cost_usd": estimated.cost,
                "at_most_usd": estimated.at_most,
                "cost_usd_by_quality": qualities,
                "reason": estimated.reason,
            }
        )
        return OK
    lines = [
        ("model", estimated.model),
        ("images", str(estimated.images)),
        *([("output tokens", str(estimated.output_tokens))] if estimated.output_tokens else []),
        ("cost", _dollars(estimated.cost)),
        *((f"  if {quality}", _dollars(cost)) for quality, cost in qualities.items()),
        ("at most", _dollars(estimated.at_most)),
    ]
    for name, value in lines:
        print(f"{name:<15}{value}")
    print(estimated.reason)
    return OK


def _job(options: Namespace) -> Generate | Edit:
    from imagesdk import Edit, Generate

    prompt: str | None = options.prompt
    images: list[str] = options.edit or []
    if prompt is None and len(images) > 1:  # --edit IMAGE ... PROMPT
        *images, prompt = images
    if prompt is None:
        raise UsageError("there is no prompt: imagesdk cost PROMPT, with --edit IMAGE ... for an edit")
    prompt = read_prompt(prompt)
    parameters = job_parameters(options)
    return Edit(images, prompt, **parameters) if images else Generate(prompt, **parameters)


def _by_quality(job: Generate | Edit, estimated: Estimate, *, batch: bool) -> dict[str, Decimal]:
    """Return the cost for each quality, if only the quality is missing for an estimate."""
    import attrs

    from imagesdk import estimate, models

    profile = models.lookup(estimated.model)
    if estimated.cost is not None or profile is None:
        return {}
    estimates = {name: estimate(attrs.evolve(job, quality=name), batch=batch) for name in profile.qualities}
    return {name: found.cost for name, found in estimates.items() if found.cost is not None}


def _dollars(cost: Decimal | None) -> str:
    return "unknown" if cost is None else f"${cost:.4f}"
