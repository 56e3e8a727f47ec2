"""Pages for people: the report of a run and the live page, out of the same blocks and templates."""
