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

AXES = (
    "Categories nest: a pair of another data set often differs in framework and architecture too. Here every pair "
    "stands in the row of exactly those axes in which it differs (number of pairs in brackets), so single axes can be "
    "compared. Bars are 95% intervals over models and images. Pairs with a missing axis are in the table alone."
)

DIFFICULTY = (
    "How many of the models get each image right. Images that all or none get right make any two models look alike; "
    "a κ above zero follows from them alone. κ on the images in between, and κ against what a Rasch model of the "
    "images' difficulty expects (fitted without the pair in question), are what is left."
)

CONVERSION = (
    "Of the images that exactly one of the two gets right, the share that their ensemble gets right. That gain rises "
    "with error inconsistency is an identity where this rate is constant; that the rate itself rises is not. "
    "Where few images are inconsistent the rate is noisy, so look at the line, not at single dots at the left."
)

WEAK = (
    "Each dot is a model taken as the strong one. Left, the share of all weaker models whose ensemble with it is more "
    "accurate than it is alone; the dashed line is a coin's toss. Right, the mean gain over the strong model. The "
    "test treats models, not pairs, as independent."
)

POOLS = (
    "From the same anchor, members are chosen greedily once from models below an accuracy, once from a control pool of "
    "equal accuracies out of the anchor's own category. Only the difference of the two tells diversity from mere "
    "number of members. Gains and intervals are on the test split, which no search saw."
)

OPTIMISM = (
    "Hollow: accuracy on the images on which members were chosen. Full: accuracy on the images the search never saw. "
    "The gap is what a report on the selection images would overstate; searches that choose among more (weights, "
    "many models) have more of it. Compare searches by their full dots only."
)

PARETO = (
    "Each dot is the best ensemble found within a budget, chosen on the selection split and shown at its accuracy on "
    "the test split; the band is the 95% interval of its gain over the best single model. A flat stretch means that "
    "more cost buys nothing measurable."
)

THETA = (
    "θ is the angle in the plane of the two models' calibrated confidences, 0° where both are equally sure; to the "
    "right the more accurate is the more confident. Where the two curves at the right stand apart, whoever is right is "
    "also the more confident, so an average of the two keeps the right answer. Each histogram has the same area."
)

SPREAD = (
    "Separation: mean θ on images that only one model gets right, less the same for the other; 0 means confidence does "
    "not tell who is right. Spread over classes (or groups): standard deviation of the class means of θ, corrected "
    "for noise; above 0, the two are confident on different classes. Bars are 95% intervals."
)

GROUPS = (
    "Accuracy on a group of classes less what the model's accuracy and the group's difficulty alone would give. Red: "
    "better than expected, blue: worse; a mark where q < 0.05 over all cells. Rows of like profile stand together. "
    "Only the models and groups with the largest differences are drawn; the table has all."
)

MIXING = (
    "A linear probe on features drawn at random from two models, the number held at the base's. If half and half beats "
    "both ends, the two know different things. Controls: two halves of one model (nothing to gain), a re-initialised "
    "pair, and the partner's features shuffled over images (only harm; they may fall out of the "
    "frame). Faint lines are single pairs."
)

COMPRESSION = (
    "Features of both models are ranked by their covariance with the other model's, most diverse first, and a probe is "
    "trained on the first so many. The sooner a curve rises, the fewer features carry the accuracy. The random "
    "order is the control: only the distance between the two says that the ranking helps."
)

CKA = (
    "Each dot is one pair. CKA 1 means the same features up to rotation and scale. It compares what is represented, "
    "error inconsistency what comes out: pairs may be alike in one and not in the other. The estimator is unbiased, "
    "so that few images do not make all pairs look alike."
)

DOWNSTREAM = (
    "A linear layer on the features of one model (grey), or of two concatenated (red), trained and tested on another "
    "data set. Concatenation has more features, so compare with the mixed features above before calling it "
    "diversity. The best of many pairs is an optimistic estimate."
)

SCHEDULE = (
    "A row is a worker, a bar one lease of some units of a checkpoint; light is loading weights, full is computing, "
    "grey is waiting for the store. White in between is waiting for decoded images. The dashed line is where all would "
    "have ended with the work shared out perfectly: rows that stop long before the others, or begin late, are what it "
    "cost."
)
