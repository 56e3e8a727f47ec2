"""The shell around the pure engine: files, clocks, processes and output live here and nowhere below."""
