#!/bin/bash -eu
# Builds all fuzz targets and hands over each with its corpus and its dictionary. Runs inside ClusterFuzzLite's image, which
# sets OUT; not run by us yet.
cargo fuzz build -O --debug-assertions
for source in fuzz/fuzz_targets/*.rs; do
    target=$(basename "$source" .rs)
    cp "fuzz/target/x86_64-unknown-linux-gnu/release/$target" "$OUT/"
    zip --quiet --junk-paths "$OUT/${target}_seed_corpus.zip" "fuzz/corpus/$target"/*
    if [ -f "fuzz/$target.dict" ]; then
        cp "fuzz/$target.dict" "$OUT/"
    fi
done
