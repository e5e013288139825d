"""The command line: arguments, configuration file, daemonising, exit statuses."""
