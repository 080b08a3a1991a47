#!/bin/bash
# Builds the CPU image without a container engine, reads its settings back, and plays a few matches inside.
#
#   deploy/docker/image-test.sh [SCRATCH_FOLDER]
#
# Needs root, buildah and debootstrap, 6 GB in the scratch folder (default: a temporary one), and as many downloads as
# `make` needs. A scratch folder that is given keeps the Debian base and the image, so that a second build is faster.
# Variables:
#
#   TORCH_INDEX   index of torch's wheels (default: that of the Dockerfile)
#   MOUNTS        mounts for the build alone, such as "/etc/pip.conf:/etc/pip.conf:ro": settings of mirrors and proxies
#                 that the image must not contain
#   MIRROR        Debian mirror (default: that of debootstrap)
set -euo pipefail

readonly SUITE=bookworm USAGE=2 USER_ID=10001

for program in buildah debootstrap; do
  if ! command -v "$program" >/dev/null; then
    echo "$program is not on the path: apt-get install buildah debootstrap" >&2
    exit "$USAGE"
  fi
done
source=$(cd "$(dirname "$0")/../.." && pwd)
scratch=${1:-}
if [ -z "$scratch" ]; then
  scratch=$(mktemp --directory)
  trap 'rm -rf "$scratch"' EXIT
fi
mkdir -p "$scratch"
buildah=(buildah --storage-driver vfs --root "$scratch/store" --runroot "$scratch/run")

if [ ! -e "$scratch/debian/etc/debian_version" ]; then
  debootstrap --variant=minbase "$SUITE" "$scratch/debian" ${MIRROR:+"$MIRROR"}
fi
if ! "${buildah[@]}" inspect --type image localhost/debian >/dev/null 2>&1; then
  base=$("${buildah[@]}" from scratch)
  "${buildah[@]}" add --quiet "$base" "$scratch/debian" /
  "${buildah[@]}" commit --quiet --rm "$base" localhost/debian
fi

options=(--build-arg BASE=localhost/debian)
[ -z "${TORCH_INDEX:-}" ] || options+=(--build-arg "TORCH_INDEX=$TORCH_INDEX")
for mount in ${MOUNTS:-}; do
  options+=(--volume "$mount")
done
# Without --format docker, the health check is dropped.
"${buildah[@]}" build --isolation chroot --format docker --pull-never "${options[@]}" \
  --file "$source/deploy/docker/Dockerfile" --tag localhost/arena:cpu "$source"

setting() {  # TEMPLATE: one of the image's settings
  "${buildah[@]}" inspect --type image --format "$1" localhost/arena:cpu
}
same() {  # WHAT EXPECTED FOUND
  if [ "$2" != "$3" ]; then
    echo "$1 is $3, not $2" >&2
    exit 1
  fi
  echo "$1: $3"
}
same "user" "$USER_ID" "$(setting '{{.Docker.Config.User}}')"
same "entrypoint" "[arena]" "$(setting '{{.Docker.Config.Entrypoint}}')"
same "health check" "[CMD arena --version]" "$(setting '{{.Docker.Config.Healthcheck.Test}}')"
same "working folder" "/runs" "$(setting '{{.Docker.Config.WorkingDir}}')"
same "volumes" "map[/cache:{} /runs:{}]" "$(setting '{{.Docker.Config.Volumes}}')"

container=$("${buildah[@]}" from --pull-never localhost/arena:cpu)
inside() {
  "${buildah[@]}" run --isolation chroot --user "$USER_ID" "$container" -- "$@"
}
inside arena --version
same "user inside" "$USER_ID" "$(inside id -u)"
same "source left" "" "$(inside ls /opt/source)"
inside sh -c 'cat > /tmp/few.toml' <<'TOML'
name = "few"
victims = [{ name = "digits", arch = "mlp", steps = 100 }]
attacks = [{ name = "knockoff", steps = 20 }]
defenses = ["none", "gaussian-noise"]
budgets = [30]
seeds = 2
recipe = { steps = 20 }
TOML
inside arena run /tmp/few.toml --runner local --out /runs/few
inside arena run /tmp/few.toml --runner local --out /runs/few # started again, it has nothing to do and says so
inside arena verify /runs/few
"${buildah[@]}" rm "$container" >/dev/null
"${buildah[@]}" images localhost/arena:cpu
echo "the image was built, and four matches were played inside"
