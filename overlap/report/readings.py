"""How each figure is read: what a mark is, what to look for, and what not to conclude."""

KAPPA = (
    "Each cell is one pair of models; bright means that the two are right and wrong on the same images more often "
    "than two independent models of the same accuracies would be (κ = 1: always; κ = 0: as independent). Models "
    "of like errors stand beside each other, joined by the tree; blocks along the diagonal are families. Dark "
    "rows are models that err on their own: candidates for an ensemble. Blank cells are undefined. κ = 1 − EI / "
    "EI of independent models, so unlike error inconsistency it does not rise merely because accuracies differ."
)

CATEGORY = (
    "A pair's category is the outermost way in which the two trainings differ. The large dot is the mean over "
    "pairs, its bar the 95% interval from a bootstrap over models and images together (pairs share both, so the "
    "number of pairs overstates what is known); small dots are single pairs. The hollow diamond is the accuracy-"
    "matched mean: where it moves away from the dot, part of the difference was only a difference in accuracy. "
    "Overlapping bars: do not read an order into them."
)

GAIN = (
    "Each dot is one pair, its calibrated probabilities averaged. Left, the paper's view: gain over the mean of "
    "the two; by identity it is EI × (conversion − ½) plus what is recovered where both are wrong, so dashed "
    "lines mark constant conversion rates (the share of the images on which exactly one is right that the "
    "ensemble gets right). A rising trend alone is therefore no finding; rising across the dashed lines is. "
    "Right, what pays: gain over the better of the two, which is negative where a weak partner drags. The best of "
    "many pairs is an optimistic estimate; see its interval in the table."
)

GREEDY = (
    "From top to bottom, every row adds the model (again, if need be) that helps most on the selection split (40% "
    "of the images). Only the thick line counts: the test split (60%), which the search never saw. Where the thin "
    "line moves right and the thick one does not, the search is fitting its own images. The band is the paired "
    "95% interval of the gain over the best single model, itself chosen on the selection split; while it crosses "
    "the dashed line, the ensemble is not shown to beat one model. The ring marks the size with the highest "
    "selection accuracy."
)
