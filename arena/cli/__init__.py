"""The command line, one file per subcommand: it parses its options, calls one function and prints the result."""
