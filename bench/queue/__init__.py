"""The annotation queue measured: many people at once, a large database, and the page itself."""
