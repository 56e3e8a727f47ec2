"""STIX 2.1: a campaign's findings as a bundle for other labs, and theirs as findings.

Purpose: `bundle` writes a campaign, its indicators and what was observed; `findings_of` reads the indicators of
anybody's bundle; `shared` chooses what of a campaign may leave the building.
Invariants: ids are UUIDv5 of the lab, the campaign and the content, times the alert's: equal findings give equal bytes,
and a later export updates an earlier one. No account, organisation, payment, device, address of a home, prompt or
fingerprint under the log's own key is in it: settings of programs (without the model), TLS fingerprints, prefixes of
data centres, and fingerprints under the sharing key, each shown by several accounts of the campaign and by hardly
anybody else.
Limits: patterns are read back as far as this module writes them (equalities joined by AND, ISSUBSET for prefixes);
others are counted as unread. STIX counts an observation up to 999,999,999.
Source: OASIS STIX 2.1, sections 4.4 (Campaign), 4.7 (Indicator), 4.14 (Observed Data), 7.3 (Extension Definition).
"""

import re
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

import stix2
from stix2.exceptions import STIXError
from stix2.properties import BooleanProperty, FloatProperty, IntegerProperty, StringProperty

from detector.encode_operators import program_fields
from detector.records import Alert, DetectorError
from detector.tuning.bridge import Translated
from detector.tuning.traffic import Traffic
from detector.vocabulary import IndicatorKind

NAMESPACE = uuid.UUID("6f1d1f0c-6d0b-5c9e-9f5c-0b7f6f1c2a11")  # of this module's ids, drawn once
SHARE_MIN = 0.05  # of the campaign's accounts that show what is shared
OTHERS_MAX = 0.01  # of everybody else
OBSERVED_MAX = 999_999_999
DAY_MS = 86_400_000
TLP = {"white": stix2.TLP_WHITE, "green": stix2.TLP_GREEN, "amber": stix2.TLP_AMBER, "red": stix2.TLP_RED}
ATLAS = {"AML.T0024.002": "Extract AI Model", "AML.T0008.005": "AI Service Proxies"}

_CLIENT, _TEXT = "x-stillwatch-client", "x-stillwatch-text"
_EXTENSIONS = {name: f"extension-definition--{uuid.uuid5(NAMESPACE, name)}" for name in (_CLIENT, _TEXT)}
_MEANING = {
    _CLIENT: "A client program's settings, or its TLS fingerprint.",
    _TEXT: "A fingerprint of text: kind and value, under the sharing key that key_id names.",
}
_CLIENT_FIELDS = ("sdk_name", "stream", "max_tokens", "temperature", "ja4")


_ATLAS_PAGES = "https://atlas.mitre.org/techniques"
# Objects that belong to no campaign have one time for all bundles.
_EVER = {"created": datetime(2026, 1, 1, tzinfo=UTC), "modified": datetime(2026, 1, 1, tzinfo=UTC)}


class StixError(DetectorError):
    """Nothing may be shared, or a bundle cannot be read."""


@stix2.CustomObservable(
    _CLIENT,
    [
        ("sdk_name", StringProperty()),
        ("stream", BooleanProperty()),
        ("max_tokens", IntegerProperty()),
        ("temperature", FloatProperty()),
        ("ja4", StringProperty()),
    ],
    list(_CLIENT_FIELDS),
    _EXTENSIONS[_CLIENT],
)
class Client:
    """A client program's settings, or its TLS fingerprint."""


@stix2.CustomObservable(
    _TEXT,
    [
        ("kind", StringProperty(required=True)),
        ("value", StringProperty(required=True)),
        ("key_id", StringProperty(required=True)),
    ],
    ["kind", "value", "key_id"],
    _EXTENSIONS[_TEXT],
)
class Text:
    """A fingerprint of text under a sharing key."""


class Finding(NamedTuple):
    """One thing to look out for: a kind of link and the fields that tell it."""

    kind: IndicatorKind
    fields: tuple[tuple[str, Any], ...]
    accounts: int = 0
    requests: int = 0


class Read(NamedTuple):
    """An indicator of a bundle."""

    indicator_id: str
    finding: Finding
    valid_until_ms: int | None
    source: str
    revoked: bool


