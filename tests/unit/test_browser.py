"""The pages in a real browser: sizes, colours, keyboard, policy, and updates that leave the reader in place.

One browser serves all of them. Where there is no Chromium they are skipped, with a sentence that says so.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest

from detector.pages.run_files import RunFiles, read_files
from detector.pages.serve import serving
from detector.runtime.kafka.watching import Seen
from tests.browser import DESKTOP, NAMES, PHONE, VARIABLE, Browser, Page, browsing, chromium
from tests.hostile_strings import HOSTILE, MARKUP
from tests.unit.paging import hostile_run, labelled_run, report_of, seen_of

pytestmark = pytest.mark.skipif(
    chromium() is None, reason=f"no Chromium ({', '.join(NAMES)}): install one, or name it with {VARIABLE}"
)
TOKEN = "t" * 32

# What a page shows beyond its own width; what it names for those who hear it; how far ink stands off its ground.
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
UNNAMED = """[...document.querySelectorAll('svg[role=img], [role=region], nav, section, article, button, summary, a')]
  .filter(e => !(e.getAttribute('aria-label') || e.textContent.trim() ||
     (e.getAttribute('aria-labelledby') || '').split(' ').some(i => document.getElementById(i)?.textContent.trim())))
  .map(e => e.outerHTML.slice(0, 80))"""
CONTRAST = """(() => {
  const rgb = c => c.match(/[\\d.]+/g).map(Number);
  const linear = v => v / 255 <= .03928 ? v / 255 / 12.92 : ((v / 255 + .055) / 1.055) ** 2.4;
  const light = c => { const [r, g, b] = c.map(linear);
    return .2126 * r + .7152 * g + .0722 * b; };
  const ground = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor);
    if (c.length === 3 || c[3] > 0) return c; } return [255, 255, 255]; };
  const low = [];
  for (const e of document.querySelectorAll('body *')) {
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
    if (e.closest('.said, .skip, [hidden], noscript, title, desc')) continue;
    const style = getComputedStyle(e), ink = rgb(e instanceof SVGElement ? style.fill : style.color);
    const [a, b] = [light(ink), light(ground(e.parentElement && e instanceof SVGElement ? e.closest('figure') : e))];
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) low.push([e.tagName, e.className.baseVal ?? e.className, ratio.toFixed(2)]);
  }
  return low; })()"""
LOADED = """[...document.querySelectorAll('script, img, iframe, object, embed, link, [onerror], [onmouseover]')]
  .map(e => e.outerHTML)"""


Look = Callable[[Browser], Awaitable[None]]


@pytest.fixture(scope="module")
def browsed() -> Iterator[Callable[[Look], None]]:
    """Runs what looks at pages; one browser for all of them."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        browser = runner.run(stack.enter_async_context(browsing()))
        yield lambda look: runner.run(look(browser))
        runner.run(stack.aclose())


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> RunFiles:
    return read_files(labelled_run(tmp_path_factory.mktemp("browser")))


def test_the_report_fits_its_width_is_named_and_legible_in_light_and_dark(
    browsed: Callable[[Look], None], held: RunFiles
) -> None:
    address = (held.folder / "report.html").as_uri()

    async def look(browser: Browser) -> None:
        for width in (PHONE, DESKTOP):
            for dark in (False, True):
                page = await browser.page(width=width, dark=dark)
                await page.open(address)
                assert await page.run("innerWidth") == width
                await page.run("document.querySelectorAll('details').forEach(d => { d.open = true; })")
                assert await page.run(OVERFLOW) == 0, (width, dark)
                assert await page.run(UNNAMED) == []
                assert await page.run(CONTRAST) == [], (width, dark)
                assert await page.run("document.querySelectorAll('svg.plot').length") >= 5
                assert page.requests == [address]
                assert page.said == []

    browsed(look)


def test_the_report_prints_what_is_folded(browsed: Callable[[Look], None], held: RunFiles) -> None:
    async def look(browser: Browser) -> None:
        page = await browser.page(media="print")
        await page.open((held.folder / "report.html").as_uri())
        hidden = await page.run(
            "[...document.querySelectorAll('details table')].filter(t => t.getBoundingClientRect().height === 0).length"
        )
        assert hidden == 0
        assert await page.run("getComputedStyle(document.querySelector('nav')).display") == "none"

    browsed(look)


def test_the_report_is_read_by_keyboard_alone(browsed: Callable[[Look], None], held: RunFiles) -> None:
    async def look(browser: Browser) -> None:
        page = await browser.page()
        await page.open((held.folder / "report.html").as_uri())
        await page.press("Tab")
        assert await page.run("document.activeElement.textContent") == "Skip to the content"
        assert await page.run("document.activeElement.getBoundingClientRect().left") >= 0
        await page.press("Enter")
        assert await page.run("location.hash + ' ' + document.activeElement.id") == "#main main"
        await page.press("Tab")
        assert await page.run("document.activeElement.tagName") == "SUMMARY"
        assert await page.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        before = await page.run("document.activeElement.parentElement.open")
        await page.press("Enter")
        assert await page.run("document.activeElement.parentElement.open") is not before

    browsed(look)


