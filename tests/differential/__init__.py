"""Analyses compared with real runs that an observer of its own counted: programs drawn at random, and libraries'."""
