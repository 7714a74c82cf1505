"""What talks to files and to other programs."""
