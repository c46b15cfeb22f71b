"""What is deployed: functions, revisions, aliases and the split of traffic between them."""
