"""What every player must keep to, as checks that authors, our tests and seasons run alike."""
