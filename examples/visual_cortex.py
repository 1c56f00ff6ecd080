"""Cells of the visual cortex: simple cells see phase, complex cells do not.

A simple cell of V1 is a Gabor filter: a wave under a Gaussian. A complex cell takes the L2 norm of
two of them that are a quarter of a wave apart (a quadrature pair), cos^2 + sin^2 = 1: it keeps its
answer where a grating moves (Goodfellow et al., Deep Learning, 2016, section 9.10).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import tinygraph as tg
from tinygraph.pictures import curves, gallery, save, stretched

SIZE, WAVELENGTH, WIDTH = 33, 8.0, 5.0  # pixels: of a filter, of a wave, of the Gaussian
ANGLES = np.arange(8) * np.pi / 8
PHASES = np.arange(32) * 2 * np.pi / 32


def grating(angle: float, phase: float) -> np.ndarray:
    """A wave float64 [size, size] whose crests are across the direction ``angle``."""
    y, x = np.mgrid[:SIZE, :SIZE] - SIZE // 2
    return np.cos(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / WAVELENGTH + phase)


def gabor(angle: float, phase: float) -> np.ndarray:
    """The receptive field of a simple cell: a grating under a Gaussian, its mean taken off."""
    y, x = np.mgrid[:SIZE, :SIZE] - SIZE // 2
    window = np.exp(-(x**2 + y**2) / (2 * WIDTH**2))
    wave = grating(angle, phase)
    return window * (wave - (window * wave).sum() / window.sum())


def cortex(batch: int) -> tuple[tg.Program, np.ndarray]:
    """Pictures -> simple cells [batch, angles, 2], complex cells [batch, angles]; and filters."""
    fields = np.stack([gabor(a, p) for a in ANGLES for p in (0, np.pi / 2)])
    fields /= np.sqrt((fields**2).sum(axis=(1, 2), keepdims=True))
    x = tg.input("pictures", batch, 1, SIZE, SIZE)
    simple = tg.reshape(tg.conv2d(x, tg.constant(fields[:, None], "float32")), batch, -1, 2)
    complex = tg.sqrt(tg.sum(simple**2, axis=2))
    return tg.compile([x], [simple, complex], name="cortex"), fields


def modulation(responses: np.ndarray) -> float:
    """How much a response depends on phase: 1 - lowest / highest of its magnitude."""
    magnitude = np.abs(responses)
    return float(1 - magnitude.min() / magnitude.max())


def draw(
    folder: Path, fields: np.ndarray, simple: np.ndarray, complex: np.ndarray, tuning: np.ndarray
) -> None:
    """The filters; the first cells' answers by phase; complex cells' answers by angle."""
    degrees = [f"{angle:g}°" for angle in np.degrees(ANGLES)]
    captions = [f"{d}, {kind}" for d in degrees for kind in ("even", "odd")]
    panels = [(c, stretched(f, around=0)) for c, f in zip(captions, fields, strict=True)]
    title = "Simple cells: pairs of Gabor filters, a quarter of a wave apart"
    print(
        save(folder / "visual_cortex_filters.svg", gallery(panels, columns=4, zoom=4, title=title))
    )
    answers = {"simple, even": simple[:, 0], "simple, odd": simple[:, 1], "complex": complex}
    print(save(folder / "visual_cortex_phase.svg", curves(
        np.degrees(PHASES), answers, "phase of the grating, degrees", "answer",
        "A grating moves: the answers of the cells for its angle",
    )))  # fmt: skip
    cells = {f"complex, {degrees[i]}": tuning[:, i] for i in range(0, len(ANGLES), 2)}
    print(save(folder / "visual_cortex_angle.svg", curves(
        np.degrees(ANGLES), cells, "angle of the grating, degrees", "mean answer over all phases",
        "A grating turns: each complex cell has its angle",
    )))  # fmt: skip


def main(folder: Path = Path("pictures")) -> dict[str, float]:
    program, fields = cortex(len(ANGLES) * len(PHASES))
    stimuli = np.stack([grating(a, p) for a in ANGLES for p in PHASES]).astype(np.float32)
    simple, complex = program(stimuli[:, None])
    simple = simple.reshape(len(ANGLES), len(PHASES), len(ANGLES), 2)  # grating, phase, cell, pair
    complex = complex.reshape(len(ANGLES), len(PHASES), len(ANGLES))

    own = np.arange(len(ANGLES))
    tuning = complex.mean(axis=1)  # [grating, cell]
    found: dict[str, float] = {
        "simple cells: change with phase": min(modulation(simple[i, :, i, 0]) for i in own),
        "complex cells: change with phase": max(modulation(complex[i, :, i]) for i in own),
        "complex cells that prefer their angle": int((tuning.argmax(axis=0) == own).sum()),
        "own angle over the angle across": float(
            min(tuning[i, i] / tuning[(i + len(own) // 2) % len(own), i] for i in own)
        ),
    }
    for name, number in found.items():
        print(f"{name}: {number:.3g}")

    print("\nphase  simple  complex, of the first angle")
    for k in range(0, len(PHASES), 4):
        degrees = np.degrees(PHASES[k])
        print(f"{degrees:5.0f}  {simple[0, k, 0, 0]:6.2f}  {complex[0, k, 0]:6.2f}")
    draw(folder, fields, simple[0, :, 0], complex[0, :, 0], tuning)
    return found


if __name__ == "__main__":
    main()
