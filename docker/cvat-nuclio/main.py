"""What Nuclio loads: `main:handler`, and `init_context` of the same module."""

from escnet.bridges.nuclio import handler, init_context

__all__ = ["handler", "init_context"]
