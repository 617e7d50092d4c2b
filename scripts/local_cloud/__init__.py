"""The parts of the local cloud: what MiniStack lacks or does otherwise than AWS, mended thinly.

Importing `tasks`, `rules` or `topics` applies their mends to MiniStack, which must be configured
(its environment variables set) by then. `scripts/local_cloud.py` does so and starts it.
"""
