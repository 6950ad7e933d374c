"""How the system is run: configuration of the servers it stands on, and the native runner."""
