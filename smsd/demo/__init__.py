"""A working day of the pilot agencies on embedded databases, through the daemon's own services on a fast clock."""
