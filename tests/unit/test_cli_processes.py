"""The program as processes: hash seeds, Ctrl-C, a killed parent, bombs.

Workers inherit standard error, so that reading it to its end shows that none is left.
"""

import contextlib
import gzip
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.unit.replaying import OUTCOME, SMALL, lines, outcome, start, with_fields, write_lines

WAIT_S = 120
COPIES = 16  # more blocks than wait before the first is folded
PADDING = {"ext": {"p": "x" * 3_900}}  # ignored; it makes the log several blocks long


@pytest.fixture(scope="module")
def long_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log in three blocks of text."""
    path = tmp_path_factory.mktemp("long") / "log.jsonl"
    return write_lines(path, [with_fields(line, **PADDING) for line in lines()])


def test_equal_input_gives_equal_bytes_under_any_hash_seed_with_any_workers(tmp_path: Path, long_log: Path) -> None:
    made = []
    for seed, workers in (("1", 1), ("2", 2)):
        out = tmp_path / seed
        process = start("replay", long_log, "--out", out, "--workers", workers, *SMALL, PYTHONHASHSEED=seed)
        _, said = process.communicate(timeout=WAIT_S)
        assert process.returncode == 0, said
        made.append(outcome(out) | {name: (out / name).read_bytes() for name in ("metrics.json", "rejects.jsonl")})
    assert all(made[0][name] for name in OUTCOME)
    assert made[0] == made[1]


def interrupted(process: "subprocess.Popen[bytes]", *, number: int, group: bool, text: bytes) -> tuple[bytes, bytes]:
    """Let a replay of standard input begin, then send a signal; returns what it said on both outputs."""
    stdin, out, err = process.stdin, process.stdout, process.stderr
    assert stdin is not None
    assert out is not None
    assert err is not None

    def write() -> None:
        with contextlib.suppress(BrokenPipeError):
            for _ in range(COPIES):
                stdin.write(text)  # the input stays open: no run ends before its signal

    writer = threading.Thread(target=write)
    writer.start()
    first = err.readline()  # the progress line of the first range
    (os.killpg if group else os.kill)(process.pid, number)
    said, errors = out.read(), err.read()
    process.wait(WAIT_S)
    writer.join()
    for pipe in (stdin, out, err):
        with contextlib.suppress(BrokenPipeError):
            pipe.close()
    assert json.loads(first)["events"] > 0, first + errors
    return said, errors


@pytest.mark.parametrize(
    ("workers", "number", "group"),
    [(1, signal.SIGINT, True), (2, signal.SIGINT, True), (2, signal.SIGTERM, False)],
)
def test_an_interrupt_leaves_complete_lines_and_says_how_far_it_came(
    tmp_path: Path, long_log: Path, workers: int, number: int, group: bool
) -> None:
    out = tmp_path / "run"
    process = start("replay", "-", "--out", out, "--workers", workers, *SMALL)
    said, errors = interrupted(process, number=number, group=group, text=long_log.read_bytes())
    assert process.returncode == 130
    assert all(b'"alerts":' in line for line in errors.splitlines()), errors  # progress, no trace
    assert said.startswith(b"Interrupted at event time 2026-06-21T"), said
    metrics = json.loads((out / "metrics.json").read_bytes())
    assert metrics["interrupted"]
    assert metrics["last_event"].encode() in said
    assert metrics["events"] > 0
    assert json.loads((out / "manifest.json").read_bytes())["inputs"] == [{"path": "-"}]
    for data in (*outcome(out).values(), (out / "rejects.jsonl").read_bytes()):
        assert not data or data.endswith(b"\n")
        for line in data.splitlines():
            json.loads(line)


def test_a_killed_replay_leaves_no_worker(tmp_path: Path, long_log: Path) -> None:
    process = start("replay", "-", "--out", tmp_path / "run", "--workers", 2, *SMALL)
    interrupted(process, number=signal.SIGKILL, group=False, text=long_log.read_bytes())  # reads to the last one's end
    assert process.returncode == -signal.SIGKILL


BOMB_BYTES = 1 << 28
MEASURED = """
import resource, sys
from detector.__main__ import app
for log in ("plain.jsonl", "bomb.jsonl.gz"):
    app(["replay", log, "--out", log.partition(".")[0], "--no-progress", *sys.argv[1:]], standalone_mode=False)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, file=sys.stderr)
"""


def test_a_bomb_is_one_reject_in_little_memory(tmp_path: Path) -> None:
    plain, bomb = tmp_path / "plain.jsonl", tmp_path / "bomb.jsonl.gz"
    write_lines(plain, lines())
    half = b"\n".join(lines()[:300])
    with bomb.open("wb") as file:
        file.write(gzip.compress(half + b"\n", 1))
        # One member of zeros, repeated: 64 MiB each.
        file.write(gzip.compress(bytes(1 << 26)) * (BOMB_BYTES >> 26))
        file.write(gzip.compress(b"\n" + b"\n".join(lines()[300:]), 1))
    assert bomb.stat().st_size < 4 << 20
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *SMALL],
        capture_output=True,
        cwd=tmp_path,
        check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    before_mib, after_mib = map(int, done.stderr.split())
    assert after_mib < before_mib + 64
    assert outcome(tmp_path / "bomb") == outcome(tmp_path / "plain")
    (reject,) = (json.loads(line) for line in (tmp_path / "bomb" / "rejects.jsonl").read_bytes().splitlines())
    assert (reject["line"], reject["reason"]) == (301, "too_large")
