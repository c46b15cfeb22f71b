"""An image in, a JPEG that fits a square out: `?size=128` (16 to 1024 pixels)."""

import io

from PIL import Image, ImageOps, UnidentifiedImageError

Image.MAX_IMAGE_PIXELS = 50_000_000  # larger ones are refused before they are decoded


def handler(request, context):
    try:
        size = int(request.query_params.get("size", ["128"])[0])
    except ValueError:
        size = 0
    if not 16 <= size <= 1024:
        return {"status": 400, "body": {"error": "size is a number of pixels from 16 to 1024"}}
    try:
        image = Image.open(io.BytesIO(request.body))
        image.draft("RGB", (2 * size, 2 * size))  # lets the JPEG decoder do most of the shrinking
        image = ImageOps.exif_transpose(image).convert("RGB")
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError) as error:
        return {"status": 415, "body": {"error": f"this is no image that can be read: {error}"}}
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=85, optimize=True)
    return {
        "status": 200,
        "headers": {"content-type": "image/jpeg", "image-size": f"{image.width}x{image.height}"},
        "body": out.getvalue(),
    }
