"""Columns of sketches: small summaries of many rows at once, mergeable, with bounds.

Purpose: each module keeps one kind of sketch as plain NumPy arrays of shape
(rows, ...) and offers the same four things: `add`, a compiled kernel that adds
one item to one row and inlines into the engine's fused loops; `add_column`, many
items to many rows; `estimate`, values with bounds; `merge`, row into row.
Invariants: all state is integers. The kernels do not check their indices (the
callers' rows are their own); the column functions do. Digest 0 means "absent"
(detector.hashing) and changes nothing. Counts saturate at 2**32 - 1, which keeps
addition commutative and associative.
Limits: digests must be keyed and uniform; every error bound rests on that.
Count-min, HyperLogLog, bottom-k and histograms may be fed and merged in any
order; Space-Saving depends on order and is for discovery only.
"""
