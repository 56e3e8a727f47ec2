"""Settings: one frozen tree, read from TOML, unknown keys are errors.

Purpose: the one home of everything an operator may tune.
Invariants: a `Settings` value is valid (relations between fields are checked once,
when it is made); equal settings have equal `config_hash`.
Limits: no environment, no files: `parse` takes text, the shell reads it.
Source: the safety defaults are those of the operators' handbook: shadow on install,
leases that lapse, caps on what may be contained.
"""

import tomllib
from typing import Any

import msgspec

from detector.hashing import content_digest
from detector.records import ConfigError
from detector.vocabulary import Mode


class TableSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds of the two tables, in rows."""

    accounts_max: int = 1_000_000
    links_max: int = 1_000_000
    promoted_max: int = 8_192
    # Admission cells: two generations of 2**22 16-bit tags are 16 MiB and, at a million
    # keys per generation, admit a singleton by accident with (1e6 / 4e6)**2 = 6 %.
    admission_cells: int = 1 << 22
    admission_generation_ms: int = 86_400_000
    passed_max: int = 1 << 18  # issued signatures and outputs remembered, of each a power of two
    pinned_share_max: float = 0.25


class VerdictSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Log-odds (natural) of the verdict: prior, cap of one family, threshold of an alert.

    The prior is one pool of 3,000; the threshold seven to one, which text on unrelated organisations,
    young accounts and a machine's pace reach together, and no two of them.
    """

    prior: float = -8.0
    family_cap: float = 5.0
    threshold: float = 2.0
    families_min: int = 3
    # Pairs of a signature's id and its cap: what `calibrate` found benign logs to bear. Most are not capped.
    log_odds_max: tuple[tuple[str, float], ...] = ()
    # An alert budget raises the threshold of new campaigns to what the week's strongest reach; 0 is none.
    alerts_per_day_max: float = 0.0


class DecisionSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Policy: the ladder's leases, caps and ceilings (shares are of accounts active in 24 h)."""

    throttle_ttl_ms: int = 1_800_000
    contain_ttl_ms: int = 14_400_000
    ttl_max_ms: int = 604_800_000
    contained_share_max: float = 0.25
    block_confidence_min: float = 0.99
    blocks_per_hour_max: int = 50
    blocked_share_max: float = 0.005
    blocked_tokens_share_max: float = 0.02  # of all tokens of about a day, by what the blocked used before
    blocks_per_campaign_max: int = 200
    canary_share: float = 1.0  # of the accounts, by keyed hash: the others are decided on in shadow, as a control
    stale_ms: int = 900_000
    late_share_max: float = 0.05
    update_interval_ms: int = 900_000
    alerts_per_hour_max: int = 30
    campaign_idle_ms: int = 172_800_000


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole tree. Times in milliseconds of event time."""

    mode: Mode = "shadow"
    pane_ms: int = 10_000
    discovery_ms: int = 60_000
    lateness_ms: int = 5_000
    skew_ms_max: int = 300_000
    # Rows that wait for their pane's close: in memory (a million is some 0.5 GB), and beyond that on disk.
    rows_buffered_max: int = 2_000_000
    rows_spilled_max: int = 18_000_000
    seed: int = 0
    tenants: tuple[str, ...] = ()
    signatures_off: tuple[str, ...] = ()
    tables: TableSettings = msgspec.field(default_factory=TableSettings)
    verdict: VerdictSettings = msgspec.field(default_factory=VerdictSettings)
    decision: DecisionSettings = msgspec.field(default_factory=DecisionSettings)

    def __post_init__(self) -> None:
        """Check the relations between fields once."""
        if self.mode not in ("shadow", "enforce"):
            raise ConfigError(f"mode={self.mode!r} must be 'shadow' or 'enforce'")
        if self.pane_ms <= 0:
            raise ConfigError(f"pane_ms={self.pane_ms:_} must be positive")
        if self.discovery_ms <= 0 or self.discovery_ms % self.pane_ms:
            raise ConfigError(f"discovery_ms={self.discovery_ms:_} is not a multiple of pane_ms={self.pane_ms:_}")
        if self.lateness_ms < 0:
            raise ConfigError(f"lateness_ms={self.lateness_ms:_} must not be negative")
        if self.rows_buffered_max < 1 or self.rows_spilled_max < 0:
            raise ConfigError(
                f"rows_buffered_max={self.rows_buffered_max:_} must be positive, "
                f"rows_spilled_max={self.rows_spilled_max:_} not negative"
            )
        for name in ("accounts_max", "links_max"):
            if getattr(self.tables, name) < 1_024:
                raise ConfigError(f"tables.{name}={getattr(self.tables, name):_} must be at least 1_024")
        if self.tables.admission_cells & (self.tables.admission_cells - 1):
            raise ConfigError(f"tables.admission_cells={self.tables.admission_cells:_} must be a power of two")
        if self.tables.passed_max < 1 or self.tables.passed_max & (self.tables.passed_max - 1):
            raise ConfigError(f"tables.passed_max={self.tables.passed_max:_} must be a power of two")
        for name, cap in self.verdict.log_odds_max:
            if not cap >= 0:
                raise ConfigError(f"verdict.log_odds_max: the cap {cap} of {name} must not be negative")
        if self.verdict.alerts_per_day_max < 0:
            raise ConfigError(f"verdict.alerts_per_day_max={self.verdict.alerts_per_day_max} must not be negative")
        _check_decision(self.decision)


def _check_decision(decision: DecisionSettings) -> None:
    """Check policy's numbers. Raises `ConfigError`."""
    for name in ("contained_share_max", "block_confidence_min"):
        if not 0 < getattr(decision, name) <= 1:
            raise ConfigError(f"decision.{name}={getattr(decision, name)} must be in (0, 1]")
    for name in ("blocked_share_max", "blocked_tokens_share_max", "late_share_max", "canary_share"):
        if not 0 <= getattr(decision, name) <= 1:
            raise ConfigError(f"decision.{name}={getattr(decision, name)} must be in [0, 1]")
    if decision.blocked_share_max > decision.contained_share_max:
        raise ConfigError(
            f"decision.blocked_share_max={decision.blocked_share_max} exceeds "
            f"contained_share_max={decision.contained_share_max}: a block contains too"
        )
    for name in ("blocks_per_hour_max", "blocks_per_campaign_max", "alerts_per_hour_max", "stale_ms"):
        if getattr(decision, name) < 0:
            raise ConfigError(f"decision.{name}={getattr(decision, name):_} must not be negative")
    for name in ("throttle_ttl_ms", "contain_ttl_ms", "update_interval_ms", "campaign_idle_ms"):
        if getattr(decision, name) <= 0:
            raise ConfigError(f"decision.{name}={getattr(decision, name):_} must be positive")
    for name in ("throttle_ttl_ms", "contain_ttl_ms"):
        if getattr(decision, name) > decision.ttl_max_ms:
            raise ConfigError(f"decision.{name}={getattr(decision, name):_} exceeds ttl_max_ms={decision.ttl_max_ms:_}")


