#include "runner/options.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace remora::runner {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

absl::StatusOr<Options> Parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "remora");
  return ParseCommandLine(static_cast<int>(arguments.size()), arguments.data());
}

std::string ErrorOf(std::vector<const char*> arguments) {
  return std::string(Parse(std::move(arguments)).status().message());
}

TEST(OptionsTest, WhatFollowsTheProgramIsTheGuests) {
  const auto options = Parse({"--workers=3", "/bin/ls", "--strace", "-l"});
  ASSERT_TRUE(options.ok());
  EXPECT_EQ(options->num_workers, 3u);
  EXPECT_FALSE(options->strace.has_value());
  EXPECT_THAT(options->program, ElementsAre("/bin/ls", "--strace", "-l"));
}

TEST(OptionsTest, DoubleDashEndsTheFlags) {
  EXPECT_THAT(Parse({"--stats", "--", "-odd-name", "x"})->program, ElementsAre("-odd-name", "x"));
}

TEST(OptionsTest, RepeatedFlagsAddUpInOrder) {
  const auto options = Parse({"--env=A=1", "--bind=/s:/d", "--env=B=2=3", "--bind=rel:/e:rw", "p"});
  ASSERT_TRUE(options.ok());
  EXPECT_THAT(options->environment, ElementsAre("A=1", "B=2=3"));
  ASSERT_EQ(options->binds.size(), 2u);
  EXPECT_FALSE(options->binds[0].writable);
  EXPECT_EQ(options->binds[1].source, "rel");
  EXPECT_EQ(options->binds[1].target, "/e");
  EXPECT_TRUE(options->binds[1].writable);
}

TEST(OptionsTest, BareStraceMeansAllCallsAndBareStatsMeansText) {
  const auto options = Parse({"--strace", "--stats", "p"});
  ASSERT_TRUE(options.ok());
  EXPECT_EQ(options->strace, ".*");
  EXPECT_EQ(options->stats, StatsFormat::kText);
  EXPECT_EQ(Parse({"--strace=^open", "--stats=json", "p"})->strace, "^open");
}

TEST(OptionsTest, TheEngineIsChosenByName) {
  EXPECT_EQ(Parse({"p"})->engine, EngineKind::kFastest);
  EXPECT_EQ(Parse({"--engine=verify", "p"})->engine, EngineKind::kVerify);
  EXPECT_FALSE(Parse({"--engine=verify", "--workers=2", "p"}).ok());
  EXPECT_EQ(Parse({"--engine=interpreter", "p"})->engine, EngineKind::kInterpreter);
  const auto options = Parse({"--engine=translator", "--code-cache=8", "--cpu-opt=-chain,-trace", "--dump-blocks=^40",
                              "--cpu=v2", "--perf-map", "--gdb-symbols", "p"});
  ASSERT_TRUE(options.ok());
  EXPECT_EQ(options->engine, EngineKind::kTranslator);
  EXPECT_EQ(options->code_cache_mib, 8u);
  EXPECT_EQ(options->cpu_optimizations, "-chain,-trace");
  EXPECT_EQ(options->dump_blocks, "^40");
  EXPECT_EQ(options->cpu_level, cpu::CpuLevel::kV2);
  EXPECT_TRUE(options->perf_map);
  EXPECT_TRUE(options->gdb_symbols);
  EXPECT_FALSE(Parse({"--engine=steam", "p"}).ok());
  EXPECT_FALSE(Parse({"--code-cache=0", "p"}).ok());
}

TEST(OptionsTest, EachCallBeginsAfresh) {
  ASSERT_TRUE(Parse({"--workers=3", "--env=A=1", "p"}).ok());
  const auto options = Parse({"p"});
  EXPECT_EQ(options->num_workers, 0u);
  EXPECT_TRUE(options->environment.empty());
}

TEST(OptionsTest, MistakesGetOneSentence) {
  EXPECT_THAT(ErrorOf({}), HasSubstr("no PROGRAM"));
  EXPECT_THAT(ErrorOf({"--nonsense", "p"}), HasSubstr("no such flag: --nonsense"));
  EXPECT_THAT(ErrorOf({"-x", "p"}), HasSubstr("no such flag: -x"));
  EXPECT_THAT(ErrorOf({"--workers=many", "p"}), HasSubstr("--workers"));
  EXPECT_THAT(ErrorOf({"--workers", "p"}), HasSubstr("needs a value"));
  EXPECT_THAT(ErrorOf({"--bind=/only", "p"}), HasSubstr("SRC:DST"));
  EXPECT_THAT(ErrorOf({"--bind=/a:b", "p"}), HasSubstr("absolute"));
  EXPECT_THAT(ErrorOf({"--env=novalue", "p"}), HasSubstr("NAME=VALUE"));
  EXPECT_THAT(ErrorOf({"--stats=xml", "p"}), HasSubstr("neither"));
  for (const char* seconds : {"--stats-every=-1", "--stats-every=nan", "--stats-every=inf"})
    EXPECT_THAT(ErrorOf({seconds, "p"}), HasSubstr("wants seconds"));
  EXPECT_THAT(ErrorOf({"--stats_every=1", "p"}), HasSubstr("no such flag"));
}

TEST(OptionsTest, StatsEveryImpliesStats) {
  const auto options = Parse({"--stats-every=0.5", "p"});
  ASSERT_TRUE(options.ok());
  EXPECT_EQ(options->stats_every_seconds, 0.5);
  EXPECT_EQ(options->stats, StatsFormat::kText);
  EXPECT_EQ(Parse({"--stats-every=2", "--stats=json", "p"})->stats, StatsFormat::kJson);
  EXPECT_EQ(Parse({"p"})->stats_every_seconds, 0);
}

TEST(OptionsTest, HelpFitsOnAScreen) {
  const std::string help = HelpText();
  EXPECT_LE(std::count(help.begin(), help.end(), '\n'), 24);
  EXPECT_TRUE(Parse({"--help"})->help);
  EXPECT_TRUE(Parse({"--version"})->version);
}

TEST(OptionsTest, TranslationsAreKeptWhereCodeIsMade) {
  EXPECT_EQ(Parse({"--translations=/d", "p"})->translations, "/d");
  EXPECT_TRUE(Parse({"--translations=/d", "p"})->keeps_translations);
  EXPECT_TRUE(Parse({"p"})->keeps_translations);
  EXPECT_FALSE(Parse({"p"})->translations.has_value());
  for (const char* other : {"--translations=none", "--engine=interpreter", "--engine=verify", "--dump-blocks=x"}) {
    EXPECT_FALSE(Parse({other, "p"})->keeps_translations) << other;
    EXPECT_FALSE(Parse({other, "p"})->translations.has_value()) << other;
  }
  EXPECT_FALSE(Parse({"--translations=none", "--engine=interpreter", "p"})->keeps_translations);
  EXPECT_THAT(ErrorOf({"--translations=/d", "--engine=interpreter", "p"}), HasSubstr("makes no code"));
  for (const char* other : {"--engine=verify", "--dump-blocks=x", "--gdb-symbols", "--perf-map"})
    EXPECT_THAT(ErrorOf({"--translations=/d", other, "p"}), HasSubstr("not with"));
}

}  // namespace
}  // namespace remora::runner
