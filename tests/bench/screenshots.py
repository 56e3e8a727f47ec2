"""Pictures of the pages in a real browser: `make screenshots`, or `python -m tests.bench.screenshots [DIR]`.

The report of the sample log with its labels, without them, and compared with another run, and the live page:
each at a phone's and a desktop's width, in light and dark, and the report as a printer gets it.
"""

import asyncio
import json
import shutil
import sys
import tempfile
from pathlib import Path

from detector.__main__ import app
from detector.config import settings_from
from detector.pages.report import write_report
from detector.pages.serve import serving
from detector.records import decision_key, parse_time
from detector.runtime.kafka.publishing import Progress, SourcePlace
from detector.runtime.kafka.situation import Situation
from detector.runtime.kafka.watching import Seen
from tests.browser import DESKTOP, PHONE, browsing


def _replay(out: Path, *words: str) -> None:
    demo = Path("detector/tuning/demo")
    app(["replay", str(demo / "events.jsonl.zst"), "--out", str(out), "--no-progress", "-o", "json", *words],
        standalone_mode=False)  # fmt: skip


def reports(folder: Path) -> dict[str, Path]:
    """The reports that are worth a look, by name."""
    labelled, strict = folder / "labelled", folder / "strict"
    _replay(labelled, "--labels", "detector/tuning/demo/labels.csv")
    _replay(strict, "--set", "verdict.threshold=7.0", "--labels", "detector/tuning/demo/labels.csv")
    plain = folder / "plain"
    shutil.copytree(labelled, plain)
    for name in ("accounts.parquet", "timeline.parquet"):
        (plain / name).unlink()
    metrics = plain / "metrics.json"
    metrics.write_text(metrics.read_text().split('"scores"')[0].rstrip().rstrip(",") + "}")
    return {
        "report": write_report(labelled),
        "unlabelled": write_report(plain),
        "missed": write_report(strict, against=labelled),
    }


def _write(path: Path, picture: bytes) -> None:
    path.write_bytes(picture)
    print(path)


def situation(folder: Path) -> tuple[Seen, int]:
    """What the topics would say at the end of a run, and when that is."""
    held = Situation()
    metrics, about = (json.loads((folder / f"{name}.json").read_bytes()) for name in ("metrics", "manifest"))
    now_ms = parse_time(metrics["last_event"])
    for topic, name in (("alerts", "alerts"), ("decision-log", "decisions")):
        for raw in (folder / f"{name}.jsonl").read_bytes().splitlines():
            one = json.loads(raw)
            key = decision_key(tenant=one["tenant"], scope=one["scope"], value=one["value"]) if "scope" in one else b""
            held.apply(topic, key, raw)
    held.judges["default"] = Progress(
        tenant="default",
        origin=0,
        frame_offset=1,
        pane_end_ms=now_ms,
        sources={"access/0": SourcePlace(position=9_932, time_ms=now_ms)},
        settings=settings_from(about["settings"]),
        config_hash=about["config_hash"],
        version=about["version"],
    )
    return Seen(held, complete=True, trouble="", since_ms=now_ms), now_ms


async def take_live(folder: Path, out: Path) -> None:
    """The live page, with brokers that answer and without."""
    seen, now_ms = situation(folder)
    for name, shown in (("live", seen), ("away", seen._replace(trouble="NoBrokersAvailable"))):

        def see(shown: Seen = shown) -> Seen:
            return shown

        async with serving(see, host="127.0.0.1", port=0, token=b"", clock=lambda: now_ms) as address:
            await take({name: address}, out)


async def take(pages: dict[str, str], out: Path) -> None:
    """Write every picture."""
    async with browsing() as browser:
        for name, address in pages.items():
            for width, place in ((PHONE, "phone"), (DESKTOP, "desktop")):
                for dark in (False, True):
                    page = await browser.page(width=width, dark=dark)
                    await page.open(address)
                    _write(out / f"{name}-{place}-{'dark' if dark else 'light'}.png", await page.picture())


def main() -> None:
    """Take the pictures."""
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "out/screenshots")
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        pages = {name: path.resolve().as_uri() for name, path in reports(Path(folder)).items()}
        asyncio.run(take(pages, out))
        asyncio.run(take_live(Path(folder) / "labelled", out))


if __name__ == "__main__":
    main()
