"""Components of this plugin; equations and switches are in README.md beside this file."""
