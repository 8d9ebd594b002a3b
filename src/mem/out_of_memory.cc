// SPDX-License-Identifier: Apache-2.0
#include "mem/out_of_memory.h"

#include <new>

#include "base/assert.h"

namespace tidegate::mem {

void out_of_memory() {
  if (const std::new_handler handler = std::get_new_handler(); handler != nullptr) handler();
  base::assert_failed("the system gives memory", __FILE__, __LINE__);
}

}  // namespace tidegate::mem
