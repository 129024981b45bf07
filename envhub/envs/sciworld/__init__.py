"""SciWorld: elementary-science experiments in a text world, on the real ScienceWorld simulator (Java)."""
