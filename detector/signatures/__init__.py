"""Signatures: one file each, a declaration and a pure function over columns. The catalogue is README.md."""
