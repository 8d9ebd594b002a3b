/* SPDX-License-Identifier: Apache-2.0
 * What the C APIs of the server (tidegate.h) and of the client (client.h) have in common.
 */
#pragma once

#include <stddef.h>

#include "tidegate/export.h"

typedef struct tidegate_bytes {
  const void* data;
  size_t size;
} tidegate_bytes;
typedef struct tidegate_text {
  const char* data;
  size_t size;
} tidegate_text;
typedef struct tidegate_vector {
  float x, y, z;
} tidegate_vector;
