"""Tests of the local Vambe, each over real HTTP."""
