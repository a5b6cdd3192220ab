//! Exists for its dependencies, which cargo downloads for `run.py`. Nothing builds this package.
