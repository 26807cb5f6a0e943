"""E-D3DGS's recipe: the settings of its training (Bae et al., ECCV 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from experts.training.recipes.recipe import Density, NetworkPrecision, Rate, Recipe
from experts.training.recipes.recipe_fields import COUNT, ITERATIONS, N3V_EXTENT, PERIOD, SHARE

ANNEAL = 1000  # iterations over which a residual grows to its full size


@dataclass(frozen=True, slots=True, kw_only=True)
class ED3DGSOptions:
    """Switches that the tensors do not tell, under E-D3DGS's own names; the defaults are its N3V preset."""

    min_embeddings: int = 30  # rows of the temporal table as the coarse network sees it
    use_coarse_temporal_embedding: bool = True  # False: the coarse network sees as many as the fine one
    no_c2f_temporal_embedding: bool = False  # True: the fine network sees all rows from the start
    c2f_temporal_iter: int = 10000  # iteration from which it sees all rows
    use_anneal: bool = True
    deform_from_iter: int = 5000  # annealing of scales, opacities and colours starts here
    no_ds: bool = False
    no_dr: bool = False
    no_do: bool = False
    no_dc: bool = False
    no_coarse_deform: bool = False
    no_fine_deform: bool = False

    @property
    def finished(self) -> int:
        """Iteration from which training changes nothing but the tensors."""
        return max(self.c2f_temporal_iter, self.deform_from_iter + ANNEAL)

    def enabled(self) -> dict[str, bool]:
        """Raw tensors by name: True for those that are deformed."""
        return {
            "means": True,
            "log_scales": not self.no_ds,
            "quats": not self.no_dr,
            "opacity_logits": not self.no_do,
            "sh": not self.no_dc,
        }

    def stages(self) -> tuple[str, ...]:
        """Suffixes of the networks in use, in their order."""
        return ("c",) * (not self.no_coarse_deform) + ("f",) * (not self.no_fine_deform)


N3V_OPTIONS = ED3DGSOptions()
TECHNICOLOR_OPTIONS = ED3DGSOptions(
    min_embeddings=5, no_c2f_temporal_embedding=True, use_anneal=False, deform_from_iter=0, no_dc=True
)


NETWORK = "deformation"
LENGTHS = ("deformation.pos_deform_c.3", "deformation.pos_deform_f.3")  # the last layers for places: they give lengths
_COARSE = 5  # rows of the temporal table for each that its coarse network sees


def ed3dgs_rates(*, network: float = 1.6e-4, network_last: float = 1.6e-5, offsets: float = 2e-5) -> Mapping[str, Rate]:
    """Learning rates by parameter; network: of both networks and the temporal table."""
    return {
        "gaussians.means": Rate(first=1.6e-4, last=1.6e-6, per_extent=True),
        "gaussians.log_scales": Rate(first=5e-3),
        "gaussians.quats": Rate(first=1e-3),
        "gaussians.opacity_logits": Rate(first=0.05),
        "gaussians.sh_dc": Rate(first=2.5e-3),
        "gaussians.sh_rest": Rate(first=2.5e-3 / 20),
        "embeddings": Rate(first=2.5e-3),
        NETWORK: Rate(first=network, last=network_last, per_extent=True),
        "deformation.offsets": Rate(first=offsets),
    }


@dataclass(frozen=True, kw_only=True)
class ED3DGSRecipe(Recipe):
    """E-D3DGS's training table; the defaults are its N3V preset, but for the two switches below.

    scale_free: what has units of length is taken relative to the scene's extent, as it is at N3V_EXTENT; of the
        networks' rates only that of the last layers for places grows with the extent. False, as published: first
        scales end at e, the falloff of the smoothness is per squared world unit, the networks begin with shifts
        of world units, and all their rates grow with the extent, so that a large world diverges.
    far_cameras: a camera is at least the median distance away from the one before. E-D3DGS means to do so, but looks
        the distances up in another order of its images, so that its cameras are as good as random (False); by its
        authors' word random ones work as well. In a row of cameras the rule shows the middle ones less often.

    Switches of the network, by clip: `options`. dssim counts in the streaks of one frame alone (see FrameErrors).
    """

    iterations: int = field(default=80000, metadata=ITERATIONS)
    rates: Mapping[str, Rate] = field(default_factory=ed3dgs_rates)
    rate_iterations: int = field(default=80000, metadata=PERIOD)
    l1: float = 1.0
    dssim: float = field(default=0.5, metadata=SHARE)  # published as 1.0 of (1 - SSIM) / 2
    density: Density = field(default_factory=lambda: Density(start=5000, stop=80000, gradient=3e-4))
    errors_from: int = field(default=10000, metadata=ITERATIONS)  # frames by their errors, and streaks, from here on
    streak: int = 5  # iterations of every streak_every that hand their frame on to the next, and see SSIM
    streak_every: int = field(default=50, metadata=COUNT)
    far_cameras: bool = False
    faint: float = 1e-4  # weight of the sigmoid of the mean opacity logit
    smooth: float = 1.0  # weight of the embeddings' smoothness
    falloff: float = 2000.0  # of its strength, exp(-falloff d^2)
    smooth_pairs: int | None = 65536  # at most so many in an iteration, in turn; None: all; n for n Gaussians at least
    anneal: bool = True  # residuals grow over 1,000 iterations, if twice that fits into the training
    deform_from: int = field(default=5000, metadata=ITERATIONS)  # those of scales, opacities and colours grow from here
    coarse_to_fine: int | None = field(default=10000, metadata=ITERATIONS)  # the fine network sees all rows from here
    deform_colours: bool = True
    frames_per_row: float = field(default=2.0, metadata={"least": 0.01})  # of the temporal table
    zero_table: bool = False  # it begins with zeros, not with small random numbers
    scale_free: bool = True
    networks: NetworkPrecision = "float32"  # in which they learn on a GPU; rendering chooses its own

    def in_streak(self, iteration: int) -> bool:
        """True for an iteration that hands its frame on to the next, and sees SSIM."""
        return iteration >= self.errors_from and iteration % self.streak_every < self.streak

    def rows(self, num_frames: int) -> int:
        """Rows of the temporal table for a clip: 150 for 300 frames, 25 for 50, as published."""
        return max(2, round(num_frames / self.frames_per_row))

    def options(self, num_frames: int) -> ED3DGSOptions:
        """The network's switches for a clip, which are saved with the model.

        No annealing where it would take more than half of the training: a model shows what its residuals were when
        training ended, and upstream's 1,000 iterations of growth do not get shorter.
        """
        anneal = self.anneal and 2 * (self.deform_from + ANNEAL) <= self.iterations
        return ED3DGSOptions(
            min_embeddings=max(2, self.rows(num_frames) // _COARSE),
            no_c2f_temporal_embedding=self.coarse_to_fine is None,
            c2f_temporal_iter=self.coarse_to_fine or 0,
            use_anneal=anneal,
            deform_from_iter=self.deform_from if anneal else 0,
            no_dc=not self.deform_colours,
        )

    def relative_extent(self, extent: float) -> float:
        """Factor from lengths of the world in which the published ones hold to lengths of this one."""
        return extent / N3V_EXTENT if self.scale_free else 1.0

    def network_rates(self) -> Mapping[str, Rate]:
        """Rates by parameter; `scale_free` changes the networks'."""
        published = self.rates[NETWORK]
        if not self.scale_free:
            return self.rates
        last = None if published.last is None else published.last * N3V_EXTENT
        same = replace(published, first=published.first * N3V_EXTENT, last=last, per_extent=False)
        return {**self.rates, NETWORK: same, **dict.fromkeys(LENGTHS, published)}
