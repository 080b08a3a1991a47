"""Results for readers: tables for the terminal, files for programs. Nothing here prints."""
