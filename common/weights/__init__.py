"""Weight versions as named arrays in one file: written once per host, verified by everyone who applies them."""
