"""Pictures of the pages in a real browser: `make screenshots`, or `python -m tests.bench.screenshots [DIR]`.

The report of the sample log with its labels, without them, and compared with another run, and the live page:
each at a phone's and a desktop's width, in light and dark, and the report as a printer gets it.
"""

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

from detector.__main__ import app
from detector.pages.report import write_report
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


if __name__ == "__main__":
    main()
