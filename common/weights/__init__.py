"""Weight versions: named arrays in one file, written once per host, verified by all who apply them."""
