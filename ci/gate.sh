#!/bin/sh
# Fails unless every job that the gate needs has succeeded: one thing to require of a merge.
set -eu
printf '%s\n' "$1"
! printf '%s' "$1" | grep -Eq '"result": *"(failure|cancelled|skipped)"'
