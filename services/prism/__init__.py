"""PRISM: the stateless router in front of the fleet."""
