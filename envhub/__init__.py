"""The environment hub: environments, sessions, the server and its clients."""
