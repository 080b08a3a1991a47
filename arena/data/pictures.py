"""One picture file as 8-bit sRGB, as a viewer shows it, whatever its mode: the only conversion of users' pictures.

==================  ==================================================================================================
``1``, ``L``        black is 0 and white is 255
``I;16``, ``I``     16 bits per pixel, from PNG, TIFF, PGM or JPEG 2000: divided by 257 and rounded, so that a picture and
                    its copy with 8 bits are equal; 16 bits per channel in colour are reduced to 8 by Pillow
``I``, ``F``        32-bit integers and floating-point numbers have no black and white of their own: refused
``P``               the colours of the palette
transparency        (``LA``, ``La``, ``PA``, ``RGBA``, ``RGBa``, and ``P``, ``L`` or ``RGB`` with a transparent colour):
                    laid over white, so that colours that cannot be seen have no influence
``CMYK``, ``LAB``   converted to RGB; LAB by LittleCMS
``YCbCr``, ``HSV``  converted to RGB
colour profile      converted to sRGB by LittleCMS, unless it is sRGB itself; a profile that cannot be read is ignored
orientation         turned as the EXIF tag says
several frames      the first one
==================  ==================================================================================================
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from arena.contracts import BadParameter

NEVER_READ = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF"})
"""Formats that Pillow lists but only opens with another program, or not at all."""

_SIXTEEN_BITS = 257  # 65,535 / 255
_INTEGERS_OF_16_BITS = ("PNG", "PPM")  # older versions of Pillow open their 16-bit pictures in mode "I"
_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
_PREMULTIPLIED = {"La": "LA", "RGBa": "RGBA"}
_WHITE_IS_ZERO = 0  # TIFF's photometric interpretation, which Pillow applies to 8 bits but not to 16
_PHOTOMETRIC = 262

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns a picture upright, by the number of its orientation in EXIF."""


def picture_suffixes() -> frozenset[str]:
    """Return the endings of file names, in lower case with a dot, that Pillow can open."""
    Image.init()
    return frozenset(
        ending
        for ending, kind in Image.registered_extensions().items()
        if kind in Image.OPEN and kind not in NEVER_READ
    )


def read_picture(path: Path) -> Image.Image:
    """Return a picture in mode RGB, as this module's table says.

    Raises `BadParameter` with the file's name if it is damaged, or if nobody can say how a viewer would show it.
    """
    try:
        with _quiet(), Image.open(path) as picture:
            picture.load()
            return in_srgb(picture)
    except UnidentifiedImageError as error:
        what = "is empty" if path.stat().st_size == 0 else "is no picture that Pillow can open"
        message = f"{path} {what}: remove it, or replace it by an undamaged copy"
        raise BadParameter(message) from error
    except BadParameter as error:
        message = f"{path} {error}"
        raise BadParameter(message) from error
    except Exception as error:  # decoders raise almost anything for damaged files
        message = f"{path} cannot be read ({error}): remove it, or replace it by an undamaged copy"
        raise BadParameter(message) from error


def in_srgb(picture: Image.Image) -> Image.Image:
    """Return an open picture in mode RGB. Raises `BadParameter` for a mode that has no black and white of its own."""
    turn = _TURNS.get(_orientation(picture))
    reduced = _of_eight_bits(picture)
    upright = reduced if turn is None else reduced.transpose(turn)
    if not _is_transparent(upright):
        return _colours(upright)
    layered = upright.convert(_PREMULTIPLIED.get(upright.mode, upright.mode)).convert("RGBA")
    alpha = layered.getchannel("A")
    shown = _colours(layered.convert("RGB"))
    return Image.composite(shown, Image.new("RGB", shown.size, "white"), alpha)


def _of_eight_bits(picture: Image.Image) -> Image.Image:
    """Return a picture of 16 bits in mode L, and any other unchanged."""
    sixteen = picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format in _INTEGERS_OF_16_BITS)
    if not sixteen:
        if picture.mode in ("I", "F"):
            message = (
                f"holds numbers of mode {picture.mode}, which have no black and white of their own; save it with 8 or 16 "
                "bits, for example by PIL.Image.fromarray((255 * (a - a.min()) / (a.max() - a.min())).astype('uint8')) of "
                "its array a"
            )
            raise BadParameter(message)
        return picture
    levels = np.rint(np.asarray(picture).astype(np.float64) / _SIXTEEN_BITS).clip(0, 255).astype(np.uint8)
    if getattr(picture, "tag_v2", {}).get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        levels = 255 - levels
    reduced, hidden = Image.fromarray(levels), picture.info.get("transparency")
    if isinstance(hidden, int):
        alpha = np.where(np.asarray(picture) == hidden, 0, 255).astype(np.uint8)
        return Image.merge("LA", (reduced, Image.fromarray(alpha)))
    reduced.info = {key: value for key, value in picture.info.items() if key == "icc_profile"}
    return reduced


def _orientation(picture: Image.Image) -> int:
    """Return the orientation in a picture's EXIF; 1, which is upright, if there is none or it is damaged."""
    try:
        return int(picture.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # whatever Pillow raises for damaged metadata, which viewers ignore
        return 1


def _is_transparent(picture: Image.Image) -> bool:
    palette = picture.palette if picture.mode == "P" else None
    return (
        picture.mode in _ALPHA
        or picture.info.get("transparency") is not None
        or (palette is not None and palette.mode.endswith("A"))
    )


def _colours(picture: Image.Image) -> Image.Image:
    """Return an opaque picture in mode RGB, by its colour profile if it has one."""
    try:
        return _by_profile(picture)
    except ImportError as error:
        message = "has colours that need LittleCMS, which this build of Pillow lacks: convert it to sRGB"
        raise BadParameter(message) from error


def _by_profile(picture: Image.Image) -> Image.Image:
    if picture.mode == "LAB":
        return _transformed(picture, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")))
    stated = picture.info.get("icc_profile")
    if picture.mode == "P":
        picture = picture.convert("RGB")
    if not stated or picture.mode not in ("L", "RGB", "CMYK"):
        return picture.convert("RGB")
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(stated))
        is_srgb = "srgb" in ImageCms.getProfileDescription(profile).lower()
        return picture.convert("RGB") if is_srgb else _transformed(picture, profile)
    except (ImageCms.PyCMSError, OSError):  # as viewers do with a damaged profile, or one of another colour space
        return picture.convert("RGB")


def _transformed(picture: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    """Return a picture in sRGB by the profile of its own colours."""
    by = ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), picture.mode, "RGB")
    shown = ImageCms.applyTransform(picture, by)
    assert shown is not None, "a transform that is not in place returns a picture"
    return shown


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Pillow's warnings about odd metadata: what matters is whether the picture can be read."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        yield
