"""What encode makes of an event's fields, where a digest stands for more than one of them."""

import numpy as np
import pyarrow as pa

from detector.encode import encode
from detector.events import event_batch
from detector.frames import ID
from detector.hashing import DEVELOPMENT_KEY

ABSENT = 0


def asked(*pairs: tuple[str | None, str | None]) -> list[int]:
    """The digests of what was asked, for pairs of a prompt's fingerprint and a logit bias's."""
    prompts, biases = zip(*pairs, strict=True)
    columns = {
        "event_id": pa.array([f"e-{at}" for at in range(len(pairs))]),
        "event_time": pa.array([1_782_050_400_000] * len(pairs)),
        "account_id": pa.array(["a"] * len(pairs)),
        "request_model": pa.array(["m"] * len(pairs)),
        "prompt_fp": pa.array(prompts, pa.string()),
        "logit_bias_fp": pa.array(biases, pa.string()),
    }
    batch = event_batch(columns, rows=len(pairs))
    (frame,) = encode(batch, positions=np.arange(len(pairs)), source="s", first=0, stop=len(pairs), key=DEVELOPMENT_KEY)
    return [int(digest) for digest in frame.ids[:, ID.PROMPT]]


def test_a_prompt_under_another_logit_bias_is_another_item() -> None:
    plain, one, other, again = asked(("p", None), ("p", "b-1"), ("p", "b-2"), ("p", "b-1"))
    assert len({plain, one, other}) == 3
    assert again == one


def test_without_a_bias_in_the_log_a_prompt_is_the_item_it_was() -> None:
    assert asked(("p", None), ("p", "b-1"))[0] == asked(("p", None))[0]


def test_a_bias_without_a_prompt_says_nothing_of_what_was_asked() -> None:
    assert asked((None, "b-1"), (None, None)) == [ABSENT, ABSENT]
