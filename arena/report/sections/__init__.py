"""The sections of the report as plain values: each says which decision it serves. They format findings, and compute none."""
