"""What a request means: OTLP requests come in, OpenInference spans leave. No input or output."""
