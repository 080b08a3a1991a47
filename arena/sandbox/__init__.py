"""Runs programs of people whom nobody trusts: without a network, other people's files, or more than their limits."""
