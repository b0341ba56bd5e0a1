"""What gwsync costs beside its peers: ``python -m benchmarks`` (benchmarks/README.rst)."""
