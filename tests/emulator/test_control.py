"""Control of the emulator from any language: faults by header, prompt and HTTP, resets and the verdict."""

import json

import httpx
import pytest

from imagesdk.emulator import Emulator
from imagesdk.emulator.fault_words import NAMED_FAULTS, make_fault, parse_fault
from tests.emulator.api import SMALL, Api, Connect

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("fault", "status", "retry_after"),
    [
        ("503", 503, None),
        ("429,retry_after=2", 429, "2"),
        ("retry_after=0.5", 429, "0.5"),
        ("insufficient_quota", 429, None),
    ],
)
@pytest.mark.parametrize("place", ["header", "prompt"])
async def test_a_request_asks_for_a_fault_in_its_header_or_its_prompt(
    api: Api, place: str, fault: str, status: int, retry_after: str | None
) -> None:
    headers = {"x-emulator-fault": fault} if place == "header" else {}
    prompt = "a cat" if place == "header" else f"a cat emulator:{fault} on a sofa"

    answers = [
        await api.post("/images/generations", json={**SMALL, "prompt": prompt}, headers=headers)
        for _ in range(3)
    ]

    assert [answer.status_code for answer in answers] == [status, 200, 200]
    assert answers[0].headers.get("retry-after") == retry_after


async def test_a_requested_fault_applies_to_as_many_attempts_as_it_says(api: Api) -> None:
    answers = [await api.generate(prompt="emulator:500,times=2") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [500, 500, 200]


async def test_a_requested_fault_applies_to_each_call_by_its_idempotency_key(api: Api) -> None:
    keys = [{"idempotency-key": key, "x-emulator-fault": "500"} for key in ("one", "two")]
    answers = [await api.post("/images/generations", json=SMALL, headers=key) for key in keys * 2]

    assert [answer.status_code for answer in answers] == [500, 500, 200, 200]


@pytest.mark.parametrize("text", ["999", "nonsense", "429,colour=red", "drop=maybe", "503,times=0"])
async def test_an_unknown_fault_is_a_400_that_says_why(api: Api, text: str) -> None:
    answer = await api.post("/images/generations", json=SMALL, headers={"x-emulator-fault": text})

    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, "X-Emulator-Fault")
    assert error["message"].startswith("Invalid fault in 'X-Emulator-Fault': ")
    assert api.state.billed_images == 0


async def test_a_program_queues_reads_and_deletes_faults(connect: Connect) -> None:
    api = connect()
    faults = "http://127.0.0.1:8000/_emulator/faults"
    queued = await api.post(
        faults, json={"faults": [{"fault": 503}, {"fault": "slow", "delay": 0.01, "on": "downloads"}]}
    )

    assert queued.json()["data"] == [
        {"on": "images", "fault": "status 503"},
        {"on": "downloads", "fault": "slow"},
    ]
    assert (await api.generate()).status_code == 503
    assert len((await api.get(faults)).json()["data"]) == 1
    assert (await api.delete(faults)).json() == {"data": []}
    wrong = await api.post(faults, json={"fault": "nonsense"})
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "fault")


def test_a_program_resets_the_emulator_with_other_options(emulator: Emulator) -> None:
    with httpx.Client(verify=False, base_url=emulator.base_url) as http:
        http.post("/images/generations", json=SMALL)
        reset = http.post(
            f"{emulator.origin}/_emulator/reset", json={"limit": "1/min", "as_of": "2023-06-01"}
        )
        statuses = [http.post("/images/generations", json=SMALL).status_code for _ in range(2)]
        models = [one["id"] for one in http.get("/models").json()["data"]]
        again = http.post(f"{emulator.origin}/_emulator/reset", json={"colour": "red"})
        after = http.post(f"{emulator.origin}/_emulator/reset")
        unlimited = [http.post("/images/generations", json=SMALL).status_code for _ in range(2)]

    assert (reset.status_code, statuses, models) == (200, [200, 429], ["dall-e-2"])
    assert (again.status_code, after.status_code, unlimited) == (400, 200, [200, 200])
    assert emulator.state.billed_images == 2


@pytest.mark.parametrize("name", NAMED_FAULTS)
def test_every_named_fault_has_an_effect_and_its_text_form(name: str) -> None:
    assert make_fault(name) == parse_fault(name).fault
    assert make_fault(name, after_work=True).after_work


def test_a_fault_without_an_effect_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a status"):
        make_fault(after_work=True)


async def test_a_garbage_response_is_billed_and_cannot_be_parsed(api: Api) -> None:
    api.state.faults.add(make_fault("garbage"), times=2)

    whole = await api.generate()
    streamed = await api.generate(model="gpt-image-2", stream=True)

    with pytest.raises(json.JSONDecodeError):
        whole.json()
    assert streamed.text.startswith("event: ")
    assert streamed.text.endswith("%%\n\n")
    assert api.state.billed_images == 2
