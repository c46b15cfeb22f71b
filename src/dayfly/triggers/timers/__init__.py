"""Timers: cron in every dialect, intervals, one-shots."""
