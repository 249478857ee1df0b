"""Result URLs: they work for an hour, and then fail like those of OpenAI's storage."""

import re
from urllib.parse import parse_qs, parse_qsl, urlsplit
from xml.etree.ElementTree import fromstring

import httpx
import pytest

from imagesdk.emulator.results import ResultStore
from tests.emulator.api import Api, Clock, Connect

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("tiny_drawings")]


async def a_url(api: Api) -> str:
    url: str = (await api.generate()).json()["data"][0]["url"]
    return url


def error_in(answer: httpx.Response) -> tuple[int, str | None, str | None]:
    """Return the status, the code and the detail of an error of the storage."""
    assert answer.headers["content-type"].startswith("application/xml")
    error = fromstring(answer.content)
    assert error.tag == "Error"
    return answer.status_code, error.findtext("Code"), error.findtext("AuthenticationErrorDetail")


async def test_a_result_url_has_the_origin_of_the_request_and_needs_no_key(connect: Connect) -> None:
    api = connect(host="localhost:4321", require_key=True)
    api.headers["authorization"] = "Bearer sk-x"
    url = await a_url(api)
    del api.headers["authorization"]

    answer = await api.get(url)

    assert re.match(r"http://localhost:4321/images/[^?]+\.png\?", url)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert answer.content.startswith(b"\x89PNG")


async def test_a_result_url_works_for_an_hour_and_not_a_second_longer(api: Api, clock: Clock) -> None:
    url = await a_url(api)
    query = parse_qs(urlsplit(url).query)
    assert (query["st"], query["se"]) == (["2023-11-14T22:13:20Z"], ["2023-11-14T23:13:20Z"])

    clock.now += 3599
    assert (await api.get(url)).status_code == 200
    clock.now += 1
    status, code, detail = error_in(await api.get(url))

    assert (status, code) == (403, "AuthenticationFailed")
    assert str(detail).startswith("Signature not valid in the specified time frame")
    # The image itself is dropped when the next one is stored, and the URL is still recognized as expired.
    await a_url(api)
    assert len(api.state.results) == 1
    assert error_in(await api.get(url))[2] == detail


async def test_a_url_with_a_changed_expiry_or_without_its_query_is_rejected(api: Api, clock: Clock) -> None:
    url = await a_url(api)
    clock.now += 3600

    for other in (url.replace("se=2023", "se=2033"), url.partition("?")[0]):
        assert error_in(await api.get(other)) == (403, "AuthenticationFailed", "Signature did not match.")


async def test_an_image_that_was_deleted_is_not_found(api: Api) -> None:
    url = await a_url(api)
    api.state.reset()

    assert error_in(await api.get(url)) == (404, "BlobNotFound", None)


@pytest.mark.parametrize("bounds", [{"max_count": 2}, {"max_bytes": 10}])
def test_images_are_bounded_in_number_and_in_bytes_and_the_oldest_go_first(
    clock: Clock, bounds: dict[str, int]
) -> None:
    store = ResultStore(clock, **bounds)

    urls = [urlsplit(store.put(b"12345")) for _ in range(3)]

    found = [store.get(url.path.rpartition("/")[2], dict(parse_qsl(url.query))) for url in urls]
    assert found == ["gone", b"12345", b"12345"]
