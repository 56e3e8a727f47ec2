"""The records that operators write: allow-list entries, labels, commands, the kill switch.

Purpose: what stands on the operators' topics and in a file of recorded operators' records,
as frozen keyword-only structs; `detector.records` turns them into bytes and back.
Invariants: as for all records (`detector.records`); an allow-list entry always ends.
Limits: which fields a command needs depends on the command; `missing_fields` says.
Source: OCSF's verdicts for labels (Detection Finding 2004, `verdict_id`).
"""

from msgspec import Struct

from detector.vocabulary import Action, CommandName, Enforcement, LabelVerdict, Scope

CONTROL_KEY = "__control__"


class AllowEntry(Struct, frozen=True, kw_only=True):
    """An operator's exemption, always with an end; no `signatures` means all of them."""

    tenant: str
    scope: Scope
    value: str
    owner: str
    reason: str
    signatures: tuple[str, ...] = ()
    expires_at: int


class Label(Struct, frozen=True, kw_only=True):
    """An analyst's word on an alert, in OCSF's verdicts."""

    alert_id: str
    verdict: LabelVerdict
    by: str
    note: str | None = None
    at: int


class Command(Struct, frozen=True, kw_only=True):
    """What an operator asks of the judge: about a (scope, value), a decision or an alert.

    Which of the optional fields a command needs, `missing_fields` knows.
    """

    command: CommandName
    tenant: str
    scope: Scope | None = None
    value: str | None = None
    decision_id: str | None = None
    alert_id: str | None = None
    action: Action | None = None
    enforcement: Enforcement | None = None
    expires_at: int | None = None
    by: str
    reason: str
    at: int


class Control(Struct, frozen=True, kw_only=True):
    """The kill switch's record, under the key `__control__`."""

    enforcement: Enforcement
    since: int
    by: str
    reason: str


_NEEDED: dict[CommandName, tuple[str, ...]] = {
    "add": ("scope", "value", "action", "expires_at"),
    "revoke": ("scope", "value"),
    "approve": ("scope", "value"),
    "resolve": ("alert_id",),
    "kill_switch": ("enforcement",),
}
# Any one of these stands for (scope, value).
_SUFFICES: dict[CommandName, tuple[str, ...]] = {
    "revoke": ("decision_id",),
    "approve": ("decision_id", "alert_id"),
}


def missing_fields(command: Command) -> tuple[str, ...]:
    """Name the fields that this command needs and lacks; empty when it can be carried out.

    >>> missing_fields(Command(command="resolve", tenant="default", by="kim", reason="benign", at=0))
    ('alert_id',)
    """
    if any(getattr(command, name) is not None for name in _SUFFICES.get(command.command, ())):
        return ()
    return tuple(name for name in _NEEDED[command.command] if getattr(command, name) is None)
