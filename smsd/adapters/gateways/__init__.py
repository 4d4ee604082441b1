"""The roads to the telephone networks, one module each, and the table that names them."""
