"""The recipes of the demo's zoo: data, fixed before any outcome was looked at.

Guarantees: ids are unique; a recipe that needs another's weights names it; no two recipes share a seed, so that no
two checkpoints start from the same random numbers, whichever category their pair falls into. The ordering of the
categories is something the study finds out, and nothing here is tuned for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from overlap.methodology import Training

MEAN: Final = 0.3
STD: Final = 0.375
"""Mean and standard deviation of a pixel (0-1), about those of the handwritten digits; the same for all recipes."""


@dataclass(frozen=True)
class Architecture:
    """How a network is named in the study file and what it sees. Exactly one of factory and source is given."""

    factory: str | None
    source: str | None
    arguments: Mapping[str, int]
    size: int
    """Side of the square input, in pixels; the digits are 8x8 and are scaled up where this is more."""
    interpolation: str = "bicubic"


@dataclass(frozen=True)
class HyperParameters:
    """How a network is fitted."""

    learning_rate: float = 2e-3
    """Peak of a one-cycle of linear warm-up (a tenth of the steps) and cosine decay to zero."""
    optimizer: str = "adamw"
    weight_decay: float = 0.01
    steps: int = 200
    batch: int = 50
    """Images a step, drawn without replacement epoch by epoch."""
    dropout: float = 0.0
    label_smoothing: float = 0.0
    shift: int = 0
    """Largest random shift of a training image, in pixels of the 8x8 original."""
    initialisation: str = "default"
    pretraining_steps: int = 150
    """Steps of a framework's pretraining, before its linear head is fitted."""


@dataclass(frozen=True)
class Recipe:
    """How one checkpoint comes about; the axes are those of `overlap.methodology`, each a key of a table."""

    id: str
    architecture: str
    seed: int
    hyper_parameters: str = "base"
    framework: str = "supervised"
    dataset: str = "digits"
    """The images it is fitted to."""
    parent: str | None = None
    """The recipe from whose weights this one starts."""
    teacher: str | None = None
    """The recipe whose logits this one learns."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Ids of the recipes that have to be trained before."""
        return tuple(name for name in (self.parent, self.teacher) if name is not None)

    @property
    def net(self) -> Architecture:
        """The architecture's row."""
        return ARCHITECTURES[self.architecture]

    @property
    def hyper(self) -> HyperParameters:
        """The hyper-parameters' row."""
        return HYPER_PARAMETERS[self.hyper_parameters]

    def arguments(self) -> dict[str, Any]:
        """What the factory, or timm, is called with."""
        dropout = {"dropout": self.hyper.dropout} if self.hyper.dropout else {}
        return {**self.net.arguments, **dropout}

    def training(self) -> Training:
        """The training columns of the study file.

        A fine-tuned checkpoint has seen its parent's images too, and students of different teachers are no
        re-initialisations of one another: both are said in the columns, since lineage is not an axis.
        """
        seen = self.dataset if self.parent is None else f"{recipe(self.parent).dataset}-then-{self.dataset}"
        settings = self.hyper_parameters if self.teacher is None else f"{self.hyper_parameters}-by-{self.teacher}"
        return Training(
            dataset=seen,
            framework=self.framework,
            architecture=self.architecture,
            hyper_parameters=settings,
            seed=str(self.seed),
            parent=self.parent,
            teacher=self.teacher,
        )

    def contents(self) -> dict[str, Any]:
        """Everything the recipe says, its rows included, as plain JSON."""
        return {**asdict(self), "net": asdict(self.net) | {"arguments": self.arguments()}, "hyper": asdict(self.hyper)}


def recipes() -> tuple[Recipe, ...]:
    """All recipes, each after those it needs."""
    return RECIPES


def recipe(name: str) -> Recipe:
    """The recipe of this id; KeyError where there is none."""
    return {entry.id: entry for entry in RECIPES}[name]


NETS: Final = "overlap.demo.nets"

