"""The Open Inference Protocol, by KServe's client in Python: gRPC and HTTP give the same answers."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tritonclient.http as triton
from serving import run_grpc_server
from support.registries import install_from_pypi

KSERVE = "kserve==0.21.0"
SCRIPT = """\
import asyncio, json, sys
import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig

http, grpc, *photographs = sys.argv[1:]

def build_request():
    images = InferInput("image", [len(photographs)], "BYTES")
    images.set_data_from_numpy(np.array([open(path, "rb").read() for path in photographs], object), binary_data=True)
    return InferRequest("null", [images], request_id="seven")

async def ask():
    async with InferenceGRPCClient(grpc) as client:
        states = [await client.is_server_live(), await client.is_server_ready(), await client.is_model_ready("null")]
        answers = [await client.infer(build_request())]
    async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
        states += [await client.is_server_live(http), await client.is_server_ready(http)]
        states.append(await client.is_model_ready(http, "null"))
        answers.append(await client.infer(http, build_request(), model_name="null"))
    return states, [answer.id for answer in answers], [answer.outputs[0].as_numpy().tolist() for answer in answers]

print(json.dumps(asyncio.run(ask())))
"""


@pytest.mark.slow
def test_kserves_client_gets_the_answers_of_tritons(
    null_model: Path, photographs: dict[str, Path], tmp_path: Path
) -> None:
    """In an environment of its own, as it wants other versions than the tests."""
    python = install_from_pypi(tmp_path / "env", KSERVE) / "python"
    paths = list(photographs.values())
    with run_grpc_server(str(null_model)) as server:
        command = [str(python), "-c", SCRIPT, f"http://{server.http}", server.grpc, *map(str, paths)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        images = triton.InferInput("image", [len(paths)], "BYTES")
        images.set_data_from_numpy(np.array([path.read_bytes() for path in paths], dtype=np.object_))
        with triton.InferenceServerClient(server.http) as client:
            expected = client.infer("null", [images]).as_numpy("probabilities")
    assert done.returncode == 0, done.stderr
    states, names, answers = json.loads(done.stdout.splitlines()[-1])
    assert all(states) and len(states) == 6 and names == ["seven"] * 2
    for answer in answers:
        np.testing.assert_array_equal(np.array(answer, np.float32), expected)
