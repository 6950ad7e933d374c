"""The whole system as processes of one machine, without containers: for development, tests and the demo."""
