// base/shared_threads.h where there is one thread: whatever count is asked for, the caller computes alone. What several
// threads would compute is the same in every integer.
#include "base/shared_threads.h"

namespace oaq {

class Threads {};  // no pool is ever made

std::shared_ptr<SharedThreads> SharedThreads::of(int) { return std::make_shared<SharedThreads>(1); }

SharedThreads::SharedThreads(int count) : count_(count) {}

SharedThreads::~SharedThreads() = default;

void SharedThreads::run(Work& work) { run_alone(work); }

}  // namespace oaq
