"""Launch: composes the parts, supervises the processes, reports."""
