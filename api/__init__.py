"""The door: REST and Socket.IO over the domain. Starts without torch installed."""
