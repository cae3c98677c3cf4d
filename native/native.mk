# What concerns native code only; the Makefile includes this.
SANITIZED := build/sanitized

.PHONY: native stub sanitize

native: $(VENV)/.build-tools ## rebuild the native module in place, without pip
	$(STEP) "configure native code" $(VENV)/bin/cmake -S . -B build/native -G Ninja -DPython_EXECUTABLE=$(abspath $(PY)) -DCMAKE_MAKE_PROGRAM=$(abspath $(VENV)/bin/ninja)
	$(STEP) "build native code" $(VENV)/bin/cmake --build build/native
	@install -m 755 build/native/_native*.so src/oaq/kernels/

stub: $(VENV)/.dev native ## regenerate the types of the native module
	@$(PY) -m nanobind.stubgen -q -m oaq.kernels._native -o src/oaq/kernels/_native.pyi
	@$(VENV)/bin/ruff format -q src/oaq/kernels/_native.pyi

# The same tests on a module built for AddressSanitizer and UndefinedBehaviorSanitizer. Python itself is not built for
# them, so their libraries come first by LD_PRELOAD, and what Python never frees is not reported.
sanitize: $(VENV)/.dev ## tests of native code under AddressSanitizer and UndefinedBehaviorSanitizer
	$(STEP) "configure sanitized code" $(VENV)/bin/cmake -S . -B $(SANITIZED)/build -G Ninja -DOAQ_SANITIZE=ON -DPython_EXECUTABLE=$(abspath $(PY)) -DCMAKE_MAKE_PROGRAM=$(abspath $(VENV)/bin/ninja)
	$(STEP) "build sanitized code" $(VENV)/bin/cmake --build $(SANITIZED)/build
	$(STEP) --last "tests, sanitized" env OAQ_NATIVE_MODULE=$(abspath $(SANITIZED)/build) LD_PRELOAD="$$($${CXX:-c++} -print-file-name=libasan.so) $$($${CXX:-c++} -print-file-name=libubsan.so)" ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 $(PY) -m pytest -q -p no:cacheprovider -p no:xdist tests/native
