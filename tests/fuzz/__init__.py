"""Fuzzing: each decoder's short run is a test, the long one is `make fuzz`."""
