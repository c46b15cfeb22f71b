"""Requests from outside as events, believed by their signatures."""
