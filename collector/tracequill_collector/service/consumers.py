"""The names under which processes keep their positions in the queues."""

POSTGRES = "postgres"
"""The exporter, in the collector's queue."""
ONWARD_PREFIX = "otlp-"
"""Before the names of other backends, in the collector's queue."""
RECORDER = "collector"
"""The recorder, in the proxy's queue."""