def shared(traffic: Traffic | None, translated: Iterable[Translated] = (), *, key_id: str = "") -> list[Finding]:
    """What of a campaign may be shared: what enough of its accounts and hardly anybody else show."""
    found: dict[tuple[str, tuple[tuple[str, Any], ...]], Finding] = {}
    for a in traffic.attributes if traffic is not None else ():
        assert traffic is not None
        if a.accounts < SHARE_MIN * traffic.accounts or a.other_accounts > OTHERS_MAX * traffic.others:
            continue
        fields = program_fields(a.value) if a.kind == "program" else {a.kind: a.value}
        fields.pop("request_model", None)  # a lab's models are its own
        key = (a.kind, tuple(sorted(fields.items())))
        if fields:
            held = found.get(key, Finding(key[0], key[1]))  # type: ignore[arg-type]  # the kinds of `TOLD`
            found[key] = held._replace(accounts=max(held.accounts, a.accounts), requests=held.requests + a.requests)
    out = list(found.values())
    for t in translated:
        fields = {"kind": t.text.kind, "value": t.text.value, "key_id": key_id}
        kind: IndicatorKind = t.text.kind  # type: ignore[assignment]  # of the kinds that are translated
        out.append(Finding(kind, tuple(sorted(fields.items())), t.accounts, t.requests))
    return out


def _id(kind: str, *parts: object) -> str:
    return f"{kind}--{uuid.uuid5(NAMESPACE, '/'.join(map(str, (kind, *parts))))}"


def _time(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)


def _observable(finding: Finding) -> Any:
    fields = dict(finding.fields)
    if finding.kind == "subnet":
        made = stix2.IPv6Address if ":" in fields["subnet"] else stix2.IPv4Address
        return made(value=fields["subnet"])
    return Client(**fields) if finding.kind in {"program", "ja4"} else Text(**fields)


def pattern_of(finding: Finding) -> str:
    """The STIX pattern of a finding.

    >>> pattern_of(Finding("program", (("max_tokens", 5), ("stream", False))))
    '[x-stillwatch-client:max_tokens = 5 AND x-stillwatch-client:stream = false]'
    """
    fields = dict(finding.fields)
    if finding.kind == "subnet":
        version = "ipv6-addr" if ":" in fields["subnet"] else "ipv4-addr"
        return f"[{version}:value ISSUBSET {_constant(fields['subnet'])}]"
    place = _CLIENT if finding.kind in {"program", "ja4"} else _TEXT
    return "[" + " AND ".join(f"{place}:{name} = {_constant(said)}" for name, said in finding.fields) + "]"


