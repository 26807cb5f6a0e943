"""Tests of scenes; a package of its own, so that no other `tests.scenes` on the path takes its place."""
