"""The reductions of studies that store the largest logits of each image (`predict.output = "top"`)."""
