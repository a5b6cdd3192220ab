//! Exists only so that cargo downloads its dependencies for `run.py`. Nothing builds this package.
