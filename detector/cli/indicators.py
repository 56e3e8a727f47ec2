"""`stillwatch indicators export|import`: findings shared with other labs, as STIX 2.1."""

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
import typer

from detector.cli.common import EXIT_INPUT, EXIT_USAGE, duration_ms, fail, note, read_key
from detector.cli.dossier import from_folder
from detector.cli.options import Bootstrap, Config, KeyFile, Prefix
from detector.cli.orders import TENANT, For, Reason, Tenant, Until, expiry_ms, now_ms, said
from detector.fingerprint import fp_key_id
from detector.records import DetectorError, SchemaError, encode, parse_time
from detector.runtime.printing import printable
from detector.tuning.bridge import TEXT_KINDS, Text, bridge
from detector.tuning.dossier import CaseFile, accounts_of
from detector.tuning.intake import Keys, Terms, records
from detector.tuning.stix import bundle, findings_of, shared

indicators = typer.Typer(help="Findings shared with other labs: STIX 2.1, no customer data.", no_args_is_help=True)

SharingKey = Annotated[
    Path | None, typer.Option(help="the key that labs share, 64 hex digits: never the log's own; for --texts")
]
Texts = Annotated[list[str] | None, typer.Option(metavar="RAW", help="raw logs, to share texts' fingerprints as well")]


def _topics() -> Any:
    """What reaches the topics: directories and files need it not."""
    if find_spec("aiokafka") is None:
        raise fail(
            "the topics need the extra `kafka`: pip install 'stillwatch[kafka]'; without it there are export --in DIR "
            "and import --out FILE",
            code=EXIT_USAGE,
        )
    return import_module("detector.cli.indicators_topics")


def _sharing_key(sharing_key_file: Path | None, *, key: bytes) -> bytes:
    if sharing_key_file is None:
        raise fail("--texts needs --sharing-key-file", code=EXIT_USAGE)
    sharing, _ = read_key(sharing_key_file)
    if sharing == key:
        raise fail("the sharing key is the log's own: then everybody could tell our customers' texts", code=EXIT_USAGE)
    return sharing


@indicators.command("export")
def export(
    alert_id: Annotated[str, typer.Argument(metavar="ID", help="an alert's or campaign's id")],
    lab: Annotated[str, typer.Option(help="who shares it: a name that others know")],
    folder: Annotated[Path | None, typer.Option("--in", help="a replay's directory; else the topics")] = None,
    events: Annotated[list[str] | None, typer.Option(metavar="IN", help="the log; else the replay's inputs")] = None,
    texts: Texts = None,
    sharing_key_file: SharingKey = None,
    tlp: Annotated[Literal["white", "green", "amber", "red"], typer.Option(help="who may see it")] = "amber",
    valid_days: Annotated[int, typer.Option(min=1, max=365, help="indicators end so long after the last event")] = 30,
    out: Annotated[Path | None, typer.Option(help="file to write; else standard output")] = None,
    key_file: KeyFile = None,
    config: Config = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Write what others may know of a campaign: programs, TLS fingerprints, hosting prefixes, texts by sharing key."""
    key, _ = read_key(key_file)
    sharing = _sharing_key(sharing_key_file, key=key) if texts else None
    try:
        if folder is not None:
            case = from_folder(alert_id, folder, events=events or [], key=key)
        else:
            place = {"config": config, "bootstrap": bootstrap, "prefix": prefix}
            case = _topics().case_of(alert_id, events=events or [], key=key, **place)
        translated = []
        if sharing is not None:
            translated = bridge(
                texts or [], _texts_of(case), from_key=key, to_key=sharing, tenant=case.alert.entity.tenant,
                accounts=accounts_of(case),
            )  # fmt: skip
        found = shared(case.traffic, translated, key_id=fp_key_id(sharing) if sharing is not None else "")
        written = bundle(case.alert, found, lab=said(lab, option="--lab"), tlp=tlp, valid_days=valid_days)
        if out is None:
            sys.stdout.write(written)
        else:
            out.write_text(written)
    except (DetectorError, OSError) as wrong:
        raise fail(printable(str(wrong)), code=EXIT_INPUT) from wrong
    note(f"{len(found)} findings shared")


def _texts_of(case: CaseFile) -> set[Text]:
    assert case.alert.campaign is not None
    return {Text(link.kind, link.value) for link in case.alert.campaign.links if link.kind in TEXT_KINDS}


@indicators.command("import")
def import_(
    bundle_file: Annotated[Path, typer.Argument(metavar="BUNDLE", help="STIX 2.1, JSON")],
    owner: Annotated[str, typer.Option(help="who answers for taking it in")],
    reason: Reason,
    for_: For = None,
    until: Until = None,
    model: Annotated[list[str] | None, typer.Option(help="a model of ours that shared programs are watched on")] = None,
    texts: Texts = None,
    sharing_key_file: SharingKey = None,
    tenant: Tenant = TENANT,
    at: Annotated[str | None, typer.Option(help="as of this time, RFC 3339: for a replay of the past")] = None,
    out: Annotated[Path | None, typer.Option(help="operators' records to write, for replay; else the topics")] = None,
    key_file: KeyFile = None,
    config: Config = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Watch what others found: each link until it expires, as a weak word about its pool and never more."""
    key, _ = read_key(key_file)
    at_ms, keys = (now_ms() if at is None else _time(at, option="--at")), None
    terms = Terms(
        tenant=tenant, owner=said(owner, option="--owner"), reason=said(reason, option="--reason"), now_ms=at_ms,
        expires_ms=expiry_ms(for_, until) if at is None else _expiry(at_ms, for_, until), models=tuple(model or ()),
    )  # fmt: skip
    if texts:
        sharing = _sharing_key(sharing_key_file, key=key)
        keys = Keys(sharing, key, fp_key_id(sharing), texts)
    try:
        read, unread = findings_of(bundle_file.read_text())
        made, passed = records(read, terms, keys=keys)
        if out is not None:
            lines = [orjson.dumps(orjson.loads(encode(m)) | {"ingest_time": at_ms}) + b"\n" for m in made]
            out.write_bytes(b"".join(lines))
    except (DetectorError, OSError, UnicodeDecodeError) as wrong:
        raise fail(printable(str(wrong)), code=EXIT_INPUT) from wrong
    if out is None:
        _topics().send(made, config=config, bootstrap=bootstrap, prefix=prefix)
    passed["pattern not understood"] += unread
    rest = ", ".join(f"{count} {why}" for why, count in sorted((+passed).items()))
    typer.echo(f"{len(made)} links watched of {len(read) + unread} indicators" + (f"; not: {rest}" if rest else ""))


def _time(text: str, *, option: str) -> int:
    try:
        return parse_time(text)
    except SchemaError as wrong:
        raise fail(f"{option}: {wrong}", code=EXIT_USAGE) from wrong


def _expiry(at_ms: int, for_: str | None, until: str | None) -> int:
    """The end as of another time than now."""
    if (for_ is None) == (until is None):
        raise fail("give an end: one of --for (such as 30d) and --until (RFC 3339)", code=EXIT_USAGE)
    return at_ms + duration_ms(for_, option="--for") if for_ is not None else _time(str(until), option="--until")
