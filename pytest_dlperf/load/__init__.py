"""The load engine: traffic, queues, requests and their times."""
