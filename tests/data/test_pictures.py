"""Two files that a viewer shows alike are read alike, whatever their mode; others are refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from arena.contracts import BadParameter
from arena.data.pictures import in_srgb, picture_suffixes, read_picture

GREY = np.random.default_rng(0).integers(0, 256, (6, 9), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (6, 9, 3), dtype=np.uint8)
FEW = np.random.default_rng(2).integers(0, 4, (6, 9), dtype=np.uint8)
PALETTE = [255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 20, 30]
FEW_COLOURS = np.array(PALETTE, dtype=np.uint8).reshape(4, 3)[FEW]


def read(picture: Image.Image, folder: Path, name: str = "a.png", **options: object) -> np.ndarray:
    picture.save(folder / name, **options)
    return np.asarray(read_picture(folder / name))


def grey(levels: np.ndarray) -> np.ndarray:
    return np.repeat(levels[:, :, None], 3, axis=2)


def paletted() -> Image.Image:
    picture = Image.fromarray(FEW).convert("P")
    picture.putdata(FEW.ravel().tolist())
    picture.putpalette(PALETTE)
    return picture


def over_white(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[:, :, None] / 255
    return np.rint(colours * share + 255 * (1 - share))


class TestDepth:
    @pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm", "a.jp2"])
    def test_of_sixteen_bits_equals_its_copy_of_eight(self, name: str, tmp_path: Path):
        deep = Image.fromarray(GREY.astype(np.uint16) * 257)
        deep = deep.convert("I") if name == "a.pgm" else deep
        assert np.array_equal(read(deep, tmp_path, name), grey(GREY))

    @pytest.mark.parametrize("order", ["<u2", ">u2"])
    def test_of_sixteen_bits_is_read_in_either_byte_order(self, order: str):
        mode = "I;16" if order == "<u2" else "I;16B"
        deep = Image.frombytes(mode, GREY.shape[::-1], (GREY.astype(np.uint16) * 257).astype(order).tobytes())
        assert np.array_equal(np.asarray(in_srgb(deep)), grey(GREY))

    def test_of_sixteen_bits_is_rounded_not_cut(self, tmp_path: Path):
        assert read(Image.fromarray(np.full((2, 2), 257 * 7 + 200, dtype=np.uint16)), tmp_path)[0, 0, 0] == 8

    def test_of_sixteen_bits_with_white_as_zero_is_inverted(self, tmp_path: Path):
        deep = Image.fromarray(GREY.astype(np.uint16) * 257)
        assert np.array_equal(read(deep, tmp_path, "a.tif", tiffinfo={262: 0}), grey(255 - GREY))

    def test_of_one_bit_is_black_and_white(self, tmp_path: Path):
        assert np.array_equal(read(Image.fromarray(GREY > 127), tmp_path), grey(np.where(GREY > 127, 255, 0)))

    @pytest.mark.parametrize("dtype", [np.int32, np.float32])
    def test_without_a_black_and_a_white_is_refused_with_how_to_convert(self, dtype: type, tmp_path: Path):
        Image.fromarray(GREY.astype(dtype)).save(tmp_path / "depth.tif")
        with pytest.raises(
            BadParameter, match=r"depth\.tif holds numbers of mode [IF].*save it with 8 or 16 bits"
        ) as said:
            read_picture(tmp_path / "depth.tif")
        a = GREY.astype(dtype)
        expression = str(said.value).split("for example by ")[1].split(" of its array")[0]
        converted = eval(expression.removeprefix("PIL."), {"Image": Image, "a": a})
        assert in_srgb(converted).mode == "RGB"


class TestTransparency:
    def test_is_laid_over_white(self, tmp_path: Path):
        alpha = GREY
        layered = Image.fromarray(np.dstack([COLOUR, alpha]))
        assert np.abs(read(layered, tmp_path).astype(int) - over_white(COLOUR, alpha)).max() <= 1

    def test_hides_what_cannot_be_seen(self, tmp_path: Path):
        alpha = np.where(GREY > 127, 255, 0).astype(np.uint8)
        first = read(Image.fromarray(np.dstack([COLOUR, alpha])), tmp_path)
        hidden = np.where(alpha[:, :, None] == 0, 255 - COLOUR, COLOUR)
        assert np.array_equal(first, read(Image.fromarray(np.dstack([hidden, alpha])), tmp_path))
        assert np.array_equal(first, np.where(alpha[:, :, None] == 0, 255, COLOUR))

    def test_that_is_nowhere_changes_nothing(self, tmp_path: Path):
        opaque = Image.fromarray(COLOUR).convert("RGBA")
        assert np.array_equal(read(opaque, tmp_path), COLOUR)
        assert np.array_equal(read(Image.fromarray(GREY).convert("LA"), tmp_path), grey(GREY))

    def test_of_grey_pictures_is_laid_over_white(self, tmp_path: Path):
        alpha = np.full_like(GREY, 128)
        layered = Image.merge("LA", (Image.fromarray(GREY), Image.fromarray(alpha)))
        assert np.abs(read(layered, tmp_path).astype(int) - over_white(grey(GREY), alpha)).max() <= 1

    def test_of_a_colour_in_a_palette_is_white(self, tmp_path: Path):
        expected = np.where(FEW[:, :, None] == 1, 255, FEW_COLOURS)
        assert np.array_equal(read(paletted(), tmp_path, transparency=1), expected)
        assert np.array_equal(read(paletted(), tmp_path, "a.gif", transparency=1), expected)

    def test_of_a_palette_with_several_opacities_is_laid_over_white(self, tmp_path: Path):
        shares = bytes([255, 128, 0, 255])
        expected = over_white(FEW_COLOURS, np.frombuffer(shares, dtype=np.uint8)[FEW])
        assert np.abs(read(paletted(), tmp_path, transparency=shares).astype(int) - expected).max() <= 1

    def test_of_one_colour_or_level_is_white(self, tmp_path: Path):
        few = Image.fromarray(FEW_COLOURS.astype(np.uint8))
        expected = np.where(FEW[:, :, None] == 1, 255, FEW_COLOURS)
        assert np.array_equal(read(few, tmp_path, transparency=(0, 255, 0)), expected)
        assert np.array_equal(read(Image.fromarray(FEW), tmp_path, transparency=1), grey(np.where(FEW == 1, 255, FEW)))
        deep = Image.fromarray(FEW.astype(np.uint16) * 257)
        assert np.array_equal(read(deep, tmp_path, transparency=257), grey(np.where(FEW == 1, 255, FEW)))

    @pytest.mark.parametrize(("mode", "kept"), [("La", "LA"), ("RGBa", "RGBA")])
    def test_that_is_multiplied_in_is_taken_out_first(self, mode: str, kept: str):
        opaque = Image.fromarray(COLOUR).convert(kept)
        assert np.array_equal(np.asarray(in_srgb(opaque.convert(mode))), np.asarray(in_srgb(opaque)))


class TestColours:
    def test_of_a_palette_are_those_that_it_names(self, tmp_path: Path):
        assert np.array_equal(read(paletted(), tmp_path), FEW_COLOURS)
        assert np.array_equal(read(paletted(), tmp_path, "a.gif"), FEW_COLOURS)
        assert np.array_equal(read(paletted(), tmp_path, "a.bmp"), FEW_COLOURS)

    @pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "HSV", "RGBX"])
    def test_of_other_spaces_are_converted(self, mode: str):
        shown = np.asarray(in_srgb(Image.fromarray(COLOUR).convert(mode))).astype(int)
        assert np.abs(shown - COLOUR).max() <= 8  # whole levels of hue and saturation are coarse

    def test_of_lab_are_converted(self, tmp_path: Path):
        smooth = np.full((4, 4, 3), (120, 90, 60), dtype=np.uint8)
        srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        picture = ImageCms.profileToProfile(Image.fromarray(smooth), srgb, lab, outputMode="LAB")
        assert np.abs(read(picture, tmp_path, "a.tif").astype(int) - smooth).max() <= 3

    def test_of_an_inverted_cmyk_jpeg_are_not_negative(self, tmp_path: Path):
        white = Image.new("RGB", (8, 8), "white").convert("CMYK")
        assert read(white, tmp_path, "a.jpg", quality=100).min() > 250

    def test_of_another_profile_are_brought_to_srgb(self, tmp_path: Path):
        linear = profile_with_swapped_channels()
        plain, profiled = read(Image.fromarray(COLOUR), tmp_path), read(Image.fromarray(COLOUR), tmp_path, **linear)
        assert not np.array_equal(plain, profiled)

    def test_of_a_profile_of_srgb_stay_as_they_are(self, tmp_path: Path):
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        assert np.array_equal(read(Image.fromarray(COLOUR), tmp_path, icc_profile=profile), COLOUR)

    def test_of_a_damaged_profile_stay_as_they_are(self, tmp_path: Path):
        assert np.array_equal(read(Image.fromarray(COLOUR), tmp_path, icc_profile=b"no profile"), COLOUR)


def profile_with_swapped_channels() -> dict[str, bytes]:
    """An ICC profile of other primaries than sRGB's: its red and its blue are swapped, and it has another name."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = data.index(b"rXYZ", 128), data.index(b"bXYZ", 128)
    data[red : red + 4], data[blue : blue + 4] = b"bXYZ", b"rXYZ"
    for name in (b"sRGB", "sRGB".encode("utf-16-be")):
        while name in data:
            place = data.index(name)
            data[place : place + len(name)] = b"Swap" if len(name) == 4 else "Swap".encode("utf-16-be")
    return {"icc_profile": bytes(data)}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    "make", [lambda: Image.fromarray(COLOUR), lambda: Image.fromarray(GREY.astype(np.uint16) * 257)]
)
def test_a_picture_is_turned_as_its_tag_says(orientation: int, make: Callable[[], Image.Image], tmp_path: Path):
    upright = make()
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = read(upright, tmp_path, exif=exif)
    by_hand = Image.fromarray(read(upright, tmp_path, "plain.png"))
    by_hand.getexif()[0x0112] = orientation
    assert np.array_equal(turned, np.asarray(ImageOps.exif_transpose(by_hand)))
    assert turned.shape[:2] == ((6, 9) if orientation < 5 else (9, 6))


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_damaged_metadata_do_not_matter(name: str, tmp_path: Path):
    levels = Image.fromarray(np.full((6, 9, 3), 128, dtype=np.uint8))
    assert read(levels, tmp_path, name, exif=b"Exif\0\0garbage").shape == (6, 9, 3)


def test_the_first_of_several_frames_is_read(tmp_path: Path):
    frames = [Image.fromarray(FEW_COLOURS.astype(np.uint8)), Image.new("RGB", (9, 6), "red")]
    shown = read(frames[0], tmp_path, "a.tif", save_all=True, append_images=frames[1:])
    assert np.array_equal(shown, FEW_COLOURS)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.gif", "a.tif", "a.bmp", "a.webp"])
def test_a_damaged_or_empty_file_is_named(name: str, tmp_path: Path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    for damaged in (whole[:100], b"", b"\x00\x05\x16\x07\x00", whole[: len(whole) // 2]):
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(BadParameter, match=rf"/{name} .*undamaged copy") as said:
            read_picture(tmp_path / name)
        assert "\n" not in str(said.value)


def test_pictures_that_need_another_program_are_never_opened():
    assert {".png", ".jpg", ".jpeg", ".gif", ".webp", ".tif", ".bmp", ".jp2"} <= picture_suffixes()
    assert not {".eps", ".ps", ".h5", ".mpg", ".wmf"} & picture_suffixes()
