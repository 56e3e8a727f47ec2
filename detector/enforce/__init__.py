"""What consumes decisions: the table of leases, the client that follows the topic, and the adapters."""
