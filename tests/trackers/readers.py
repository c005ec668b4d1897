"""Read the files of tracking tools with their own libraries."""

import struct
from pathlib import Path
from typing import Any

Curves = dict[str, list[tuple[int, float]]]
"""(step, value) in the order in which they are read, by "run/tag"."""


def tensorboard_curves(directory: Path) -> Curves:
    """Return all scalars below a directory, as TensorBoard loads them, with the precision of float32."""
    from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer

    loaded = EventMultiplexer().AddRunsFromDirectory(str(directory))
    loaded.Reload()
    return curves_of(loaded)


def curves_of(loaded: Any) -> Curves:
    """Return the scalars that an `EventMultiplexer` has loaded."""
    return {
        f"{run}/{tag}": [(event.step, event.value) for event in loaded.Scalars(run, tag)]
        for run, tags in loaded.Runs().items()
        for tag in tags["scalars"]
    }


def mlflow_runs(uri: str, experiment: str = "evodevo") -> dict[str, Any]:
    """Return all runs of an experiment by name; a duplicate name is an error."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(uri)
    found = client.get_experiment_by_name(experiment)
    runs = list(client.search_runs([found.experiment_id])) if found else []
    names = [run.info.run_name for run in runs]
    assert len(set(names)) == len(names), names
    return dict(zip(names, runs, strict=True))


def mlflow_curves(uri: str, experiment: str = "evodevo") -> Curves:
    """Return all metrics of all runs, with everything that was ever logged."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(uri)
    return {
        f"{name}/{key}": [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, key)]
        for name, run in mlflow_runs(uri, experiment).items()
        for key in run.data.metrics
    }


LEVELDB_BLOCK, LEVELDB_HEADER, WANDB_HEADER = 32768, 7, 7


def wandb_records(file: Path) -> list[Any]:
    """The records of a `.wandb` file.

    The library reads it in its Go program only, when it uploads it, so the frames are taken apart here
    (LevelDB's log format); the records are read by the library's own protocol.
    """
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, part, found = file.read_bytes(), WANDB_HEADER, b"", []
    assert data[:4] == b":W&B"
    while at + LEVELDB_HEADER <= len(data):
        if (left := LEVELDB_BLOCK - at % LEVELDB_BLOCK) < LEVELDB_HEADER:
            at += left
            continue
        length, kind = struct.unpack("<HB", data[at + 4 : at + LEVELDB_HEADER])
        at += LEVELDB_HEADER
        part += data[at : at + length]
        at += length
        if kind in (1, 4):  # a whole record, or its last part
            record = Record()
            record.ParseFromString(part)
            found.append(record)
            part = b""
    return found


def wandb_rows(run: Path) -> list[dict[str, Any]]:
    """Return the rows of the history in the only `.wandb` file of a run's directory."""
    import json

    files = list((run / "wandb").glob("offline-run-*/*.wandb"))
    assert len(files) == 1, files
    return [
        {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
        for record in wandb_records(files[0])
        if record.WhichOneof("record_type") == "history"
    ]


def wandb_curves(run: Path) -> Curves:
    """Return the numbers of that history by name, with generations, epochs or training steps as steps."""
    steps = {"epochs": "epoch", "losses": "training_step"}
    found: Curves = {}
    for row in wandb_rows(run):
        for name, value in row.items():
            if "/" in name and not name.startswith(("_", "foms/")):
                step = row[steps.get(name.partition("/")[0], "generation")]
                found.setdefault(name, []).append((step, value))
    return found
