"""Law 1: equal settings, keys and input give equal bytes, in any process and under any PYTHONHASHSEED."""

import os
import subprocess
import sys

import pytest

from detector.hashing import content_digest
from tests.conftest import ROOT
from tests.laws.streams import Outcome, ends, run, whole, world

SEEDS = (0, 1)


def digest_of(outcome: Outcome) -> str:
    parts = (outcome.outputs, outcome.members, repr(outcome.refused).encode(), outcome.snapshot)
    return " ".join(content_digest(part) for part in parts)


def digests() -> str:
    """Digests of all that runs over a few worlds leave behind."""
    streams = [world(seed, sources=2) for seed in SEEDS]
    return "\n".join(digest_of(run(s, [*whole(s), *ends(s)])) for s in streams)


@pytest.mark.parametrize("hash_seed", ["0", "4242"])
def test_another_process_with_another_hash_seed_gives_equal_bytes(hash_seed: str) -> None:
    code = "from tests.laws.test_law1_determinism import digests; print(digests())"
    environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == digests()


def test_a_second_run_in_this_process_gives_equal_bytes() -> None:
    assert digests() == digests()


def test_the_worlds_of_the_laws_show_a_campaign_and_its_leases() -> None:
    # Else the laws would hold for nothing: decisions that are renewed and lapse, alerts that are updated.
    for seed in range(4):
        stream = world(seed, sources=2)
        written = run(stream, [*whole(stream), *ends(stream)]).outputs
        for word in (b'"alert.v1"', b'"status":"updated"', b'"state":"active"', b'"state":"expired"', b'"renewals":1'):
            assert word in written, f"world {seed} shows no {word!r}"
        # In odd worlds operators act: a lease is lifted, one is added, a drill ends them all.
        for word in (b'"state":"revoked"', b'"reason_code":"operator"', b"Enforcement is switched off"):
            assert (word in written) == (seed % 2 == 1), f"world {seed} and {word!r}"
