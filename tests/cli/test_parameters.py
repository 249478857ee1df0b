"""Every parameter of a job is an option of the command line."""

from typing import Any

import attrs
import pytest

from imagesdk import Edit, Generate, Variation
from imagesdk.cli import parser
from imagesdk.cli.parameters import OPTIONS, job_parameters

NOT_OPTIONS = {"prompt", "image", "mask", "markup"}
IN_A_STREAM = {"partial_images"}


def parsed(*arguments: str) -> dict[str, Any]:
    return dict(job_parameters(parser.build().parse_args(arguments)))


@pytest.mark.parametrize(("command", "job"), [("generate", Generate), ("edit", Edit), ("vary", Variation)])
def test_every_parameter_of_a_job_is_an_option_of_its_command(command: str, job: type[Any]) -> None:
    names = [option.name for option in OPTIONS if command in option.commands]
    named = {"svg" if name.startswith("svg_") else name for name in names}
    assert named == {field.name for field in attrs.fields(job)} - NOT_OPTIONS - IN_A_STREAM


def test_a_parameter_without_its_option_is_not_in_the_job() -> None:
    assert parsed("generate", "a cat") == {}
    assert parsed("edit", "a.png", "a cat") == {}
    assert parsed("vary", "a.png") == {}


def test_options_become_parameters_of_the_job() -> None:
    facts = {
        "model": "gpt-image-2.6-flare",
        "n": 2,
        "size": "512x512",
        "quality": "low",
        "background": "transparent",
        "output_format": "gif",
        "frame_count": 4,
        "frame_duration_ms": 100,
        "output_compression": 0,
        "moderation": "low",
        "style": "vivid",
        "complexity": "low",
        "response_format": "url",
        "safety_identifier": "s",
        "user": "u",
    }
    flags = ["-n" if name == "n" else f"--{name.replace('_', '-')}" for name in facts]
    arguments = [word for pair in zip(flags, map(str, facts.values()), strict=True) for word in pair]
    assert parsed("generate", "a cat", *arguments) == facts
    assert parsed("edit", "a.png", "a cat", "--input-fidelity", "high") == {"input_fidelity": "high"}


@pytest.mark.parametrize(
    ("arguments", "svg"),
    [
        (["--svg-model", "gpt-5.6"], {"model": "gpt-5.6"}),
        (["--svg-effort", "low"], {"reasoning": {"effort": "low"}}),
        (["--svg-model", "m", "--svg-effort", "max"], {"model": "m", "reasoning": {"effort": "max"}}),
    ],
)
def test_svg_options_become_one_parameter(arguments: list[str], svg: dict[str, Any]) -> None:
    assert parsed("generate", "a cat", *arguments) == {"svg": svg}


@pytest.mark.parametrize("command", ["generate", "edit", "vary"])
def test_help_shows_the_options_in_groups(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser.build().parse_args([command, "--help"])
    shown = capsys.readouterr().out
    assert shown.index("global options:") < shown.index("the images:") < shown.index("the request:")
    assert ("animations and vector graphics (GPT Image 2.6):" in shown) == (command != "vary")
