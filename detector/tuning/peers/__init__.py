"""What others would have done with the same log, each in a file of its own.

A peer is a module with `levels(log, reference)`: for each request the score that was in force when it came, higher is
more suspicious, -inf none; `SCOPE`, what such a rule refuses by; `NEEDS_TEXT`. `reference` is benign traffic of the
validation log. Where a paper leaves a choice, it fell in the peer's favour.
"""

from types import ModuleType

from detector.tuning.peers import (
    account_limit,
    chance,
    isolation_forest,
    mmd,
    null,
    prada,
    subnet_limit,
    synchrotrap,
    template_hash,
)

PEERS: dict[str, ModuleType] = {
    "account_limit": account_limit,
    "subnet_limit": subnet_limit,
    "template_hash": template_hash,
    "prada": prada,
    "mmd": mmd,
    "synchrotrap": synchrotrap,
    "isolation_forest": isolation_forest,
    "null": null,
    "random": chance,
}
