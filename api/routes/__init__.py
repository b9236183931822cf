"""The REST routes, one module per subject. A route parses, makes one domain call, shapes the answer."""

POSE_GENERATOR = "/api/apps/pose-generator"
AVATAR_CREATOR = "/api/apps/avatar-creator"
