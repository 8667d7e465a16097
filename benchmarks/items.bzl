"""The benchmarks of the twenty items: each structure against its rival, in one process."""

load("//tools:cc.bzl", "remora_cc_library")

def item_benchmark(name, deps, rival_deps = []):
    """//benchmarks:NAME from NAME.cc, with its rival.

    rivals/NAME_rival.h        the plain way to do the same, optimised as honestly
    rivals/NAME_rival_test.cc  gives the same answers as Remora's structure
    items/NAME.json            what `./dev bench items` compares (benchmarks/items/README.md)
    """
    remora_cc_library(
        name = name + "_rival",
        testonly = True,
        hdrs = ["rivals/%s_rival.h" % name],
        deps = rival_deps,
    )
    native.cc_test(
        name = name + "_rival_test",
        size = "small",
        srcs = ["rivals/%s_rival_test.cc" % name],
        deps = deps + rival_deps + [":%s_rival" % name, "@googletest//:gtest_main"],
    )
    native.cc_binary(
        name = name,
        testonly = True,
        srcs = [name + ".cc"],
        deps = deps + rival_deps + [":%s_rival" % name, "@benchmark//:benchmark_main"],
    )
