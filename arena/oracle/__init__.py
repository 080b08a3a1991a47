"""The defended victim behind a query budget: validation, metering, honest traffic, and the record of every call."""
