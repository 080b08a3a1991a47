"""The command line: one subcommand a file; each parses, wires, calls one function, prints."""