def test_hostile_strings_neither_run_nor_widen_the_report(
    browsed: Callable[[Look], None], held: RunFiles, tmp_path: Path
) -> None:
    texts = [*MARKUP.values(), HOSTILE["long"][:256], HOSTILE["wide"], HOSTILE["right_to_left"], HOSTILE["combining"]]
    path = tmp_path / "hostile.html"
    path.write_text(report_of(hostile_run(held, texts)), encoding="utf-8")

    async def look(browser: Browser) -> None:
        for width in (PHONE, DESKTOP):
            page = await browser.page(width=width)
            await page.open(path.as_uri())
            await page.run("document.querySelectorAll('details').forEach(d => { d.open = true; })")
            assert await page.run(LOADED) == []
            assert await page.run(OVERFLOW) == 0, width
            assert MARKUP["script"] in await page.run("document.body.innerText")
            assert page.requests == [path.as_uri()]
            assert page.said == []

    browsed(look)


def test_the_policy_stops_what_were_it_markup_would_run(
    browsed: Callable[[Look], None], held: RunFiles, tmp_path: Path
) -> None:
    """The second line of defence: even a hole in the escaping runs nothing."""
    path = tmp_path / "hole.html"
    hole = "<script>window.ran = 1</script><img src=x onerror='window.ran = 2'><style>body { display: none }</style>"
    path.write_text((held.folder / "report.html").read_text().replace("<footer>", f"{hole}<footer>"))

    async def look(browser: Browser) -> None:
        page = await browser.page()
        await page.open(path.as_uri())
        assert await page.run("window.ran") is None
        assert await page.run("getComputedStyle(document.body).display") == "block"
        assert page.requests == [path.as_uri()]
        assert len(page.said) >= 3

    browsed(look)


async def _until(page: Page, script: str) -> None:
    """Wait until an expression is true; the test's own limit ends it."""
    while await page.run(script) is not True:  # noqa: ASYNC110 - another process gets there
        await asyncio.sleep(0.05)


def test_the_live_page_updates_and_leaves_the_reader_in_place(browsed: Callable[[Look], None], held: RunFiles) -> None:
    alerts = [msgspec.structs.replace(a, status="open") for a in held.campaigns]
    now_ms = alerts[0].last_seen
    shown = [seen_of(alerts, [], now_ms=now_ms)]

    def see() -> Seen:
        return shown[0]

    async def look(browser: Browser) -> None:
        async with serving(see, host="127.0.0.1", port=0, token=b"", refresh_s=1, clock=lambda: now_ms) as address:
            page = await browser.page(width=PHONE)
            await page.open(address)
            assert await page.run("document.querySelector('#now strong').textContent") == str(len(alerts))
            await page.run("document.querySelector('#coverage summary').click()")
            await page.run("document.querySelector('.card summary').click()")
            await page.run("document.querySelector('.card summary').focus()")
            await page.run("scrollTo(0, document.querySelector('#leases').offsetTop); window.stays = 1")
            top = await page.run("document.querySelector('#leases').getBoundingClientRect().top")
            more = msgspec.structs.replace(alerts[0], alert_id="a-more", risk_score=100, title="<i>another</i>")
            shown[0] = seen_of([*alerts, more], [], now_ms=now_ms)
            await _until(page, f"document.querySelector('#now strong').textContent === '{len(alerts) + 1}'")
            assert await page.run("window.stays") == 1
            assert (
                await page.run("document.activeElement.tagName + document.activeElement.parentElement.open")
                == "SUMMARYtrue"
            )
            assert await page.run("document.querySelectorAll('.card details[open]').length") == 1
            assert await page.run("document.querySelector('#coverage details').open") is True
            moved = await page.run("document.querySelector('#leases').getBoundingClientRect().top")
            assert abs(moved - top) < 2, (moved, top)
            assert "open campaigns" in await page.run("document.getElementById('announce').textContent")
            assert await page.run("document.querySelectorAll('main i').length") == 0
            assert all(asked.startswith(address) for asked in page.requests)
            await page.run("document.getElementById('pause').click()")
            assert await page.run("document.getElementById('pause').getAttribute('aria-pressed')") == "true"
            assert page.said == []
        await page.run("document.getElementById('pause').click()")
        await _until(page, "document.body.classList.contains('old')")
        assert "does not answer since" in await page.run("document.getElementById('state').textContent")
        assert await page.run("document.querySelector('#now strong').textContent") == str(len(alerts) + 1)

    browsed(look)


def test_the_live_page_fits_and_is_legible_and_reads_without_its_script(
    browsed: Callable[[Look], None], held: RunFiles
) -> None:
    seen = seen_of(held.campaigns, [], now_ms=held.campaigns[0].last_seen)._replace(trouble="NoBrokersAvailable")

    async def look(browser: Browser) -> None:
        async with serving(lambda: seen, host="127.0.0.1", port=0, token=TOKEN.encode()) as address:
            for width in (PHONE, DESKTOP):
                for dark in (False, True):
                    page = await browser.page(width=width, dark=dark, scripts=not dark, Authorization=f"Bearer {TOKEN}")
                    await page.open(address)
                    await page.run("document.querySelectorAll('details').forEach(d => { d.open = true; })")
                    assert await page.run("innerWidth") == width
                    assert await page.run(OVERFLOW) == 0, (width, dark)
                    assert await page.run(UNNAMED) == []
                    assert await page.run(CONTRAST) == [], (width, dark)
                    assert "No word from the brokers" in await page.run("document.body.innerText")
            page = await browser.page()
            await page.open(address)
            assert await page.run("document.querySelectorAll('section').length") == 0

    browsed(look)
