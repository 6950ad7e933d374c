"""What only the containers' system needs."""
