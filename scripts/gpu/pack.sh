#!/usr/bin/env bash
# Collect in scripts/gpu/packed what scripts/gpu/checkup.py needs on a machine without a network:
#
#     scripts/gpu/pack.sh [DATA]
#
# DATA (default: ../shared/data) is a directory with prepare.py and the archived data sets. The wheels are for Python
# 3.12 on x86-64, in the versions of constraints.txt; the machine must have numpy, matplotlib, pillow and torch.
# PYTHON (default: python3) is the interpreter whose pip downloads the wheels.
set -euo pipefail
root=$(realpath "$(dirname "$0")/../..")
data=$(realpath -m "${1:-$root/../shared/data}")
cd "$root"
most=$((60 * 1024 * 1024))
packed=scripts/gpu/packed
part=$packed.part
[ -f "$data/prepare.py" ] || { echo "pack: $data has no prepare.py: name the directory of the data sets" >&2; exit 2; }

needed=(annotated_types bokeh dask distributed kornia kornia_rs locket partd pycocotools pydantic pydantic_core tblib
    tornado typing_inspection xyzservices zict)
# Images with torch usually contain these; checkup.py installs the missing ones.
likely_there=(click cloudpickle colorama fsspec iniconfig jinja2 markupsafe msgpack packaging
    pluggy portalocker psutil pytest pytest-timeout pyyaml sacrebleu safetensors sortedcontainers tabulate toolz
    typing_extensions urllib3)

rm -rf "$part"
trap 'rm -rf "$part"' EXIT
mkdir -p "$part/wheels" "$part/data"
"${PYTHON:-python3}" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
    --python-version 3.12 --implementation cp --platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64 \
    -c constraints.txt -d "$part/wheels" "${needed[@]}" "${likely_there[@]}"
cp -r --no-preserve=mode "$data"/{prepare.py,cifar10-jpeg,mnist,iwslt15-en-vi,bccd} "$part/data/"
git describe --always --dirty >"$part/commit"

bytes=$(find "$part" -type f -printf '%s\n' | awk '{sum += $1} END {print sum}')
if [ "$bytes" -gt "$most" ]; then
    echo "pack: $bytes bytes are more than $most (60 MiB): leave out wheels that the machine has" >&2
    exit 1
fi
rm -rf "$packed"
mv "$part" "$packed"
echo "$packed: $(find "$packed/wheels" -name '*.whl' | wc -l) wheels and the data sets, $((bytes / 1024)) KiB"
