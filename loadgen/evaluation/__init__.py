"""Step-time models judged on logs of real engines: each predicts a step, then learns it, from cold."""
