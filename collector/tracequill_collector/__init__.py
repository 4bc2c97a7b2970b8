"""The collector: spans and recorded LLM calls come in, Phoenix's rows go out.

A receiver hands each OTLP request to the queue and answers when the queue has it on disk.
An exporter process reads the queue, has the processor say what a request means, and writes
Phoenix's rows. The proxy forwards LLM calls and queues each exchange; its recorder process
turns an exchange into a span and sends it to the receiver.
"""
