"""The section of a model card on the use of each file, in Markdown."""

from __future__ import annotations

from mlbench.deployment.card import EVERY_FILE
from mlbench.deployment.model_card import Exported

__all__ = ["usage"]


def usage(exported: Exported) -> str:
    """One part for each file."""
    parts = [_contract(exported)]
    if exported.file("onnx"):
        parts.append(_onnx(exported))
    if exported.file("pt2"):
        parts.append(_pt2(exported))
    if exported.file("safetensors"):
        parts.append(_safetensors(exported))
    return "\n\n".join(parts)


def _contract(exported: Exported) -> str:
    image = exported.record.settings.get("image", {})
    size = image.get("size")
    return (
        f"Every file takes uint8 RGB images (N, 3, {size}, {size}), of any number N, and gives float32 "
        f"embeddings (N, {exported.own.width}) of unit length; scaling and normalisation are inside. The "
        f"metadata state how an image file becomes such a square (resize: `{image.get('resize')}`, "
        f"crop_ratio: {image.get('crop_ratio')}, decode: {EVERY_FILE['decode']}). `embed.py` and `mlbench` "
        "do it to the bit as in training."
    )


def _onnx(exported: Exported) -> str:
    name = f"{exported.stem}.onnx"
    return f"""### {name}: ONNX Runtime, without mlbench

```console
$ pip install numpy 'pillow>=12' onnxruntime
$ python embed.py {name} photo.jpg folder -o embeddings.csv
```

```python
from embed import Model

model = Model("{name}")
a, b = model.embed(["a.jpg", "b.jpg"])
distance = 1 - a @ b  # the same where it is at most model.threshold
```

With mlbench, `mlbench match a.jpg b.jpg --model {name}` says whether two images are the same."""


def _pt2(exported: Exported) -> str:
    name = f"{exported.stem}.pt2"
    size = exported.record.settings.get("image", {}).get("size")
    return f"""### {name}: PyTorch, without mlbench and without the network's code

```python
import torch

extra = {{"mlbench.json": ""}}  # the metadata, among them the threshold
model = torch.export.load("{name}", extra_files=extra).module()
images = torch.zeros((2, 3, {size}, {size}), dtype=torch.uint8)
embeddings = model(images)
```

`python embed.py {name} photo.jpg` and `from embed import Model` work with it too, with torch in place of
onnxruntime."""


def _safetensors(exported: Exported) -> str:
    name = f"{exported.stem}.safetensors"
    return f"""### {name}: the weights, for mlbench

```python
from mlbench.deployment.safetensors_format import load_model

model = load_model("{name}")  # a torch.nn.Module in evaluation mode
```

`mlbench match a.jpg b.jpg --model {name}` says whether two images are the same. From image files to
embeddings:

```python
from pathlib import Path

import numpy as np

from mlbench.deployment.formats import open_model
from mlbench.deployment.match import load_image

session = open_model(Path("{name}"))
images = [load_image(Path(each), session.card) for each in ("a.jpg", "b.jpg")]
embeddings = session.embed(np.stack(images))
```

The metadata have the settings of the network (`settings`), by which it is rebuilt."""