ARCHITECTURES: Final[Mapping[str, Architecture]] = {
    "cnn": Architecture(f"{NETS}:Cnn.build", None, {"width": 16}, 8),
    "mlp": Architecture(f"{NETS}:Mlp.build", None, {"width": 128, "depth": 2}, 8),
    "softmax-regression": Architecture(f"{NETS}:Mlp.build", None, {"depth": 0}, 8),
    "vit": Architecture(f"{NETS}:Vit.build", None, {"width": 48, "depth": 2}, 8),
    "mixer": Architecture(f"{NETS}:Mixer.build", None, {"width": 48, "depth": 2}, 8),
    "residual": Architecture(f"{NETS}:Residual.build", None, {"width": 8}, 16, "bilinear"),
    "test_resnet": Architecture(None, "timm:test_resnet", {}, 16),
    "test_byobnet": Architecture(None, "timm:test_byobnet", {}, 16),
}
"""Architectures by the name they have on the architecture axis."""

HYPER_PARAMETERS: Final[Mapping[str, HyperParameters]] = {
    "base": HyperParameters(),
    "lr-high": HyperParameters(learning_rate=1e-2),
    "lr-low": HyperParameters(learning_rate=5e-4),
    "weight-decay": HyperParameters(weight_decay=0.3),
    "dropout": HyperParameters(dropout=0.5),
    "sgd": HyperParameters(optimizer="sgd", learning_rate=0.05),
    "label-smoothing": HyperParameters(label_smoothing=0.2),
    "shift": HyperParameters(shift=1),
    "small-batch": HyperParameters(batch=10),
    "orthogonal": HyperParameters(initialisation="orthogonal"),
    "short": HyperParameters(steps=80),
}
"""Hyper-parameters by the name they have on that axis."""

RECIPES: Final = (
    *(Recipe(f"cnn-{number}", "cnn", 100 + number) for number in range(1, 7)),
    *(
        Recipe(f"cnn-{name}", "cnn", 200 + number, name)
        for number, name in enumerate(name for name in HYPER_PARAMETERS if name != "base")
    ),
    *(Recipe(f"mlp-{number}", "mlp", 300 + number) for number in range(1, 4)),
    Recipe("mlp-dropout", "mlp", 304, "dropout"),
    *(Recipe(f"vit-{number}", "vit", 310 + number) for number in range(1, 4)),
    Recipe("vit-lr-low", "vit", 314, "lr-low"),
    Recipe("mixer-1", "mixer", 320),
    *(Recipe(f"residual-{number}", "residual", 330 + number) for number in range(1, 3)),
    Recipe("softmax-regression-1", "softmax-regression", 340),
    *(Recipe(f"test_resnet-{number}", "test_resnet", 350 + number) for number in range(1, 3)),
    Recipe("test_byobnet-1", "test_byobnet", 360),
    *(Recipe(f"cnn-simclr-{number}", "cnn", 400 + number, framework="simclr") for number in range(1, 3)),
    *(Recipe(f"cnn-denoising-{number}", "cnn", 410 + number, framework="denoising") for number in range(1, 3)),
    *(Recipe(f"vit-masked-{number}", "vit", 420 + number, framework="masked") for number in range(1, 3)),
    Recipe("cnn-distilled-1", "cnn", 431, framework="distilled", teacher="cnn-1"),
    Recipe("cnn-distilled-2", "cnn", 432, framework="distilled", teacher="vit-1"),
    *(Recipe(f"cnn-fonts-{number}", "cnn", 500 + number, dataset="fonts") for number in range(1, 3)),
    Recipe("mlp-fonts-1", "mlp", 510, dataset="fonts"),
    *(Recipe(f"cnn-disjoint-{number}", "cnn", 520 + number, dataset="digits-disjoint") for number in range(1, 3)),
    Recipe("vit-disjoint-1", "vit", 530, dataset="digits-disjoint"),
    *(Recipe(f"cnn-relabelled-{number}", "cnn", 540 + number, dataset="digits-relabelled") for number in range(1, 3)),
    Recipe("cnn-fonts-and-digits-1", "cnn", 550, dataset="fonts-and-digits"),
    Recipe("cnn-fonts-tuned", "cnn", 560, "short", parent="cnn-fonts-1"),
)
"""The zoo, each recipe after those it needs."""
