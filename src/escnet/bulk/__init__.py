"""Many machines: parts of a job on the workers of a Ray cluster, pictures and results in buckets.

The extra `ray` brings what is needed. Paths travel through Ray, pictures and results do not.
"""
