"""``help()`` describes each parameter of a job and each option of a call."""

import inspect
import pydoc
import re
from typing import Any

import pytest

import imagesdk
from imagesdk import AsyncImages, CallOptions, Edit, Generate, Images, Svg, SvgReasoning, Variation

DESCRIBED: list[type[Any]] = [CallOptions, Generate, Edit, Variation, Svg, SvgReasoning]
JOBS: dict[str, type[Any]] = {
    "generate": Generate,
    "generate_stream": Generate,
    "edit": Edit,
    "edit_stream": Edit,
    "create_variation": Variation,
}
WITH_OPTIONS = sorted(
    (cls, name)
    for cls in ("AsyncImages", "Images")
    for name, method in inspect.getmembers(getattr(imagesdk, cls), inspect.isfunction)
    if "Unpack[CallOptions]" in str(inspect.signature(method))
)


def shown(thing: object) -> str:
    """Return the output of ``help()`` as one line."""
    return " ".join(pydoc.plain(pydoc.render_doc(thing)).split())


@pytest.mark.parametrize("cls", DESCRIBED)
def test_help_of_a_class_describes_each_field_once(cls: type[Any]) -> None:
    docstring = inspect.getdoc(cls)
    assert docstring is not None
    described = re.findall(r"^    (?! )([\w, \n]+): ", docstring.partition("Args:\n")[2], re.MULTILINE)
    names = [name for entry in described for name in re.split(r",\s+", entry)]
    assert sorted(names) == sorted(
        name for name, kind in cls.__annotations__.items() if "ClassVar" not in str(kind)
    )


def test_every_method_with_options_is_covered() -> None:
    assert {name for _, name in WITH_OPTIONS} == {*JOBS, "send", "stream", "once"}
    assert len(WITH_OPTIONS) == 2 * (len(JOBS) + 3)


@pytest.mark.parametrize(("cls", "name"), WITH_OPTIONS)
def test_help_of_a_method_refers_to_its_options_and_parameters(cls: str, name: str) -> None:
    text = shown(getattr(getattr(imagesdk, cls), name))
    assert "help(imagesdk.CallOptions)" in text
    if name in JOBS:
        assert f"help(imagesdk.{JOBS[name].__name__})" in text


@pytest.mark.parametrize("images", [AsyncImages, Images])
def test_help_of_generate_names_the_most_used_options(images: type[Any]) -> None:
    for option in ("out", "timeout", "check"):
        assert f"``{option}=``" in shown(images.generate)
