"""Who calls, and what they may do: keys, the gate in front of every request, and the policy around every action."""
