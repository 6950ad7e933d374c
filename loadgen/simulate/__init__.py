"""The fleet simulator: the services' own planners, routers and step models, in virtual time."""
