"""Videos: pictures that another method rendered at the scene's cameras, as an expert. It has no Gaussians."""

from common.deferred import deferred
from experts.spec import ExpertSpec

SPEC = ExpertSpec(
    name="Videos",
    key="videos",
    flag="videos_path",
    load=deferred("experts.videos.files:load_videos"),
    signature=(),
    checkpoints=("cam*.mp4", "cam*.mov", "cam*.mkv", "cam*.webm", "cam*.avi", "cam*/*.png", "cam*/*.jpg"),
    pictures=True,
)
