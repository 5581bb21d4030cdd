# the targets of fuzz/, each for SECONDS (30 by default), with a table of what each executed and covered

install_fuzzer
# The instrumentation is an unstable option of the compiler. There is no AddressSanitizer, because the
# service has no unsafe code.
RUSTC_BOOTSTRAP=1 PATH=$tools/fuzz/bin:$PATH cargo fuzz build --sanitizer none --target-dir "$target/fuzz"
triple=$(rustc --print host-tuple)
python3 tests/supply/fuzz.py "$target/fuzz/$triple/release" "$target/fuzz" "${number[fuzz]:-30}"
