"""A run over several hosts: who is where, one agent per host, one coordinator that starts and watches all."""
