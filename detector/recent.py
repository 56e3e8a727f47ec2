"""The last rows of closed panes, for whoever must look at events again.

Purpose: a bounded look back: samples of a campaign, the events that name its members.
Invariants: rows stand in canonical order; how panes are sized changes nothing.
Limits: `rows_max` rows.
Source: none; a queue that cuts its oldest entry.
"""

from detector.panes import Pane


class Recent:
    """The last `rows_max` rows of closed panes, whatever the panes' sizes."""

    def __init__(self, rows_max: int) -> None:
        """Start empty."""
        self.rows_max, self.rows = rows_max, 0
        self.panes: list[Pane] = []

    def add(self, pane: Pane) -> None:
        """Append a pane and let the oldest rows go."""
        self.panes.append(pane)
        self.rows += len(pane.order)
        while self.rows > self.rows_max:
            first, excess = self.panes[0], self.rows - self.rows_max
            self.rows -= min(excess, len(first.order))
            if len(first.order) <= excess:
                self.panes.pop(0)
            else:
                self.panes[0] = first._replace(
                    ids=first.ids[excess:], numbers=first.numbers[excess:], order=first.order[excess:]
                )
