"""What the parts can do on one core each: commands that measure and write a report, not tests."""
