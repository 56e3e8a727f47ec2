"""generate: logs with known truth, from published prompts and measured rates.

Purpose: a benign population with the innocent twins of an attack, and attacks laid over it,
as event batches or files. `world.generate` is the entry; `write` makes the files.
What is what: `README.md` beside this file lists the modules; `scenarios` is the catalogue of
attacks, `twins` that of their innocent look-alikes, `parts` the division of the ground truth.
Invariants: an attacker's field values, identifier shapes and habits all occur among benign
accounts; configuration is drawn per account; identifiers carry no order.
Limits: accounts and times are made, not observed; texts and rates are real as far as the
published files go, and nothing here says how often attacks happen.
"""

from detector.tuning.generate.scenarios import SCENARIOS
from detector.tuning.generate.world import Size, World, generate

__all__ = ["SCENARIOS", "Size", "World", "generate"]
