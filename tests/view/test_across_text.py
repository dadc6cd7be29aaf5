from __future__ import annotations

from overlap.report.across import across_text


def test_a_line_for_every_two_data_sets() -> None:
    common = {"models": 5, "pairs": 10, "reason": None}
    rows = [
        {
            **common,
            "data_x": "val",
            "data_y": "v2",
            "statistic": "kappa",
            "rank_correlation": 0.91,
            "low": 0.8,
            "high": 1,
        },
        {
            **common,
            "data_x": "val",
            "data_y": "v2",
            "statistic": "gain_best",
            "rank_correlation": None,
            "low": None,
            "high": None,
            "reason": "0 pairs have no order to compare",
        },
        {
            **common,
            "data_x": "r",
            "data_y": "v2",
            "statistic": "error_inconsistency",
            "rank_correlation": -0.5,
            "low": None,
            "high": None,
            "reason": "no interval over 4 models",
        },
    ]
    assert across_text(rows).splitlines() == [
        "Rank correlation of pairs, val and v2:  κ 0.91 (0.80 – 1.00);  gain none (0 pairs have no order to compare)",
        "Rank correlation of pairs, r and v2:  EI −0.50 (no interval over 4 models)",
    ]
    assert across_text([]) == ""
