"""The exception tree is the drawn one; every error pickles; the key is not shown."""

import copy
import inspect
import pickle
import re
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

import openai
import pytest

from imagesdk import errors
from imagesdk._protocol.secret import Secret
from imagesdk.errors import (
    APIError,
    APIStatusError,
    APITimeoutError,
    ConfigurationError,
    DownloadError,
    ImageSDKError,
    InvalidRequestError,
)
from imagesdk.remedies import KINDS, Remedy
from imagesdk.types import Image, ImagesResponse

CLASSES: dict[str, type[ImageSDKError]] = {name: getattr(errors, name) for name in errors.__all__}

API_FACTS = {"request_id": "req_1", "attempts": 3, "maybe_billed": True, "idempotency_key": "key-1"}
REMEDIES = (Remedy.SKIP_CHECK, Remedy.USE_SIZE.of("1024x1024"))
STATUS_FACTS = {
    **API_FACTS,
    "status_code": 418,
    "code": "teapot",
    "type": "short",
    "param": "spout",
    "body": {"error": {"message": "stout", "nested": [1, None]}},
}
OWN_FACTS: dict[str, dict[str, Any]] = {
    "InvalidRequestError": {"param": "n", "value": 11, "allowed": "1 to 10"},
    "ConfigurationError": {"param": "base_url"},
    "DownloadError": {"status_code": 403, "response": ImagesResponse(data=(Image(url="https://x.test/a"),))},
    "LimitWaitError": {"retry_after": 12.5},
    "ModerationError": {"stage": "input", "categories": ("violence", "sexual")},
    "RetiredError": {"replacement": "gpt-image-2"},
    "PendingTaskError": {"task_id": "t-1"},
    "RateLimitError": {"retry_after": 2.0},
    "QuotaExceededError": {"retry_after": None},
    "RunStoppedError": {"reason": "max_failures"},
}


def facts_of(cls: type[ImageSDKError]) -> dict[str, Any]:
    shared = (
        STATUS_FACTS if issubclass(cls, APIStatusError) else API_FACTS if issubclass(cls, APIError) else {}
    )
    return {**shared, **OWN_FACTS.get(cls.__name__, {})}


def drawn() -> dict[str, str | None]:
    """Return each name in the tree of the module's docstring, and the name above it."""
    parents: dict[str, str | None] = {}
    trail: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^( {4}[│ ]*(?:[├└]── )?)([A-Z]\w+)", line)
        if not found:
            continue
        depth = len(found[1])
        while trail and trail[-1][0] >= depth:
            trail.pop()
        parents[found[2]] = trail[-1][1] if trail else None
        trail.append((depth, found[2]))
    return parents


def test_the_tree_is_the_drawn_one() -> None:
    tree = drawn()
    assert set(tree) == set(CLASSES)
    assert [name for name, parent in tree.items() if parent is None] == ["ImageSDKError"]
    for name, parent in tree.items():
        expected = Exception if parent is None else CLASSES[parent]
        assert CLASSES[name].__bases__[0] is expected


def test_second_parents_are_the_drawn_ones() -> None:
    seconds = {name: cls.__bases__[1:] for name, cls in CLASSES.items() if len(cls.__bases__) > 1}
    assert seconds == {"InvalidRequestError": (ValueError,), "OutcomeUnknownTimeoutError": (APITimeoutError,)}


def test_every_class_of_the_module_is_exported_and_explained() -> None:
    classes = {name: value for name, value in vars(errors).items() if inspect.isclass(value)}
    assert {name for name, cls in classes.items() if issubclass(cls, Exception)} == set(errors.__all__)
    assert all(cls.__doc__ and cls.__module__ == "imagesdk" for cls in CLASSES.values())


@pytest.mark.parametrize("name", sorted(set(CLASSES) & set(vars(openai))))
def test_an_error_of_the_official_client_catches_the_same_errors_here(name: str) -> None:
    """Code that moves over keeps its ``except`` clauses."""
    theirs = getattr(openai, name)
    for other in set(CLASSES) & set(vars(openai)):
        assert issubclass(CLASSES[name], CLASSES[other]) == issubclass(theirs, getattr(openai, other))


def test_the_names_of_the_official_client_are_used_where_it_has_them() -> None:
    named = {name for name in vars(openai) if name.endswith("Error") and not name.startswith("_")}
    by_status = "BadRequest Authentication PermissionDenied NotFound Conflict UnprocessableEntity RateLimit"
    names = {f"{name}Error" for name in f"{by_status} API APIStatus APIConnection APITimeout".split()}
    assert names | {"InternalServerError"} <= named & set(CLASSES)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("cls", CLASSES.values(), ids=CLASSES)
def test_an_error_pickles_with_all_its_facts(cls: type[ImageSDKError], protocol: int) -> None:
    facts = facts_of(cls)
    error = cls("What happened.", remedies=REMEDIES, **facts)
    error.add_note("and where")
    again = pickle.loads(pickle.dumps(error, protocol))
    assert type(again) is cls
    assert again.summary == "What happened."
    assert again.remedies == REMEDIES
    assert str(again) == again.message == str(error)
    assert {name: getattr(again, name) for name in facts} == facts
    assert again.__notes__ == ["and where"]


