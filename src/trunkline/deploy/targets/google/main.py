"""What Google Cloud Functions imports; its entry point is handler."""

from pathlib import Path

from trunkline.serve import google_function

handler = google_function.of(Path(__file__).parent)
