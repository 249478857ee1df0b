"""The blocking clients offer what the asynchronous ones do, and work wherever blocking code runs."""

import ast
import copy
import inspect
import json
import pickle
import re
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

import imagesdk
from imagesdk import (
    AsyncClient,
    AsyncFiles,
    AsyncImages,
    AsyncImageStream,
    AsyncRun,
    Client,
    Files,
    Images,
    ImageStream,
    Run,
)
from imagesdk._sync import generate
from imagesdk._sync.translation import METHODS, PHRASES

TWINS = [
    (AsyncClient, Client),
    (AsyncImages, Images),
    (AsyncImageStream, ImageStream),
    (AsyncRun, Run),
    (AsyncFiles, Files),
]
IMAGE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if request["prompt"] == "refused":
            self._answer(400, {"error": {"message": "no", "type": "invalid_request_error", "code": None}})
        else:
            images = [{"b64_json": IMAGE, "revised_prompt": request["prompt"]}] * request.get("n", 1)
            self._answer(200, {"created": 1, "data": images})

    def _answer(self, status: int, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
        pass


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def client(base_url: str) -> Iterator[Client]:
    with Client(base_url=base_url, api_key="", rate_limit=None) as client:
        yield client


def public_members(cls: type) -> dict[str, Any]:
    dunder = {
        f"__{name}__"
        for name in [
            "init",
            "aenter",
            "aexit",
            "enter",
            "exit",
            "aiter",
            "anext",
            "iter",
            "next",
            "repr",
            "reduce",
        ]
    }
    return {name: member for name, member in vars(cls).items() if not name.startswith("_") or name in dunder}


def signature(member: Any) -> tuple[list[tuple[Any, ...]], Any]:
    """What a caller has to know of a method or property, in the words of the blocking classes."""

    def blocking(annotation: Any) -> Any:
        return (
            re.sub(r"(?<![\w.])(Abstract)?Async(?=Client|Files|Image|Run|ContextManager)", r"\1", annotation)
            if isinstance(annotation, str)
            else annotation
        )

    function: Any = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
    found = inspect.signature(function)
    parameters = [
        (item.name, item.kind, item.default, blocking(item.annotation)) for item in found.parameters.values()
    ]
    return parameters, blocking(found.return_annotation)


def test_the_facade_is_what_the_generator_writes() -> None:
    assert generate.TARGET.read_text(encoding="utf-8") == generate.facade(generate.SOURCES, PHRASES)


@pytest.mark.parametrize(("asynchronous", "blocking"), TWINS)
def test_both_classes_have_the_same_members(asynchronous: type, blocking: type) -> None:
    expected = {METHODS.get(name, name) for name in public_members(asynchronous)}
    assert set(public_members(blocking)) == expected


@pytest.mark.parametrize(("asynchronous", "blocking"), TWINS)
def test_both_classes_have_the_same_signatures(asynchronous: type, blocking: type) -> None:
    not_made_by_users = set[str]() if asynchronous is AsyncClient else {"__init__"}
    expected = {
        METHODS.get(name, name): signature(member)
        for name, member in public_members(asynchronous).items()
        if name not in not_made_by_users
    }
    assert {name: signature(vars(blocking)[name]) for name in expected} == expected


@pytest.mark.parametrize(("asynchronous", "blocking"), TWINS)
def test_no_docstring_speaks_of_the_asynchronous_world(asynchronous: type, blocking: type) -> None:
    documented = [blocking, *public_members(blocking).values()]
    text = "\n".join(inspect.getdoc(member) or "" for member in documented)
    assert not re.findall(
        r"\bawait\b|\basync \w+|\baclose\b|asyncio|trio|(?<!httpx\.)(?<!httpx2\.)\bAsync[A-Z]\w+", text
    )


@pytest.mark.parametrize("blocking", [blocking for _, blocking in TWINS])
def test_the_examples_in_docstrings_are_python(blocking: type) -> None:
    examples = 0
    for member in [blocking, *public_members(blocking).values()]:
        for example in re.findall(r"^Example:\n((?:    .*\n?)+)", inspect.getdoc(member) or "", re.MULTILINE):
            ast.parse(textwrap.dedent(re.sub(r"^ *```(?:python)?$", "", example, flags=re.MULTILINE)))
            examples += 1
    assert examples


def test_a_call_works_in_a_plain_script(client: Client) -> None:
    response = client.images.generate("a cat", n=2)
    assert [image.width for image in response] == [1, 1]


def test_results_are_of_the_same_classes_in_both_worlds(client: Client) -> None:
    assert type(client.images.generate("a cat")) is imagesdk.ImagesResponse


def test_an_error_is_the_one_that_the_asynchronous_client_raises(client: Client) -> None:
    with pytest.raises(imagesdk.BadRequestError) as caught:
        client.images.generate("refused")
    assert caught.value.__context__ is None or not isinstance(caught.value.__context__, BaseExceptionGroup)


def test_a_wrong_argument_is_told_where_the_client_is_made() -> None:
    with pytest.raises(imagesdk.ConfigurationError):
        Client(base_url="nonsense", api_key="")


def test_an_unknown_option_is_refused_as_by_the_asynchronous_client(client: Client) -> None:
    with pytest.raises(TypeError, match="stream"):
        client.images.generate("a cat", stream=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue] - the point


def test_many_threads_may_share_a_client_from_its_first_call_on(client: Client) -> None:
    start = threading.Barrier(32)

    def call(number: int) -> str | None:
        start.wait()
        return client.images.generate(f"cat {number}")[0].revised_prompt

    with ThreadPoolExecutor(32) as pool:
        prompts = list(pool.map(call, range(32)))
    assert prompts == [f"cat {number}" for number in range(32)]


def test_all_blocking_clients_share_one_thread(base_url: str, client: Client) -> None:
    client.images.generate("a cat")
    before = threading.active_count()
    with Client(base_url=base_url, api_key="", rate_limit=None) as second:
        second.images.generate("a dog")
        assert sum(thread.name == "imagesdk" for thread in threading.enumerate()) == 1
        assert threading.active_count() <= before + 1  # that one is the server's, for the connection


@pytest.mark.anyio
async def test_a_call_works_inside_a_running_event_loop(client: Client) -> None:
    assert client.images.generate("a cat, in Jupyter")[0].width == 1


def test_a_closed_client_says_so(client: Client) -> None:
    client.images.generate("a cat")
    client.close()
    with pytest.raises(RuntimeError, match="client is closed"):
        client.images.generate("a cat")


def test_leaving_the_with_block_closes_the_client(base_url: str) -> None:
    with Client(base_url=base_url, api_key="", rate_limit=None) as client:
        images = client.images
    with pytest.raises(RuntimeError, match="client is closed"):
        images.generate("a cat")


def test_an_observer_that_calls_the_client_gets_an_error_instead_of_waiting_for_ever(base_url: str) -> None:
    refused: list[str] = []

    def observer(event: object) -> None:
        try:
            inside.images.generate("from inside")
        except RuntimeError as error:
            refused.append(str(error))

    with Client(base_url=base_url, api_key="", rate_limit=None, observers=[observer]) as inside:
        inside.images.generate("a cat")
    assert refused
    assert "event-loop thread" in refused[0]


def test_images_is_the_same_object_every_time(client: Client) -> None:
    assert client.images is client.images


def test_the_repr_names_the_class_that_it_is_of(client: Client, base_url: str) -> None:
    assert repr(client) == f"<Client {base_url}>"


@pytest.mark.parametrize("what", ["client", "client.images"])
def test_neither_a_client_nor_its_parts_travel(client: Client, what: str) -> None:
    thing = client if what == "client" else client.images
    with pytest.raises(TypeError, match="where it is needed"):
        pickle.dumps(thing)
    with pytest.raises(TypeError, match="where it is needed"):
        copy.deepcopy(thing)


def test_the_classes_read_as_those_of_the_package() -> None:
    assert f"{Client.__module__}.{Client.__qualname__}" == "imagesdk.Client"
    assert f"{Images.__module__}.{Images.__qualname__}" == "imagesdk.Images"


def test_importing_the_blocking_client_starts_no_thread() -> None:
    text = "import threading; from imagesdk import Client; print(threading.active_count())"
    root = str(generate.PACKAGE.parent)
    done = subprocess.run([sys.executable, "-c", text], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
