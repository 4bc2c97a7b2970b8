"""The annotation queue: people judge answers, one after the other."""
