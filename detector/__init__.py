"""stillwatch: a streaming detector of model-distillation attacks on LLM APIs.

The core (everything outside `runtime/`, `tuning/` and the command line) is a
deterministic fold over columns: no clock, no I/O, no ambient randomness.
"""

__version__ = "0.1.0"
