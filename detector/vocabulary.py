"""The closed sets of words that the records use.

Purpose: one home for every enumerated value at the borders; the structs of
`detector.records` and `detector.operators` are typed by them, so an unknown word is
refused on input and found by the type checker elsewhere.
Invariants: additions only; a word once written keeps its meaning.
Source: OCSF's verdicts (Detection Finding 2004, `verdict_id`) for `LabelVerdict`.
"""

from typing import Literal

AlertStatus = Literal["open", "updated", "resolved", "suppressed"]
AlertKind = Literal["campaign", "account", "link", "operational"]
Severity = Literal["info", "low", "medium", "high", "critical"]
Family = Literal["content", "timing", "network", "identity", "lifecycle", "behaviour"]
Shape = Literal["harvester", "relay", "unknown"]
Action = Literal["observe", "throttle", "challenge", "block"]
Mode = Literal["enforce", "shadow"]
AlertFormat = Literal["native", "ocsf", "ecs", "cef"]
DecisionState = Literal["active", "revoked", "expired"]
Origin = Literal["detector", "operator", "import"]
ApprovalState = Literal["none", "pending", "approved", "denied"]
Scope = Literal[
    "account",
    "api_key",
    "org",
    "end_user",
    "subnet",
    "payment_fp",
    "device_fp",
    "system_prompt_fp",
    "template_fp",
    "anchor_fp",
    "ja4",
]
RejectReason = Literal[
    "not_json",
    "not_object",
    "missing_field",
    "bad_type",
    "bad_value",
    "bad_time",
    "future_time",
    "too_large",
    "too_deep",
    "identifier_too_long",
    "bad_encoding",
    "duplicate_key",
    "unknown_tenant",
    "unknown_schema",
    "raw_content",
    "truncated_input",
    "late",
    "duplicate",
]
CommandName = Literal["add", "revoke", "approve", "resolve", "kill_switch"]
OperatorKind = Literal["allow", "label", "command", "control", "indicator"]
# The kinds of links that another lab's finding may name: none of them is a customer's own.
IndicatorKind = Literal["program", "ja4", "subnet", "system_prompt_fp", "template_fp", "anchor_fp"]
Enforcement = Literal["on", "observe_only", "off"]
LabelVerdict = Literal[
    "false_positive",
    "true_positive",
    "disregard",
    "suspicious",
    "benign",
    "test",
    "insufficient_data",
    "security_risk",
    "managed_externally",
    "duplicate",
]
