"""Sources of events, one folder each, behind one port (`port`), run by `runner`."""
