#!/bin/sh
# Puts the kernels that the image was built with where numba may write, then becomes stillwatch.
set -eu
built=${STILLWATCH_KERNELS:-/opt/stillwatch/kernels}
if [ -d "$built" ] && [ -n "${NUMBA_CACHE_DIR:-}" ] && [ ! -e "$NUMBA_CACHE_DIR/complete" ]; then
    mkdir -p "$NUMBA_CACHE_DIR"
    cp -R "$built/." "$NUMBA_CACHE_DIR/"
    : >"$NUMBA_CACHE_DIR/complete"
fi
exec stillwatch "$@"
