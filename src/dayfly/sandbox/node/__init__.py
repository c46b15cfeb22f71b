"""The node agent: the privileged process that starts and ends instances, and the server's side of the conversation with it."""