@pytest.mark.parametrize("cls", CLASSES.values(), ids=CLASSES)
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_an_error_can_be_copied(
    cls: type[ImageSDKError], copied: Callable[[ImageSDKError], ImageSDKError]
) -> None:
    error = cls("What happened.", remedies=REMEDIES, **facts_of(cls))
    again = copied(error)
    assert again is not error
    assert vars(again) == vars(error)
    assert again.args == error.args


@pytest.mark.parametrize("cls", CLASSES.values(), ids=CLASSES)
def test_an_error_needs_only_a_message(cls: type[ImageSDKError]) -> None:
    error = cls("What happened.")
    assert isinstance(error, ImageSDKError)
    assert str(error) == error.summary == error.message == "What happened."
    assert error.remedies == ()
    defaults = {
        "attempts": 0, "maybe_billed": False, "status_code": 0, "categories": (), "reason": "server_away",
    }  # fmt: skip
    for name in facts_of(cls):
        assert getattr(error, name) == (None if cls is DownloadError else defaults.get(name)), name


def test_the_text_of_an_error_is_its_summary_and_the_words_of_its_remedies() -> None:
    error = ImageSDKError("It broke.", remedies=[Remedy.RETRY, Remedy.USE_SIZE.of("1024x1024")])
    assert str(error) == "It broke. Try again. Pass size='1024x1024', the nearest valid size."
    assert str(ImageSDKError("It broke.", remedies=[Remedy("of_a_later_version")])) == "It broke."


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_remedy_has_one_imperative_sentence_or_more(kind: str) -> None:
    remedy = Remedy(kind, "VALUE")
    assert getattr(Remedy, kind.upper()) == Remedy(kind)
    assert str(remedy)[0].isupper()
    assert str(remedy).endswith(".")
    assert "{" not in str(Remedy(kind))
    assert pickle.loads(pickle.dumps(remedy)) == remedy


def test_the_text_of_an_error_says_when_images_may_have_been_billed() -> None:
    error = APIError("It broke.", maybe_billed=True, remedies=[Remedy.RETRY_LATER])
    assert str(error) == "It broke. The images may have been made and billed. Try again later."
    error.maybe_billed = False
    assert str(error) == "It broke. Try again later."


def test_an_error_of_a_parameter_names_it_and_its_value_and_the_accepted_ones() -> None:
    error = InvalidRequestError.for_parameter(
        "size", "9x9", allowed="1024x1024", model="dall-e-3", remedies=[Remedy.SKIP_CHECK]
    )
    assert error.summary == "size is '9x9'; allowed for dall-e-3: 1024x1024."
    assert (error.param, error.value, error.allowed) == ("size", "9x9", "1024x1024")
    assert str(error) == f"{error.summary} Pass check=False to send it anyway."
    described = InvalidRequestError.for_parameter("image", "2 images", allowed="one", shown="2 images")
    assert str(described) == "image is 2 images; allowed: one."
    option = ConfigurationError.for_parameter("check", 3, allowed="True or False")
    assert (str(option), option.param) == ("check must be True or False, not 3.", "check")


def test_a_value_in_a_message_is_short_and_without_control_characters() -> None:
    assert errors.preview("x" * 100) == f"'{'x' * 76}..."
    assert errors.excerpt("a\x1b[2J\nb") == "a\ufffd[2J b"


KEY = "sk-sentinel-0123456789"


def test_a_key_is_not_shown() -> None:
    secret = Secret(KEY)
    for text in (repr(secret), str(secret), f"{secret}", f"{secret!r}", "%s" % secret, f"{[secret]}"):  # noqa: UP031 - every way to print
        assert KEY not in text
        assert "Secret" in text
    with pytest.raises(TypeError):
        vars(secret)
    assert secret.reveal() == KEY


PICKLERS = [partial(pickle.dumps, protocol=protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]


@pytest.mark.parametrize("duplicate", [*PICKLERS, copy.copy, copy.deepcopy])
def test_a_key_is_neither_pickled_nor_copied(duplicate: Callable[[object], object]) -> None:
    for thing in (Secret(KEY), [Secret(KEY)]) if duplicate is not copy.copy else (Secret(KEY),):
        with pytest.raises(TypeError, match="cannot be pickled or copied") as caught:
            duplicate(thing)
        assert KEY not in str(caught.value)


def test_space_around_a_key_is_removed() -> None:
    assert Secret(f" {KEY}\n").reveal() == KEY


@pytest.mark.parametrize("value", ["sk-a b", "sk-a\nb", "sk-\u00e4", "sk-\u200b", "sk-\x00"])
def test_a_key_with_characters_that_no_key_has_is_refused_without_being_shown(value: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Secret(value)
    shown = "".join(traceback.format_exception_only(caught.value))
    assert value not in shown


def test_an_empty_key_is_false() -> None:
    assert not Secret("")
    assert not Secret("  ")
    assert Secret(KEY)


def test_a_fingerprint_differs_by_key_and_does_not_contain_it() -> None:
    first, second = Secret(KEY).fingerprint(), Secret(KEY + "x").fingerprint()
    assert first == Secret(KEY).fingerprint()
    assert first != second
    assert KEY not in first
    assert len(first) == 16
