"""What functions use: each a port with its back ends."""
