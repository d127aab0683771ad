"""What a monitoring system of a cluster gets: objects, alerts and a dashboard."""
