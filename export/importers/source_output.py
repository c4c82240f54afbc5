"""Chooses the output of a source net that has several, by --output NAME."""

from copy import deepcopy
from dataclasses import replace

from tencrop.common.did_you_mean import did_you_mean
from tencrop.common.errors import BadInput, one_line
from tencrop.export.importers.graph_rewrite import prune_graph
from tencrop.export.importers.input_convention import OUTPUTS
from tencrop.export.importers.source_net import SourceNet


def choose_output(source: SourceNet, wanted: str | None) -> tuple[SourceNet, str | None]:
    """Returns the net with one output, and what it is: "logits", "probabilities", or None where `wanted` does not say.

    wanted: one of these two, or an output's name. Raises BadInput, with the names, for another word, and where a net of
    several outputs has none of that name.
    """
    names = [output.name for output in source.model.graph.output]
    listed = ", ".join(map(one_line, names))
    if wanted not in (None, *OUTPUTS, *names):
        expected = f"expected {' or '.join(OUTPUTS)}, or an output of the net: {listed}"
        raise BadInput(f"--output {wanted}: {expected}", did_you_mean(str(wanted), (*OUTPUTS, *names)))
    if len(names) == 1:
        return source, wanted if wanted in OUTPUTS else None
    if wanted is None or wanted not in names:
        raise BadInput(f"{source.path}: has several outputs: {listed}", "name that of the scores: --output NAME")
    model = deepcopy(source.model)
    kept = next(output for output in source.model.graph.output if output.name == wanted)
    del model.graph.output[:]
    model.graph.output.append(kept)
    prune_graph(model, wanted)
    return replace(source, model=model), None
