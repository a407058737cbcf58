#!/bin/sh
# Runs docs/day.md: prints its text, and runs its commands in one shell, in a folder that is removed at the end.
set -eu
unset GITHUB_REPOSITORY GITHUB_TOKEN CI_API_V4_URL CI_PROJECT_ID GITLAB_TOKEN # no forge is asked
unset MLFLOW_TRACKING_URI MLFLOW_REGISTRY_URI TRUNKLINE_STORE                 # no server is written to
export GIT_AUTHOR_NAME=You GIT_AUTHOR_EMAIL=you@example.org GIT_COMMITTER_NAME=You GIT_COMMITTER_EMAIL=you@example.org

source=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mktemp -d)
export TMPDIR="$folder" DVC_SITE_CACHE_DIR="$folder/dvc" # what programs leave outside of a project goes with it

finish() {
    code=$?
    if [ "$code" -ne 0 ]; then echo "The tour stopped here, with exit code $code" >&2; fi
    if [ -n "${KEEP:-}" ]; then echo "Kept: $folder"; else rm -rf "$folder"; fi
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT TERM

cd "$folder"
while IFS= read -r line <&3; do
    command=${line#    }
    if [ "$command" = "$line" ]; then
        printf '%s\n' "$line"
    else
        printf '$ %s\n' "$command"
        eval "$command" 3<&-
    fi
done 3<"$source/docs/day.md"
