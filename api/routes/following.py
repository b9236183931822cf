"""The native WebSocket beside Socket.IO."""

from fastapi import APIRouter, WebSocket

from api.following import Following
from api.routes import POSE_GENERATOR

router = APIRouter(prefix=POSE_GENERATOR, tags=["generations"])


@router.websocket("/ws/{generation_id}")
async def follow(websocket: WebSocket, generation_id: str) -> None:
    """Tell a generation's state and then every change until its end."""
    following: Following = websocket.app.state.following
    await following.serve(websocket, generation_id)
