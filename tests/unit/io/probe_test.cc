// SPDX-License-Identifier: Apache-2.0
#include "io/probe.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <set>
#include <string>

#include "io/uring_io.h"

namespace tidegate::io {
namespace {

TEST(Probe, AgreesWithTheBackendItProbesFor) {
  ProbeReport report;
  probe_kernel(&report);
  SetupError error;
  IoLimits limits;
  limits.sockets = 8;
  limits.buffers = 8;
  limits.queue_entries = 8;
  EXPECT_EQ(report.usable, UringIo::make(limits, &error).ok()) << error.text;
}

TEST(Probe, EveryFindingHasItsWords) {
  ProbeReport report;
  probe_kernel(&report);
  EXPECT_GE(report.count, 3u);
  std::set<std::string> names;
  for (const ProbeFinding& finding : report.all()) {
    EXPECT_TRUE(names.insert(finding.feature).second) << finding.feature;
    EXPECT_NE(std::string(finding.reason), "") << finding.feature;
    EXPECT_EQ(std::string(finding.remedy).empty(), finding.ok) << finding.feature;
  }
  EXPECT_EQ(report.first_failure() == nullptr, report.usable);
}

TEST(Probe, SetupErrorsNameARemedy) {
  EXPECT_NE(std::string(explain_setup_error(EPERM)).find("kernel.io_uring_disabled"),
            std::string::npos);
  EXPECT_NE(std::string(explain_setup_error(EMFILE)).find("RLIMIT_NOFILE"), std::string::npos);
  EXPECT_NE(std::string(explain_setup_error(EINVAL)).find("6.1"), std::string::npos);
}

}  // namespace
}  // namespace tidegate::io
