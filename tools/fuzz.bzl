"""Fuzz targets: one LLVMFuzzerTestOneInput, run two ways.

  bazel test //fs:path_walk_fuzz_test                         seeded random inputs, the same each time (a part of ./dev test)
  bazel run --config=fuzz //fs:path_walk_fuzz_test -- CORPUS  libFuzzer, guided by coverage, with AddressSanitizer
"""

def fuzz_test(name, srcs, deps, args = [], **kwargs):
    native.cc_test(
        name = name,
        size = "small",
        srcs = srcs,
        args = args,
        deps = deps + select({
            "@remora//tools:fuzzing": [],
            "//conditions:default": ["@remora//testing/fuzz:driver"],
        }),
        **kwargs
    )
