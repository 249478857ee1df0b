"""The pytest plugin in suites of its users: fixtures, markers, failures at the end of a test, and the report."""

from importlib.metadata import entry_points

import openai
import pytest

from imagesdk import AsyncClient, Client
from imagesdk.testing import ImageServer

LOADED = (openai.OpenAI, AsyncClient, Client, ImageServer)
"""What is loaded here is not loaded again in each suite."""
ALONE = ("-p", "imagesdk.testing", "-p", "no:cacheprovider")
SUITE = ("-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:hypothesispytest", "-q")


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeini("[pytest]\nfilterwarnings = error\naddopts = --strict-markers")
    return pytester


def test_any_client_finds_the_server_and_the_state_is_reset_between_tests(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        import pytest, openai, imagesdk

        @pytest.fixture
        def app():
            def draw(prompt):
                with openai.OpenAI() as client:
                    return client.images.generate(model="dall-e-2", size="256x256", prompt=prompt)
            return draw

        @pytest.mark.parametrize("prompt", ["a cat", "a dog"])
        def test_official(image_server, app, prompt):
            app(prompt)
            assert [request.prompt for request in image_server.requests] == [prompt]
            assert image_server.billed_images == 1

        def test_ours(image_server):
            with imagesdk.Client() as client:
                client.images.generate("a bird", model="dall-e-2", size="256x256")
            [request] = image_server.requests
            assert request.parameters["size"] == "256x256"

        def test_fixture(image_server, image_client):
            image_client.images.generate("a bird", model="dall-e-2", size="256x256")
            assert image_server.verdict()

        def test_edit(image_server, image_client):
            image = image_client.images.generate("a bird", model="dall-e-2", size="256x256",
                                                 response_format="b64_json")[0]
            image_client.images.edit(image.bytes, "a hat", model="gpt-image-2")
            [sent] = image_server.requests[1].images
            assert (sent.media_type, sent.size) == ("image/png", len(image.bytes))
        """
    )

    suite.runpytest_inprocess(*SUITE).assert_outcomes(passed=5)


def test_a_client_for_any_event_loop_is_closed_after_the_test(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        import asyncio, anyio, pytest

        @pytest.fixture(params=["asyncio", "trio"])
        def anyio_backend(request):
            return request.param

        async def draw(client):
            return await client.images.generate("a cat", model="dall-e-2", size="256x256")

        @pytest.mark.anyio
        async def test_marked(image_server, async_image_client):
            await draw(async_image_client)
            assert len(image_server.requests) == 1

        def test_plain(image_server, async_image_client):
            async def main():
                async with async_image_client as client:
                    await draw(client)
            asyncio.run(main())
            assert len(image_server.requests) == 1
        """
    )

    suite.runpytest_inprocess(*SUITE).assert_outcomes(passed=3)


def test_the_marker_sets_day_limit_and_server(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        import httpx, pytest

        def post(server, **body):
            body = {"prompt": "a cat", "size": "256x256", "model": "dall-e-2", **body}
            return httpx.post(f"{server.url}/images/generations", json=body)

        @pytest.mark.image_server(as_of="2023-06-01")
        def test_day(image_server):
            assert post(image_server, model="gpt-image-2").status_code == 404

        @pytest.mark.image_server(limit="1/min")
        class TestLimit:
            def test_limit(self, image_server):
                assert [post(image_server).status_code for _ in range(2)] == [200, 429]
                image_server.advance(60)
                assert post(image_server).status_code == 200

            @pytest.mark.image_server(limit=None)
            def test_no_limit(self, image_server):
                assert [post(image_server).status_code for _ in range(2)] == [200, 200]

        @pytest.mark.image_server(quirks="localai")
        def test_server(image_server):
            assert image_server.url.endswith("/v1")
            assert post(image_server).json()["data"][0].keys() >= {"url"}
        """
    )

    suite.runpytest_inprocess(*SUITE).assert_outcomes(passed=4)


def test_a_strict_test_fails_for_unused_faults_and_unexpected_requests(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        import re, pytest
        pytestmark = pytest.mark.image_server(strict=True)
        small = {"model": "dall-e-2", "size": "256x256"}

        def test_unused_fault(image_server):
            image_server.fail_next(503)

        def test_unexpected(image_server, image_client):
            image_server.expect(prompt="a cat")
            image_client.images.generate("a cat", **small)
            image_client.images.generate("a dog", **small)

        def test_unknown_path(image_server, image_client):
            with pytest.raises(Exception):
                image_client.request("GET", "/nowhere")

        @pytest.mark.image_server(strict=False)
        def test_missing(image_server, image_client):
            image_server.expect(prompt=re.compile("cat"), times=2)
            image_client.images.generate("a cat", **small)

        def test_good(image_server, image_client):
            image_server.fail_next(503)
            both = image_server.expect(prompt=re.compile("cat"), times=2, size="256x256")
            image_client.images.generate("a cat", **small)

        @pytest.mark.image_server(strict=False)
        def test_loose(image_server):
            image_server.fail_next(503)

        def test_failed_already(image_server):
            image_server.fail_next(503)
            assert 1 == 2
        """
    )

    result = suite.runpytest_inprocess(*SUITE)

    result.assert_outcomes(passed=2, failed=5)
    result.stdout.fnmatch_lines_random(
        [
            "a fault was not used: status 503 (images)",
            "a request was not expected: POST /v1/images/generations prompt='a dog'",
            "a request was not expected: GET /v1/nowhere",
            "expected 2 and got 1 of: POST .../images/generations prompt='cat'",
        ]
    )


BAD_SUITE = """
    import httpx, pytest

    def refused(server):
        for _ in range(2):
            httpx.post(f"{server.url}/images/generations", json={"prompt": "forbidden"})

    def test_unjudged(image_server):
        refused(image_server)

    @pytest.mark.image_server(verdict=True)
    def test_judged(image_server):
        refused(image_server)

    @pytest.mark.image_server(verdict=True, ignore=["refusal-repeated"])
    def test_excused(image_server):
        refused(image_server)
    """


def test_the_marker_makes_the_verdict_fail_the_test(suite: pytest.Pytester) -> None:
    suite.makepyfile(BAD_SUITE)

    result = suite.runpytest_inprocess(*SUITE)

    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["refusal-repeated: 1 request sent again after 400 (requests #2)"])


NOTHING = """
    import sys

    def test_nothing_is_loaded_before_a_fixture_is_used():
        assert {"imagesdk.testing", "imagesdk.testing.plugin"} <= set(sys.modules)
        heavy = {"imagesdk.emulator", "imagesdk.testing.server", "imagesdk.client", "starlette", "uvicorn", "PIL"}
        assert heavy & set(sys.modules) == set()
    """


def test_the_plugin_loads_nothing_before_it_is_used_and_reports_the_findings_of_each_process(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "imagesdk.testing" in {point.value for point in entry_points(group="pytest11")}
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    suite.makepyfile(test_1_nothing=NOTHING, test_2_bad=BAD_SUITE)

    result = suite.runpytest_subprocess("-q", "-n1", "-p", "xdist", *ALONE, "--imagesdk-report")

    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*verdict on the client of image_server*",
            "*::test_unjudged",
            "verdict: 1 finding (2 requests, 0 images billed)",
            "refusal-repeated: *",
            "  expected: *",
            "  cost: *",
        ]
    )
