"""The network of instances: pairs of interfaces, the router they meet in, its rules, and names."""
