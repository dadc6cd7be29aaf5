"""The tables of the page, as data: where each stands, which columns come first, and what is left out of a large one.

A table is never cut silently: the page says how many rows and which columns stay in the parquet table alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from overlap.report.tables import KINDS


@dataclass(frozen=True)
class Grid:
    """How one table appears."""

    name: str
    title: str
    first: tuple[str, ...]
    """Columns shown before 'all columns' is asked for."""
    sort: str = ""
    """Column it is sorted by at first, with a minus for descending."""
    telling: str = ""
    """Column whose two ends are kept when the table is cut; without one the first rows are."""
    most: int = 60_000
    """Rows a page carries."""
    spare: tuple[str, ...] = ()
    """Columns a table of more than `SPARING` rows leaves out: they follow from others, or few ask for them."""
    open: bool = False
    """Whether it stands open on the page; the others unfold."""

    @property
    def about(self) -> str:
        """What a row is."""
        return f"One row: {KINDS[self.name].row}."


SPARING = 20_000

GRIDS = (
    Grid(
        "models",
        "Checkpoints",
        ("model", "accuracy", "top5", "nll", "ece", "temperature", "dataset", "framework", "architecture"),
        "-accuracy",
        "accuracy",
        open=True,
    ),
    Grid(
        "pairs",
        "Pairs",
        ("model_a", "model_b", "category", "error_inconsistency", "kappa", "kappa_low", "kappa_high", "disagreement"),
        "kappa",
        "kappa",
        spare=("kappa_min", "null_low"),
        open=True,
    ),
    Grid(
        "divergence",
        "Pairs, further measures",
        ("model_a", "model_b", "category", "kappa_by_difficulty", "kappa_between", "capa", "jensen_shannon", "yule_q"),
        "kappa_by_difficulty",
        "kappa_by_difficulty",
        spare=(
            "n",
            "double_fault",
            "log_odds_low",
            "log_odds_high",
            "symmetric_kl_low",
            "symmetric_kl_high",
            "expected_by_difficulty",
        ),
    ),
    Grid(
        "categories",
        "Categories of pairs",
        (
            *("category", "pairs", "models", "error_inconsistency", "error_inconsistency_low"),
            *("error_inconsistency_high", "kappa", "kappa_low", "kappa_high", "kappa_matched", "gain_best"),
        ),
        open=True,
    ),
    Grid(
        "divergence_categories",
        "Categories of pairs by every measure",
        ("measure", "category", "selection", "pairs", "models", "mean", "low", "high"),
    ),
    Grid(
        "category_tests",
        "Tests by permutation of models",
        (
            "measure",
            "selection",
            "test",
            "category_a",
            "category_b",
            "estimate",
            "low",
            "high",
            "p_value",
            "p_adjusted",
        ),
    ),
    Grid(
        "axes",
        "Which axes differ at all",
        (
            *("differs", "pairs", "models", "error_inconsistency", "error_inconsistency_low"),
            *("error_inconsistency_high", "kappa", "kappa_low", "kappa_high", "gain_best"),
        ),
        open=True,
    ),
    Grid(
        "difficulty",
        "Images by difficulty",
        ("key", "label", "right", "group", "difficulty"),
        "-difficulty",
        "difficulty",
        most=2000,
    ),
    Grid(
        "driving",
        "Images that drive inconsistency",
        ("model_a", "model_b", "rank", "key", "right", "label", "prediction_a", "prediction_b"),
        "rank",
        most=110_000,
    ),
    Grid("divisive", "Images that divide the zoo", ("rank", "key", "label", "right", "pairs", "share")),
    Grid(
        "pair_ensembles",
        "Ensembles of two",
        ("model_a", "model_b", "combiner", "accuracy", "gain_best", "gain_low", "gain_high", "conversion_rate"),
        "-gain_best",
        "gain_best",
        most=250_000,
        spare=(
            "accuracy",
            *("n", "both_right", "only_a", "only_b", "both_wrong", "r11", "r00", "ece", "soft_n", "gain_mean"),
        ),
        open=True,
    ),
    Grid(
        "gain_fits",
        "Gain and conversion rate fitted against error inconsistency",
        ("combiner", "group", "pairs", "slope", "slope_low", "slope_high", "identity_slope", "conversion_slope"),
    ),
    Grid(
        "weak_helps",
        "Whom weaker models help",
        ("strong", "accuracy", "weak_models", "helped", "share", "mean_gain", "p_value"),
        "-accuracy",
    ),
    Grid(
        "searches",
        "Searches",
        ("search", "kind", "size", "distinct", "accuracy_test", "gain", "gain_low", "gain_high", "optimism"),
        "-accuracy_select",
        open=True,
    ),
    Grid(
        "ensembles",
        "Searches, step by step",
        ("search", "step", "model", "accuracy_select", "accuracy_test", "gain_low", "gain_high"),
        open=True,
    ),
    Grid("ensemble_weights", "Weights of weighted ensembles", ("search", "model", "weight")),
    Grid(
        "pareto",
        "The best within a budget",
        ("cost", "budget", "total", "members", "accuracy_test", "gain_low", "gain_high"),
    ),
    Grid(
        "specialisation",
        "Pairs, specialisation",
        ("model_a", "model_b", "category", "theta_separation", "class_spread", "class_spread_p", "favours_a"),
        "-class_spread",
        "class_spread",
        spare=("theta_only_b", "n_inconsistent", "group_spread_p"),
    ),
    Grid(
        "specialisation_categories",
        "Categories of pairs, specialisation",
        ("category", "pairs", "theta_separation", "class_spread", "group_spread"),
    ),
    Grid(
        "class_scores",
        "Classes a model is unlike the zoo on",
        ("model", "name", "group", "accuracy", "expected", "score", "q_value", "best_of_zoo"),
        "-score",
        most=40_000,
        spare=("n", "right", "p_value", "class"),
    ),
    Grid(
        "group_scores",
        "Groups of classes a model is unlike the zoo on",
        ("model", "group", "accuracy", "expected", "difference", "low", "high", "q_value"),
        "-difference",
    ),
    Grid(
        "pair_ensemble_bounds",
        "Ensembles of two, with undecided images",
        ("model_a", "model_b", "combiner", "undecided", "accuracy_low", "accuracy_high"),
        "-undecided",
        "undecided",
    ),
    Grid(
        "ensemble_bounds", "Searches, with undecided images", ("search", "step", "undecided_select", "undecided_test")
    ),
    Grid("top_agreement", "Bounds against all logits", ("model", "audited", "width_mean", "width_max"), "-width_max"),
    Grid(
        "feature_pairs",
        "Pairs, similarity of features",
        ("model_a", "model_b", "category", "cka", "cka_low", "cka_high", "r2_a_from_b", "r2_b_from_a"),
        "cka",
        "cka",
        spare=("n", "dimension_a", "dimension_b"),
    ),
    Grid(
        "feature_mixing_summary",
        "Mixed features by category",
        ("category", "control", "pairs", "gain_base", "gain_base_low", "gain_base_high", "gain_other"),
    ),
    Grid(
        "feature_mixing",
        "Mixed features, every probe",
        ("base", "other", "category", "control", "rate", "draw", "dimension", "accuracy"),
    ),
    Grid(
        "feature_compression",
        "Ranked features, every probe",
        ("base", "other", "category", "order", "dimension", "accuracy"),
    ),
    Grid(
        "feature_compression_summary",
        "Features needed, by category",
        ("category", "order", "target", "pairs", "reached", "dimension", "dimension_low", "dimension_high"),
    ),
    Grid(
        "feature_downstream",
        "Downstream data",
        (
            "data",
            "model_a",
            "model_b",
            "metric",
            "trained_on",
            "value",
            "low",
            "high",
            "gain_best",
            "gain_low",
            "gain_high",
        ),
        "-value",
    ),
)
"""In the order of the page's data; the template says where each stands."""
