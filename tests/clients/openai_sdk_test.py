"""The official OpenAI SDK of PyPI, unmodified, as its users call it."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from openai import OpenAI
from pydantic import BaseModel

MODEL = "bullion-tiny"
ASKED = [{"role": "user", "content": "什么是净利润？"}]


def client(url: str = "BULLION_URL", key: str = "none") -> OpenAI:
    return OpenAI(base_url=f"{os.environ[url]}/v1", api_key=key, max_retries=0, timeout=120)


def test_a_chat_answers_with_its_text_its_reason_and_its_usage() -> None:
    answer = client().chat.completions.create(
        model=MODEL, messages=ASKED, temperature=0, max_tokens=12
    )
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert answer.usage
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_stream_is_the_whole_answer_in_pieces_and_ends_with_its_usage() -> None:
    shared = {"model": MODEL, "messages": ASKED, "temperature": 0, "max_tokens": 24}
    whole = client().chat.completions.create(**shared)
    stream = client().chat.completions.create(
        **shared, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert len(chunks) > 4


def test_the_stream_helper_puts_the_pieces_together() -> None:
    with client().chat.completions.stream(
        model=MODEL, messages=ASKED, temperature=0, max_tokens=12
    ) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert final.choices[0].message.content


class Figure(BaseModel):
    year: int
    rising: bool


def test_an_answer_is_parsed_as_the_schema_it_was_asked_in() -> None:
    answer = client().chat.completions.parse(
        model=MODEL, messages=ASKED, temperature=0, max_tokens=64, response_format=Figure
    )
    assert isinstance(answer.choices[0].message.parsed, Figure)


def test_a_parsed_answer_goes_back_as_a_message_whole() -> None:
    shared = {"model": MODEL, "temperature": 0, "max_tokens": 64}
    first = client().chat.completions.parse(messages=ASKED, response_format=Figure, **shared)
    messages = [*ASKED, first.choices[0].message, *ASKED]
    second = client().chat.completions.create(
        messages=messages, stream=True, stream_options={"include_obfuscation": False}, **shared
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in second)


def test_completions_take_ids_and_return_echoed_log_probabilities() -> None:
    answer = client().completions.create(
        model=MODEL,
        prompt=[[300, 301, 302]],
        max_tokens=0,
        echo=True,
        logprobs=1,
    )
    logprobs = answer.choices[0].logprobs
    assert len(logprobs.token_logprobs) == 3
    assert logprobs.token_logprobs[0] is None
    assert answer.usage.completion_tokens == 0


def test_log_probabilities_of_a_chat_name_rivals_best_first() -> None:
    answer = client().chat.completions.create(
        model=MODEL, messages=ASKED, temperature=0, max_tokens=3, logprobs=True, top_logprobs=3
    )
    for token in answer.choices[0].logprobs.content:
        rivals = [rival.logprob for rival in token.top_logprobs]
        assert rivals == sorted(rivals, reverse=True)
        assert token.logprob == rivals[0]


def test_models_are_listed_and_found() -> None:
    assert MODEL in [model.id for model in client().models.list()]
    assert client().models.retrieve(MODEL).id == MODEL


def test_an_upload_becomes_a_job_with_events_and_a_model_that_answers(tmp_path: Path) -> None:
    own = client()
    lines = [
        {
            "messages": [
                {"role": "user", "content": f"第{i}问"},
                {"role": "assistant", "content": "答"},
            ]
        }
        for i in range(10)
    ]
    file = tmp_path / "train.jsonl"
    file.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    with file.open("rb") as content:
        uploaded = own.files.create(file=content, purpose="fine-tune")
    assert own.files.content(uploaded.id).read() == file.read_bytes()
    job = own.fine_tuning.jobs.create(
        model=MODEL,
        training_file=uploaded.id,
        suffix="sdk",
        seed=1,
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 1}}},
    )
    deadline = time.monotonic() + 120
    while job.status not in ("succeeded", "failed", "cancelled"):
        assert time.monotonic() < deadline, job
        time.sleep(0.5)
        job = own.fine_tuning.jobs.retrieve(job.id)
    assert job.status == "succeeded", job.error
    assert job.trained_tokens > 0
    events = list(own.fine_tuning.jobs.list_events(job.id, limit=5))  # pages of five
    assert {"message", "metrics"} == {event.type for event in events}
    assert len({event.id for event in events}) == len(events) > 5
    assert own.fine_tuning.jobs.checkpoints.list(job.id).data
    assert job.id in [other.id for other in own.fine_tuning.jobs.list()]
    answer = own.chat.completions.create(
        model=job.fine_tuned_model, messages=ASKED, temperature=0, max_tokens=4
    )
    assert answer.model == job.fine_tuned_model
    assert own.files.delete(uploaded.id).deleted


def test_a_wrong_value_is_a_bad_request_that_names_the_parameter() -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client().chat.completions.create(model=MODEL, messages=ASKED, temperature=3)
    assert caught.value.param == "temperature"
    assert caught.value.type == "invalid_request_error"


def test_a_missing_and_a_wrong_key_are_authentication_errors_and_the_right_one_is_let_in() -> None:
    with pytest.raises(openai.AuthenticationError) as caught:
        client("BULLION_URL_KEYED", "wrong").models.list()
    assert caught.value.code == "invalid_api_key"
    assert client("BULLION_URL_KEYED", "second-key").models.list().data


def test_an_unknown_model_and_an_unknown_job_are_not_found() -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client().chat.completions.create(model="./no-such-model", messages=ASKED)
    assert caught.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        client().fine_tuning.jobs.retrieve("ftjob-none")


@pytest.fixture
def full_service() -> Iterator[OpenAI]:
    """One stream runs and one waits, which is all that this service takes."""
    own = client("BULLION_URL_FULL")
    endless = {
        "model": MODEL,
        "prompt": [300],
        "max_tokens": 1900,
        "extra_body": {"ignore_eos": True},
    }
    running = own.completions.create(**endless, stream=True)
    next(iter(running))
    waiting: list[openai.Stream] = []
    waiter = threading.Thread(
        target=lambda: waiting.append(own.completions.create(**endless, stream=True))
    )
    waiter.start()
    deadline = time.monotonic() + 10
    while "bullion_requests_waiting 1" not in _metrics("BULLION_URL_FULL"):
        assert time.monotonic() < deadline
    yield own
    running.close()
    waiter.join()
    waiting[0].close()


def _metrics(url: str) -> str:
    import requests

    return requests.get(f"{os.environ[url]}/metrics", timeout=10).text


def test_a_full_queue_is_a_rate_limit_error_that_says_when_to_come_back(
    full_service: OpenAI,
) -> None:
    with pytest.raises(openai.RateLimitError) as caught:
        full_service.completions.create(model=MODEL, prompt=[300], max_tokens=1)
    assert int(caught.value.response.headers["retry-after"]) >= 1
    assert caught.value.code == "queue_full"


def test_what_is_our_own_fault_is_an_internal_server_error(tmp_path: Path) -> None:
    own = client()
    uploaded = own.files.create(file=("a.jsonl", b'{"messages": []}\n'), purpose="fine-tune")
    blobs = Path(os.environ["BULLION_DATA_FOLDER"]) / "blobs"
    newest = max((p for p in blobs.rglob("*") if p.is_file()), key=lambda p: p.stat().st_mtime)
    newest.rename(tmp_path / "gone")
    with pytest.raises(openai.InternalServerError) as caught:
        own.files.content(uploaded.id).read()
    assert caught.value.status_code == 500
    assert caught.value.type == "server_error"
