"""Whether the simulator tells the truth: the same load on real systems and simulated, side by side."""
