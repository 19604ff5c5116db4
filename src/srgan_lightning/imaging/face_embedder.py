"""Turn faces into identity vectors with an ONNX network that the user provides."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2.functional import center_crop

from srgan_lightning.imaging.ops import resize_bicubic, round_to_8_bits
from srgan_lightning.utils.errors import UserError
from srgan_lightning.utils.onnx_files import onnx_session, read_onnx

SETTING = "identity.model"
#: Side of the input in pixels if the file leaves it open; the side of ArcFace and SFace.
SIDE = 112
#: Input normalisation of InsightFace's embedders, for pixels in [0, 255]: x becomes (x - LEVELS) / LEVELS.
LEVELS = 127.5


class FaceEmbedder:
    """An ONNX network that maps faces to vectors whose direction identifies a person, such as SFace or ArcFace.

    Args:
        model: the file. Its only input is float32 (N, 3, H, W), its first output (N, D).
        mean: subtracted from the image, on the scale 0 to 255. None: 127.5, or 0 if the network itself starts with a
            subtraction and a multiplication or division, as SFace does (InsightFace's rule).
        std: the divisor after the subtraction, on the scale 0 to 255. None: 127.5, or 1 for such networks.
        bgr: the network expects blue, green, red.
        crop: side of a central square, as a share of the face's shorter side. The square is treated as an aligned face.

    Raises:
        UserError: the file is unusable or hostile, the network's input has another shape, or an option is out of range.
    """

    def __init__(
        self,
        model: str | None,
        mean: float | None = None,
        std: float | None = None,
        bgr: bool = False,
        crop: float = 1.0,
    ) -> None:
        if model is None:
            raise UserError(
                "metrics=[identity] needs a face embedder: set identity.model=FILE.onnx, such as OpenCV's SFace "
                "(face_recognition_sface_2021dec.onnx from its model zoo)."
            )
        if not 0 < crop <= 1 or std == 0:
            raise UserError(
                f"identity.crop={crop}, identity.std={std}: give a crop above 0 and up to 1, and a std other than 0."
            )
        graph = read_onnx(model, SETTING)
        self.setting = f"{SETTING}={model}"
        self.session = onnx_session(graph, self.setting)
        first = self.session.get_inputs()[0]
        shape: Sequence[Any] = first.shape
        if len(self.session.get_inputs()) != 1 or first.type != "tensor(float)" or len(shape) != 4 or shape[1] != 3:
            raise UserError(
                f"{self.setting} takes {first.type} of {shape}: use an embedder with one float input (N, 3, H, W)."
            )
        self.input = first.name
        self.size = tuple(side if isinstance(side, int) else SIDE for side in shape[2:])
        begins = {node.op_type for node in graph.graph.node[:8]}
        own = {"Sub", "Mul"} <= begins or {"Sub", "Div"} <= begins
        self.mean = (0.0 if own else LEVELS) if mean is None else mean
        self.std = (1.0 if own else LEVELS) if std is None else std
        self.bgr, self.crop = bgr, crop

    def __call__(self, faces: Tensor) -> Tensor:
        """Map (B, 3, H, W) RGB in [0, 1] to vectors (B, D) on the CPU.

        Raises:
            UserError: the network fails, or returns no finite vector.
        """
        side = max(1, round(self.crop * min(faces.shape[-2:])))
        square = round_to_8_bits(center_crop(faces.float().cpu(), [side, side]))
        levels = 255 * resize_bicubic(square, (self.size[0], self.size[1])).clamp(0, 1)
        x = (levels - self.mean) / self.std
        x = x.flip(1) if self.bgr else x
        try:  # one by one: many embedders accept only one image
            rows = [self.session.run(None, {self.input: row[None].numpy()})[0] for row in x]
        except Exception as error:  # the runtime's errors have no public base class
            raise UserError(f"{self.setting} fails on a face: {str(error)[:300]}") from error
        vectors = torch.from_numpy(np.stack([np.asarray(row, np.float32).reshape(-1) for row in rows]))
        if vectors.shape[1] < 2 or not vectors.isfinite().all():
            raise UserError(
                f"{self.setting} does not return a vector of at least 2 finite numbers for a face (its length is "
                f"{vectors.shape[1]}): use a face embedder."
            )
        return vectors
