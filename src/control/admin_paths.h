// SPDX-License-Identifier: Apache-2.0
// What the admin port serves, once: the routes are checked against it, GET /api/v1 lists it, and
// docs/admin-api.md is made of it.
// Thread: any. Owner: none. Limits: none.
#pragma once

#include <span>
#include <string>

namespace tidegate::control {

struct AdminPath {
  bool post;
  const char* path;        // <…> stands for one part of a path
  const char* parameters;  // of the query, or of a form that is posted; empty: none
  const char* what;
};
std::span<const AdminPath> admin_paths();

std::string admin_index_json();
std::string admin_reference_markdown();

}  // namespace tidegate::control
