#!/bin/bash
# What actions/checkout does: an empty repository, one fetch with the token, a detached head or the branch.
set -euo pipefail
mkdir -p "$FOLDER"
cd "$FOLDER"
git init --quiet
git remote add origin "$GITHUB_SERVER_URL/$REPOSITORY"
basic=$(printf 'x-access-token:%s' "$TOKEN" | base64 --wrap=0)
git config "http.$GITHUB_SERVER_URL/.extraheader" "AUTHORIZATION: basic $basic"
if [ -z "$REF" ] && [ "$REPOSITORY" = "$GITHUB_REPOSITORY" ]; then
    wanted=$GITHUB_SHA
    branch=${GITHUB_REF#refs/heads/}
    [ "$branch" != "$GITHUB_REF" ] || branch=
else
    wanted=${REF:-HEAD}
    branch=
    if ! [[ $wanted =~ ^([0-9a-f]{40}|HEAD|refs/.*)$ ]]; then
        branch=${wanted}
        wanted=refs/heads/$wanted
        if ! git ls-remote --exit-code origin "$wanted" >/dev/null; then
            wanted=refs/tags/$branch
            branch=
        fi
    elif [[ $wanted = refs/heads/* ]]; then
        branch=${wanted#refs/heads/}
    fi
fi
depth=(--depth="$DEPTH")
refspecs=("$wanted") # the first one is what FETCH_HEAD stands for
if [ "$DEPTH" = 0 ]; then
    depth=()
    refspecs+=('+refs/heads/*:refs/remotes/origin/*' '+refs/tags/*:refs/tags/*')
elif [ "$TAGS" = true ]; then
    refspecs+=('+refs/tags/*:refs/tags/*')
fi
git fetch --quiet --no-tags --prune --no-recurse-submodules "${depth[@]}" origin "${refspecs[@]}"
commit=$(git rev-parse 'FETCH_HEAD^{commit}')
if [ -n "$branch" ]; then
    git update-ref "refs/remotes/origin/$branch" "$commit"
    git checkout --quiet --force -B "$branch" "refs/remotes/origin/$branch"
else
    git checkout --quiet --force --detach "$commit"
fi
[ "$PERSIST" = true ] || git config --unset-all "http.$GITHUB_SERVER_URL/.extraheader"
echo "commit=$commit" >>"$GITHUB_OUTPUT"
echo "HEAD is now at $commit"
