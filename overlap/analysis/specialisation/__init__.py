"""What each model is better at: confidences of pairs, classes and groups, and the images that divide them."""
