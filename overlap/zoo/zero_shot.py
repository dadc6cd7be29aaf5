"""Zero-shot classifiers: an image tower with a head of texts, computed once where weights are staged and stored there.

The head is open_clip's own (mean of the normalised texts of a class over templates, normalised again), the model's
scale and offset of logits folded in, so that what is stored runs as any other classifier and needs no text tower. Not
guaranteed: that two kinds of machine make the same head to the last bit; the store keeps the first one.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from overlap.errors import CheckpointError, gist
from overlap.zoo import clip
from overlap.zoo.state_dicts import read_state_dict, without_prefixes
from overlap.zoo.texts import ZeroShot


def write(texts: ZeroShot, weights: Path, shown: str, path: Path) -> None:
    """Make a head, and write it with its image tower as one safetensors file that `clip.build` loads strictly.

    Args:
        texts: model, names and templates.
        weights: a checkpoint of both towers.
        shown: what an error calls the weights.
        path: the file to be written.

    Raises:
        CheckpointError: the weights cannot be read or do not fit, or the texts cannot be tokenised.
    """
    module = _loaded(texts, weights, shown)
    try:
        head, offset = _head(module, texts)
    except Exception as error:  # tokenizers of some models come from a hub
        raise CheckpointError(f"weights {shown}: no zero-shot head could be made ({gist(error)})") from None
    tensors = {f"visual.{name}": tensor for name, tensor in module.get_submodule("visual").state_dict().items()}
    tensors |= {"head.weight": head, "head.bias": offset}
    save_file({name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}, path)


def _head(module: nn.Module, texts: ZeroShot) -> tuple[Tensor, Tensor]:
    """Weight (classes, features) and bias (classes,) such that normalised features give the model's own logits."""
    import open_clip

    tokenizer = open_clip.get_tokenizer(texts.model.partition("/")[0])
    with torch.inference_mode():
        columns = open_clip.build_zero_shot_classifier(module, tokenizer, texts.names, texts.templates)
        weight = (module.get_parameter("logit_scale").exp() * columns.float()).T
        bias = getattr(module, "logit_bias", None)
        offset = torch.zeros(len(weight)) if bias is None else bias.float().reshape(1).expand(len(weight))
    return weight, offset


def _loaded(texts: ZeroShot, weights: Path, shown: str) -> nn.Module:
    """Both towers with a checkpoint, read without running its code and loaded strictly by open_clip's rules."""
    from open_clip import load_checkpoint

    state = read_state_dict(weights, shown, allow_pickle=texts.allow_pickle)
    try:
        module = clip.whole(texts.model, texts.arguments)
        state = without_prefixes(state, module.state_dict())
        with tempfile.TemporaryDirectory(prefix="overlap-clip-") as folder:
            plain = Path(folder) / "weights.safetensors"
            save_file({name: tensor.float().clone().contiguous() for name, tensor in state.items()}, plain)
            load_checkpoint(module, str(plain), strict=True)
    except CheckpointError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(
            f"weights {shown} do not fit open_clip's {texts.model}: {reason}; check the model's name and arguments"
        ) from None
    return module.eval()
