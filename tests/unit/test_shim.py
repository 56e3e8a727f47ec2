"""The shim says what the compiled fingerprints say, to the byte, and needs nothing but Python."""

import subprocess
import sys
from collections.abc import Sequence
from importlib.resources import as_file, files
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from detector import fingerprint, shim
from tests.conftest import ROOT

KEY = bytes(range(32))
# What the compiled path treats in a way of its own: scripts, marks, quotes, digits, invisible characters, empty lines.
PIECES = (
    *(
        "think step by step",
        "Bonjour",
        "wie heißt",
        "一步一步思考",
        "ステップ",
        "단계별로",
        "что это",
        "ما هذا",
        "नमस्ते",
    ),
    *("Straße", "ﬁne", "İstanbul", "Ǆ", "x²", "٣٤", "５0", "e\u0301", "\u0301", "zero\u200bwidth", "soft\u00adhyphen"),
    *("\n\n", "\n \n", "\r\n", "\u2028", "\x85", "\t", "\u00a0", "\u3000", ". ", "- one", "* two", "1. a", "23) b"),
    *(
        '"quoted words"',
        '"',
        "`code`",
        "```",
        "«x»",
        "“smart”",
        "「引用」",
        "•",
        "?",
        "؟",
        "¿",
        "😀",
        "\U000e0041",
        "𠀀",
    ),
    *(
        "a1b2",
        "12,000",
        "_x_",
        "deadbeef" * 5,
        "ж" * 17,
        "\x00",
        "\x7f",
        "\ufffd",
        "\ufe0f",
        "กขค",
        "ἀρχή",
        "שלום",
        "ー",
    ),
)
TEXTS = st.lists(
    st.one_of(st.sampled_from(PIECES), st.text(max_size=6), st.sampled_from([" ", "\n"])), max_size=60
).map(lambda parts: " ".join(parts).encode("utf-8", "ignore").decode())


def compiled(rows: Sequence[tuple[str | None, str | None, str | None]], key: bytes) -> list[dict[str, Any]]:
    columns = fingerprint.Content(*(pa.array([row[part] for row in rows], pa.string()) for part in range(3)))
    made = fingerprint.fingerprint(columns, key=key)
    lists = {name: column.to_pylist() for name, column in made.items()}
    for name in ("anchor_fps", "run_fps", "output_run_fps"):
        lists[name] = [value and [f"{v:016x}" for v in value] for value in lists[name]]
    return [{name: lists[name][row] for name in lists if lists[name][row] is not None} for row in range(len(rows))]


def shimmed(row: tuple[str | None, str | None, str | None], key: bytes) -> dict[str, Any]:
    found = shim.fingerprint(system=row[0], prompt=row[1], output=row[2], key=key)
    if "elicitation" in found:
        found["elicitation"] = {kind: float(np.float32(score)) for kind, score in found["elicitation"].items()}
    return found


def test_the_sample_logs_texts_have_the_same_fingerprints() -> None:
    with as_file(files("detector.tuning") / "demo") as demo:
        data = zstandard.ZstdDecompressor().decompressobj().decompress((demo / "events.jsonl.zst").read_bytes())
    contents = [orjson.loads(line)["content"] for line in data.splitlines()[::12]]
    rows = [(c.get("system"), c.get("prompt"), c.get("output")) for c in contents]
    assert len(rows) > 500
    assert [shimmed(row, KEY) for row in rows] == compiled(rows, KEY)


@settings(max_examples=400, deadline=None)
@given(
    system=st.none() | TEXTS,
    prompt=st.none() | TEXTS,
    output=st.none() | TEXTS,
    key=st.binary(min_size=32, max_size=32),
)
def test_any_text_has_the_same_fingerprints(
    system: str | None, prompt: str | None, output: str | None, key: bytes
) -> None:
    row = (system, prompt, output)
    assert shimmed(row, KEY) == compiled([row], KEY)[0]
    assert shim.fingerprint(system=None, prompt=None, output=None, key=key)["fp_key_id"] == fingerprint.fp_key_id(key)


def test_every_character_is_of_the_same_class() -> None:
    kinds = "pldsmk\n"
    ours = [shim.words._class(chr(code)) for code in range(0x110000)]
    theirs = fingerprint.words.character_classes()
    assert [kinds.index(kind) | script << 4 for kind, script in ours] == theirs.tolist()


def test_long_texts_and_another_key_have_the_same_fingerprints() -> None:
    text = "\n\n".join(f"Item {n}: explain step by step why {'ab' * (n % 7)} is not {n}." for n in range(300))
    rows = [(text, text, text), (None, '"' + "é" * 300 + '" is what I want you to act as now please', None)]
    for key in (bytes(32), bytes(range(1, 33))):
        assert [shimmed(row, key) for row in rows] == compiled(rows, key)


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="5 bytes, expected 32"):
        shim.fingerprint(system=None, prompt="a", output=None, key=b"short")


def test_it_needs_nothing_but_python() -> None:
    asks = "import sys; sys.path.insert(0, sys.argv[1]); import detector.shim; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", asks, str(ROOT)], capture_output=True, text=True, check=True
    )
    foreign = {name.split(".")[0] for name in done.stdout.split()} - set(sys.stdlib_module_names) - {"detector"}
    assert not {name for name in foreign if not name.startswith("__")}
