"""Intake: others' findings as operators' records of ours, each with an end.

Purpose: `records` makes of a bundle's indicators what the judge can watch: links as this lab names them.
Invariants: every record ends, at the bundle's own end if that comes earlier; an indicator that was revoked ends its
watch now. Settings of a program become one record for each of this lab's models, because a link names the model.
Limits: fingerprints of text need raw logs and the sharing key (`bridge`); without them they are passed over and
counted.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from detector.encode import subnet_of
from detector.encode_operators import link_digest, program_value
from detector.operators import VALUE_BYTES_MAX, Indicator
from detector.tuning.bridge import Text, bridge
from detector.tuning.stix import Read
from detector.vocabulary import IndicatorKind

_PROBE = bytes(32)  # a key to see whether a value can be a link at all


class Terms(NamedTuple):
    """On whose word, for whom, until when."""

    tenant: str
    owner: str
    reason: str
    now_ms: int
    expires_ms: int
    models: tuple[str, ...] = ()


class Keys(NamedTuple):
    """What turns a sharing key's fingerprints into ours: both keys, and raw logs."""

    sharing: bytes
    log: bytes
    sharing_id: str
    inputs: Sequence[str]


def records(read: Sequence[Read], terms: Terms, *, keys: Keys | None = None) -> tuple[list[Indicator], Counter[str]]:
    """Make records of indicators; beside them, how many were passed over and why. Raises `InputError`."""
    out: dict[tuple[str, str], Indicator] = {}
    passed: Counter[str] = Counter()
    texts: dict[Text, Read] = {}
    for one in read:
        expires_ms = _until(one, terms)
        if expires_ms <= terms.now_ms and not one.revoked:
            passed["expired"] += 1
            continue
        fields = dict(one.finding.fields)
        if "key_id" in fields:
            if keys is None or fields["key_id"] != keys.sharing_id:
                passed["under another key" if keys is not None else "text without raw logs and sharing key"] += 1
                continue
            texts[Text(fields["kind"], fields["value"])] = one
            continue
        values = _values(one.finding.kind, fields, terms.models)
        if not values:
            passed["program without a model of ours" if one.finding.kind == "program" else "no such value"] += 1
        for value in values:
            out[one.finding.kind, value] = _record(one, one.finding.kind, value, terms)
    if texts and keys is not None:
        # Of the texts' own indicators the one that ends first: a translated fingerprint comes of all of them.
        first = min(texts.values(), key=lambda one: (_until(one, terms), one.indicator_id))
        found = bridge(keys.inputs, {*texts}, from_key=keys.sharing, to_key=keys.log, tenant=terms.tenant)
        for t in found:
            kind: IndicatorKind = t.text.kind  # type: ignore[assignment]  # the kinds of text that can be watched
            out[t.text.kind, t.text.value] = _record(first, kind, t.text.value, terms)
        passed["text that our logs do not show"] += 0 if found else len(texts)
    return list(out.values()), +passed


def _until(one: Read, terms: Terms) -> int:
    if one.revoked:
        return terms.now_ms
    return min(terms.expires_ms, one.valid_until_ms if one.valid_until_ms is not None else terms.expires_ms)


def _values(kind: IndicatorKind, fields: dict[str, object], models: tuple[str, ...]) -> list[str]:
    """The finding as links are named here; none where nothing could show it."""
    if kind == "program":
        values = [program_value({**fields, "request_model": model}) for model in models]
    else:
        values = [str(fields[kind])]
    fit = [v for v in values if len(v.encode()) <= VALUE_BYTES_MAX and link_digest(kind, v, key=_PROBE)]
    return [subnet_of(v) for v in fit] if kind == "subnet" else fit


def _record(one: Read, kind: IndicatorKind, value: str, terms: Terms) -> Indicator:
    return Indicator(
        indicator_id=one.indicator_id[:VALUE_BYTES_MAX],
        tenant=terms.tenant,
        kind=kind,
        value=value,
        source=one.source[:VALUE_BYTES_MAX],
        owner=terms.owner,
        reason=terms.reason,
        expires_at=_until(one, terms),
    )
