"""The environments, one file or folder each; `envhub/registry.py` lists them."""
