"""What ``tracequill up --demo`` sends: conversations of a shop's support desk, without any key.

Two small applications call the mock upstream through the proxy with the real ``openai`` and
``boto3`` clients: ``support.py`` is instrumented with ``tracequill.register()``,
``uninstrumented.py`` changed its base URL only. Then answers are labelled, a dataset is built,
and ``check.py`` compares the calls made with the spans found. It speaks to the proxy and to
Phoenix's APIs, as an application would, and imports neither Phoenix nor the collector.
"""
