"""Makes a profile for the emulated engine from the step logs of a real one, so that anyone's GPU can join a fleet."""