def settings_from(tree: dict[str, Any]) -> Settings:
    """Build settings from a plain tree.

    Raises `ConfigError` naming the key at fault.

    >>> settings_from({"pane_ms": 5000}).pane_ms
    5000
    """
    try:
        return msgspec.convert(tree, Settings)
    except msgspec.ValidationError as error:
        raise ConfigError(f"settings: {error}") from error


def parse(text: str, *, overrides: tuple[str, ...] = ()) -> Settings:
    """Read settings from TOML text, then apply overrides of the form `a.b=value`.

    Raises `ConfigError` for bad TOML, unknown keys and mistyped values.

    >>> parse("", overrides=("verdict.threshold=4.0",)).verdict.threshold
    4.0
    """
    try:
        tree = tomllib.loads(text)
        for item in overrides:
            name, sep, value = item.partition("=")
            if not sep:
                raise ConfigError(f"--set {item!r} must look like a.b=value")
            try:
                parsed = tomllib.loads(f"v = {value}")["v"]
            except tomllib.TOMLDecodeError:
                parsed = value
            node = tree
            *parents, leaf = name.strip().split(".")
            for parent in parents:
                node = node.setdefault(parent, {})
                if not isinstance(node, dict):
                    raise ConfigError(f"--set {item!r}: {parent} is a value, not a table")
            node[leaf] = parsed
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"settings are not TOML: {error}") from error
    for table in ("kafka", "http", "sinks"):  # what the live workers read themselves changes no outcome
        tree.pop(table, None)
    return settings_from(tree)


# What a judge's state is built on. The rest (mode, policy, thresholds, signatures, tenants) may change under it.
FIXED = ("pane_ms", "discovery_ms", "lateness_ms", "skew_ms_max", "rows_buffered_max", "seed", "tables")


def fixed(before: Settings, after: Settings) -> tuple[str, ...]:
    """Name the settings that differ though a judge's state is built on them.

    >>> fixed(Settings(), Settings(seed=1, mode="enforce"))
    ('seed',)
    """
    return tuple(name for name in FIXED if getattr(before, name) != getattr(after, name))


def config_hash(settings: Settings) -> str:
    """Name a settings tree by its content: 16 hex digits."""
    return content_digest(msgspec.json.encode(settings, order="sorted"))
