"""What operators see: the log, the figures, and whether the broker lives and is ready."""
