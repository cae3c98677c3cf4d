# What concerns native code only; the Makefile includes this.
SANITIZED := build/sanitized
CLANG := build/clang

.PHONY: native stub sanitize emulated-tiles clang-check

# The installed module is the one that is imported, wherever pip has put it; `make env` has to have been there once.
native: $(VENV)/.build-tools ## rebuild the native module where it is installed, without pip
	$(STEP) "configure native code" $(VENV)/bin/cmake -S . -B build/native -G Ninja -DPython_EXECUTABLE=$(abspath $(PY)) -DCMAKE_MAKE_PROGRAM=$(abspath $(VENV)/bin/ninja)
	$(STEP) "build native code" $(VENV)/bin/cmake --build build/native
	@install -m 755 build/native/_native*.so "$$($(PY) -c 'from importlib.util import find_spec; print(find_spec("oaq.kernels._native").origin)')"

stub: $(VENV)/.dev native ## regenerate the types of the native module
	@$(PY) -m nanobind.stubgen -q -m oaq.kernels._native -o src/oaq/kernels/_native.pyi
	@$(VENV)/bin/ruff format -q src/oaq/kernels/_native.pyi

# The same tests on a module built for AddressSanitizer and UndefinedBehaviorSanitizer. Python itself is not built for
# them, so their libraries come first by LD_PRELOAD, and what Python never frees is not reported.
sanitize: $(VENV)/.dev ## tests of native code under AddressSanitizer and UndefinedBehaviorSanitizer
	$(STEP) "configure sanitized code" $(VENV)/bin/cmake -S . -B $(SANITIZED)/build -G Ninja -DOAQ_SANITIZE=ON -DOAQ_C=ON -DOAQ_FUZZ=ON -DPython_EXECUTABLE=$(abspath $(PY)) -DCMAKE_MAKE_PROGRAM=$(abspath $(VENV)/bin/ninja)
	$(STEP) "build sanitized code" $(VENV)/bin/cmake --build $(SANITIZED)/build
	$(STEP) --last "tests, sanitized" env OAQ_NATIVE_MODULE=$(abspath $(SANITIZED)/build) OAQ_NATIVE_WANTED=address LD_PRELOAD="$$($${CXX:-c++} -print-file-name=libasan.so) $$($${CXX:-c++} -print-file-name=libubsan.so)" ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 $(PY) -m pytest -q -p no:cacheprovider --numprocesses auto --maxprocesses 4 --dist loadgroup tests/native

# The same tests on a module in which tile registers are a struct: rows of AMX run on any CPU with AVX-512 VNNI.
emulated-tiles: $(VENV)/.dev ## native tests on a module that emulates AMX's tile registers
	$(STEP) "configure emulated tiles" $(VENV)/bin/cmake -S . -B build/native -G Ninja -DOAQ_EMULATED_TILES=ON -DPython_EXECUTABLE=$(abspath $(PY)) -DCMAKE_MAKE_PROGRAM=$(abspath $(VENV)/bin/ninja)
	$(STEP) "build emulated tiles" $(VENV)/bin/cmake --build build/native
	$(STEP) --last "tests, emulated tiles" env OAQ_NATIVE_MODULE=$(abspath build/native/emulated_tiles) OAQ_NATIVE_WANTED=emulated $(PY) -m pytest -q -p no:cacheprovider --numprocesses auto --maxprocesses 4 --dist loadgroup tests/native

# The same tests on a module that clang has built: equal to the reference in every integer, hence to GCC's. Nothing
# else needs clang; without one this target fails and says that nothing was run.
clang-check: $(VENV)/.dev ## native tests on a module built by clang 16 or newer, and its speed beside GCC's
	@.ci/clang >/dev/null
	$(STEP) "configure for clang" env CXX="$$(.ci/clang)" $(VENV)/bin/cmake -S . -B $(CLANG) -G Ninja -DPython_EXECUTABLE=$(abspath $(PY)) -DCMAKE_MAKE_PROGRAM=$(abspath $(VENV)/bin/ninja)
	$(STEP) "build by clang" $(VENV)/bin/cmake --build $(CLANG)
	$(STEP) --last "tests, clang" env OAQ_NATIVE_MODULE=$(abspath $(CLANG)) OAQ_NATIVE_WANTED=Clang $(PY) -m pytest -q -p no:cacheprovider --numprocesses auto --maxprocesses 4 --dist loadgroup tests/native
	@$(PY) -m benchmarks.compilers $(CLANG)
