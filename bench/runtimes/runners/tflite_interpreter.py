"""TFLite: the file converted by onnx2tf, run by LiteRT's interpreter."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from ai_edge_litert.interpreter import Interpreter

SAMPLES = "calibration_image_sample_data_20x128x128x3_float32.npy"  # onnx2tf downloads it otherwise, to try the graph


def open_model(path: Path, output: str) -> Callable[[np.ndarray], np.ndarray]:
    """A function from a batch to the output's values. Writes files into the working folder."""
    graph = onnx.load(path).graph
    taken, number = graph.input[0].name, [each.name for each in graph.output].index(output)
    np.save(SAMPLES, np.zeros((20, 128, 128, 3), np.float32))
    command = [str(Path(sys.executable).with_name("onnx2tf")), "-i", str(path), "-o", "converted", "-n"]
    subprocess.run([*command, "-kat", taken], check=True, stdout=subprocess.DEVNULL)  # keep the axes of the input
    interpreter = Interpreter(f"converted/{path.stem}_float32.tflite")
    place = interpreter.get_input_details()[0]["index"]

    def forward(batch: np.ndarray) -> np.ndarray:
        interpreter.resize_tensor_input(place, batch.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(place, batch)
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(interpreter.get_output_details()[number]["index"]))

    return forward
