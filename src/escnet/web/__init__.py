"""The service: pictures and names come in over HTTP, within limits, and label maps go out."""
