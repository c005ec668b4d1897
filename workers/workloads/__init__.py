"""The workloads that come with evodevo, one module each."""
