"""Both languages read the same example messages; this is the Python half."""

import json
from pathlib import Path

import pytest
from bullion.contract.decode import decode, encode
from bullion.contract.errors import Refusal
from bullion.contract.worker import Cancellation, Event, Opening, Submission

GOLDEN = json.loads(
    (Path(__file__).parents[2] / "golden/worker/messages.json").read_text(encoding="utf-8")
)
KINDS = {
    "openings": Opening,
    "submissions": Submission,
    "cancellations": Cancellation,
    "events": Event,
}


@pytest.mark.parametrize("group", KINDS)
def test_every_example_is_read_and_written_back_unchanged(group):
    assert GOLDEN[group]
    for example in GOLDEN[group]:
        assert encode(decode(KINDS[group], example)) == example


@pytest.mark.parametrize("case", GOLDEN["refused_submissions"], ids=lambda case: case["why"])
def test_what_the_other_side_may_not_say_is_refused(case):
    with pytest.raises(Refusal) as refused:
        decode(Submission, case["message"])
    assert refused.value.code == "malformed_message"


def test_a_refusal_names_the_path_of_the_fault():
    broken = json.loads(json.dumps(GOLDEN["submissions"][0]))
    broken["spec"]["lora"]["rank"] = "eight"
    with pytest.raises(Refusal, match=r"spec\.lora\.rank must be a int, not 'eight'"):
        decode(Submission, broken)
