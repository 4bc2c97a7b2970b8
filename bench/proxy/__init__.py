"""LLM proxies side by side: direct, nginx, Tracequill, LiteLLM and Portkey, in one run."""
