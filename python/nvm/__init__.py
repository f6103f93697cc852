"""Logs that survive a power cut: nvm.pmemlog (a log of bytes, PMDK's pools) and nvm.pmemstream (records, regions, time)."""

from nvm._version import VERSION as __version__

__all__ = ["__version__"]
