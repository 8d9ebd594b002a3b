/* SPDX-License-Identifier: Apache-2.0
 * Marks what libtidegate exports; everything else in it is hidden. C and C++.
 */
#pragma once

#if defined(__GNUC__)
#define TIDEGATE_API __attribute__((visibility("default")))
#else
#define TIDEGATE_API
#endif
