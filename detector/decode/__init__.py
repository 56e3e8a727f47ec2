"""decode: raw records to event batches and rejects.

Purpose: the one door through which access events come in, from JSON (`decode_lines`,
`decode_text`) and from Parquet (`decode_table`).
Invariants: bad input is a value: whatever the bytes, nothing raises, and every record
is a row or a reject. How records are cut into calls changes no row and no reject,
positions aside.
Limits: `events.py` has them; content stays a raw column only until it is fingerprinted.
"""

from detector.decode.lines import Decoded, decode_lines, decode_text
from detector.decode.reasons import REASONS, Reject
from detector.decode.table import decode_table

__all__ = ["REASONS", "Decoded", "Reject", "decode_lines", "decode_table", "decode_text"]