def _constant(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    return "'" + str(value).replace("\\", "\\\\").replace("'", "\\'") + "'"


def bundle(alert: Alert, findings: list[Finding], *, lab: str, tlp: str, valid_days: int) -> str:
    """Write a campaign and its findings as a bundle: JSON. Raises `StixError` where there is nothing to share."""
    campaign = alert.campaign
    if campaign is None or not findings:
        raise StixError(
            "nothing of this campaign may be shared: no program, TLS fingerprint or hosting prefix of its own is known "
            "(give its log), and no text under a sharing key"
        )
    marked, modified_ms = TLP[tlp], max(alert.last_seen, alert.detected_at)
    who = stix2.Identity(id=_id("identity", lab), name=lab, identity_class="organization", **_EVER)
    common = {
        "created_by_ref": who.id,
        "object_marking_refs": [marked.id],
        "created": _time(alert.detected_at),
        "modified": _time(modified_ms),
    }
    told = stix2.Campaign(
        id=_id("campaign", lab, campaign.id),
        name=f"Model distillation {campaign.id}",
        description=_description(alert),
        first_seen=_time(alert.first_seen),
        last_seen=_time(alert.last_seen),
        objective="Extract a model's capabilities through its API",
        **common,
    )
    objects: list[Any] = [who, marked, *(_extension(name, who.id) for name in _EXTENSIONS), told]
    for technique in (a.sub_technique or a.technique for a in alert.attack):
        pattern = _technique(technique)
        objects += [pattern, _related(told.id, "uses", pattern.id, common)]
    observed = []
    for finding in findings:
        seen = _observable(finding)
        indicator = stix2.Indicator(
            id=_id("indicator", lab, campaign.id, pattern_of(finding)),
            name=f"{finding.kind} of {campaign.id}",
            description=f"Shown by {finding.accounts} accounts of the campaign in {finding.requests} requests.",
            indicator_types=["malicious-activity"],
            pattern=pattern_of(finding),
            pattern_type="stix",
            valid_from=_time(alert.first_seen),
            valid_until=_time(alert.last_seen + valid_days * DAY_MS),
            **common,
        )
        observed.append(seen.id)
        objects += [seen, indicator, _related(indicator.id, "indicates", told.id, common)]
    whole = stix2.ObservedData(
        id=_id("observed-data", lab, campaign.id),
        first_observed=_time(alert.first_seen),
        last_observed=_time(alert.last_seen),
        number_observed=min(max(campaign.requests, 1), OBSERVED_MAX),
        object_refs=sorted(set(observed)),
        allow_custom=True,  # references to the types that the extensions define
        **common,
    )
    distinct = {o.id: o for o in (*objects, whole)}
    made = stix2.Bundle(
        id=_id("bundle", lab, campaign.id, alert.revision), objects=list(distinct.values()), allow_custom=True
    )
    said: str = made.serialize(pretty=True)
    return said + "\n"


def _related(source: str, relation: str, target: str, common: dict[str, Any]) -> Any:
    return stix2.Relationship(
        id=_id("relationship", source, relation, target),
        relationship_type=relation,
        source_ref=source,
        target_ref=target,
        **common,
    )


def _technique(technique: str) -> Any:
    where = {"source_name": "mitre-atlas", "external_id": technique, "url": f"{_ATLAS_PAGES}/{technique}"}
    name = ATLAS.get(technique, technique)
    return stix2.AttackPattern(id=_id("attack-pattern", technique), name=name, external_references=[where], **_EVER)


def _extension(name: str, lab: str) -> Any:
    return stix2.ExtensionDefinition(
        id=_EXTENSIONS[name],
        name=name,
        description=_MEANING[name],
        version="1.0.0",
        schema="https://json-schema.org/draft/2020-12/schema",
        extension_types=["new-sco"],
        created_by_ref=lab,
        **_EVER,
    )


def _description(alert: Alert) -> str:
    """Numbers only."""
    campaign, damage = alert.campaign, alert.damage
    assert campaign is not None
    output = f", {damage.output_tokens} output tokens" if damage is not None else ""
    after = f"; capabilities: {', '.join(campaign.capabilities)}" if campaign.capabilities else ""
    return f"{campaign.accounts} accounts, {campaign.requests} requests{output}; shape: {campaign.shape}{after}."


_COMPARISON = re.compile(
    r"([a-z0-9-]+):([a-z0-9_]+) (=|ISSUBSET) (?:'((?:[^'\\]|\\.)*)'|(true|false)|(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?))"
)


def findings_of(text: str) -> tuple[list[Read], int]:
    """Read the indicators of a bundle: those understood, and how many were not. Raises `StixError`."""
    try:
        made = stix2.parse(text, allow_custom=True)
    except (STIXError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as wrong:
        raise StixError(f"not a STIX 2.1 bundle: {wrong}") from wrong
    objects = made.get("objects", []) if made["type"] == "bundle" else [made]
    names = {o["id"]: o["name"] for o in objects if o["type"] == "identity"}
    out, unread = [], 0
    for o in objects:
        if o["type"] != "indicator":
            continue
        finding = finding_of(o["pattern"]) if o["pattern_type"] == "stix" else None
        if finding is None:
            unread += 1
            continue
        until = o.get("valid_until")
        source = names.get(o.get("created_by_ref"), o.get("created_by_ref", "unknown"))
        until_ms = None if until is None else int(until.timestamp() * 1000)
        out.append(Read(o["id"], finding, until_ms, source, bool(o.get("revoked", False))))
    return out, unread


def finding_of(pattern: str) -> Finding | None:
    """Read a pattern that is one observation of equalities about one object; None for any other.

    >>> finding_of("[x-stillwatch-client:ja4 = 't13d' AND x-stillwatch-client:stream = true]") is None
    True
    >>> finding_of("[ipv4-addr:value ISSUBSET '198.51.100.0/24']").fields
    (('subnet', '198.51.100.0/24'),)
    """
    parts = pattern.strip().removeprefix("[").removesuffix("]").split(" AND ")
    read = [_COMPARISON.fullmatch(part.strip()) for part in parts]
    if not pattern.strip().startswith("[") or None in read:
        return None
    told = [found.groups() for found in read if found is not None]
    places, fields = {place for place, *_ in told}, {name: _value(*rest) for _, name, _, *rest in told}
    if places <= {"ipv4-addr", "ipv6-addr"} and [*fields] == ["value"]:
        return Finding("subnet", (("subnet", fields["value"]),))
    if places == {_CLIENT} and [*fields] == ["ja4"]:
        return Finding("ja4", tuple(fields.items()))
    if places == {_CLIENT} and {*fields} <= {*_CLIENT_FIELDS} - {"ja4"}:
        return Finding("program", tuple(sorted(fields.items())))
    if places == {_TEXT} and {*fields} == {"kind", "value", "key_id"} and fields["kind"] in _TEXTS:
        return Finding(fields["kind"], tuple(sorted(fields.items())))
    return None


_TEXTS = ("system_prompt_fp", "template_fp", "anchor_fp")


def _value(text: str | None, word: str | None, number: str | None) -> Any:
    if text is not None:
        return re.sub(r"\\(.)", r"\1", text)
    if word is not None:
        return word == "true"
    assert number is not None
    return float(number) if re.search(r"[.e]", number) else int(number)
