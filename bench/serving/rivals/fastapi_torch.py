"""FastAPI + torch: eager fp32, Pillow and torchvision's ten crops, one request at a time.

python -m bench.serving.rivals.fastapi_torch PORT CHECKPOINT
"""

import io
import sys
from pathlib import Path
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI, Request
from PIL import Image
from torchvision.transforms import v2

from tencrop.model.checkpoint import Checkpoint
from tencrop.model.net import AlexNet

port, folder = int(sys.argv[1]), Path(sys.argv[2])
checkpoint = Checkpoint.load(folder)
net = AlexNet.from_weights(checkpoint.net, checkpoint.weights)
mean = torch.from_numpy(checkpoint.mean)
prepare = v2.Compose([v2.Resize(256), v2.CenterCrop(256), v2.PILToTensor(), v2.ToDtype(torch.float32)])
crops = v2.TenCrop(224)
app = FastAPI()


@app.post("/predict")
async def predict(request: Request) -> dict[str, Any]:
    """Answer one image; the next request waits."""
    image = Image.open(io.BytesIO(await request.body())).convert("RGB")
    with torch.inference_mode():
        views = torch.stack(crops(prepare(image) - mean))
        probability, index = net(views).softmax(-1).mean(0).max(0)
    return {"index": int(index), "probability": float(probability)}


uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")
