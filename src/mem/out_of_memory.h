// SPDX-License-Identifier: Apache-2.0
// What happens when the system gives no memory: the program's new-handler if it has one (ours says
// so and ends with an error), else the process aborts with a word about it.
// Thread: any. Owner: none. Limits: none.
#pragma once

namespace tidegate::mem {

[[noreturn]] void out_of_memory();

}  // namespace tidegate::mem
