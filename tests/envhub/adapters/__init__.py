"""Each adapter plays a real environment of a package."""
