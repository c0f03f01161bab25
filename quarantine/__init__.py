"""Contains compromised cloud workloads: planned, guarded, recorded, verified, reversible."""

__version__ = "0.1.0"
